"""Every study runs from start to end in its quick form."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

PIPELINES = sorted((Path(__file__).parents[1] / "pipelines").glob("[!_]*.py"))


def quick(path: Path, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, str(path), "--quick"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("path", PIPELINES, ids=lambda path: path.stem)
def test_quick(path: Path, tmp_path: Path) -> None:
    assert quick(path, tmp_path).strip()
    if path.stem == "ppca_vs_vae":  # small enough to reach its aim
        table = pd.read_csv(tmp_path / "runs/ppca-vs-vae/ppca_vs_vae.csv", index_col="name")
        linear = table.filter(like="linear VAE", axis=0)
        assert len(linear) == 2
        assert (linear["below_ppca"].abs() < 0.05).all()
        assert (linear["angle_degrees"] < 3).all()
