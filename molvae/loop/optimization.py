"""The search: propose, decode, screen, choose, evaluate, remember, and round again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from molvae.base.errors import MolvaeError
from molvae.loop.ask_tell import Search, begun
from molvae.loop.genetic import GeneticSearch
from molvae.loop.rounds import Adapt, LatentRounds, LatentSpace, OptimizeConfig
from molvae.oracles.evaluation import Outcome, start_workers
from molvae.oracles.history import Iteration, Record
from molvae.oracles.oracle import Oracle
from molvae.search.hypervolume import hypervolume, pareto_front, reference_point
from molvae.search.strategy import Floats

if TYPE_CHECKING:
    import pandas as pd

SPENT = "the budget is spent"


@dataclass(frozen=True)
class Result:
    """A finished search: its records in order, its rounds, why it stopped, what it maximised."""

    records: list[Record]
    iterations: list[Iteration]
    stopped: str
    labels: tuple[str, ...]

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per evaluation: number, iteration, smiles, y, error, seconds.

        Of several objectives each has a column, under its label.
        """
        import pandas as pd

        rows = [
            (r.number, r.iteration, r.smiles, *r.values, r.error, r.seconds) for r in self.records
        ]
        columns = ["number", "iteration", "smiles", *self._columns, "error", "seconds"]
        return pd.DataFrame(rows, columns=columns)

    def best(self, k: int = 10) -> pd.DataFrame:
        """Return the k rows with the greatest y, best first; failures are left out.

        Of several objectives those that no other row dominates, the best in the first one first.
        """
        rows = pareto_front(self._values) if len(self.labels) > 1 else slice(None)
        known = self.table.iloc[rows].dropna(subset=self._columns[0])
        ordered = known.sort_values(self._columns[0], ascending=False, kind="stable")
        return ordered.head(k).reset_index(drop=True)

    @property
    def trace(self) -> Floats:
        """Best y after each evaluation (n,), NaN before the first success.

        Of several objectives the hypervolume of what was found, above `reference` of all of it.
        """
        y = self._values
        if len(self.labels) == 1 or not len(self.best(1)):
            return np.fmax.accumulate(y[:, 0]) if len(y) else y[:, 0]
        below, best = reference_point(y), pareto_front(y[:0])
        volumes = np.zeros(len(y))
        for n in range(len(y)):
            new = pareto_front(y[[*best, n]])
            grown = len(best) in new  # the last of these rows
            best = np.array([*best, n], dtype=np.intp)[new]
            volumes[n] = hypervolume(y[best], below) if grown else volumes[max(n - 1, 0)]
        return volumes

    @cached_property
    def _values(self) -> Floats:
        rows = [record.values for record in self.records]
        return np.array(rows, dtype=np.float64).reshape(len(rows), len(self.labels))

    @property
    def _columns(self) -> list[str]:
        return ["y"] if len(self.labels) == 1 else list(self.labels)

    @property
    def valid_fraction(self) -> float:
        """Share of decoded points that gave an admissible molecule."""
        decoded = sum(iteration.decoded for iteration in self.iterations)
        return sum(iteration.valid for iteration in self.iterations) / max(decoded, 1)

    @property
    def seconds(self) -> float:
        """What the search took beside the oracle."""
        return sum(iteration.seconds for iteration in self.iterations)


def optimize(
    model: LatentSpace,
    oracle: Oracle,
    start: Sequence[str] = (),
    config: OptimizeConfig | None = None,
    on_iteration: Callable[[Iteration], None] | None = None,
    leads: Sequence[str] = (),
    adapt: Adapt | None = None,
    asynchronous: bool = False,
) -> Result:
    """Search the latent space until the oracle's budget is spent.

    Round k is a function of (config, start, model, records of the rounds before k), so a run that
    was stopped anywhere, called again with the same history, continues as if it had not been.

    Args:
        model: the latent space, for instance a `MolVAE`.
        oracle: what is maximised, with its budget, its size bound and its history.
        start: SMILES to draw the first molecules from, for instance a data set; may be empty.
        config: how to search.
        on_iteration: called at the end of each round.
        leads: SMILES that are evaluated first, all that are admissible, in place of those drawn.
        adapt: trains the model on with the best that was found, ten times in a run, for instance
            `molvae.model.adaptation.adapted`; None leaves it as it is. A genetic algorithm has no
            model.
        asynchronous: a round does not wait for the one before, but begins as soon as fewer
            molecules are left than `oracle.effort.jobs`, so that no process idles while another
            takes long. What is found then depends on which evaluation ends first.

    Raises:
        MolvaeError: the history belongs to other settings or another model, no molecule to begin
            with is admissible, or every evaluation failed.
    """
    on_iteration = on_iteration or (lambda iteration: None)
    if asynchronous:
        search = Search(model, oracle, start, config, leads, adapt)
        stopped = _without_waiting(search, on_iteration)
    else:
        rounds = begun(model, oracle, start, config, leads, adapt)
        stopped = _in_rounds(rounds, oracle, on_iteration)
    history = oracle.history
    return Result(history.records(), history.iterations(), stopped, tuple(oracle.labels))


def _in_rounds(
    rounds: LatentRounds | GeneticSearch,
    oracle: Oracle,
    on_iteration: Callable[[Iteration], None],
) -> str:
    """Evaluate round by round; return why it stopped."""
    history = oracle.history
    while oracle.remaining:
        k = history.next_iteration
        names, z, iteration = rounds.candidates(k)
        if not names:
            return _exhausted(oracle)
        history.add_iteration(iteration)
        affordable = _affordable(names, oracle)
        oracle(names[:affordable], None if z is None else z[:affordable], iteration=k)
        on_iteration(iteration)
    return SPENT


def _without_waiting(search: Search, on_iteration: Callable[[Iteration], None]) -> str:
    """Evaluate, and begin a round whenever processes would be idle; return why it stopped."""
    oracle = search.oracle
    with start_workers(oracle.objectives, oracle.effort) as submit:
        names, running = search.ask(), set[Future[Outcome]]()
        while True:
            running |= {submit(name) for name in names if not search.reuse(name)}
            names = search.ask(ahead=True) if len(running) < oracle.effort.jobs else []
            if names:
                on_iteration(oracle.history.iterations()[-1])
                continue
            if not running:
                return _exhausted(oracle) if oracle.remaining else SPENT
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                search.store(future.result())


def _exhausted(oracle: Oracle) -> str:
    if not len(oracle.history):
        raise MolvaeError(
            "no molecule to begin with is admissible: allow more sizes, loosen the constraints, or "
            "give some molecules that meet them"
        )
    return "several pools in a row held no new valid molecule"


def _affordable(names: list[str], oracle: Oracle) -> int:
    """How many of the candidates, in order, the budget still pays for."""
    cost = np.cumsum([name not in oracle.history for name in names])
    return int((cost <= oracle.remaining).sum())
