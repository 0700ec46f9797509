"""Molecules as a table or as cards, as an element of the page; what is drawn is in rows.js."""

from __future__ import annotations

from typing import Any

from nicegui.element import Element


class MoleculeRows(Element, component="rows.js"):
    """A page of molecules.

    It emits `pick` (row) and `choose` (rows, on).
    """

    def __init__(self) -> None:
        super().__init__()
        self.show("table", [], [], [])

    def show(
        self, form: str, columns: list[list[str]], rows: list[dict[str, Any]], chosen: list[int]
    ) -> None:
        """Show these rows; the browser hears of it only if they differ from what it shows.

        Args:
            form: "table" or "grid".
            columns: of each behind the picture its title and a CSS class.
            rows: of each its number `row`, `smiles`, the address of its `picture`, the `texts` of
                its columns, and the two `lines` of its card.
            chosen: the numbers of those that are selected.
        """
        new = {"form": form, "columns": columns, "rows": rows, "chosen": chosen}
        if any(self.props.get(name) != value for name, value in new.items()):
            self.props.update(new)
            self.update()
