"""Dask and Ray give what one process gives."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from molvae.chem.molecules import parse
from molvae.chem.properties import qed
from molvae.model.molvae import MolVAE
from molvae.oracles.history import History

RUN = """
import json, sys
from molvae.cli import main
for words in json.loads(sys.argv[1]):
    assert main(words) == 0, words
"""


@pytest.mark.parametrize(
    "backend",
    [
        pytest.param(
            name, marks=pytest.mark.skipif(not importlib.util.find_spec(package), reason=reason)
        )
        for name, package, reason in (
            ("dask", "distributed", "needs the extra dask"),
            ("ray", "ray", "needs the extra ray"),
        )
    ],
)
def test_a_library_and_a_search_run_on(
    backend: str, zinc: list[str], small_model_file: str, tmp_path: Path
) -> None:
    (tmp_path / "my.smi").write_text("\n".join(zinc[:40]))
    both = ["--model", small_model_file, "--backend", backend, "--jobs", "2"]
    commands = [
        ["encode", "my.smi", "--chunk", "10", "--refine", "0", "--out", "z", *both],
        [
            "optimize",
            "--objective",
            "QED",
            "--strategy",
            "ga",
            "--budget",
            "12",
            "--out",
            "search",
            *both,
        ],
    ]
    done = subprocess.run(
        [sys.executable, "-c", RUN, json.dumps(commands)],
        cwd=tmp_path,
        env=os.environ | {"HOME": str(tmp_path)},  # Ray writes there
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    rows = pd.concat([pd.read_parquet(part) for part in sorted(tmp_path.glob("z/*.parquet"))])
    assert rows["smiles"].tolist() == zinc[:40]
    expected = MolVAE.load(small_model_file).encode_means(zinc[:40])
    np.testing.assert_allclose(rows.filter(regex=r"^z\d+$"), expected, atol=1e-5)
    history = History(tmp_path / "search" / "history.sqlite")
    records = history.records()
    history.close()
    assert len(records) == 12
    assert [r.y for r in records] == [qed(parse(r.smiles)) for r in records]
