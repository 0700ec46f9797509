"""What one page shows of the runs: the points of its map, and the rows of its table."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from molvae.base.errors import MolvaeError
from molvae.chem.molecules import parse_cached
from molvae.chem.properties import REPORTED
from molvae.studio.facts import measure
from molvae.studio.runs import WatchedRun

if TYPE_CHECKING:
    from molvae.oracles.constraints import Constraint
    from molvae.studio.space import Space

LOOKED_AT = 20_000  # molecules, the best ones, whose properties are computed for a colour or filter


class View:
    """The molecules of the shown runs in one order, that of the points on the map.

    A point is a row of `owners` (run, number). New ones are added at the end, so that a number that
    the browser holds keeps its meaning.
    """

    def __init__(self, runs: Sequence[WatchedRun]) -> None:
        """Show these runs."""
        self.runs = list(runs)
        self.id = secrets.token_hex(8)
        self.method = "PCA"  # how the map is flattened
        self.colour = ""  # a property; empty for the first objective
        self.owners = np.empty((0, 2), np.int32)
        self.y = np.empty((0, 1))
        self.counts = [0] * len(self.runs)
        self.chosen: NDArray[np.intp] | None = None  # rows that are selected

    @property
    def aims(self) -> list[str]:
        """The names of the objectives of the first run."""
        return [one.name for one in self.runs[0].objectives] if self.runs else []

    def take(self) -> NDArray[np.int32]:
        """Take in new evaluations of the runs -> their owners (k, 2)."""
        new, values = [self.owners[:0]], [self.y[:0]]
        width = max(1, len(self.aims))
        for i, run in enumerate(self.runs):
            y = run.values
            if len(y) < self.counts[i]:  # the file was replaced
                self.owners, self.y, self.counts = (
                    np.empty((0, 2), np.int32),
                    y[:0],
                    [0] * len(self.runs),
                )
                return self.take()
            numbers = np.arange(self.counts[i], len(y), dtype=np.int32)
            new.append(np.stack([np.full_like(numbers, i), numbers], axis=1))
            rows = np.full((len(numbers), width), np.nan)
            shared = min(width, y.shape[1])
            rows[:, :shared] = y[self.counts[i] :, :shared]
            values.append(rows)
            self.counts[i] = len(y)
        added = np.concatenate(new)
        if len(added):
            y = self.y if self.y.shape[1] == width else np.empty((0, width))
            self.owners = np.concatenate([self.owners, added])
            self.y = np.concatenate([y, *[v for v in values if v.shape[1] == width]])
        return added

    def points(self, space: Space, owners: NDArray[np.int32]) -> NDArray[np.float32]:
        """Owners (k, 2) -> rows x, y, colour, run (k, 4) for the map; NaN where it has no place."""
        found = np.full((len(owners), 4), np.nan, np.float32)
        found[:, 3] = owners[:, 0]
        for i, run in enumerate(self.runs):
            mine = owners[:, 0] == i
            if mine.any() and run.model == self.runs[0].model:
                found[mine, :2] = space.atlas.place(_locate(run, owners[mine, 1], space))
            if mine.any():
                found[mine, 2] = self._colours(run, owners[mine, 1])
        return found

    def _colours(self, run: WatchedRun, numbers: NDArray[np.int32]) -> NDArray[np.float64]:
        if self.colour in REPORTED and self.colour not in self.aims:
            few = numbers[:LOOKED_AT]
            found = np.full(len(numbers), np.nan)
            found[: len(few)] = [
                measure(run.records[n].smiles).get(self.colour, np.nan) for n in few.tolist()
            ]
            return found
        column = self.aims.index(self.colour) if self.colour in self.aims else 0
        y: NDArray[np.float64] = run.values[numbers][:, min(column, run.values.shape[1] - 1)]
        return y

    def smiles(self, row: int) -> str:
        """Row -> its molecule."""
        run, number = self.owners[row]
        smiles: str = self.runs[run].records[number].smiles
        return smiles

    def find_row(self, smiles: str) -> int | None:
        """Molecule -> its row, None where it was not evaluated."""
        for row, (run, number) in enumerate(self.owners.tolist()):
            if self.runs[run].records[number].smiles == smiles:
                return row
        return None

    def best(self) -> list[int]:
        """The rows of the incumbents, or of the Pareto front of several objectives."""
        aims = self.runs[0].objectives if self.runs else ()
        if not len(self.y) or np.isnan(self.y).all():
            return []
        signs = np.array([one.restore_sign(1.0) for one in aims])
        if len(aims) == 1:
            return [int(np.nanargmax(self.y[:, 0] * signs[0]))]
        from molvae.search.pareto import find_undominated

        return [int(row) for row in find_undominated(self.y * signs)]

    def order(
        self, column: str = "", descending: bool | None = None, keep: Sequence[Constraint] = ()
    ) -> NDArray[np.intp]:
        """Return the rows that are selected and meet the constraints, in the order of a column.

        Args:
            column: an objective, a reported property, "number" or "smiles"; empty for the first
                objective.
            descending: the greatest first; None for the best first.
            keep: conditions; of more than 20,000 molecules only the best ones are looked at.
        """
        rows = np.arange(len(self.owners)) if self.chosen is None else self.chosen
        aims = self.runs[0].objectives if self.runs else ()
        names = [one.name for one in aims]
        main = aims[0].maximise if aims else True
        key = self.y[rows, 0]
        rows = rows[
            np.argsort(np.where(np.isnan(key), np.inf, -key if main else key), kind="stable")
        ]
        if keep:
            rows = np.array(
                [r for r in rows[:LOOKED_AT] if self._meets(int(r), keep)], dtype=np.intp
            )
        if column in names and (column != names[0] or descending is not None):
            one = aims[names.index(column)]
            down = one.maximise if descending is None else descending
            key = self.y[rows, names.index(column)]
            key = np.where(np.isnan(key), np.inf, -key if down else key)
            rows = rows[np.argsort(key, kind="stable")]
        elif column == "number":
            key = self.owners[rows, 1]
            rows = rows[np.argsort(-key if descending else key, kind="stable")]
        elif column in REPORTED:
            few = rows[:LOOKED_AT]
            key = np.array([measure(self.smiles(int(r))).get(column, np.nan) for r in few])
            rows = few[
                np.argsort(
                    np.where(np.isnan(key), np.inf, -key if descending else key), kind="stable"
                )
            ]
        return rows

    def find_alike(self, smiles: str) -> list[int]:
        """Molecule -> the rows of evaluated molecules of Tanimoto similarity 0.4 and more to it."""
        from molvae.chem.fingerprints import tanimoto_similarities
        from molvae.chem.neighbors import ALIKE

        rows = self.order()[:LOOKED_AT].tolist()
        close = tanimoto_similarities([self.smiles(row) for row in rows], smiles)
        return [row for row, value in zip(rows, close, strict=True) if value >= ALIKE]

    def _meets(self, row: int, keep: Sequence[Constraint]) -> bool:
        mol = parse_cached(self.smiles(row))
        return mol is not None and all(one.met(mol) for one in keep)


def _locate(run: WatchedRun, numbers: NDArray[np.int32], space: Space) -> NDArray[np.float32]:
    """Evaluations (k) -> latent points (k, D): where the search found them, or else their means."""
    d = space.atlas.z.shape[1]
    z = np.full((len(numbers), d), np.nan, np.float32)
    if run.latents.shape[1] == d:
        z[:] = run.latents[numbers]
    missing = np.isnan(z).any(axis=1)  # all those of a genetic algorithm
    if missing.any():
        z[missing] = space.find_places([run.records[n].smiles for n in numbers[missing].tolist()])
    return z


def read_filter(text: str, space: Space | None, allowed: bool) -> list[Constraint]:
    """Constraints between semicolons -> the constraints.

    Raises:
        MolvaeError: one of them is not valid, or names what may not be named from the page.
    """
    from molvae.oracles.given import use_model
    from molvae.studio.foreign import check_constraint

    found = [check_constraint(part, allowed) for part in text.split(";") if part.strip()]
    quantities = [one.quantity.objective for one in found if one.quantity is not None]
    if quantities and space is not None:
        use_model(space.model, quantities)
    elif any("predicted:" in part for part in text.split(";")):
        raise MolvaeError("this needs the model of the run, which is not known")
    return found
