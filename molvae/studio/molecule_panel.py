"""The panels for one molecule: what is known of it, ways to others, and molecules of one's own."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from nicegui import ui
from nicegui.element import Element

from molvae.base.errors import MolvaeError
from molvae.chem.molecules import parse
from molvae.reports.values import show_value
from molvae.studio.facts import Described, describe, picture_address, read_list
from molvae.studio.map import MoleculeMap
from molvae.studio.parts import show_card, show_structure
from molvae.studio.sketcher import Sketcher
from molvae.studio.view import View

if TYPE_CHECKING:
    from molvae.studio.space import RoundTrip, Space

MOST = 200  # molecules of a pasted list
COMPARED = 2_000  # evaluated molecules, the best ones, that these are compared with
FARTHEST = 1e3  # from the middle of the map
LABELS = {  # of columns of a way
    "similarity_start": "similarity to the start",
    "similarity_end": "similarity to the end",
}
BESIDE = ("smiles", "valid", "x", "y", "t", "distance")  # columns of a way that are no facts


class MoleculePanel:
    """What the page says of the molecule that is looked at."""

    def __init__(
        self,
        map_: MoleculeMap,
        view: Callable[[], View],
        space: Callable[[], Space | None],
        select: Callable[[list[int]], None],
    ) -> None:
        """Lay out the panels.

        Args:
            map_: where molecules are marked.
            view: gives what the page shows.
            space: gives its model, None as long as it is not loaded.
            select: selects rows on the page.
        """
        self.map, self.find_view, self.find_space, self.select = map_, view, space, select
        self.here: Described | None = None
        self.waits = False  # whether the next pick is the end of a way
        self.early = False  # whether molecules are to be put on a map that is not there yet
        self.strip: list[dict[str, Any]] = []
        self.cards: list[Element] = []  # of the steps of a way
        self._build_molecule()
        self._build_own()
        # on a small screen, or with the table in sight, the panel is not
        self.peek = ui.element("div").classes("peek cell").on("click", self._scroll_here)

    def watch(self) -> None:
        """Show the molecule in a corner as long as the panel is out of sight."""
        ui.run_javascript(
            f"const corner = getHtmlElement({self.peek.id});"
            "new IntersectionObserver(([one]) => "
            "corner.classList.toggle('away', !one.isIntersecting), "
            f"{{ rootMargin: '-100px 0px' }}).observe(getHtmlElement({self.panel.id}))"
        )

    def _scroll_here(self) -> None:
        self.panel.run_method("scrollIntoView", {"block": "nearest", "behavior": "smooth"})

    async def begin(self, names: list[str]) -> None:
        """Offer ways up and down these properties, now that the map is there."""
        self.along.set_options([f"{sign}{name}" for name in names for sign in ("", "-")])
        if names:
            self.along.value = names[0]
        if self.early:
            await self._bring()

    def leave(self) -> None:
        """Forget what was looked at, as the map is another one; one's own come on it, too."""
        self.here, self.waits = None, False
        self.early = self.early or bool(list(self.brought))
        self.origin.text, self.smiles.text = "Nothing is picked", ""
        self.picture.set_visibility(False)
        self.facts.clear()
        self.way.clear()
        self.peek.classes(remove="full")

    def _build_molecule(self) -> None:
        with ui.column().classes("panel w-full gap-1") as self.panel:
            with ui.row().classes("w-full no-wrap gap-3"):
                self.picture = ui.element("img").classes("structure")
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
                    .style("min-width:110px")
                )
                ui.button("walk", on_click=self._walk).props("dense outline no-caps")
                ui.button("select alike", on_click=self._select_alike).props("dense flat no-caps")
            self.way = ui.column().classes("w-full gap-0")

    def _build_own(self) -> None:
        with ui.column().classes("panel w-full gap-1"):
            ui.label("Your molecules").classes("font-bold text-sm")
            with ui.row().classes("w-full items-end gap-2"):
                self.own = (
                    ui.textarea(placeholder="SMILES, one per line")
                    .style("min-width:180px")
                    .props("dense autogrow maxlength=20000")
                    .classes("grow")
                )
                ui.button("draw", icon="edit", on_click=self._draw).props("dense outline no-caps")
                ui.button("put on the map", on_click=self._bring).props("dense no-caps")
            self.brought = ui.column().classes("w-full gap-1")

    def _draw(self) -> None:
        """Open the sketcher with the molecule that is looked at."""
        with ui.dialog(value=True) as dialog, ui.card().style("width:560px;max-width:96vw"):
            sketcher = Sketcher()
            sketcher.show(self.here.smiles if self.here is not None else "")

            async def use() -> None:
                drawn = await sketcher.read()
                dialog.close()
                if drawn:
                    self.own.value = drawn
                    await self._bring()

            with ui.row().classes("w-full gap-2"):
                ui.button("use", on_click=use).props("dense no-caps")
                ui.button("cancel", on_click=dialog.close).props("dense flat no-caps")
                ui.label("JSME, by P. Ertl and B. Bienfait").classes("note")
        dialog.on("hide", dialog.delete)

    async def pick(self, row: int, second: bool = False) -> None:
        """Look at the molecule of a row; as the `second` one, at the way to it."""
        space, view = self.find_space(), self.find_view()
        if not 0 <= row < len(view.owners):
            return
        smiles = view.smiles(row)
        if space is None:  # a run may not name its model, or its file may be gone
            found = Described(smiles, await asyncio.to_thread(describe, smiles, None))
        else:
            found = await asyncio.to_thread(space.describe, smiles)
        run, number = view.owners[row]
        aims = view.runs[run].objectives
        values = [
            (one.title, show_value(float(v))) for one, v in zip(aims, view.y[row], strict=False)
        ]
        names = {one.name for one in aims}
        rows = [*values, *(pair for pair in found.rows if pair[0] not in names)]
        found = Described(found.smiles, rows, found.z)
        await self._look_at(found, f"Evaluation {number} of {view.runs[run].name}", second)

    async def look_at_place(self, x: float, y: float, second: bool) -> None:
        """Look at what would be at a place of the map."""
        space = self.find_space()
        place = np.array([[x, y]], np.float64)
        if space is None or not np.abs(place).max() < FARTHEST:
            return
        (found,) = await asyncio.to_thread(space.decode, place)
        await self._look_at(found, "What would be here (approximately)", second, place[0])

    async def _look_at(
        self, found: Described, origin: str, second: bool = False, place: Any = None
    ) -> None:
        before, waited, self.waits = self.here, self.waits, False
        self.to.props("color=primary")
        if (second or waited) and before is not None:
            await self._show_way(before.smiles, found.smiles, None)
            return
        self.here = found
        self._show_molecule(found, origin)
        space = self.find_space()
        if place is None and found.z is not None and space is not None:
            place = space.atlas.place(found.z[None])[0]
        if place is not None:
            self.map.set_marks(here=[list(map(float, place))], path=[])
        self.way.clear()

    def _show_molecule(self, found: Described, origin: str) -> None:
        self.origin.text, self.smiles.text = origin, found.smiles
        self.peek.clear()
        with self.peek:
            show_structure(found.smiles, 150, 110)
        self.peek.classes("full")
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
        space = self.find_space()
        if space is None:
            return
        try:
            table = await asyncio.to_thread(space.walk, start, end, along)
        except MolvaeError as error:
            ui.notify(str(error), type="negative", multi_line=True)
            return
        self.strip = [{str(k): v for k, v in row.items()} for row in table.to_dict("records")]
        domain = space.model.domain
        known = table.dropna(subset=["x", "y"])
        self.map.set_marks(path=known[["x", "y"]].to_numpy().tolist(), here=[])
        shown = [str(name) for name in table if name not in BESIDE]
        self.way.clear()
        with self.way:
            title = f"The way up {along}" if along else "The way between the two picks"
            ui.label(f"{title}: {table['smiles'].nunique()} different molecules").classes(
                "text-sm font-bold"
            )
            with ui.element("div").classes("strip"):
                self.cards.clear()
                for i, row in enumerate(self.strip):
                    name = along.lstrip("-") if along else "SAS"
                    text = f"{name} {show_value(row.get(name, math.nan))}"
                    self.cards.append(show_card(row["smiles"], text, partial(self._go_to, i)))
            self.slider: ui.slider = ui.slider(
                min=0, max=len(self.strip) - 1, step=1, value=0
            ).props("markers snap dense")

            async def slide() -> None:
                step = int(self.slider.value)
                row = self.strip[step]
                rows = describe(row["smiles"], domain)
                known = {name for name, _ in rows}
                rows += [(LABELS.get(n, n), show_value(row[n])) for n in shown if n not in known]
                self.here = Described(row["smiles"], rows)
                for i, card in enumerate(self.cards):
                    card.classes(add="on" if i == step else "", remove="" if i == step else "on")
                self.cards[step].run_method(
                    "scrollIntoView", {"block": "nearest", "inline": "nearest"}
                )
                self._show_molecule(self.here, f"Step {step} of the way")
                if row["x"] == row["x"]:
                    self.map.set_marks(here=[[row["x"], row["y"]]])

            self.slider.on_value_change(slide)
        await slide()

    def _go_to(self, step: int) -> None:
        self.slider.value = step

    async def _bring(self) -> None:
        """Put the pasted molecules on the map, and look at the first of them."""
        space = self.find_space()
        runs = self.find_view().runs
        self.early = space is None
        if space is None:
            ui.notify(
                "the model is still loading: they appear as soon as it is there"
                if not runs or any(run.model for run in runs)
                else "this run does not name its model, so there is no map"
            )
            return
        pasted = read_list(self.own.value or "")
        self.brought.clear()
        usable: dict[str, str] = {}  # canonical SMILES -> name
        places: list[list[float | str]] = []
        for smiles, name in pasted[:MOST]:
            found = await asyncio.to_thread(space.describe, smiles)
            if found.z is None:
                with self.brought:
                    text = f"{smiles[:80]}: {found.rows[-1][1]}"
                    ui.label(text).classes("text-sm text-red-9")
                continue
            if found.smiles not in usable:
                places.append([*space.atlas.place(found.z[None])[0].tolist(), found.smiles])
            usable[found.smiles] = name or found.smiles
        self.map.set_marks(own=places)
        with self.brought:
            if len(pasted) > MOST:
                ui.label(f"only the first {MOST} of {len(pasted):,} lines were read").classes(
                    "text-sm text-red-9"
                )
            if len(usable) > 1:
                with ui.element("div").classes("strip"):
                    for smiles, name in usable.items():
                        show_card(smiles, name[:60], partial(self._look_at_own, smiles))
            self.trip = ui.column().classes("w-full gap-1")
        if usable:
            await self._look_at_own(next(iter(usable)))

    async def _look_at_own(self, smiles: str) -> None:
        """Look at a molecule of one's own, with its round trip and its neighbours."""
        space = self.find_space()
        if space is None:
            return
        view = self.find_view()
        evaluated = [view.smiles(int(row)) for row in view.order()[:COMPARED]]
        try:
            trip = await asyncio.to_thread(space.bring, smiles, evaluated)
        except MolvaeError as error:
            ui.notify(str(error), type="negative", multi_line=True)
            return
        self.trip.clear()
        with self.trip:
            self._build_trip(trip)
        await self._look_at(trip.given, "Your molecule")

    def _build_trip(self, trip: RoundTrip) -> None:
        same = trip.back == trip.given.smiles
        text = (
            "comes back unchanged" if same else "comes back changed: what was lost is highlighted"
        )
        ui.label(f"Encoded and decoded, it {text}").classes("text-sm")
        with ui.row().classes("gap-2"):
            show_structure(trip.given.smiles, 150, 130, trip.lost).classes("cell")
            show_structure(trip.back, 150, 130).classes("cell")
        ui.label("Neighbours").classes("text-sm font-bold")
        with ui.element("div").classes("strip all"):
            for how, smiles in trip.near:
                show_card(smiles, how, partial(self.look_up, smiles))

    async def look_up(self, smiles: str, second: bool = False) -> None:
        """Look at a molecule that is known by its SMILES."""
        space, view = self.find_space(), self.find_view()
        row = view.find_row(smiles)
        if row is not None:
            await self.pick(row, second)
        elif space is not None:
            found = await asyncio.to_thread(space.describe, smiles)
            await self._look_at(found, "Not evaluated", second)

    def _select_alike(self) -> None:
        if self.here is not None and parse(self.here.smiles) is not None:
            self.select(self.find_view().find_alike(self.here.smiles))
