"""Measure what a person waits for: cold verbs, a training's first step, a search's first result.

python pipelines/speed/waits.py  # about four minutes; run nothing else
python pipelines/speed/waits.py --busy  # while as many other processes as there are cores compute
python pipelines/speed/waits.py --quick  # half a minute
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

VERBS = {
    "list": ["list"],
    "sample": ["sample", "-n", "64"],
    "encode": ["encode", "64.smi", "--out", "{n}.npz"],
    "decode": ["decode", "0.npz"],
    "neighbors": ["neighbors", "CCO", "--out", "{n}.png"],
    "interpolate": ["interpolate", "CCO", "CCN"],
    "optimize, 20 calls": ["optimize", "--objective", "QED", "--budget", "20", "--out", "20-{n}"],
}
BUSY = "while True: pass"
PATIENCE = 600  # seconds


def main() -> None:
    """Print the seconds that each takes."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--busy", action="store_true", help="keep all cores busy meanwhile")
    parser.add_argument("--quick", action="store_true", help="once each, and no round of a search")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, keep_busy(args.busy):
        os.chdir(folder)
        subprocess.run(
            [sys.executable, "-m", "molvae", "sample", "-n", "64", "--out", "64.csv"],
            check=True,
            capture_output=True,
        )
        rows = Path("64.csv").read_text().splitlines()[1:]
        Path("64.smi").write_text("\n".join(row.partition(",")[0] for row in rows))
        for verb, words in VERBS.items():
            taken = [measure(words, n) for n in range(1 if args.quick else 5)]
            report(f"molvae {verb}", statistics.median(taken), f"median of {len(taken)}")
        train = ["train", "--data", "zinc", "--minutes", "1", "--out", "train"]
        report("molvae train", measure_until(train, begun), "empty cache, first validation")
        search = ["optimize", "--objective", "logP", "--out", "search"]
        report("molvae optimize", measure_until(search, evaluated), "empty cache, first molecule")
        if not args.quick:
            report("a round of it", measure_rounds(), "median of ten before 1,000 observations")


def report(what: str, seconds: float, how: str) -> None:
    """Print one figure."""
    print(f"{what:26}{seconds:7.2f} s  {how}", flush=True)


def measure(words: list[str], n: int) -> float:
    """Words of a command and its number -> the seconds that it takes as a process of its own."""
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "molvae", *(word.format(n=n) for word in words)],
        check=True,
        capture_output=True,
    )
    return time.perf_counter() - started


def measure_until(words: list[str], done: Callable[[], bool]) -> float:
    """Words of a command and what to wait for -> the seconds until then, with an empty cache."""
    with tempfile.TemporaryDirectory() as cache:
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "molvae", *words],
            env=os.environ | {"MOLVAE_CACHE": cache},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            while not done():
                if process.poll() is not None or time.perf_counter() - started > PATIENCE:
                    raise SystemExit(f"{' '.join(words)} gave nothing to see")
                time.sleep(0.05)
            return time.perf_counter() - started
        finally:
            process.terminate()
            process.wait()


def begun() -> bool:
    """Whether the training has a row of its curve: the validation before the first step."""
    curve = Path("train", "metrics.csv")
    return curve.exists() and curve.read_text().count("\n") > 1


def evaluated() -> bool:
    """Whether the search has evaluated a molecule."""
    with contextlib.suppress(sqlite3.Error):
        source = f"file:{Path('search', 'history.sqlite')}?mode=ro"
        with contextlib.closing(sqlite3.connect(source, uri=True)) as history:
            (count,) = history.execute("select count(*) from evaluations").fetchone()
            return bool(count)
    return False


def measure_rounds() -> float:
    """The seconds of a round, its evaluations aside, with 1,000 observations."""
    words = ["optimize", "--objective", "QED", "--budget", "1000", "--batch", "10", "--out", "long"]
    subprocess.run([sys.executable, "-m", "molvae", *words], check=True, capture_output=True)
    with contextlib.closing(sqlite3.connect(Path("long", "history.sqlite"))) as history:
        rows = history.execute("select seconds from iterations order by iteration desc limit 10")
        return statistics.median(seconds for (seconds,) in rows)


@contextlib.contextmanager
def keep_busy(wanted: bool) -> Iterator[None]:
    """Keep every core busy with another process inside a `with` block."""
    others = [
        subprocess.Popen([sys.executable, "-c", BUSY])
        for _ in range(os.cpu_count() or 1 if wanted else 0)
    ]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


if __name__ == "__main__":
    main()
