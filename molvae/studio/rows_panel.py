"""The panel of all molecules: table and grid, order and filter, selection, and what is kept."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from nicegui import ui
from nicegui.events import GenericEventArguments

from molvae.base.errors import MolvaeError
from molvae.chem.alerts import find_alerts
from molvae.chem.fingerprints import tanimoto_similarities
from molvae.chem.molecules import parse
from molvae.chem.neighbors import find_clusters
from molvae.chem.properties import REPORTED
from molvae.reports.values import show_value
from molvae.studio.facts import Described, measure, picture_address
from molvae.studio.rows import MoleculeRows
from molvae.studio.view import LOOKED_AT, View, read_filter

if TYPE_CHECKING:
    from molvae.oracles.constraints import Constraint
    from molvae.studio.space import Space

SIMILAR = "similarity to the picked molecule"
PLAUSIBILITY = "plausibility"
CLUSTERED = 2_000  # molecules, the best ones, that are put into clusters
ROWS = 12  # of a page of the table, or pictures of a page of the grid


class RowsPanel:
    """The molecules of the shown runs as rows."""

    def __init__(
        self,
        view: Callable[[], View],
        space: Callable[[], Space | None],
        pick: Callable[[int], Awaitable[None]],
        mark: Callable[[list[int]], None],
        here: Callable[[], Described | None],
        allow_programs: bool,
    ) -> None:
        """Lay out the panel.

        Args:
            view: gives what the page shows.
            space: gives its model, None as long as it is not loaded.
            pick: looks at the molecule of a row.
            mark: makes rows stand out on the map.
            here: gives the molecule that is looked at.
            allow_programs: whether a filter may name programs.
        """
        self.find_view, self.find_space, self._pick, self._mark = view, space, pick, mark
        self.find_here = here
        self.allow_programs = allow_programs
        self.selected: list[int] = []
        self.keep: list[Constraint] = []
        self.rows: list[int] = []
        self.sizes: dict[int, int] = {}  # of the clusters, by the row of the best of each
        self.quiet = False  # while several controls change at once
        self.subject: tuple[str, ...] = ()  # what the order is by
        self.known: dict[str, float] = {}  # its values, by molecule
        self._build_rows()

    def reset(self) -> None:
        """Forget what was selected and filtered, as other runs are shown."""
        self.selected, self.keep = [], []
        self.quiet = True
        self.sort.set_options(self._list_sorts(), value=None)
        self.down.value = self.selected_only.value = self.clustered.value = False
        self.filter.value, self.filter.error = "", None
        self.quiet = False
        self._mark([])
        self.show()

    def offer_columns(self) -> None:
        """Offer the columns that there are now."""
        self.sort.set_options(self._list_sorts())

    def _build_rows(self) -> None:
        with ui.row().classes("w-full items-center gap-3"):
            self.form = ui.toggle(
                ["table", "grid"], value="table", on_change=lambda: self.show()
            ).props("dense no-caps")
            self.sort = (
                ui.select(
                    self._list_sorts(),
                    value=None,
                    label="order",
                    on_change=lambda: self.show(),
                )
                .props("dense options-dense")
                .style("min-width:130px")
            )
            self.down = ui.switch("reverse", on_change=lambda: self.show()).props("dense")
            self.filter = (
                ui.input("filter", placeholder="SAS<3; has:c1ccncc1")
                .props("dense clearable maxlength=500")
                .style("min-width:230px")
                .on("keydown.enter", self._filter)
                .on("clear", self._filter)
            )
            self.clustered = (
                ui.switch("best of each cluster", on_change=lambda: self.show())
                .props("dense")
                .tooltip(
                    "molecules of Tanimoto similarity 0.4 and more to a better one are left out"
                )
            )
            self.selected_only = ui.switch("selected only", on_change=lambda: self.show()).props(
                "dense"
            )
            self.count = ui.label("").classes("note")
            ui.space()
            for label, write in (
                ("CSV", self._keep_csv),
                ("SDF", self._keep_sdf),
                ("report", self._keep_page),
            ):
                ui.button(label, icon="download", on_click=write).props("dense flat no-caps")
        self.list: MoleculeRows = MoleculeRows().classes("w-full")
        self.list.on("pick", self._pick_row)
        self.list.on("choose", self._choose)
        self.pager = ui.pagination(
            1, 1, direction_links=True, on_change=lambda: self.show(True)
        ).props("max-pages=7")

    def _list_sorts(self) -> dict[str, str]:
        aims = self.find_view().aims
        names = [*aims, *(name for name in REPORTED if name not in aims)]
        names += [PLAUSIBILITY, SIMILAR, "number"]
        return {name: name for name in names}

    def show(self, turned: bool = False) -> None:
        """Show the rows in their order; from the first page on, unless it was `turned`."""
        if self.quiet:
            return
        view = self.find_view()
        view.chosen = np.array(self.selected, np.intp) if self.selected_only.value else None
        column, down = self.sort.value or "", self.down.value
        aims = view.runs[0].objectives if view.runs else ()
        best_down = next((a.maximise for a in aims if a.name == (column or aims[0].name)), False)
        of_view = column not in (PLAUSIBILITY, SIMILAR)
        self.rows = view.order(
            column if of_view else "",
            best_down != down if of_view and (column or down) else None,
            self.keep,
        ).tolist()
        self.sizes = {}
        if self.clustered.value:
            few = [row for row in self.rows[:CLUSTERED] if parse(view.smiles(row)) is not None]
            numbers = find_clusters([view.smiles(row) for row in few])
            size = Counter(numbers)
            for row, number in zip(few, numbers, strict=True):
                if number in size:
                    self.sizes[row] = size.pop(number)
            self.rows = list(self.sizes)
        if not of_view:
            value = self._measure_rows(column)
            self.rows.sort(key=lambda row: -value.get(row, -math.inf))
        if down and not (column and of_view):
            self.rows.reverse()
        n = len(self.rows)
        pages = max(1, math.ceil(n / ROWS))
        if self.pager.props.get("max") != pages:
            self.pager.props["max"] = pages
        if not turned and self.pager.value != 1:
            self.pager.value = 1
        page = self.rows[(self.pager.value - 1) * ROWS :][:ROWS]
        chosen = f", {len(self.selected):,} selected" if self.selected else ""
        self.count.text = f"{n:,} of {len(view.owners):,} molecules{chosen}"
        columns = self._list_columns(page) if page else []
        rows = [self._describe_row(row, columns, view.aims) for row in page]
        titles = [[title, "smiles" if name == "smiles" else ""] for name, title in columns]
        selected = set(self.selected)
        self.list.show(self.form.value, titles, rows, [row for row in page if row in selected])

    def _measure_rows(self, column: str) -> dict[int, float]:
        """Return the plausibility of the rows, or their similarity to the picked molecule."""
        view, space, here = self.find_view(), self.find_space(), self.find_here()
        names = {row: view.smiles(row) for row in self.rows[:LOOKED_AT]}
        if column == SIMILAR:
            if here is None or parse(here.smiles) is None:
                ui.notify("pick a molecule first")
                return {}
            known = self._recall(column, here.smiles)
            new = [name for name in dict.fromkeys(names.values()) if name not in known]
            known.update(zip(new, tanimoto_similarities(new, here.smiles), strict=True))
        elif space is not None and space.model.domain is not None:
            known = self._recall(column, space.name)
            for name in names.values():
                if name not in known:
                    mol = parse(name)
                    found = math.nan if mol is None else space.model.domain.find_plausibility(mol)
                    known[name] = found
        else:
            ui.notify("this needs the model of the run, with what is known of its data")
            return {}
        values = ((row, known[name]) for row, name in names.items())
        return {row: value for row, value in values if value == value}

    def _recall(self, *subject: str) -> dict[str, float]:
        """What was measured of molecules by this subject; of another one it is forgotten."""
        if subject != self.subject:
            self.subject, self.known = subject, {}
        return self.known

    def _list_columns(self, page: list[int]) -> list[tuple[str, str]]:
        """Rows -> names and titles of their columns."""
        view = self.find_view()
        aims = view.runs[0].objectives if view.runs else ()
        columns = [(f"y{i}", one.title) for i, one in enumerate(aims)]
        columns += [(name, name) for name in REPORTED if name not in view.aims]
        space = self.find_space()
        if space is not None and space.model.domain is not None:
            columns.append((PLAUSIBILITY, PLAUSIBILITY))
        columns.append(("alerts", "alerts"))
        columns += [("cluster", "like it")] if self.clustered.value else []
        columns += [("smiles", "SMILES"), ("number", "evaluation"), ("round", "round")]
        columns += [("run", "run")] if len(view.runs) > 1 else []
        failed = any(
            view.runs[run].records[n].error
            for run, n in view.owners[np.array(page, np.intp)].tolist()
        )
        return columns + [("error", "failure")] * failed

    def _describe_row(
        self, row: int, columns: list[tuple[str, str]], aims: list[str]
    ) -> dict[str, Any]:
        view = self.find_view()
        run, number = view.owners[row]
        record = view.runs[run].records[number]
        found = {f"y{i}": show_value(float(v)) for i, v in enumerate(view.y[row])}
        best = [f"{one} {found[f'y{i}']}" for i, one in enumerate(aims)]
        found |= {name: show_value(float(v)) for name, v in measure(record.smiles).items()}
        others = [f"{n} {found[n]}" for n in ("SAS", "QED") if n in found and n not in aims]
        space, mol = self.find_space(), parse(record.smiles)
        if mol is not None and space is not None and space.model.domain is not None:
            found[PLAUSIBILITY] = f"{space.model.domain.find_plausibility(mol):.2f}"
        if mol is not None:
            found["alerts"] = "; ".join(find_alerts(mol))
        if row in self.sizes:
            found["cluster"] = str(self.sizes[row] - 1)
            others.append(f"{self.sizes[row] - 1:,} like it")
        found |= {
            "smiles": record.smiles,
            "number": str(number),
            "round": str(record.iteration) if record.iteration >= 0 else "",  # given or told
            "run": view.runs[run].name,
            "error": (record.error or "")[:200],
        }
        return {
            "row": row,
            "smiles": record.smiles,
            "picture": picture_address(record.smiles),
            "texts": [found.get(name, "") for name, _ in columns],
            "lines": ["  ".join(best), "  ".join(others)],
        }

    def _choose(self, event: GenericEventArguments) -> None:
        """Select rows, or no longer, as their boxes say."""
        n = len(self.find_view().owners)
        rows = {r for r in event.args.get("rows", []) if isinstance(r, int) and 0 <= r < n}
        chosen = set(self.selected)
        self.select(sorted(chosen | rows if event.args.get("on") else chosen - rows), False)
        self.show(True)

    async def _pick_row(self, event: GenericEventArguments) -> None:
        if isinstance(event.args, int):
            await self._pick(event.args)

    async def _filter(self) -> None:
        text = self.filter.value or ""
        try:
            self.keep = await asyncio.to_thread(
                read_filter, text, self.find_space(), self.allow_programs
            )
            await asyncio.to_thread(self.find_view().order, "", None, self.keep)  # fills the caches
        except MolvaeError as error:
            self.keep = []  # rather all than the rows of an earlier filter
            self.filter.error = str(error)
            self.show()
            return
        self.filter.error = None
        self.show()

    def select(self, rows: list[int], redraw: bool = True) -> None:
        """Select these rows here and on the map."""
        n = len(self.find_view().owners)
        self.selected = [row for row in rows if isinstance(row, int) and 0 <= row < n]
        self._mark(self.selected)
        self.count.text = f"{len(self.rows):,} of {n:,} molecules, {len(rows):,} selected"
        if not rows:
            self.show_selected_only(False)
        if redraw:
            self.show()

    def show_selected_only(self, on: bool) -> None:
        """Move the switch; the caller shows the rows."""
        self.quiet = True
        self.selected_only.value = on
        self.quiet = False

    def _wanted(self) -> list[int]:
        """The selected rows in the order that is shown, or all that are shown."""
        place = {row: i for i, row in enumerate(self.rows)}
        return sorted(self.selected, key=lambda row: place.get(row, len(place))) or self.rows

    async def _keep(self, write: Callable[..., str], name: str, kind: str) -> None:
        rows, view = self._wanted(), self.find_view()
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
