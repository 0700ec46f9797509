"""The map as an element of the page; what is drawn is in map.js."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from nicegui.element import Element
from numpy.typing import NDArray

if TYPE_CHECKING:
    from molvae.model.atlas import Atlas


class MoleculeMap(Element, component="map.js"):
    """A scatter plot of molecules with the density of the data below it.

    It emits `pick` (index, second), `marked` (smiles, second), `place` (x, y, second) and `lasso`
    (indices).
    """

    def __init__(self) -> None:
        super().__init__()
        self.marks: dict[str, Sequence[Sequence[float | str]]] = {}
        self.set_mode("explore")

    def set_mode(self, mode: str) -> None:
        """Let a drag pan ("explore") or select ("lasso")."""
        self.props["mode"] = mode
        self.update()

    def show_ground(self, atlas: Atlas) -> None:
        """Draw the density of the data and the contours of the prior."""
        density, box = atlas.density()
        contours = [np.round(line, 4).tolist() for line in atlas.contours()]
        self.run_method(
            "ground", base64.b64encode(density.tobytes()).decode(), len(density), box, contours
        )

    def load(self, address: str, view: str, span: tuple[float, float]) -> None:
        """Fetch all points anew."""
        self.run_method("load", address, view, span)

    def append(self, points: NDArray[np.float32], span: tuple[float, float]) -> None:
        """Add points (k, 4) behind the others."""
        flat = [None if v != v else round(v, 5) for v in points.astype(float).ravel().tolist()]
        self.run_method("append", flat, span)

    def show_nothing(self) -> None:
        """Show nothing, as other runs were chosen; the next points are shown as a whole."""
        self.marks = {}
        self.run_method("mark", {"best": [], "hollow": [], "own": [], "here": [], "path": []})
        self.run_method("wipe")

    def fit(self) -> None:
        """Show all points, and go on to do so as new ones come."""
        self.run_method("fitAll")

    def set_marks(self, **marks: Sequence[Sequence[float | str]]) -> None:
        """Set the places of `best`, `here` or `path`, lists of (x, y), or of `hollow` or `own`.

        The last two are molecules: lists of (x, y, SMILES).
        """
        if any(self.marks.get(name) != places for name, places in marks.items()):
            self.marks |= marks
            self.run_method("mark", marks)

    def select(self, rows: Sequence[int]) -> None:
        """Make these points stand out."""
        self.run_method("select", list(rows))

    def show_by(self, run: int, by_run: bool) -> None:
        """Show one run alone, or all for -1; colour by run or by value."""
        self.run_method("style", run, by_run)
