"""The panel that starts a search, pauses and resumes it, and steers it while it runs."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable

from nicegui import ui

from molvae.base.errors import MolvaeError
from molvae.chem.neighbors import ALIKE
from molvae.oracles.history import SAID
from molvae.studio.facts import Described
from molvae.studio.runs import WatchedRun
from molvae.studio.studio import DEFAULT, Studio


class SearchPanel:
    """The controls of searches on one page."""

    def __init__(
        self,
        studio: Studio,
        shown: Callable[[], list[WatchedRun]],
        here: Callable[[], Described | None],
        show: Callable[[WatchedRun], None],
    ) -> None:
        """Lay out the panel.

        Args:
            studio: what pages share.
            shown: gives the runs that the page shows.
            here: gives the molecule that is looked at.
            show: shows another run on the page.
        """
        self.studio, self.shown, self.here, self.show = studio, shown, here, show
        with ui.row().classes("w-full gap-8 items-start"):
            with ui.column().classes("gap-1").style("flex:1 1 320px"):
                self._build_form()
            with ui.column().classes("gap-1").style("flex:1 1 320px"):
                self._build_steering()

    def _build_form(self) -> None:
        ui.label("Start a search").classes("font-bold text-sm")
        self.objectives = ui.input("maximise", value="QED", placeholder="QED; -SAS").props(
            "dense maxlength=500 hint='names between semicolons, a minus to minimise'"
        )
        self.constraints = ui.input("constraints", placeholder="SAS<3.5; lacks:[N+](=O)[O-]").props(
            "dense maxlength=500"
        )
        with ui.row().classes("gap-3 no-wrap"):
            self.model = (
                ui.select(self.studio.models, value=DEFAULT, label="model")
                .props("dense")
                .style("min-width:90px")
            )
            self.budget = ui.number("budget", value=250, min=1, precision=0).props("dense")
            self.seed = ui.number("seed", value=0, min=0, precision=0).props("dense")
        self.leads = ui.textarea(
            "start from these molecules", placeholder="SMILES, one per line; empty for the data set"
        ).props("dense autogrow maxlength=1000000")
        self.name = ui.input("name of the run", value=self._suggest_name()).props(
            "dense maxlength=60"
        )
        with ui.row().classes("gap-2"):
            ui.button("start", icon="play_arrow", on_click=self._start).props("dense no-caps")
            ui.button("around the picked molecule", on_click=self._take_picked).props(
                "dense outline no-caps"
            ).tooltip("begin with it, and evaluate only molecules that are like it")
        for one in (self.objectives, self.constraints, self.leads, self.name):
            one.classes("w-full")

    def _build_steering(self) -> None:
        ui.label("Steer the run that is shown").classes("font-bold text-sm")
        with ui.row().classes("gap-2"):
            for text, icon, act in (
                ("pause", "pause", self._pause),
                ("resume", "play_arrow", self._resume),
            ):
                ui.button(text, icon=icon, on_click=act).props("dense outline no-caps")
            self.more = ui.number("to a budget of", min=1, precision=0).props("dense")
        ui.label("With the molecule that is picked:").classes("note")
        with ui.row().classes("gap-2"):
            for kind in ("pin", "ban", "like", "unlike"):
                ui.button(
                    SAID[kind], on_click=lambda _, kind=kind: self._steer_with_picked(kind)
                ).props("dense outline no-caps")
        with ui.row().classes("gap-2 items-end no-wrap w-full"):
            self.added = ui.input("from now on only", placeholder="SAS<3").props(
                "dense maxlength=500"
            )
            ui.button("add", on_click=self._add).props("dense outline no-caps")
        ui.label(
            "The next round heeds it; it is stored in the run, so that a resumed run repeats it."
        ).classes("note")
        self.said = ui.column().classes("gap-0")
        self.lines: list[tuple[str, str]] = []
        self.refresh()

    def offer_names(self) -> None:
        """Complete the names of objectives; loads what knows them, so not with the page."""
        from molvae.studio.foreign import list_names

        self.objectives.set_autocomplete(list_names())

    def _suggest_name(self) -> str:
        return time.strftime("search-%Y%m%d-%H%M%S")

    def refresh(self) -> None:
        """Show what was said, and why a search has ended."""
        lines = []
        for run in self.shown():
            if fault := self.studio.searches.find_fault(run):
                lines.append((f"{run.name}: {fault}", "text-sm text-red-9"))
            for wish in run.reader.wishes:
                when = "waits" if wish.iteration is None else f"since round {wish.iteration}"
                lines.append((f"{wish} ({when})", "text-xs"))
        if lines != self.lines:
            self.lines = lines
            self.said.clear()
            with self.said:
                for text, classes in lines:
                    ui.label(text).classes(classes).style("overflow-wrap:anywhere")

    async def _try(self, act: Callable[[], object]) -> object:
        """Call something of the user's, and show why it failed."""
        try:
            return await asyncio.to_thread(act)
        except (MolvaeError, OSError) as error:
            ui.notify(str(error), type="negative", multi_line=True)
            return None

    async def _start(self) -> None:
        from molvae.studio.searches import Wanted

        def part(text: str | None) -> list[str]:
            return [one.strip() for one in re.split(";", text or "") if one.strip()]

        wanted = Wanted(
            name=self.name.value or "",
            objectives=part(self.objectives.value),
            constraints=part(self.constraints.value),
            model=str(self.model.value),
            leads=self.leads.value or "",
            budget=int(self.budget.value or 0),
            seed=int(self.seed.value or 0),
        )
        path = await self._try(lambda: self.studio.searches.start(wanted))
        if path is not None:
            run = await self.studio.add_run(self.studio.folder / wanted.name)
            self.name.value = self._suggest_name()
            self.show(run)
            ui.notify(f"{run.name} has started: it appears when its first molecules are evaluated")

    def _take_picked(self) -> None:
        """Fill in the form for a search around the picked molecule."""
        found = self.here()
        if found is None:
            ui.notify("pick a molecule first")
            return
        self.leads.value = found.smiles
        others = [
            one.strip()
            for one in (self.constraints.value or "").split(";")
            if one.strip() and not one.strip().startswith("similarity(")
        ]
        self.constraints.value = "; ".join([*others, f"similarity({found.smiles})>{ALIKE}"])

    def _find_run(self) -> WatchedRun | None:
        runs = self.shown()
        if not runs:
            ui.notify("choose a run above")
        return runs[0] if runs else None

    async def _pause(self) -> None:
        if run := self._find_run():
            await self._try(lambda: self.studio.searches.pause(run))

    async def _resume(self) -> None:
        if run := self._find_run():
            budget = int(self.more.value) if self.more.value else None
            await self._try(lambda: self.studio.searches.resume(run, budget))

    async def _steer_with_picked(self, kind: str) -> None:
        found = self.here()
        if found is None:
            ui.notify("pick a molecule first")
            return
        await self._steer(kind, found.smiles)

    async def _add(self) -> None:
        if self.added.value and await self._steer("add", self.added.value):
            self.added.value = ""

    async def _steer(self, kind: str, text: str) -> bool:
        """Say something to the run that is shown; whether it was stored."""
        run = self._find_run()
        if run is None:
            return False

        def act() -> bool:
            run.steer(kind, text, self.studio.allow_programs)
            return True

        stored = await self._try(act)
        run.refresh()
        self.refresh()
        return bool(stored)
