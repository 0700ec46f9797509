"""The page: a map, the molecule that is looked at, and below them the runs as table and curves."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from nicegui import ui
from nicegui.events import GenericEventArguments

from molvae.base.errors import MolvaeError
from molvae.chem.properties import REPORTED
from molvae.reports.values import show_value
from molvae.studio import charts
from molvae.studio.facts import Described, measure
from molvae.studio.map import MoleculeMap
from molvae.studio.search_panel import SearchPanel
from molvae.studio.server import picture_address
from molvae.studio.view import read_filter

if TYPE_CHECKING:
    from molvae.oracles.constraints import Constraint
    from molvae.studio.runs import WatchedRun
    from molvae.studio.server import Studio
    from molvae.studio.space import RoundTrip, Space

ROWS = 12  # of a page of the table, or pictures of a page of the grid
SECOND = 0.25  # seconds between two updates of the page
SLOW = 1.0  # and of its curves and table
MOST = 200  # molecules of a pasted list
COLOURS = {"running": "green-8", "finished": "blue-8", "stopped": "orange-9", "empty": "grey-7"}
STYLE = """
body { background: #f4f5f7; color: #1d2733; }
.panel { background: #fff; border: 1px solid #dfe3e8; border-radius: 8px; padding: 10px 12px; }
.smiles { font-family: monospace; font-size: 12px; overflow-wrap: anywhere; }
.facts { display: grid; grid-template-columns: auto 1fr; gap: 1px 12px; font-size: 13px; }
.strip { display: flex; gap: 6px; overflow-x: auto; padding-bottom: 4px; max-width: 100%; }
.cell { border: 1px solid #dfe3e8; border-radius: 6px; background: #fff; cursor: pointer; }
.cell:hover, .cell.on { border-color: #d35400; }
.note { font-size: 12px; color: #5a6675; }
.q-tab-panels, .q-tab-panel { padding: 6px 0; background: transparent; }
"""


class Page:
    """One open page: what it shows, and what its user has picked."""

    def __init__(self, studio: Studio) -> None:
        """Begin with all runs of the first model."""
        self.studio = studio
        first = studio.runs[:1]
        self.view = studio.add_view(first)
        self.here: Described | None = None
        self.waits = False  # whether the next pick is the end of a way
        self.keep: list[Constraint] = []
        self.rows: list[int] = []
        self.strip: list[dict[str, Any]] = []
        self.ready = self.loading = False
        self.drawn = -1  # changes of the runs that are drawn
        self.since = 0.0
        self.span = (0.0, 1.0)

    @property
    def space(self) -> Space | None:
        """The model of what is shown."""
        return self.studio.find_space(self.view.runs)

    async def build(self) -> None:
        """Lay out the page; the map follows when the model is loaded."""
        ui.add_css(STYLE)
        with ui.column().classes("w-full gap-2 p-1 max-w-[1700px] mx-auto"):
            self._build_header()
            with ui.row().classes("w-full gap-2 items-stretch"):
                with (
                    ui.column()
                    .classes("panel gap-1")
                    .style("flex:3 1 520px;min-width:min(100%,320px)")
                ):
                    self._build_map()
                with ui.column().classes("gap-2").style("flex:2 1 340px;min-width:min(100%,300px)"):
                    self._build_molecule()
                    self._build_own()
            with ui.column().classes("panel w-full gap-0"):
                self._build_tabs()
        self.view.take()
        self._show_rows()
        ui.timer(SECOND, self._tick)
        await ui.context.client.connected()
        await self._load_map()

    # parts of the page

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
                .classes("min-w-[220px]")
            )
            self.status = ui.row().classes("gap-2 items-center")
            self._show_status()

    def _show_status(self) -> None:
        self.status.clear()
        with self.status:
            for run in self.view.runs:
                found = run.status
                colour = COLOURS.get(found.state, "red-8")
                ui.chip(found.state, color=colour, text_color="white").props("dense square")
                ui.label(found.text).classes("text-sm").style("overflow-wrap:anywhere")
            if not self.view.runs:
                ui.label("no run: start one below, or name run folders after molvae studio")

    def _build_map(self) -> None:
        with ui.row().classes("w-full items-center gap-3"):
            self.colour = (
                ui.select(
                    self._list_colours(), value=None, label="colour", on_change=self._recolour
                )
                .props("dense options-dense")
                .classes("min-w-[120px]")
            )
            self.mode = ui.toggle(
                {"explore": "explore", "lasso": "lasso"},
                value="explore",
                on_change=lambda event: self.map.set_mode(event.value),
            ).props("dense no-caps")
            self.by_run = ui.switch("by run", on_change=self._restyle).props("dense")
            self.clear = ui.button("clear selection", on_click=lambda: self._select([])).props(
                "dense flat no-caps"
            )
            ui.space()
            self.scale = ui.html("", sanitize=False).classes("text-xs")
        with ui.element("div").classes("w-full").style("height:54vh;min-height:300px"):
            self.map: MoleculeMap = MoleculeMap()
        self.map.on("pick", self._picked)
        self.map.on("place", self._placed)
        self.map.on("lasso", self._lassoed)
        self.map.on("nogl", lambda: ui.notify("this browser has no WebGL: there is no map"))
        self.legend = ui.label("the map is being made: the model is loading").classes("note")
        ui.label(
            "Grey: training molecules. Dashed: 1 and 2 sd of the prior. Star: best so far. Hollow: "
            "being evaluated. Click a molecule, or an empty place to see what would be there; "
            "shift-click a second one for the way between."
        ).classes("note")

    def _build_molecule(self) -> None:
        with ui.column().classes("panel w-full gap-1"):
            with ui.row().classes("w-full no-wrap gap-3"):
                self.picture = ui.element("img").style("width:190px;height:190px;flex:none")
                self.picture.props["src"] = picture_address("")
                self.picture.props["alt"] = "structure"
                self.picture.set_visibility(False)
                with ui.column().classes("gap-1").style("min-width:0"):
                    self.origin = ui.label("Nothing is picked").classes("font-bold text-sm")
                    self.smiles = ui.label("").classes("smiles")
                    self.facts = ui.element("div").classes("facts")
            with ui.row().classes("gap-2 items-center"):
                self.to = ui.button("way to the next pick", on_click=self._await_second).props(
                    "dense outline no-caps"
                )
                self.along = (
                    ui.select({}, label="way up")
                    .props("dense options-dense")
                    .classes("min-w-[110px]")
                )
                ui.button("walk", on_click=self._walk).props("dense outline no-caps")
                ui.button("select alike", on_click=self._select_alike).props("dense flat no-caps")
            self.way = ui.column().classes("w-full gap-0")

    def _build_own(self) -> None:
        with ui.column().classes("panel w-full gap-1"):
            ui.label("Your molecules").classes("font-bold text-sm")
            with ui.row().classes("w-full no-wrap items-end gap-2"):
                self.own = (
                    ui.textarea(placeholder="SMILES, one per line")
                    .props("dense autogrow maxlength=20000")
                    .classes("grow")
                )
                ui.button("put on the map", on_click=self._bring).props("dense no-caps")
            self.brought = ui.column().classes("w-full gap-1")

    def _build_tabs(self) -> None:
        with ui.tabs().props("dense no-caps align=left inline-label") as tabs:
            for name in ("molecules", "curve", "front", "compare", "search"):
                ui.tab(name)
        self.tabs = tabs
        with ui.tab_panels(tabs, value="molecules", animated=False).classes("w-full"):
            with ui.tab_panel("molecules"):
                self._build_rows()
            with ui.tab_panel("curve"):
                self.curve = ui.echart(charts.EMPTY).classes("w-full").style("height:340px")
            with ui.tab_panel("front"):
                self.front = ui.echart(charts.EMPTY).classes("w-full").style("height:340px")
            with ui.tab_panel("compare"):
                self.compared = ui.column().classes("w-full")
            with ui.tab_panel("search"):
                self.search = SearchPanel(
                    self.studio, lambda: self.view.runs, lambda: self.here, self._show_run
                )
        tabs.on_value_change(lambda: self._show_charts())

    def _build_rows(self) -> None:
        with ui.row().classes("w-full items-center gap-3"):
            self.form = ui.toggle(
                ["table", "grid"], value="table", on_change=lambda: self._show_rows()
            ).props("dense no-caps")
            self.sort = (
                ui.select(
                    self._list_sorts(),
                    value=None,
                    label="order",
                    on_change=lambda: self._show_rows(),
                )
                .props("dense options-dense")
                .classes("min-w-[130px]")
            )
            self.down = ui.switch("reverse", on_change=lambda: self._show_rows()).props("dense")
            self.filter = (
                ui.input("filter", placeholder="SAS<3; has:c1ccncc1")
                .props("dense clearable maxlength=500")
                .classes("min-w-[230px]")
                .on("keydown.enter", self._filter)
                .on("clear", self._filter)
            )
            self.selected_only = ui.switch(
                "selected only", on_change=lambda: self._show_rows()
            ).props("dense")
            self.count = ui.label("").classes("note")
            ui.space()
            for label, write in (
                ("CSV", self._keep_csv),
                ("SDF", self._keep_sdf),
                ("report", self._keep_page),
            ):
                ui.button(label, icon="download", on_click=write).props("dense flat no-caps")
        self.selected: list[int] = []
        self.list = ui.element("div").classes("w-full")
        self.pager = ui.pagination(
            1, 1, direction_links=True, on_change=lambda: self._show_rows(True)
        ).props("max-pages=7")

    # what is shown

    def _list_colours(self) -> dict[str, str]:
        names = [*self.view.aims, *(name for name in REPORTED if name not in self.view.aims)]
        return {name: name for name in names}

    def _list_sorts(self) -> dict[str, str]:
        names = [
            *self.view.aims,
            *(name for name in REPORTED if name not in self.view.aims),
            "number",
        ]
        return {name: name for name in names}

    def _show_run(self, run: WatchedRun) -> None:
        options = {i: one.name for i, one in enumerate(self.studio.runs)}
        self.choice.set_options(options, value=[self.studio.runs.index(run)])

    async def _choose(self) -> None:
        runs = [self.studio.runs[i] for i in self.choice.value]
        self.view = self.studio.add_view(runs)
        self.view.take()
        self.selected, self.keep, self.ready, self.drawn = [], [], False, -1
        for select, names in ((self.colour, self._list_colours()), (self.sort, self._list_sorts())):
            select.set_options(names, value=None)
        self._show_status()
        self._show_rows()
        self._show_charts()
        await self._load_map()

    async def _load_map(self) -> None:
        self.loading = True
        try:
            await self._make_map()
        finally:
            self.loading = False

    async def _make_map(self) -> None:
        space = await asyncio.to_thread(lambda: self.space)  # the first one loads torch
        if space is None:
            self.legend.text = "no map yet: the run does not name its model"
            return
        try:
            atlas = await asyncio.to_thread(lambda: space.atlas)
            prior = await asyncio.to_thread(lambda: space.model.sample_latents(2_000).numpy())
        except MolvaeError as error:
            self.legend.text = f"no map: {error}"
            return
        self.map.show_ground(atlas, prior)
        self.legend.text = await asyncio.to_thread(atlas.describe)
        self.along.set_options([f"{sign}{name}" for name in space.predicted for sign in ("", "-")])
        if space.predicted:
            self.along.value = space.predicted[0]
        self.ready = True
        await self._reload()

    async def _reload(self) -> None:
        self.view.colour = self.colour.value or ""
        await asyncio.to_thread(self._measure_span)
        self.map.load(f"/points?view={self.view.id}", self.view.id, self.span)
        self._mark()

    def _measure_span(self) -> None:
        space = self.space
        if space is None:
            return
        colours = self.view.points(space, self.view.owners)[:, 2]
        known = colours[np.isfinite(colours)]
        low, high = np.percentile(known, [2, 98]) if len(known) else (0.0, 1.0)
        self.span = float(low), float(high)

    def _mark(self) -> None:
        space = self.space if self.ready else None
        if space is None:
            return
        rows = self.view.best()[:200]
        places = self.view.points(space, self.view.owners[rows])[:, :2]
        hollow = []
        for run in self.view.runs:
            for name in run.asked[:100]:
                if (z := space.describe_place(name)) is not None:
                    hollow.append(space.atlas.place(z[None])[0].tolist())
        self.map.set_marks(best=[p for p in places.tolist() if p[0] == p[0]], hollow=hollow)
        low, high = self.span
        label = self.colour.value or next(iter(self.view.aims), "")
        self.scale.content = charts.draw_scale(label, low, high)

    async def _recolour(self) -> None:
        if self.ready:
            await self._reload()

    def _restyle(self) -> None:
        self.map.show_by(-1, self.by_run.value)

    async def _tick(self) -> None:
        changes = sum(run.changes for run in self.view.runs)
        if changes == self.drawn:
            return
        self.drawn = changes
        new = self.view.take()
        self._show_status()
        self.search.refresh()
        if not self.ready and not self.loading and any(run.model for run in self.view.runs):
            await self._load_map()
        space = self.space if self.ready else None
        if len(new) and space is not None:
            self.map.append(self.view.points(space, new), self.span)
        if len(new):
            if not self.colour.options or set(self.view.aims) - set(self.colour.options):
                self.colour.set_options(self._list_colours())
                self.sort.set_options(self._list_sorts())
            self._show_rows()
            self._show_charts()
        self._mark()

    def _show_rows(self, turned: bool = False) -> None:
        self.view.chosen = np.array(self.selected, np.intp) if self.selected_only.value else None
        column, down = self.sort.value or "", self.down.value
        aims = self.view.runs[0].objectives if self.view.runs else ()
        best_down = next((a.maximise for a in aims if a.name == (column or aims[0].name)), False)
        self.rows = self.view.order(
            column, best_down != down if (column or down) else None, self.keep
        ).tolist()
        if down and not column:
            self.rows.reverse()
        n = len(self.rows)
        self.pager.props["max"] = max(1, math.ceil(n / ROWS))
        self.pager.update()
        if not turned and self.pager.value != 1:
            self.pager.value = 1
        page = self.rows[(self.pager.value - 1) * ROWS :][:ROWS]
        chosen = f", {len(self.selected):,} selected" if self.selected else ""
        self.count.text = f"{n:,} of {len(self.view.owners):,} molecules{chosen}"
        self.list.clear()
        with self.list:
            (self._build_grid if self.form.value == "grid" else self._build_table)(page)

    def _describe_row(self, row: int) -> dict[str, Any]:
        run, number = self.view.owners[row]
        record = self.view.runs[run].records[number]
        values = self.view.y[row]
        found: dict[str, Any] = {
            "row": row,
            "smiles": record.smiles,
            "picture": picture_address(record.smiles),
        }
        found |= {f"y{i}": show_value(float(v)) for i, v in enumerate(values)}
        found |= {name: show_value(float(v)) for name, v in measure(record.smiles).items()}
        return found | {
            "number": int(number),
            "round": record.iteration,
            "run": self.view.runs[run].name,
            "error": (record.error or "")[:200],
        }

    def _build_table(self, page: list[int]) -> None:
        rows = [self._describe_row(row) for row in page]
        aims = self.view.runs[0].objectives if self.view.runs else ()
        columns = [("picture", ""), *((f"y{i}", one.title) for i, one in enumerate(aims))]
        columns += [(name, name) for name in REPORTED if name not in self.view.aims]
        columns += [("smiles", "SMILES"), ("number", "evaluation"), ("round", "round")]
        columns += [("run", "run")] if len(self.view.runs) > 1 else []
        columns += [("error", "failure")] if any(row["error"] for row in rows) else []
        table = (
            ui.table(
                columns=[
                    {"name": n, "label": label, "field": n, "align": "left"} for n, label in columns
                ],
                rows=rows,
                row_key="row",
                selection="multiple",
            )
            .props("dense flat hide-pagination :rows-per-page-options=[0]")
            .classes("w-full")
        )
        table.add_slot(
            "body-cell-picture",
            '<q-td :props="props"><img :src="props.value" width="150" height="104" loading="lazy" '
            ':alt="props.row.smiles" style="width:150px;height:104px;object-fit:contain"></q-td>',
        )
        table.add_slot(
            "body-cell-smiles",
            '<q-td :props="props" class="smiles" style="max-width:300px;white-space:normal">'
            "{{ props.value }}</q-td>",
        )
        shown = set(page)
        table.selected = [row for row in rows if row["row"] in set(self.selected)]
        table.on("rowClick", lambda event: self._pick(int(event.args[1]["row"])), [[], ["row"], []])
        table.on_select(
            lambda event: self._select(
                sorted((set(self.selected) - shown) | {row["row"] for row in event.selection}),
                False,
            )
        )

    def _build_grid(self, page: list[int]) -> None:
        chosen = set(self.selected)
        with ui.row().classes("w-full gap-2"):
            for row in page:
                found = self._describe_row(row)
                with (
                    ui.column()
                    .classes("cell gap-0 p-1" + (" on" if row in chosen else ""))
                    .style("width:172px") as cell
                ):
                    picture = ui.element("img").style("width:162px;height:150px;object-fit:contain")
                    picture.props["src"], picture.props["alt"] = found["picture"], found["smiles"]
                    picture.props["loading"] = "lazy"
                    text = [f"{one} {found[f'y{i}']}" for i, one in enumerate(self.view.aims)]
                    ui.label("  ".join(text)).classes("text-xs font-bold")
                    others = [
                        f"{n} {found[n]}"
                        for n in ("SAS", "QED")
                        if n in found and n not in self.view.aims
                    ]
                    ui.label("  ".join(others)).classes("text-xs")
                cell.on("click", lambda _, row=row: self._pick(row))

    def _show_charts(self) -> None:
        shown = self.tabs.value
        if shown == "curve":
            charts.update(self.curve, charts.draw_curves(self.view.runs))
        elif shown == "front":
            charts.update(self.front, charts.draw_front(self.view.runs))
        elif shown == "compare":
            self.compared.clear()
            with self.compared:
                charts.build_comparison(self.view.runs)

    # what the user does

    async def _filter(self) -> None:
        text = self.filter.value or ""
        try:
            self.keep = await asyncio.to_thread(
                read_filter, text, self.space, self.studio.allow_programs
            )
            await asyncio.to_thread(self.view.order, "", None, self.keep)  # fills the caches
        except MolvaeError as error:
            ui.notify(str(error), type="negative", multi_line=True)
            return
        self._show_rows()

    def _select(self, rows: list[int], redraw: bool = True) -> None:
        self.selected = rows
        self.map.select(rows)
        self.count.text = (
            f"{len(self.rows):,} of {len(self.view.owners):,} molecules, {len(rows):,} selected"
        )
        if not rows:
            self.selected_only.value = False
        if redraw:
            self._show_rows()

    def _lassoed(self, event: GenericEventArguments) -> None:
        n = len(self.view.owners)
        rows = [i for i in event.args if isinstance(i, int) and 0 <= i < n]
        self._select(rows, False)
        self.selected_only.value = bool(rows)
        self._show_rows()

    def _select_alike(self) -> None:
        if self.here is not None:
            self._select(self.view.find_alike(self.here.smiles))
            self.selected_only.value = True

    async def _picked(self, event: GenericEventArguments) -> None:
        index = event.args.get("index")
        if isinstance(index, int) and 0 <= index < len(self.view.owners):
            await self._pick(index, bool(event.args.get("second")))

    async def _pick(self, row: int, second: bool = False) -> None:
        space = self.space if self.ready else None
        if space is None:
            return
        smiles = self.view.smiles(row)
        found = await asyncio.to_thread(space.describe, smiles)
        run, number = self.view.owners[row]
        aims = self.view.runs[run].objectives
        values = [
            (one.title, show_value(float(v)))
            for one, v in zip(aims, self.view.y[row], strict=False)
        ]
        names = {one.name for one in aims}
        rows = [*values, *(pair for pair in found.rows if pair[0] not in names)]
        found = Described(found.smiles, rows, found.z)
        await self._look_at(found, f"Evaluation {number} of {self.view.runs[run].name}", second)

    async def _placed(self, event: GenericEventArguments) -> None:
        space = self.space
        x, y = event.args.get("x"), event.args.get("y")
        if space is None or not self.ready or not all(isinstance(v, int | float) for v in (x, y)):
            return
        place = np.array([[x, y]], np.float64)
        if not np.isfinite(place).all() or np.abs(place).max() > 1e3:
            return
        (found,) = await asyncio.to_thread(space.decode, place)
        await self._look_at(
            found, "What would be here (approximately)", bool(event.args.get("second")), place[0]
        )

    async def _look_at(
        self, found: Described, origin: str, second: bool = False, place: Any = None
    ) -> None:
        before, waited, self.waits = self.here, self.waits, False
        self.to.props(remove="color=orange")
        if (second or waited) and before is not None:
            await self._show_way(before.smiles, found.smiles, None)
            return
        self.here = found
        self._show_molecule(found, origin)
        space = self.space
        if place is None and found.z is not None and space is not None:
            place = space.atlas.place(found.z[None])[0]
        if place is not None:
            self.map.set_marks(here=[list(map(float, place))], path=[])
        self.way.clear()

    def _show_molecule(self, found: Described, origin: str) -> None:
        self.origin.text, self.smiles.text = origin, found.smiles
        self.picture.props["src"] = picture_address(found.smiles)
        self.picture.update()
        self.picture.set_visibility(True)
        self.facts.clear()
        with self.facts:
            for name, value in found.rows:
                ui.label(name)
                ui.label(value).classes("font-medium").style("overflow-wrap:anywhere")

    def _await_second(self) -> None:
        if self.here is None:
            ui.notify("pick a molecule or a place first")
            return
        self.waits = True
        self.to.props("color=orange")

    async def _walk(self) -> None:
        if self.here is None or not self.along.value:
            ui.notify("pick a molecule or a place first")
            return
        await self._show_way(self.here.smiles, None, self.along.value)

    async def _show_way(self, start: str, end: str | None, along: str | None) -> None:
        space = self.space
        if space is None:
            return
        try:
            table = await asyncio.to_thread(space.walk, start, end, along)
        except MolvaeError as error:
            ui.notify(str(error), type="negative", multi_line=True)
            return
        self.strip = [{str(k): v for k, v in row.items()} for row in table.to_dict("records")]
        known = table.dropna(subset=["x", "y"])
        self.map.set_marks(path=known[["x", "y"]].to_numpy().tolist(), here=[])
        shown = [
            str(name)
            for name in table
            if name not in ("smiles", "valid", "x", "y", "t", "distance")
        ]
        self.way.clear()
        with self.way:
            title = f"The way up {along}" if along else "The way between the two picks"
            ui.label(f"{title}: {table['smiles'].nunique()} different molecules").classes(
                "text-sm font-bold"
            )
            with ui.element("div").classes("strip"):
                for i, row in enumerate(self.strip):
                    with (
                        ui.column().classes("cell gap-0 p-1").style("flex:none;width:128px") as cell
                    ):
                        picture = ui.element("img").style(
                            "width:118px;height:100px;object-fit:contain"
                        )
                        picture.props["src"], picture.props["alt"] = (
                            picture_address(row["smiles"]),
                            row["smiles"],
                        )
                        name = along.lstrip("-") if along else "SAS"
                        label = f"{name} {show_value(row.get(name, math.nan))}"
                        ui.label(label).classes("text-xs")
                    cell.on("click", lambda _, i=i: slider.set_value(i))
            slider: ui.slider = ui.slider(min=0, max=len(self.strip) - 1, step=1, value=0).props(
                "markers snap dense"
            )

            async def slide() -> None:
                row = self.strip[int(slider.value)]
                rows = [(n, show_value(row[n])) for n in shown]
                self.here = Described(row["smiles"], rows)
                self._show_molecule(self.here, f"Step {int(slider.value)} of the way")
                if row["x"] == row["x"]:
                    self.map.set_marks(here=[[row["x"], row["y"]]])

            slider.on_value_change(slide)
        await slide()

    async def _bring(self) -> None:
        space = self.space
        if space is None or not self.ready:
            ui.notify("the model is still loading")
            return
        names = [line.split()[0] for line in (self.own.value or "").splitlines() if line.strip()][
            :MOST
        ]
        evaluated = [self.view.smiles(int(r)) for r in self.view.order()[:2_000]]
        places = []
        self.brought.clear()
        for i, name in enumerate(names):
            try:
                if i == 0:
                    trip = await asyncio.to_thread(space.bring, name, evaluated)
                    found = trip.given
                else:
                    trip, found = None, await asyncio.to_thread(space.describe, name)
            except MolvaeError as error:
                with self.brought:
                    ui.label(str(error)).classes("text-sm text-red-9")
                continue
            if found.z is None:
                with self.brought:
                    ui.label(f"{name[:80]}: {found.rows[-1][1]}").classes("text-sm text-red-9")
                continue
            places.append(space.atlas.place(found.z[None])[0].tolist())
            if trip is not None:
                with self.brought:
                    self._build_trip(trip)
                await self._look_at(found, "Your molecule")
        self.map.set_marks(here=places)

    def _build_trip(self, trip: RoundTrip) -> None:
        same = trip.back == trip.given.smiles
        text = (
            "comes back unchanged" if same else "comes back changed: what was lost is highlighted"
        )
        ui.label(f"Encoded and decoded, it {text}").classes("text-sm")
        with ui.row().classes("gap-2"):
            for address, alt in (
                (picture_address(trip.given.smiles, trip.lost), trip.given.smiles),
                (picture_address(trip.back), trip.back),
            ):
                picture = (
                    ui.element("img")
                    .classes("cell")
                    .style("width:150px;height:130px;object-fit:contain")
                )
                picture.props["src"], picture.props["alt"] = address, alt
        ui.label("Neighbours").classes("text-sm font-bold")
        with ui.element("div").classes("strip"):
            for how, smiles in trip.near:
                with ui.column().classes("cell gap-0 p-1").style("flex:none;width:128px") as cell:
                    picture = ui.element("img").style("width:118px;height:100px;object-fit:contain")
                    picture.props["src"], picture.props["alt"] = picture_address(smiles), smiles
                    ui.label(how).classes("text-xs")
                cell.on("click", lambda _, s=smiles: self._look_up(s))

    async def _look_up(self, smiles: str) -> None:
        space = self.space
        if space is not None:
            found = await asyncio.to_thread(space.describe, smiles)
            await self._look_at(found, "Neighbour")

    # what is kept

    def _wanted(self) -> list[int]:
        return self.selected or self.rows

    async def _keep(self, write: Callable[..., str], name: str, kind: str) -> None:
        rows, view = self._wanted(), self.view
        if not rows:
            ui.notify("there is nothing to keep")
            return
        text = await asyncio.to_thread(write, view, rows)
        ui.download.content(text, name, kind)

    async def _keep_csv(self) -> None:
        from molvae.studio.keep import write_csv

        await self._keep(write_csv, "molecules.csv", "text/csv")

    async def _keep_sdf(self) -> None:
        from molvae.studio.keep import write_sdf

        await self._keep(write_sdf, "molecules.sdf", "chemical/x-mdl-sdfile")

    async def _keep_page(self) -> None:
        from molvae.studio.keep import write_page

        await self._keep(write_page, "report.html", "text/html")
