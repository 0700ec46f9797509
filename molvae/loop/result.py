"""What a search found: its evaluations in order, its rounds, and why it stopped."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from molvae.chem.fingerprints import MoleculeFeatures
from molvae.chem.pictures import draw_molecules
from molvae.oracles.history import Iteration, Record
from molvae.oracles.objectives import Objective
from molvae.search.pareto import find_undominated, hypervolume, pareto_front, reference_point
from molvae.search.protocols import Floats
from molvae.search.surrogate import MixedProcess, select_observations

SHOWN = 10  # molecules that a notebook draws


@dataclass(frozen=True, repr=False)
class Result:
    """A finished search: its records in order, its rounds, why it stopped, what it maximised.

    Values are maximised ones: those of a minimised objective have the opposite sign, and its label
    a minus. The report (`molvae.reports.run_report`) shows the user's sign.
    """

    records: list[Record]
    iterations: list[Iteration]
    stopped: str
    objectives: tuple[Objective, ...]

    def __repr__(self) -> str:
        failed = sum(record.error is not None for record in self.records)
        head = self.best(1)
        found = ""
        if len(head) and len(self.labels) == 1:
            found = f", best {self.labels[0]} {head['y'][0]:.3f}: {head['smiles'][0]}"
        return f"<Result: {len(self.records)} evaluations ({failed} failed){found}>"

    def _repr_html_(self) -> str:
        """Show the best molecules as a picture in a notebook."""
        best = self.best(SHOWN)
        if not len(best):
            return html.escape(repr(self))
        numbers = best[self._columns].itertuples(index=False)
        legends = [", ".join(f"{value:.3f}" for value in row) for row in numbers]
        picture = draw_molecules(list(best["smiles"]), legends, picture="svg").decode()
        return f"<p>{html.escape(repr(self))}</p>{picture[picture.index('<svg') :]}"

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the maximised quantities."""
        return tuple(objective.label for objective in self.objectives)

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per evaluation: number, iteration, smiles, y, error, seconds.

        With several objectives, each has a column named after its label. Where values were known
        before the run, the column `known` tells them from those that cost an evaluation.
        """
        rows = [
            (r.number, r.iteration, r.smiles, *r.values, r.error, r.seconds) for r in self.records
        ]
        columns = ["number", "iteration", "smiles", *self._columns, "error", "seconds"]
        table = pd.DataFrame(rows, columns=columns)
        return table.assign(known=[r.known for r in self.records]) if self.known else table

    @property
    def known(self) -> int:
        """The number of records whose values were known before the run."""
        return sum(record.known for record in self.records)

    def best(self, k: int = 10) -> pd.DataFrame:
        """Return the k rows with the greatest y, best first; failures are left out.

        With several objectives, return the Pareto front, ordered by the first objective; of
        molecules with equal values, all.
        """
        rows = find_undominated(self._values) if len(self.labels) > 1 else slice(None)
        known = self.table.iloc[rows].dropna(subset=self._columns[0])
        ordered = known.sort_values(self._columns[0], ascending=False, kind="stable")
        return ordered.head(k).reset_index(drop=True)

    @property
    def trace(self) -> Floats:
        """Best y after each record (n,), known ones included, NaN before the first success.

        With several objectives, the hypervolume found so far, above the reference point of the run.
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

    @property
    def noise(self) -> dict[str, float]:
        """Label of each objective whose values are noisy -> standard deviation of the noise.

        Both are what a Gaussian process learns from the evaluations. Of a noisy objective the
        greatest values are partly luck: see `expect`.
        """
        pairs = zip(self.labels, self._surrogates, strict=True)
        return {n: math.sqrt(s.noise_variance) for n, s in pairs if s is not None and s.is_noisy}

    def expect(self, smiles: Sequence[str]) -> Floats:
        """Molecules (n) -> posterior means (n, M) of the maximised quantities, given all values.

        What another evaluation of each would give on average, as the surrogate sees it: of an
        evaluated molecule its value, drawn towards those of similar ones by as much as there is
        noise. NaN for an objective with fewer than two known values.

        Raises:
            MolvaeError: a SMILES is not valid.
        """
        features, unknown = MoleculeFeatures()(smiles), np.full(len(smiles), np.nan)
        return np.stack(
            [unknown if s is None else s.predict(features)[0] for s in self._surrogates], axis=1
        )

    @cached_property
    def _surrogates(self) -> list[MixedProcess | None]:
        """A process fitted to the values of each objective; None where too few are known."""
        describe = MoleculeFeatures()
        found: list[MixedProcess | None] = []
        for y in self._values.T:
            rng = np.random.default_rng(0)
            if np.isfinite(y).sum() < 2:
                found.append(None)
                continue
            rows = select_observations(y, rng)
            features = describe([self.records[row].smiles for row in rows])
            found.append(MixedProcess(features, y[rows], rng))
        return found

    @cached_property
    def _values(self) -> Floats:
        rows = [record.values for record in self.records]
        return np.array(rows, dtype=np.float64).reshape(len(rows), len(self.labels))

    @property
    def _columns(self) -> list[str]:
        return ["y"] if len(self.labels) == 1 else list(self.labels)

    @property
    def bred_fraction(self) -> float:
        """The share of the molecules chosen for evaluation that were bred, not decoded."""
        chosen = sum(iteration.candidates for iteration in self.iterations)
        return sum(iteration.bred for iteration in self.iterations) / max(chosen, 1)

    @property
    def valid_fraction(self) -> float:
        """Share of decoded points that gave an admissible molecule."""
        decoded = sum(iteration.decoded for iteration in self.iterations)
        return sum(iteration.valid for iteration in self.iterations) / max(decoded, 1)

    @property
    def seconds(self) -> float:
        """Seconds excluding oracle calls."""
        return sum(iteration.seconds for iteration in self.iterations)
