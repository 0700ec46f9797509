"""Measure large libraries, backends and training in two processes on this machine.

python pipelines/speed/scale.py  # an hour on two cores; run nothing else
python pipelines/speed/scale.py --only backends --quick  # half a minute
"""

from __future__ import annotations

import argparse
import csv
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import joblib

from molvae.chem.datasets import load
from molvae.chem.molecules import randomize_smiles
from molvae.cli import options

PARTS = ("library", "backends", "processes")
LIBRARY = 10_000_000  # molecules that the times are extrapolated to


def main() -> None:
    """Print a line for each figure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", choices=PARTS, nargs="+", default=PARTS)
    parser.add_argument("--molecules", type=int, default=1_000_000, help="of the large library")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--quick", action="store_true", help="a small library, few tasks")
    args = parser.parse_args()
    if args.quick:
        args.molecules = 4_000
    os.environ["OMP_NUM_THREADS"] = "1"  # of every process that is started here
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        if "library" in args.only:
            for n in (args.molecules // 4, args.molecules):  # is the memory the same?
                measure_library(n, args.jobs)
        if "backends" in args.only:
            measure_backends(100 if args.quick else 2_000, args.jobs)
        if "processes" in args.only:
            measure_processes(0.1 if args.quick else 2.0, args.jobs)


def measure_library(n: int, jobs: int) -> None:
    """Encode n molecules into a folder, and decode what was written."""
    source = Path(f"{n}.smi")
    with source.open("w") as file:
        file.writelines(f"{smiles}\n" for smiles in write_forms(n))
    chunk = str(max(1_000, min(10_000, n // (4 * jobs))))
    words = ["--jobs", str(jobs), "--chunk", chunk]
    for name, verb in (
        ("encode, posterior means", ["encode", str(source), "--refine", "0", "--out", f"z{n}/"]),
        ("encode, refined", ["encode", str(source), "--out", f"r{n}/"]),
        ("decode by beam search", ["decode", f"r{n}/", "--out", f"s{n}/"]),
    ):
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "molvae", *verb, *words, "--model", "zinc"],
            check=True,
            capture_output=True,
        )
        seconds = time.perf_counter() - started
        report(
            f"{name}, {n:,} molecules",
            f"{n / seconds:.0f} molecules/s; {LIBRARY / 1e6:.0f} million in "
            f"{LIBRARY / n * seconds / 3600:.1f} h; largest process so far "
            f"{resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6:.2f} GB",
        )


def write_forms(n: int) -> Iterator[str]:
    """Yield n SMILES of ZINC, repeated in random forms once all were there."""
    smiles = load("zinc").smiles
    for i in range(n):
        known = smiles[i % len(smiles)]
        yield known if i < len(smiles) else randomize_smiles(known, 1)[0]


def measure_backends(tasks: int, jobs: int) -> None:
    """Start each backend, and give it many tasks that do nothing."""
    for name in ("loky", "dask", "ray"):
        started = time.perf_counter()
        chosen = argparse.Namespace(backend=name, jobs=jobs)
        with options.engine(chosen), joblib.Parallel(batch_size=1) as parallel:
            parallel(joblib.delayed(abs)(i) for i in range(jobs))
            begun = time.perf_counter()
            parallel(joblib.delayed(abs)(i) for i in range(tasks))
            took = time.perf_counter() - begun
        report(
            f"backend {name}",
            f"ready after {begun - started:.1f} s; {1e3 * took / tasks:.2f} ms a task",
        )


def measure_processes(minutes: float, most: int) -> None:
    """Train the default model in one process and in several."""
    rates = {}
    for devices in (1, most):
        out = Path(f"train-{devices}")
        words = ["train", "--data", "zinc", "--minutes", str(minutes), "--devices", str(devices)]
        words += ["--batch", str(128 // devices), "--out", str(out)]
        subprocess.run([sys.executable, "-m", "molvae", *words], check=True, capture_output=True)
        with (out / "metrics.csv").open(newline="") as file:
            found = [float(row["examples_per_second"]) for row in csv.DictReader(file)]
        rates[devices] = statistics.median(found[1:-1] or found)
        report(f"train in {devices} processes", f"{rates[devices]:.0f} molecules/s")
    report("efficiency", f"{rates[most] / rates[1] / most:.0%}")


def report(what: str, found: str) -> None:
    """Print one figure."""
    print(f"{what:46}{found}", flush=True)


if __name__ == "__main__":
    main()
