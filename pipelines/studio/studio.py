"""How fast the studio is, in real Chromium, and the pictures of its guide.

python pipelines/studio/studio.py [--quick] [--pairs N] [--screens docs/images]
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pandas as pd

from molvae.base.files import write_file
from molvae.oracles.history import History

MAP = "document.querySelector('.molvae-map').map"
FLAGS = ["--no-sandbox"]
# moves the map once in each frame, as a hand does -> frames a second, share of them drawn
MOVE = """async ([drag, time]) => {
    const place = document.querySelector('.molvae-map'), map = place.map;
    const box = place.getBoundingClientRect(), canvas = place.querySelector('canvas');
    const send = (kind, name, x, y, more) => canvas.dispatchEvent(new kind(name, { bubbles: true,
        cancelable: true, pointerId: 1, clientX: box.x + x, clientY: box.y + y, ...more }));
    canvas.setPointerCapture = () => {};
    if (drag) send(PointerEvent, 'pointerdown', 300, 200);
    const before = map.frames, began = performance.now(); let n = 0;
    await new Promise((done) => requestAnimationFrame(function step() {
        const t = n++ / 9;
        if (drag) send(PointerEvent, 'pointermove', 300 + 80 * Math.sin(t), 200 + 60 * Math.cos(t));
        else send(WheelEvent, 'wheel', 300, 200, { deltaY: 30 * Math.cos(t) });
        if (performance.now() - began < time) requestAnimationFrame(step); else done();
    }));
    const seconds = (performance.now() - began) / 1000;
    if (drag) send(PointerEvent, 'pointerup', 300, 200);
    return [n / seconds, (map.frames - before) / n];
}"""


def main() -> None:
    """Measure, print, and write results.csv."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--pairs", type=int, default=5, help="searches with and without a watcher")
    parser.add_argument("--screens", type=Path, help="folder for the pictures of the guide")
    parser.add_argument("--out", type=Path, default=Path("runs/studio-study"))
    args = parser.parse_args()
    points, budget, repeats = (2_000, 25, 1) if args.quick else (100_000, 250, 5)
    chromium = find_chromium()
    if chromium is None:
        print("no browser: nothing is measured; apt-get install chromium, or set MOLVAE_CHROMIUM")
        return
    one, large = args.out / f"one-{budget}", args.out / f"large-{points}"
    if not one.exists():
        search(one, budget)
    if not large.exists():
        write_large(large, one, points)
    rows = Figures()
    with browser(chromium) as page_of:
        measure_small(page_of, one, repeats, rows)
        measure_large(page_of, large, points, 1_000 if args.quick else 3_000, rows)
        if args.screens:
            take_pictures(page_of, one, args.screens)
    if not args.quick:
        with browser(chromium) as page_of:
            measure_cost(page_of, args.out, budget, args.pairs, rows)
    table = pd.DataFrame({"figure": rows.keys(), "value": rows.values()})
    write_file(args.out / "results.csv", table.to_csv(index=False, float_format="%.3f"))


class Figures(dict[str, float]):
    """Figures by name, printed when they are known."""

    def __setitem__(self, name: str, value: float) -> None:
        super().__setitem__(name, value)
        print(f"{name}: {value:.3f}", flush=True)


def find_chromium() -> str | None:
    """Return the path of a browser."""
    return os.environ.get("MOLVAE_CHROMIUM") or shutil.which("chromium")


def search(folder: Path, budget: int, seed: int = 0) -> float:
    """Run a search in a new folder -> its seconds."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "molvae", "optimize", "--objective", "QED"]
    command += ["--budget", str(budget), "--seed", str(seed), "--out", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - began


def write_large(folder: Path, like: Path, points: int) -> None:
    """Write a run of many evaluations with random latent points; the molecules are small ones."""
    folder.mkdir(parents=True)
    shutil.copy(like / "config.json", folder)
    found = History(like / "history.sqlite")
    z = np.random.default_rng(0).standard_normal((points, 64)).astype(np.float32)
    with History(folder / "history.sqlite") as history, history.at_once():
        history.save_settings(found.settings)
        for i in range(points):
            name = f"[{i % 999 + 1}CH3][{i // 999 + 1}CH3]"
            history.add(name, float(z[i, 0]), seconds=0.0, z=z[i])
    found.close()


@contextmanager
def browser(path: str) -> Iterator[object]:
    """Start Chromium -> a function that opens pages."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=path, args=FLAGS)

        def open_page(address: str, width: int = 1400, height: int = 950) -> object:
            page = found.new_page(viewport={"width": width, "height": height})
            page.set_default_timeout(120_000)
            page.goto(address)
            return page

        yield open_page
        found.close()


@contextmanager
def serve(path: Path) -> Iterator[tuple[str, int]]:
    """Start the studio -> its address, and the number of its process."""
    command = [sys.executable, "-m", "molvae", "studio", "--no-browser", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        line = process.stdout.readline() if process.stdout else ""
        try:
            yield re.findall(r"http\S+", line)[0], process.pid
        finally:
            process.terminate()


def measure_small(  # type: ignore[no-untyped-def]
    page_of, run: Path, repeats: int, rows: Figures
) -> None:
    """Paint, decode and follow a run of the usual size."""
    paints, tables, maps = [], [], []
    for _ in range(repeats):
        began = time.perf_counter()
        with serve(run) as (address, _pid):
            page = page_of(address)
            shown = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
            page.wait_for_function(shown, polling=10)
            opened = "performance.timeOrigin + " + shown
            paints.append(page.evaluate(opened) / 1000 - time.time() + time.perf_counter() - began)
            page.wait_for_selector("td.smiles")
            tables.append(time.perf_counter() - began)
            page.wait_for_function(f"{MAP}?.n > 0 && {MAP}.density")
            maps.append(time.perf_counter() - began)
            page.close()
    rows["first paint after the command (s, median)"] = statistics.median(paints)
    rows["table after the command (s, median)"] = statistics.median(tables)
    rows["map with its points after the command (s, median)"] = statistics.median(maps)
    live = run.parent / "live"
    shutil.rmtree(live, ignore_errors=True)
    shutil.copytree(run, live)
    with serve(live) as (address, _pid), History(live / "history.sqlite") as history:
        page = page_of(address)
        page.wait_for_function(f"{MAP}?.n > 0 && {MAP}.density")
        box = page.locator(".molvae-map").bounding_box()
        seconds = []
        for i in range(repeats + 1):
            x, y = box["x"] + 30 + 25 * i, box["y"] + 30
            page.evaluate(f"{MAP}.marks.here = null")
            began = time.perf_counter()
            page.mouse.click(x, y)
            page.wait_for_function(  # two places may hold the same molecule
                f"{MAP}.marks.here && (i => i.complete && i.naturalWidth > 0)"
                "(document.querySelector('img[alt=structure]'))",
                polling=10,
            )
            seconds.append(time.perf_counter() - began)
        rows["decode on click, with picture (s, median)"] = statistics.median(seconds[1:])
        z, lags = history.records()[0].z, []
        for i in range(repeats):
            n = page.evaluate(f"{MAP}.n")
            history.add(f"[{i + 1}CH3][{i + 1}CH3]", 0.5, seconds=0.0, z=z)
            began = time.perf_counter()
            page.wait_for_function(f"{MAP}.n > {n}", polling=20)
            lags.append(time.perf_counter() - began)
            time.sleep(0.7)
        rows["a new evaluation on the map (s, median)"] = statistics.median(lags)
        page.close()


def measure_large(  # type: ignore[no-untyped-def]
    page_of, run: Path, points: int, time_of_move: int, rows: Figures
) -> None:
    """Pan and zoom many points, each for some milliseconds, and weigh the server."""
    began = time.perf_counter()
    with serve(run) as (address, pid):
        page = page_of(address)
        page.wait_for_function(f"{MAP}?.n >= {points} && {MAP}.density")
        rows[f"map of {points:,} points (s)"] = time.perf_counter() - began
        for act, drag in (("pan", True), ("zoom", False)):
            rate, drawn = page.evaluate(MOVE, [drag, time_of_move])
            rows[f"{act} with {points:,} points (frames/s)"] = rate
            rows[f"{act}: share of the frames in which the map was drawn anew"] = drawn
        status = Path(f"/proc/{pid}/status").read_text()
        rows[f"memory of the server with {points:,} points (MB)"] = (
            int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1024
        )
        page.close()


def measure_cost(page_of, out: Path, budget: int, pairs: int, rows: Figures) -> None:  # type: ignore[no-untyped-def]
    """Search with and without a watcher, in turn: the medians of the paired differences."""
    changes, shares = [], []
    for i in range(pairs):
        folders = out / f"alone-{i}", out / f"watched-{i}"
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
        alone = search(folders[0], budget, seed=i)
        folders[1].mkdir(parents=True)
        (folders[1] / "history.sqlite").touch()  # so that it is watched before it begins
        with serve(folders[1]) as (address, pid):
            page = page_of(address)
            page.wait_for_selector("text=no evaluation yet")
            page.wait_for_timeout(5_000)  # it has been open before the search begins
            before, began = measure_spent(pid), measure_children()
            watched = search(folders[1], budget, seed=i)
            spent, own = measure_spent(pid) - before, measure_children() - began
            page.close()
        changes.append(100 * (watched / alone - 1))
        shares.append(100 * spent / own)
    rows["what an open page costs a search (% of its seconds, median of pairs)"] = (
        statistics.median(changes)
    )
    rows["CPU time of server and browser meanwhile (% of the search's, median)"] = (
        statistics.median(shares)
    )


def measure_children() -> float:
    """Return the CPU seconds of the searches that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure_spent(server: int) -> float:
    """Server -> its CPU seconds so far and those of the browser's processes."""
    found: dict[int, tuple[int, float, bool]] = {}  # parent, seconds, whether it is of interest
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with suppress(OSError):  # it has ended
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                seconds = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
                browses = b"chrom" in (folder / "cmdline").read_bytes().partition(b"\0")[0]
                found[int(folder.name)] = int(fields[1]), seconds, browses

    def is_ours(process: int) -> bool:
        while process in found and process != os.getpid():
            process = found[process][0]
        return process == os.getpid()

    wanted = {process for process, one in found.items() if one[2] and is_ours(process)}
    return sum(found[process][1] for process in {server, *wanted})


def take_pictures(page_of, run: Path, folder: Path) -> None:  # type: ignore[no-untyped-def]
    """Take the pictures of docs/guides/studio.md."""
    with serve(run) as (address, _pid):
        page = page_of(address, 1400, 1000)
        page.wait_for_function(f"{MAP}?.n > 0 && {MAP}.density")
        box = page.locator(".molvae-map").bounding_box()
        place = page.locator(".molvae-map canvas").last
        place.click(position={"x": box["width"] * 0.62, "y": box["height"] * 0.3})
        page.wait_for_selector("text=What would be here")
        place.click(
            position={"x": box["width"] * 0.36, "y": box["height"] * 0.7}, modifiers=["Shift"]
        )
        page.wait_for_selector("text=The way between")
        page.get_by_role("button", name="grid", exact=True).click()
        page.wait_for_timeout(1_500)
        page.screenshot(path=folder / "studio.png")
        page.get_by_role("tab", name="search").click()
        page.wait_for_timeout(500)
        page.locator(".q-tab-panel").screenshot(path=folder / "studio-search.png")
        page.close()
        page = page_of(address, 390, 844)
        page.wait_for_function(f"{MAP}?.n > 0 && {MAP}.density")
        page.wait_for_timeout(1_000)
        page.screenshot(path=folder / "studio-phone.png")
        page.close()


if __name__ == "__main__":
    main()
