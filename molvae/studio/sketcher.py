"""A sketcher as an element of the page: JSME, whose files are served from this folder."""

from __future__ import annotations

from pathlib import Path

from nicegui.element import Element

JSME = Path(__file__).with_name("jsme")


class Sketcher(Element, component="sketcher.js"):
    """Where a molecule is drawn by hand."""

    def show(self, smiles: str) -> None:
        """Begin with a molecule; empty for none."""
        self.run_method("show", smiles)

    async def read(self) -> str:
        """Return the SMILES of what is drawn, empty for nothing."""
        found = await self.run_method("smiles", timeout=10)
        return found if isinstance(found, str) else ""
