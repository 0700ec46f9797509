"""The search: propose, decode, screen, choose, evaluate, remember, and round again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from molvae.chem.baseline import GeneticSearch
from molvae.chem.history import Iteration, Record
from molvae.errors import MolvaeError
from molvae.rounds import GENETIC, LatentRounds, LatentSpace, OptimizeConfig
from molvae.search.strategies import Floats

if TYPE_CHECKING:
    import pandas as pd

    from molvae.chem.oracle import Oracle


@dataclass(frozen=True)
class Result:
    """A finished search: its records in order, its rounds, and why it stopped."""

    records: list[Record]
    iterations: list[Iteration]
    stopped: str

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per evaluation: number, iteration, smiles, y, error, seconds."""
        import pandas as pd

        columns = ["number", "iteration", "smiles", "y", "error", "seconds"]
        rows = [[getattr(record, name) for name in columns] for record in self.records]
        return pd.DataFrame(rows, columns=columns)

    def best(self, k: int = 10) -> pd.DataFrame:
        """Return the k rows with the greatest y, best first; failures are left out."""
        known = self.table.dropna(subset="y")
        return known.sort_values("y", ascending=False, kind="stable").head(k).reset_index(drop=True)

    @property
    def trace(self) -> Floats:
        """Best y after each evaluation (n,), NaN before the first success."""
        y = np.array([record.y for record in self.records], dtype=np.float64)
        return np.fmax.accumulate(y) if len(y) else y

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

    Raises:
        MolvaeError: the history belongs to other settings or another model, or every evaluation
            failed.
    """
    history = oracle.history
    complete = (config or OptimizeConfig()).complete(oracle.budget, history.settings)
    _agree(oracle, start, {**complete._asdict(), "latent": model.latent})
    search: LatentRounds | GeneticSearch
    if complete.strategy == GENETIC:
        search = GeneticSearch(oracle, start, complete.batch, complete.initial, complete.seed)
    else:
        search = LatentRounds(model, oracle, start, complete)
    stopped = "the budget is spent"
    while oracle.remaining:
        k = history.next_iteration
        names, z, iteration = search.candidates(k)
        if not names:
            stopped = "several pools in a row held no new valid molecule"
            break
        history.add_iteration(iteration)
        affordable = _affordable(names, oracle)
        oracle(names[:affordable], None if z is None else z[:affordable], iteration=k)
        if on_iteration is not None:
            on_iteration(iteration)
    return Result(history.records(), history.iterations(), stopped)


def _agree(oracle: Oracle, start: Sequence[str], settings: dict[str, Any]) -> None:
    """Save the settings of a new run; refuse to continue a run under other ones."""
    settings = {
        **settings,
        "objective": oracle.objective.name,
        "heavy_atoms": oracle.heavy_atoms and list(oracle.heavy_atoms),
        "start": hashlib.sha256("\n".join(start).encode()).hexdigest()[:16],
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
