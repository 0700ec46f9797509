"""The search: propose, decode, screen, choose, evaluate, remember, and round again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from molvae.chem.baseline import GeneticSearch
from molvae.chem.history import Iteration, Record
from molvae.chem.oracle import BudgetError, Oracle
from molvae.errors import MolvaeError
from molvae.rounds import GENETIC, Adapt, LatentRounds, LatentSpace, OptimizeConfig
from molvae.search.hypervolume import front, hypervolume, reference
from molvae.search.strategy import Floats

if TYPE_CHECKING:
    import pandas as pd

ASKED = "asked for"  # where the history keeps what is evaluated elsewhere, and its rounds


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
        rows = front(self._values) if len(self.labels) > 1 else slice(None)
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
        below, best = reference(y), front(y[:0])
        volumes = np.zeros(len(y))
        for n in range(len(y)):
            new = front(y[[*best, n]])
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
            `molvae.adapt.adapted`; None leaves it as it is. A genetic algorithm has no model.

    Raises:
        MolvaeError: the history belongs to other settings or another model, no molecule to begin
            with is admissible, or every evaluation failed.
    """
    history = oracle.history
    rounds = _rounds(model, oracle, start, config, leads, adapt)
    stopped = "the budget is spent"
    while oracle.remaining:
        k = history.next_iteration
        names, z, iteration = rounds.candidates(k)
        if not names:
            if not len(history):
                raise MolvaeError(
                    "no molecule to begin with is admissible: allow more sizes, loosen the "
                    "constraints, or give some molecules that meet them"
                )
            stopped = "several pools in a row held no new valid molecule"
            break
        history.add_iteration(iteration)
        affordable = _affordable(names, oracle)
        oracle(names[:affordable], None if z is None else z[:affordable], iteration=k)
        if on_iteration is not None:
            on_iteration(iteration)
    return Result(history.records(), history.iterations(), stopped, tuple(oracle.labels))


class Search:
    """A search whose molecules are evaluated elsewhere, for instance in a laboratory.

    Days may pass, and other processes: all that there is to remember is in the oracle's history.

    >>> from molvae import MolVAE, Oracle
    >>> from molvae.chem.objectives import measured
    >>> oracle = Oracle(measured("activity"), budget=40)  # history=History("lab.sqlite") keeps it
    >>> search = Search(MolVAE.load("qm9"), oracle, start=["CCO", "CCN", "CCOC"])
    >>> names = search.ask()
    >>> search.tell({names[0]: 1.5, names[1]: float("nan")})
    >>> search.ask() == names[2:]
    True
    """

    def __init__(
        self,
        model: LatentSpace,
        oracle: Oracle,
        start: Sequence[str] = (),
        config: OptimizeConfig | None = None,
        leads: Sequence[str] = (),
    ) -> None:
        """Arguments and errors as of `optimize`."""
        self._model, self._oracle = model, oracle
        self._rounds = _rounds(model, oracle, start, config, leads)

    def ask(self, ahead: bool = False) -> list[str]:
        """Return the canonical SMILES that were asked for and whose values are not told yet.

        When all are told a new round begins. With `ahead` one begins at once, by what is known so
        far, and only its molecules are returned: others are measured while some still are. None
        are returned when the budget is spent or asked for, or nothing new was found.
        """
        history = self._oracle.history
        asked = history.settings.get(ASKED, {})
        pending = [name for name in asked if name not in history]
        left = self._oracle.remaining - len(pending)
        if (pending and not ahead) or left <= 0:
            return [] if ahead else pending[: self._oracle.remaining]
        k = 1 + max(asked.values()) if pending else history.next_iteration
        names, _, iteration = self._rounds.candidates(k, pending)
        names = names[:left]
        if names:
            history.add_iteration(replace(iteration, candidates=len(names)))
            rounds = {name: asked[name] for name in pending} | dict.fromkeys(names, k)
            history.save_settings({ASKED: rounds})
        return names

    def tell(self, values: Mapping[str, float | Sequence[float]]) -> None:
        """Store values by SMILES, NaN for a measurement that failed; not only of what was asked.

        Raises:
            MolvaeError: a molecule that is not admissible, or has a value already; more of them
                than the budget has left; not one value for each objective. None is stored then.
        """
        oracle, asked = self._oracle, self._oracle.history.settings.get(ASKED, {})
        told: dict[str, float | Sequence[float]] = {}
        for smiles, value in values.items():
            name = oracle.admissible(smiles)
            if name is None:
                raise MolvaeError(f"{smiles!r} is no molecule that this search admits")
            if name in told or name in oracle.history:
                raise MolvaeError(f"{smiles!r} has a value already")
            told[name] = oracle.values(value)
        if len(told) > oracle.remaining:
            raise BudgetError(f"{len(told)} values, but {oracle.remaining} evaluations are left")
        for name, value in told.items():
            z = None
            if self._model.encodable(name):
                z = np.asarray(self._model.encode([name]), dtype=np.float32)[0]
            oracle.tell(name, value, asked.get(name, -1), z)


def _rounds(
    model: LatentSpace,
    oracle: Oracle,
    start: Sequence[str],
    config: OptimizeConfig | None,
    leads: Sequence[str],
    adapt: Adapt | None = None,
) -> LatentRounds | GeneticSearch:
    """What proposes, once the history agrees that it is the same search."""
    complete = (config or OptimizeConfig()).complete(oracle.budget, oracle.history.settings)
    molecules = {"start": _digest(start), "leads": _digest(leads)}
    others = {"latent": model.latent, "adapt": adapt is not None}
    _agree(oracle, {**complete._asdict(), **molecules, **others})
    if adapt is not None and complete.strategy == "gradient":
        raise MolvaeError("strategy gradient needs the property head, which an adapted model lacks")
    if complete.strategy == GENETIC:
        if len(oracle.objectives) > 1:
            raise MolvaeError(f"strategy {GENETIC} has one objective: join them in a file of goals")
        return GeneticSearch(oracle, start, leads, complete.batch, complete.initial, complete.seed)
    return LatentRounds(model, oracle, start, leads, complete, adapt)


def _digest(smiles: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(smiles).encode()).hexdigest()[:16]


def _agree(oracle: Oracle, settings: dict[str, Any]) -> None:
    """Save the settings of a new run; refuse to continue a run under other ones."""
    settings = {
        **settings,
        "objective": ", ".join(objective.name for objective in oracle.objectives),
        "heavy_atoms": oracle.heavy_atoms and list(oracle.heavy_atoms),
        "constraints": [c.text for c in oracle.constraints],
    }
    stored = oracle.history.settings
    for name, value in settings.items():
        if name in stored and stored[name] != value:
            raise MolvaeError(
                f"this history was begun with {name} = {stored[name]!r}, not {value!r}"
            )
    oracle.history.save_settings(settings)


def _affordable(names: list[str], oracle: Oracle) -> int:
    """How many of the candidates, in order, the budget still pays for."""
    cost = np.cumsum([name not in oracle.history for name in names])
    return int((cost <= oracle.remaining).sum())
