"""The page in a real browser, used as a person would."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from playwright.sync_api import Browser, Locator, Page, TimeoutError, expect, sync_playwright

from molvae.chem.cache import load_or_compute
from molvae.loop.ask_tell import Search
from molvae.model.atlas import load_atlas, name_umap
from molvae.model.molvae import MolVAE
from molvae.oracles.history import History
from molvae.oracles.objectives import measured_objective
from molvae.oracles.oracle import Oracle
from studio_runs import EVIL, write_run

MAP = "document.querySelector('.molvae-map').map"
SEEN = f"""(() => {{ const m = {MAP}; for (let i = 0; i < m.n; i++) {{
    const [x, y] = m.toScreen(m.rows[4 * i], m.rows[4 * i + 1]);
    if (!(x >= 0 && y >= 0 && x <= m.w && y <= m.h)) return false; }}
    return m.n > 0; }})()"""  # whether all points are in sight
FLAGS = ["--no-sandbox"]
PATIENCE = 90_000  # ms: a machine of two cores that other jobs share
expect.set_options(timeout=PATIENCE)


def find_chromium() -> str | None:
    """A browser: MOLVAE_CHROMIUM, Debian's, or the one of `playwright install chromium`."""
    found = os.environ.get("MOLVAE_CHROMIUM") or shutil.which("chromium")
    if found is None:
        with sync_playwright() as playwright:
            own = playwright.chromium.executable_path
        found = own if Path(own).exists() else None
    return found


CHROMIUM = find_chromium()
pytestmark = pytest.mark.skipif(
    CHROMIUM is None,
    reason="no browser: apt-get install chromium, or playwright install chromium, or set "
    "MOLVAE_CHROMIUM to its path",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield found
        found.close()


@contextmanager
def serve(*paths: Path | str) -> Iterator[str]:
    """Start `molvae studio` -> its address."""
    command = [sys.executable, "-m", "molvae", "studio", "--no-browser", *map(str, paths)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = re.search(r"http\S+", process.stdout.readline())
        assert address is not None
        try:
            yield address[0]
        finally:
            process.terminate()


class Watched:
    """A page whose errors and requests are recorded."""

    def __init__(self, browser: Browser, address: str, width: int = 1300) -> None:
        self.page: Page = browser.new_page(viewport={"width": width, "height": 950})
        self.page.set_default_timeout(PATIENCE)
        self.errors: list[str] = []
        self.hosts: set[str] = set()
        self.paths: set[str] = set()
        self.page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self._note(request.url))
        self.page.on("websocket", lambda socket: self._note(socket.url))
        self.page.goto(address)

    def _note(self, url: str) -> None:
        if not url.startswith(("data:", "blob:")):
            self.hosts.add(url.split("/")[2].partition(":")[0])
            self.paths.add(url.split("/", 3)[3])

    def wait_for_points(self, n: int) -> None:
        self.page.wait_for_function(f"{MAP}?.n >= {n} && {MAP}.density", timeout=PATIENCE)

    def close(self) -> None:
        assert self.errors == []
        assert self.hosts == {"127.0.0.1"}
        self.page.close()


@contextmanager
def opened(browser: Browser, address: str, width: int = 1300) -> Iterator[Watched]:
    watched = Watched(browser, address, width)
    yield watched
    watched.close()


def click_map(page: Page, x: float, y: float, shift: bool = False) -> None:
    """Click at a place of the map, from 0 to 1."""
    box = page.locator(".molvae-map").bounding_box()
    assert box is not None
    at = {"x": x * box["width"], "y": y * box["height"]}
    keys = ["Shift"] if shift else []
    page.locator(".molvae-map canvas").last.click(position=at, modifiers=keys)  # type: ignore[arg-type]


def choose_run(page: Page, name: str) -> None:
    """Click a run in the list of runs; the list may close while it is being filled."""
    item = page.locator(".q-menu .q-item").filter(has_text=re.compile(f"^{name}$"))
    for _ in range(6):
        page.locator(".q-select__dropdown-icon").first.click()
        try:
            item.click(timeout=10_000)
            break
        except TimeoutError:
            page.keyboard.press("Escape")
    page.keyboard.press("Escape")


@pytest.fixture(scope="module")
def address(runs: Path) -> Iterator[str]:
    with serve(
        runs / "one",
        runs / "three",
        runs / "hostile",
        runs / "empty",
        runs / "damaged",
        runs / "single",
    ) as found:
        yield found


def test_every_control_is_used_as_a_person_would(
    browser: Browser, address: str, tmp_path: Path
) -> None:
    with opened(browser, address) as watched:
        page = watched.page
        watched.wait_for_points(60)
        expect(page.get_by_text("60 of 60 evaluations")).to_be_visible()
        expect(page.get_by_text("trustworthiness")).to_be_visible()
        assert page.url == address.partition("?")[0]  # the secret is gone
        # an empty place, and the way to another one
        click_map(page, 0.05, 0.05)
        expect(page.get_by_text("What would be here")).to_be_visible()
        expect(
            page.locator(".facts")
            .get_by_text("QED", exact=True)
            .or_(page.locator(".facts").get_by_text("not a valid molecule"))
        ).to_be_visible()
        # a molecule of the table
        page.locator("td.smiles").first.click()
        expect(page.get_by_text(re.compile(r"Evaluation \d+ of one"))).to_be_visible()
        page.get_by_role("button", name="way to the next pick").click()
        page.locator("td.smiles").nth(5).click()
        expect(page.get_by_text("The way between the two picks")).to_be_visible()
        page.locator(".strip .cell").nth(3).click()
        expect(page.get_by_text("Step 3 of the way")).to_be_visible()
        page.get_by_role("button", name="walk").click()
        expect(page.get_by_text("The way up logP")).to_be_visible()
        # molecules of one's own
        page.get_by_placeholder("SMILES, one per line").fill("CC(=O)Nc1ccccc1\nC(C\nCCO, alcohol")
        page.get_by_role("button", name="put on the map").click()
        expect(page.get_by_text("Encoded and decoded, it comes back")).to_be_visible()
        expect(page.get_by_text("C(C: not a valid molecule")).to_be_visible()
        page.locator(".strip .cell").filter(has_text="alcohol").click()
        expect(page.locator("div.smiles")).to_have_text("CCO")
        at = page.evaluate(f"{MAP}.toScreen(...{MAP}.marks.own[0])")
        box = page.locator(".molvae-map").bounding_box()
        assert box is not None
        page.mouse.click(box["x"] + at[0], box["y"] + at[1])
        expect(page.locator("div.smiles")).to_have_text("CC(=O)Nc1ccccc1")
        # points that are out of sight
        page.evaluate(f"{MAP}.zoom(0, 0, 30)")
        assert not page.evaluate(SEEN)
        page.get_by_role("button", name="fit", exact=True).click()
        page.wait_for_function(SEEN)
        # rows: filter, order, grid
        page.get_by_label("filter").fill("SAS<3")
        page.get_by_label("filter").press("Enter")
        page.wait_for_function("!document.body.innerText.includes('60 of 60 molecules')")
        page.get_by_label("filter").fill("cmd:touch pwned {smiles}<3")
        page.get_by_label("filter").press("Enter")
        expect(page.get_by_text("is not a registered name")).to_be_visible()
        page.get_by_label("filter").fill("solubility>-3")
        page.get_by_label("filter").press("Enter")
        expect(page.get_by_text("unknown quantity 'solubility'")).to_be_visible()
        expect(page.get_by_text("60 of 60 molecules")).to_be_visible()  # not those of before
        page.get_by_label("filter").fill("")
        page.get_by_label("filter").press("Enter")
        expect(page.get_by_text("unknown quantity")).not_to_be_visible()
        page.get_by_role("switch", name="best of each cluster").click()
        expect(page.locator("th").get_by_text("like it")).to_be_visible()
        page.get_by_role("switch", name="best of each cluster").click()
        page.locator("td.smiles").nth(4).click()
        picked = page.locator("td.smiles").nth(4).inner_text()
        expect(page.locator("div.smiles")).to_have_text(picked)
        expect(page.locator(".peek")).to_be_visible()  # as the panel is above
        page.get_by_label("order").click()
        page.get_by_role("option", name="similarity to the picked molecule").click()
        expect(page.locator("td.smiles").first).to_have_text(picked)
        page.get_by_role("button", name="grid", exact=True).click()
        expect(page.locator(".cell img").first).to_be_visible()
        # a lasso selects in all
        page.get_by_role("button", name="lasso", exact=True).click()
        page.wait_for_function(f"{MAP}.mode === 'lasso'")
        page.locator(".molvae-map").scroll_into_view_if_needed()
        box = page.locator(".molvae-map").bounding_box()
        assert box is not None
        corners = [(0.01, 0.01), (0.99, 0.01), (0.99, 0.99), (0.01, 0.99), (0.01, 0.05)]
        spots = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in corners]
        page.mouse.move(*spots[0])
        page.mouse.down()
        for spot in spots[1:]:
            page.mouse.move(*spot, steps=4)
        page.mouse.up()
        expect(page.get_by_text(re.compile(r"\d+ selected"))).to_be_visible()
        assert page.evaluate(f"{MAP}.selecting")
        for label, name in (("CSV", "csv"), ("SDF", "sdf"), ("report", "html")):
            with page.expect_download() as download:
                page.get_by_role("button", name=label, exact=False).last.click()
            download.value.save_as(tmp_path / name)
        assert (tmp_path / "csv").read_text().startswith("smiles,QED,")
        assert "$$$$" in (tmp_path / "sdf").read_text()
        assert "<svg" in (tmp_path / "html").read_text()
        page.get_by_role("button", name="clear selection").click()
        for tab in ("curve", "front", "compare", "search"):
            page.get_by_role("tab", name=tab).click()
        page.get_by_role("button", name="around the picked molecule").click()
        expect(page.get_by_label("start from these molecules")).not_to_have_value("")
        expect(page.get_by_label("constraints")).to_have_value(re.compile(r"^similarity\(.*>0\.4$"))
        page.get_by_role("tab", name="molecules").click()
        # hover
        page.get_by_role("button", name="explore", exact=True).click()
        box = page.locator(".molvae-map").bounding_box()
        assert box is not None
        at = page.evaluate(f"{MAP}.toScreen({MAP}.rows[0], {MAP}.rows[1])")
        page.mouse.move(box["x"] + at[0], box["y"] + at[1])
        page.mouse.move(box["x"] + at[0] + 1, box["y"] + at[1])
        expect(page.locator(".molvae-map").get_by_text("evaluation")).to_be_visible()


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("three", "finished"),
        ("hostile", "stopped"),
        ("empty", "empty"),
        ("damaged", "damaged"),
        ("single", "stopped"),
    ],
)
def test_each_kind_of_run_is_shown_as_what_it_is(
    browser: Browser, address: str, name: str, state: str
) -> None:
    with opened(browser, address) as watched:
        page = watched.page
        watched.wait_for_points(60)
        choose_run(page, name)
        choose_run(page, "one")  # no longer
        expect(page.locator(".q-chip").get_by_text(state, exact=True).last).to_be_visible()
        for tab in ("curve", "front", "compare", "molecules"):
            page.get_by_role("tab", name=tab).click()
            page.wait_for_timeout(200)
        if name == "hostile":
            expect(page.get_by_text(EVIL).first).to_be_visible()  # as text
        assert page.evaluate("window.pwned") is None


NAME = "<img src=x onerror=window.pwned=1>"  # of a file: without a slash


def test_what_a_user_wrote_is_shown_as_text_in_every_panel(
    browser: Browser, model_file: str, zinc: list[str], small_model: MolVAE, tmp_path: Path
) -> None:
    few = [name for name in zinc if small_model.can_encode(name)][:4]
    z = small_model.encode_means(few)
    aims = [f"{EVIL}{i}" for i in range(3)]
    asked = {"objective": EVIL, "maximised": [EVIL], "asked for": {few[0]: 0, EVIL: 0}}
    asked["sources"] = {EVIL: None}  # nothing computes it
    for run in (NAME, f"{NAME}2"):
        with write_run(tmp_path / run, model_file, aims) as history:
            history.save_settings({"strategy": EVIL})
            for i, name in enumerate([*few[:3], EVIL]):
                history.add(name, (1.0 * i, -1.0 * i, 0.0), seconds=0.1, z=z[i], error=EVIL)
            for kind in ("pin", "add"):
                history.steer(kind, EVIL)
            history.steering(0)
    with History(tmp_path / f"{NAME}.sqlite") as history:
        history.save_settings(asked)
    write_run(tmp_path / "no-model", EVIL, [EVIL]).close()
    served = (tmp_path / NAME, tmp_path / f"{NAME}2", tmp_path / f"{NAME}.sqlite")
    with (
        serve(*served, tmp_path / "no-model", "--model", model_file) as address,
        opened(browser, address) as watched,
    ):
        page = watched.page

        def see(place: Locator, text: str = EVIL) -> None:
            """The text is shown as it was written, and nothing of it has become an element."""
            expect(place.filter(has_text=text).first).to_be_visible()
            assert page.evaluate("window.pwned") is None
            assert page.locator("[onerror], img[src='x']").count() == 0

        watched.wait_for_points(4)
        see(page.locator(".q-select").first, NAME)  # the runs that are shown
        see(page.locator("span[style*=inline-flex]"), aims[0])  # the scale of the colours
        see(page.locator("th"), aims[0])
        see(page.locator("td.smiles"))
        see(page.locator("td").filter(has_not=page.locator("img")))  # the reason of a failure
        page.locator("td.smiles").first.click()
        see(page.locator(".facts"), aims[0])
        see(page.locator("div").get_by_text(re.compile("^Evaluation")), NAME)
        page.locator("td.smiles").filter(has_text=EVIL).click()
        see(page.locator("div").get_by_text(re.compile("^Evaluation 3 of")), NAME)
        page.get_by_role("button", name="draw").click()
        page.wait_for_function("document.querySelector('.sketcher')?.sketcher?.applet")
        page.wait_for_timeout(500)  # an error of the drawing would come now
        see(page.locator(".q-dialog"), "JSME")
        page.get_by_role("button", name="cancel").click()
        page.get_by_role("button", name="grid", exact=True).click()
        see(page.locator(".cell"), aims[0])
        at = page.evaluate(f"{MAP}.toScreen({MAP}.rows[0], {MAP}.rows[1])")
        box = page.locator(".molvae-map").bounding_box()
        assert box is not None
        for step in (0, 1):
            page.mouse.move(box["x"] + at[0] + step, box["y"] + at[1])
        see(page.locator(".molvae-map"), f"{aims[0]} 0")  # the hover
        page.get_by_placeholder("SMILES, one per line").first.fill(f"{EVIL.split()[0]}\n{NAME}")
        page.get_by_role("button", name="put on the map").click()
        see(page.locator(".panel"), f"{EVIL.split()[0]}: not a valid molecule")
        page.get_by_label("filter").fill(f"{EVIL}<3")
        page.get_by_label("filter").press("Enter")
        see(page.locator(".q-field__messages"), "pwned=1")
        choose_run(page, re.escape(f"{NAME}2"))
        page.get_by_role("tab", name="curve").click()
        chart = page.locator(".q-tab-panel canvas").last
        chart.scroll_into_view_if_needed()
        for step in range(60):  # until its tooltip opens
            chart.hover(position={"x": 300 + step, "y": 150}, force=True)
            page.wait_for_timeout(500)
            if page.locator(".q-tab-panel").filter(has_text=f"{NAME}2").count():
                break
        see(page.locator(".q-tab-panel"), f"{NAME}2")
        curve = chart.element_handle()
        page.get_by_role("tab", name="front").click()
        curve.wait_for_element_state("hidden")  # both are there while one tab slides away
        chart = page.locator(".q-tab-panel canvas:visible").last
        chart.scroll_into_view_if_needed()
        for step in range(60):  # the first molecule lies in the upper left corner
            chart.hover(position={"x": 70 + step % 3, "y": 36 + step % 2}, force=True)
            page.wait_for_timeout(500)
            if page.locator(".q-tab-panel").filter(has_text=few[0]).count():
                break
        see(page.locator(".q-tab-panel"), few[0])
        see(page.locator(".q-tab-panel"), aims[0])
        chart.click(position={"x": 70, "y": 36}, force=True)
        see(page.locator("div").get_by_text(re.compile("^Evaluation 0 of")), NAME)
        page.get_by_role("tab", name="compare").click()
        see(page.locator("td"), f"{NAME}2")
        see(page.locator("td"), EVIL)  # the strategy
        see(page.locator("th"), aims[0])
        page.get_by_role("tab", name="search").click()
        see(page.locator(".q-tab-panel"), f"evaluate next {EVIL}")
        see(page.locator(".q-tab-panel"), f"constraint {EVIL}")
        page.get_by_label("maximise").fill(NAME)
        page.get_by_role("button", name="start", exact=True).click()
        see(page.locator(".q-notification"), "window.pwned=1")
        for name in (NAME, f"{NAME}2"):
            choose_run(page, re.escape(name))  # no longer
        choose_run(page, "no-model")
        see(page.locator("body"), "no map")
        choose_run(page, "no-model")
        choose_run(page, re.escape(f"{NAME}.sqlite"))
        page.get_by_role("tab", name="measure").click()
        see(page.locator(".q-tab-panel .smiles"))
        see(page.locator(".q-tab-panel .q-field__label"))
        assert [path for path in watched.paths if path == "x" or path.endswith("/x")] == []


def test_a_search_is_followed_and_its_death_is_seen(
    browser: Browser, model_file: str, runs: Path, tmp_path: Path
) -> None:
    write_run(tmp_path / "live", model_file, ["logP"], 9).close()
    with History(runs / "one" / "history.sqlite") as history:
        source = [
            f"{r.smiles} {' '.join(map(str, r.z))}" for r in history.records() if r.z is not None
        ]
    code = (
        "import sys; from molvae.oracles.history import History; import numpy as np\n"
        f"h = History({str(tmp_path / 'live' / 'history.sqlite')!r})\n"
        "for line in sys.stdin:\n"
        "    name, *z = line.split(); z = np.array(z, np.float32)\n"
        "    h.add(name, 1.0, seconds=0.1, z=z)\n"
    )
    command = [sys.executable, "-c", code]
    with (
        serve(tmp_path / "live") as address,
        opened(browser, address) as watched,
        subprocess.Popen(command, stdin=subprocess.PIPE, text=True) as writer,
    ):
        assert writer.stdin is not None
        for n in range(1, 5):
            print(source[n], file=writer.stdin, flush=True)
            expect(watched.page.get_by_text(f"{n} of 9 evaluations")).to_be_visible()
        watched.wait_for_points(4)
        expect(watched.page.get_by_text("running", exact=True)).to_be_visible()
        name, *z = source[5].split()  # far from the others
        print(name, *(str(9 * float(v)) for v in z), file=writer.stdin, flush=True)
        watched.wait_for_points(5)
        watched.page.wait_for_function(SEEN)
        writer.kill()
        expect(watched.page.get_by_text("no process is writing")).to_be_visible()


def test_a_search_that_cannot_begin_says_why(
    browser: Browser, model_file: str, tmp_path: Path
) -> None:
    write_run(tmp_path / "empty", model_file, ["QED"]).close()
    with serve(tmp_path / "empty") as address, opened(browser, address) as watched:
        page = watched.page
        page.get_by_role("tab", name="search").click()
        page.get_by_label("start from these molecules").fill("CCCCCCCCCC")
        page.get_by_label("constraints").fill("QED>0.9")
        page.get_by_role("button", name="start", exact=True).click()
        expect(page.locator(".q-chip").get_by_text("failed", exact=True)).to_be_visible()
        expect(page.get_by_text("can be evaluated: CCCCCCCCCC: ").first).to_be_visible()


def test_measured_values_are_typed_in_and_told_to_the_search(
    browser: Browser, model_file: str, zinc: list[str], tmp_path: Path
) -> None:
    def search(file: str) -> Search:
        oracle = Oracle(measured_objective("activity"), 40, History(tmp_path / file))
        return Search(MolVAE.load(model_file), oracle, start=zinc[:200])

    names = search("lab.sqlite").ask()
    with (
        serve(tmp_path / "lab.sqlite", "--model", model_file) as address,
        opened(browser, address) as watched,
    ):
        page = watched.page
        page.wait_for_function(f"{MAP}?.density")
        page.get_by_role("tab", name="measure").click()
        expect(page.get_by_text(f"{len(names)} molecules wait for a value")).to_be_visible()
        fields = page.get_by_label("activity")
        fields.nth(1).fill("about 3")
        fields.nth(1).press("Enter")
        expect(page.get_by_text("is not a number; type failed")).to_be_visible()
        fields.first.fill("1.5")
        fields.first.press("Enter")
        expect(page.get_by_text(f"{len(names) - 1} molecules wait for a value")).to_be_visible()
        expect(fields.first).to_have_value("about 3")  # what was typed elsewhere stays
        fields.first.fill("failed")
        page.get_by_role("button", name="store").first.click()
        expect(page.get_by_text(f"{len(names) - 2} molecules wait for a value")).to_be_visible()
    told = search("lab.sqlite")
    assert told.ask() == names[2:]
    other = search("other.sqlite")
    assert other.ask() == names
    other.tell({names[0]: 1.5, names[1]: float("nan")})
    found, wanted = told.oracle.history.records(), other.oracle.history.records()
    for one, same in zip(found, wanted, strict=True):
        assert (one.smiles, one.iteration, one.error) == (same.smiles, same.iteration, same.error)
        np.testing.assert_array_equal(one.values, same.values)
        assert one.z is not None
        np.testing.assert_array_equal(one.z, same.z)


@pytest.mark.parametrize("width", [390, 1300])
def test_a_molecule_can_be_drawn(browser: Browser, address: str, width: int) -> None:
    with opened(browser, address, width) as watched:
        page = watched.page
        watched.wait_for_points(60)
        page.get_by_role("button", name="draw").click()
        page.wait_for_function("document.querySelector('.sketcher')?.sketcher?.applet")
        ring = "document.querySelector('.sketcher').sketcher.show('Oc1ccccc1')"
        page.evaluate(ring)
        page.wait_for_timeout(500)  # an error of the drawing would come now
        ends = "Array.from(document.querySelectorAll('.sketcher svg'), e => {0}.right)"
        ends = ends.format("e.getBoundingClientRect()")
        assert max(page.evaluate(ends)) <= width  # all of it is on a phone's screen, too
        page.get_by_role("button", name="use").click()
        expect(page.get_by_placeholder("SMILES, one per line")).to_have_value("Oc1ccccc1")
        expect(page.get_by_text("Encoded and decoded, it comes back")).to_be_visible()


def test_the_map_can_be_a_umap(browser: Browser, model_file: str, runs: Path) -> None:
    model = MolVAE.load(model_file)
    molecules = load_atlas(model)
    # as if it had been fitted before, which takes half a minute; tests/model fits one
    places = pd.DataFrame(molecules.places[:, ::-1] * 3, columns=["0", "1"])
    load_or_compute(name_umap(model), lambda: places)
    with serve(runs / "one") as address, opened(browser, address) as watched:
        # a molecule is put on the map before there is one: the server has yet to load the model
        watched.page.get_by_placeholder("SMILES, one per line").fill("CC(=O)Nc1ccccc1")
        watched.page.get_by_role("button", name="put on the map").click()
        expect(watched.page.get_by_text("they appear as soon as it is there")).to_be_visible()
        expect(watched.page.get_by_text("Encoded and decoded, it comes back")).to_be_visible()
        watched.wait_for_points(60)
        before = watched.page.evaluate(f"Array.from({MAP}.rows.slice(0, 8))")
        watched.page.get_by_role("combobox", name="map").click()
        watched.page.get_by_role("option", name="UMAP").click()
        expect(watched.page.get_by_text("UMAP of")).to_be_visible()
        watched.page.wait_for_function(f"a => {MAP}.n === 60 && {MAP}.rows[0] !== a[0]", arg=before)
        click_map(watched.page, 0.5, 0.5)
        expect(watched.page.get_by_text("Nothing is picked")).not_to_be_visible()


def test_a_phone_sees_all_without_scrolling_sideways(browser: Browser, address: str) -> None:
    with opened(browser, address, width=390) as watched:
        watched.wait_for_points(60)
        wide = watched.page.evaluate("document.documentElement.scrollWidth")
        assert wide <= 391


def test_two_pages_look_at_one_run(browser: Browser, address: str) -> None:
    with opened(browser, address) as one, opened(browser, address) as two:
        one.wait_for_points(60)
        two.wait_for_points(60)
        one.page.locator("td.smiles").first.click()
        expect(one.page.get_by_text(re.compile(r"Evaluation \d+ of one"))).to_be_visible()
        expect(two.page.get_by_text("Nothing is picked")).to_be_visible()


def test_another_site_cannot_use_the_page(browser: Browser, address: str) -> None:
    home = address.partition("?")[0]
    with opened(browser, address):
        pass  # this browser has the cookie of its own context only
    context = browser.new_context()
    page = context.new_page()
    page.goto(address)
    port = home.rstrip("/").rpartition(":")[2]
    page.route("http://evil.example/*", lambda route: route.fulfill(body="<h1>evil</h1>"))
    page.goto("http://evil.example/")
    tries = f"""async () => {{
        const found = [];
        for (const path of ['', 'card?view=x&index=0', 'points?view=x'])
            for (const mode of ['cors', 'no-cors'])
                found.push(await fetch(`http://127.0.0.1:{port}/${{path}}`,
                    {{credentials: 'include', mode}})
                    .then((a) => a.type === 'opaque' ? 'opaque' : 'read', () => 'refused'));
        found.push(await new Promise((done) => {{
            const s = new WebSocket('ws://127.0.0.1:{port}/_nicegui_ws/socket.io/?EIO=4&transport=websocket');
            s.onopen = () => done('open'); s.onerror = () => done('refused');
        }}));
        return found;
    }}"""
    found = page.evaluate(tries)
    assert "read" not in found
    assert "open" not in found
    context.close()


def test_a_hundred_thousand_molecules_are_shown(browser: Browser, large: Path) -> None:
    with serve(large) as address, opened(browser, address) as watched:
        watched.wait_for_points(100_000)
        expect(watched.page.get_by_text("100,000 of 100,000 molecules")).to_be_visible()
        before = watched.page.evaluate(f"{MAP}.view.unit")
        box = watched.page.locator(".molvae-map").bounding_box()
        assert box is not None
        watched.page.mouse.move(box["x"] + 200, box["y"] + 200)
        watched.page.mouse.wheel(0, -400)
        watched.page.wait_for_function(f"{MAP}.view.unit > {before}")
        click_map(watched.page, 0.5, 0.5)
        expect(watched.page.get_by_text("Nothing is picked")).not_to_be_visible()
