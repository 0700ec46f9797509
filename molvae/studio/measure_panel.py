"""The panel of an ask/tell run: its molecules that wait for a measured value, each with a field."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from nicegui import ui

from molvae.base.errors import MolvaeError
from molvae.studio.parts import show_structure
from molvae.studio.runs import WatchedRun

if TYPE_CHECKING:
    from molvae.studio.space import Space

FAILED = ("failed", "nan")
MOST = 60  # fields at a time


class MeasurePanel:
    """The fields for measured values."""

    def __init__(
        self, shown: Callable[[], list[WatchedRun]], space: Callable[[], Space | None]
    ) -> None:
        """Lay out the panel.

        Args:
            shown: gives the runs that the page shows.
            space: gives the model of the first of them, None as long as its map is not there.
        """
        self.shown, self.find_space = shown, space
        self.drawn: tuple[str, ...] | None = None
        self.typed: dict[tuple[str, str], str] = {}  # run and field -> what stands in it
        self.note = ui.label("").classes("note")
        self.list = ui.row().classes("w-full gap-2")

    def refresh(self) -> None:
        """Show the molecules that wait; what is being typed stays."""
        runs = self.shown()[:1]
        run = runs[0] if runs and runs[0].is_measured else None
        names = list(run.asked)[:MOST] if run is not None else []
        drawn = (run.name if run else "", *names)
        if drawn == self.drawn:
            return
        self.drawn = drawn
        if run is None:
            self.note.text = (
                "Molecules of a search by ask and tell (the first run above) wait here for their "
                "measured values; this run computes its own."
            )
        elif not names:
            self.note.text = "No molecule waits for a value: ask for new ones."
        else:
            self.note.text = (
                f"{len(run.asked):,} molecules wait for a value. Type it, or failed, and press "
                "Enter: it is stored in the history at once, and cannot be taken back."
            )
        self.list.clear()
        with self.list:
            for name in names:
                if run is not None:
                    self._build_field(run, name)

    def _build_field(self, run: WatchedRun, name: str) -> None:
        with ui.column().classes("cell gap-0 p-1").style("width:190px;cursor:default"):
            show_structure(name, 180, 130)
            ui.label(name).classes("smiles")
            fields = []
            for one in run.objectives:
                key = (run.name, f"{name} {one.name}")
                field = ui.input(one.title, value=self.typed.get(key, "")).props(
                    "dense maxlength=40"
                )
                field.on_value_change(lambda e, key=key: self.typed.update({key: e.value or ""}))
                fields.append(field)

            async def store() -> None:
                await self._store(run, name, [str(field.value or "") for field in fields])

            for field in fields:
                field.classes("w-full").on("keydown.enter", store)
            ui.button("store", on_click=store).props("dense outline no-caps")

    async def _store(self, run: WatchedRun, name: str, texts: list[str]) -> None:
        try:
            values = [read_value(text) for text in texts]
            await asyncio.to_thread(run.tell, name, values, self.find_space())
        except (MolvaeError, OSError) as error:
            ui.notify(str(error), type="negative", multi_line=True)
            return
        self.refresh()


def read_value(text: str) -> float:
    """Text of a field -> the value, NaN for a failed measurement.

    Raises:
        MolvaeError: it is neither.
    """
    word = text.strip()
    if word.lower() in FAILED:
        return math.nan
    try:
        return float(word)
    except ValueError:
        raise MolvaeError(f"{word!r:.40} is not a number; type failed for a failure") from None
