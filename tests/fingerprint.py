"""Digests of searches, a report and trainings, to compare before and after a change of structure.

    python tests/fingerprint.py FOLDER      # about three minutes; FOLDER keeps the runs

A change that only moves or renames code prints the same digests as its parent, on the same machine
and versions: the same evaluations, rounds and best.csv of eight searches, the same numbers of a
report, the same weights of three short trainings.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from safetensors.numpy import load_file

SEARCHES = {
    "neighbourhood": ["--objective", "logP", "--budget", "70"],
    "thompson": ["--objective", "drug", "--budget", "60", "--strategy", "thompson"],
    "ei": ["--objective", "QED", "--budget", "50", "--strategy", "ei", "--seed", "1"],
    "trust-region": ["--objective", "QED", "--budget", "50", "--strategy", "trust-region"],
    "gradient": ["--objective", "drug", "--budget", "50", "--strategy", "gradient"],
    "ga": ["--objective", "drug", "--budget", "70", "--strategy", "ga"],
    "ehvi": ["--objective", "QED", "SAS", "--budget", "50"],
    "constraint": [
        "--objective",
        "pmo:jnk3",
        "--budget",
        "50",
        "--constraint",
        "SAS<4",
        "alerts:PAINS",
    ],
}
SMALL = ["--latent", "16", "--encoder-hidden", "64", "--decoder-hidden", "64"]
RECOMBINE = ["--recombine", "500", "--tokenizer", "selfies"]
RECOMBINE += ["--prior", "mixture", "--posterior", "diagonal"]
TRAININGS = {
    "train": SMALL,
    "start": ["--start", "qm9", "--data", "qm9"],
    "recombine": [*RECOMBINE, *SMALL],
}


def main(folder: Path) -> None:
    """Run everything, and print a line for each digest."""
    for name, words in SEARCHES.items():
        run("optimize", *words, "--out", str(folder / name))
        with closing(sqlite3.connect(folder / name / "history.sqlite")) as file, file:
            rows = [
                file.execute(f"SELECT {columns} FROM {table} ORDER BY {key}").fetchall()
                for table, key, columns in (
                    ("evaluations", "number", "number, iteration, smiles, y, several, hex(z)"),
                    ("iterations", "iteration", "iteration, decoded, valid, candidates"),
                )
            ]
        best = (folder / name / "best.csv").read_text()
        print(f"{name:<16}{digest(rows)} {digest(best)}", flush=True)
    sizes = ["--molecules", "150", "--samples", "150"]
    run("report", "zinc", *sizes, "--out", str(folder / "report"))
    report = json.loads((folder / "report" / "report.json").read_text())
    del report["seconds"], report["versions"]
    print(f"{'report':<16}{digest(report)}", flush=True)
    steps = ["--limit", "1500", "--epochs", "1", "--precision", "32-true", "--validate-every", "5"]
    for name, words in TRAININGS.items():
        out = folder / f"train-{name}"
        run("train", *words, *steps, "--out", str(out))
        weights = load_file(out / "model.safetensors")
        hashes = {k: hashlib.sha256(v.tobytes()).hexdigest() for k, v in weights.items()}
        print(f"{'train ' + name:<16}{digest(hashes)}", flush=True)


def run(*words: str) -> None:
    """Run one command of molvae on one thread, quietly."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "molvae", *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}: {done.stderr[-500:]}")


def digest(values: object) -> str:
    """JSON values -> 16 characters."""
    text = json.dumps(values, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
