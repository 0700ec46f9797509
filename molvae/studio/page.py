"""The page: a map, the molecule that is looked at, and below them the runs as table and curves."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import numpy as np
from nicegui import ui
from nicegui.events import EChartPointClickEventArguments, GenericEventArguments

from molvae.base.errors import MolvaeError
from molvae.chem.properties import REPORTED
from molvae.studio import charts
from molvae.studio.map import MoleculeMap
from molvae.studio.measure_panel import MeasurePanel
from molvae.studio.molecule_panel import MoleculePanel
from molvae.studio.parts import STYLE
from molvae.studio.rows_panel import RowsPanel
from molvae.studio.runs import Status
from molvae.studio.search_panel import SearchPanel

if TYPE_CHECKING:
    from molvae.studio.runs import State, WatchedRun
    from molvae.studio.space import Space
    from molvae.studio.studio import Studio

SECOND = 0.25  # seconds between two looks for new evaluations
# A search that runs beside the page should not feel it. The map takes new points at once, a panel
# costs the browser ten times as much: while evaluations keep coming, it waits until they pause.
GLANCE = 0.7  # seconds between two drawings of the map
PAUSE = 1.5  # and of the panels
SHARE = 0.05  # of the time that is spent on drawing them
NEVER: tuple[int | str, ...] = ()
MOST = 200  # incumbents that are marked
METHODS = ("PCA", "UMAP")  # of `molvae.model.atlas`, which would load torch
COLOURS = {
    "running": "green-8",
    "waiting": "purple-8",
    "finished": "blue-8",
    "stopped": "orange-9",
    "empty": "grey-7",
}


class Page:
    """One open page: it joins the map, the panels and the runs."""

    def __init__(self, studio: Studio) -> None:
        """Begin with no run: `build` shows the first one when the page is there."""
        self.studio = studio
        self.view = studio.add_view([])
        self.ready = self.loading = False
        self.drawn = self.mapped = self.seen = NEVER  # what of the runs is drawn, or known
        self.hidden = False  # behind another tab of the browser
        self.next = self.next_map = 0.0  # when the panels and the map may be drawn again
        self.since = 0.0  # when all was drawn
        self.span = (0.0, 1.0)  # of the colours
        self.measured = 0  # molecules that it was measured with
        self.described, self.unplaced = "", 0  # the map in words; molecules that are not on it

    @property
    def space(self) -> Space | None:
        """The model of what is shown."""
        return self.studio.find_space(self.view.runs, self.view.method)

    def find_loaded_space(self) -> Space | None:
        """Return the model of what is shown, None as long as its map is not there."""
        return self.space if self.ready else None

    async def build(self) -> None:
        """Lay out the page; its rows and then its map follow as soon as they can be made."""
        ui.add_css(STYLE)
        with ui.column().classes("w-full gap-2 p-1 widest mx-auto"):
            self._build_header()
            with ui.row().classes("w-full gap-2 items-stretch"):
                with (
                    ui.column()
                    .classes("panel gap-1 staying")
                    .style("flex:3 1 520px;min-width:min(100%,320px)")
                ):
                    self._build_map()
                with ui.column().classes("gap-2").style("flex:2 1 340px;min-width:min(100%,300px)"):
                    self.molecule = MoleculePanel(
                        self.map, lambda: self.view, self.find_loaded_space, self._select_alone
                    )
            with ui.column().classes("panel w-full gap-0"):
                self._build_tabs()
        ready = self.studio.begin_loading()
        await ui.context.client.connected()
        await ready
        self.molecule.watch()
        ui.on("hidden", self._hide)
        ui.run_javascript(
            "document.addEventListener('visibilitychange', "
            "() => emitEvent('hidden', { hidden: document.hidden }))"
        )
        ui.timer(SECOND, self._tick)
        await self._choose()

    def _build_header(self) -> None:
        with ui.row().classes("panel w-full items-center gap-3"):
            ui.label("molvae studio").classes("text-lg font-bold")
            options = {i: run.name for i, run in enumerate(self.studio.runs)}
            self.choice = (
                ui.select(
                    options,
                    multiple=True,
                    value=list(options)[:1],
                    label="runs",
                    on_change=self._choose,
                )
                .props("dense use-chips options-dense")
                .style("min-width:220px")
            )
            self.status = ui.row().classes("gap-2 items-center")
            self.texts: list[ui.label] = []
            self.states: list[tuple[str, State]] = []

    def _show_status(self) -> None:
        found = [self._find_status(run) for run in self.view.runs]
        states = [(run.name, one.state) for run, one in zip(self.view.runs, found, strict=True)]
        texts = [
            one.text if len(found) == 1 else f"{run.name}: {one.text}"
            for run, one in zip(self.view.runs, found, strict=True)
        ]
        if states and states == self.states:
            for label, text in zip(self.texts, texts, strict=True):
                label.text = text
            return
        self.states = states
        self.texts.clear()
        self.status.clear()
        with self.status:
            for text, one in zip(texts, found, strict=True):
                colour = COLOURS.get(one.state, "red-8")
                ui.chip(one.state, color=colour, text_color="white").props("dense square")
                label = ui.label(text).classes("text-sm")
                self.texts.append(label.style("overflow-wrap:anywhere"))
            if not self.view.runs:
                ui.label(
                    "no run is chosen"
                    if self.studio.runs
                    else "no run: start one below, or name run folders after molvae studio"
                )

    def _find_status(self, run: WatchedRun) -> Status:
        fault = self.studio.searches.find_fault(run)
        if fault:
            return Status("failed", fault)
        status = run.status
        if status.state in ("empty", "stopped", "finished") and self.studio.searches.is_running(
            run
        ):
            return Status("running", "it begins" if run.records else "it begins: no evaluation yet")
        return status

    def _build_map(self) -> None:
        with ui.row().classes("w-full items-center gap-3"):
            self.colour = (
                ui.select(
                    self._list_colours(), value=None, label="colour", on_change=self._recolour
                )
                .props("dense options-dense")
                .style("min-width:120px")
            )
            self.method = (
                ui.select(list(METHODS), value="PCA", label="map", on_change=self._flatten)
                .props("dense options-dense")
                .style("min-width:80px")
            )
            self.mode = ui.toggle(
                {"explore": "explore", "lasso": "lasso"},
                value="explore",
                on_change=lambda event: self.map.set_mode(event.value),
            ).props("dense no-caps")
            ui.button("fit", icon="fit_screen", on_click=lambda: self.map.fit()).props(
                "dense flat no-caps"
            ).tooltip("show all points")
            self.by_run = ui.switch("by run", on_change=self._restyle).props("dense")
            self.clear = ui.button("clear selection", on_click=lambda: self.rows.select([])).props(
                "dense flat no-caps"
            )
            ui.space()
            self.scale = ui.html("", sanitize=False).classes("text-xs")
        with ui.element("div").classes("w-full").style("height:54vh;min-height:300px"):
            self.map: MoleculeMap = MoleculeMap()
        self.map.on("pick", self._picked)
        self.map.on("marked", self._picked_mark)
        self.map.on("place", self._placed)
        self.map.on("lasso", self._lassoed)
        self.legend = ui.label("the map is being made: the model is loading").classes("note")
        ui.label(
            "Grey: training molecules. Dashed: 39 % and 86 % of the prior. Star: best so far. "
            "Hollow: being evaluated. Square: yours. Click a molecule, or an empty place to see "
            "what would be there; shift-click a second one for the way between."
        ).classes("note")

    def _build_tabs(self) -> None:
        with (
            ui.tabs()
            .props("dense no-caps align=left inline-label mobile-arrows")
            .classes("max-w-full") as tabs
        ):
            for name in ("molecules", "curve", "front", "compare", "search", "measure"):
                ui.tab(name)
        self.tabs = tabs
        with ui.tab_panels(tabs, value="molecules", animated=False).classes("w-full"):
            with ui.tab_panel("molecules"):
                self.rows = RowsPanel(
                    lambda: self.view,
                    self.find_loaded_space,
                    self.molecule.pick,
                    lambda rows: self.map.select(rows),
                    lambda: self.molecule.here,
                    self.studio.allow_programs,
                )
            with ui.tab_panel("curve"):
                self.curve = ui.column().classes("w-full")
            with ui.tab_panel("front"):
                self.front = ui.column().classes("w-full")
            with ui.tab_panel("compare"):
                self.compared = ui.column().classes("w-full")
            with ui.tab_panel("search"):
                self.search = SearchPanel(
                    self.studio, lambda: self.view.runs, lambda: self.molecule.here, self._show_run
                )
            with ui.tab_panel("measure"):
                self.measure = MeasurePanel(lambda: self.view.runs, self.find_loaded_space)
        tabs.on_value_change(lambda: self._show_charts())

    def _list_colours(self) -> dict[str, str]:
        names = [*self.view.aims, *(name for name in REPORTED if name not in self.view.aims)]
        return {name: name for name in names}

    def _show_run(self, run: WatchedRun) -> None:
        options = {i: one.name for i, one in enumerate(self.studio.runs)}
        self.choice.set_options(options, value=[self.studio.runs.index(run)])

    async def _choose(self) -> None:
        runs = [self.studio.runs[i] for i in self.choice.value]
        self.view = self.studio.add_view(runs)
        self.view.method = self.method.value
        self.view.take()
        self.ready, self.drawn, self.mapped = False, NEVER, NEVER
        self.map.show_nothing()
        self.scale.content = ""
        self.legend.text = "the map is being made"
        self.molecule.leave()
        self.colour.set_options(self._list_colours(), value=None)
        self._show_status()
        self.rows.reset()
        self._show_charts()
        self.measure.refresh()
        await self._load_map()

    async def _load_map(self) -> None:
        self.loading = True
        chosen = self._chosen
        try:
            await self._make_map()
        finally:
            if self._chosen == chosen:
                self.loading = False

    @property
    def _chosen(self) -> tuple[str, str]:
        """What the map is to show; a map that is ready after another choice is not shown."""
        return self.view.id, self.view.method

    async def _make_map(self) -> None:
        chosen = self._chosen
        space = await asyncio.to_thread(lambda: self.space)  # the first one loads torch
        atlas, text = None, "no map yet: the run has not begun, or does not name its model"
        if space is not None:
            try:
                atlas = await asyncio.to_thread(lambda: space.atlas)
                text = await asyncio.to_thread(atlas.describe)
            except MolvaeError as error:
                text = f"no map: {error}"
        if self._chosen != chosen:
            return
        self.described, self.unplaced = text, 0
        self._show_legend()
        if space is None or atlas is None:
            return
        self.map.show_ground(atlas)
        self.ready = True
        await self._reload()
        await self.molecule.begin(space.predicted)

    async def _reload(self) -> None:
        self.view.colour = self.colour.value or ""
        await asyncio.to_thread(self._measure_span)
        self._show_legend()
        self.map.load(f"/points?view={self.view.id}", self.view.id, self.span)
        self._mark()

    def _measure_span(self) -> None:
        space = self.space
        if space is None:
            return
        points = self.view.points(space, self.view.owners)
        self.unplaced = int(np.isnan(points[:, 0]).sum())
        known = points[np.isfinite(points[:, 2]), 2]
        low, high = np.percentile(known, [2, 98]) if len(known) else (0.0, 1.0)
        self.span = float(low), float(high)
        self.measured = len(self.view.owners)

    def _mark(self) -> None:
        space = self.find_loaded_space()
        if space is None:
            return
        rows = self.view.best()[:MOST]
        places = self.view.points(space, self.view.owners[rows])[:, :2]
        hollow = []
        for run in self.view.runs:
            names = list(run.asked)[:100]
            at = space.atlas.place(space.find_places(names)).tolist() if names else []
            hollow += [[x, y, name] for (x, y), name in zip(at, names, strict=True) if x == x]
        self.map.set_marks(best=[p for p in places.tolist() if p[0] == p[0]], hollow=hollow)
        self._show_scale()

    def _show_legend(self) -> None:
        """Say what the map is, and how many molecules are not on it."""
        why = "this model cannot encode them, or their run has another one"
        left = f"{self.unplaced:,} molecules are not on it: {why}."
        self.legend.text = f"{self.described}. {left}" if self.unplaced else self.described

    def _show_scale(self) -> None:
        """Show what the colours of the map mean."""
        if self.by_run.value:
            self.scale.content = charts.draw_key([run.name for run in self.view.runs])
            return
        low, high = self.span
        label = self.colour.value or next(iter(self.view.aims), "")
        self.scale.content = charts.draw_scale(label, low, high) if len(self.view.y) else ""

    async def _recolour(self) -> None:
        if self.ready:
            await self._reload()

    async def _flatten(self) -> None:
        self.view.method, self.ready = self.method.value, False
        self.legend.text = "the map is being made; a model's first UMAP takes half a minute"
        self.map.show_nothing()
        self.molecule.leave()
        await self._load_map()

    def _restyle(self) -> None:
        self.map.show_by(-1, self.by_run.value)
        self._show_scale()

    def _hide(self, event: GenericEventArguments) -> None:
        self.hidden = bool(event.args.get("hidden"))

    async def _tick(self) -> None:
        faults = [self.studio.searches.find_fault(run) for run in self.view.runs]
        changes: tuple[int | str, ...] = (sum(run.changes for run in self.view.runs), *faults)
        if changes == self.drawn or self.hidden:
            self.since = time.monotonic()
            return
        if changes != self.mapped and time.monotonic() >= self.next_map:
            self.mapped, self.next_map = changes, time.monotonic() + GLANCE
            if not self.ready and not self.loading and any(run.model for run in self.view.runs):
                await self._load_map()
            await self._append()
        coming, self.seen = changes != self.seen, changes
        began = time.monotonic()
        if began < self.next or (coming and began < self.since + PAUSE):
            return
        self.drawn = changes
        self._show_panels()
        self.next = began + max(PAUSE, (time.monotonic() - began) / SHARE)

    async def _append(self) -> None:
        """Put new evaluations on the map."""
        view, space = self.view, self.find_loaded_space()
        new = view.take()
        if len(new) and space is not None:
            points = await asyncio.to_thread(view.points, space, new)
            again = len(view.owners) > 1.2 * self.measured
            if again:
                await asyncio.to_thread(self._measure_span)
            if self.view is not view:  # another run was chosen meanwhile
                return
            if not again:  # which counts all
                self.unplaced += int(np.isnan(points[:, 0]).sum())
            self._show_legend()
            self.map.append(points, self.span)
        self._mark()

    def _show_panels(self) -> None:
        self._show_status()
        self.search.refresh()
        self.measure.refresh()
        if not self.colour.options or set(self.view.aims) - set(self.colour.options):
            self.colour.set_options(self._list_colours())
            self.rows.offer_columns()
        self.rows.show(True)
        self._show_charts()

    def _show_charts(self) -> None:
        shown = self.tabs.value
        if shown == "curve":
            charts.show(self.curve, charts.draw_curves(self.view.runs))
        elif shown == "front":
            charts.show(self.front, charts.draw_front(self.view.runs), self._pick_on_front)
        elif shown == "search":
            self.search.offer_names()
        elif shown == "compare":
            self.compared.clear()
            with self.compared:
                charts.build_comparison(self.view.runs)

    def _lassoed(self, event: GenericEventArguments) -> None:
        n = len(self.view.owners)
        rows = [i for i in event.args if isinstance(i, int) and 0 <= i < n]
        self._select_alone(rows)

    def _select_alone(self, rows: list[int]) -> None:
        """Select these rows, and list them alone."""
        self.rows.select(rows, False)
        self.rows.show_selected_only(bool(rows))
        self.rows.show()

    async def _picked(self, event: GenericEventArguments) -> None:
        index = event.args.get("index")
        if isinstance(index, int) and 0 <= index < len(self.view.owners):
            await self.molecule.pick(index, bool(event.args.get("second")))

    async def _picked_mark(self, event: GenericEventArguments) -> None:
        smiles = event.args.get("smiles")
        if isinstance(smiles, str):
            await self.molecule.look_up(smiles, bool(event.args.get("second")))

    async def _pick_on_front(self, event: EChartPointClickEventArguments) -> None:
        row = self.view.find_row(event.name)
        if row is not None:
            await self.molecule.pick(row)

    async def _placed(self, event: GenericEventArguments) -> None:
        x, y = event.args.get("x"), event.args.get("y")
        if isinstance(x, int | float) and isinstance(y, int | float):
            await self.molecule.look_at_place(x, y, bool(event.args.get("second")))
