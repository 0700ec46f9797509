"""The studies of images and sketches, run on the files that a user has in place of their own."""

import os
import runpy
import sys
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.io import savemat

PIPELINES = Path(__file__).parents[2] / "pipelines"
RNG = np.random.default_rng(0)


def run(
    name: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], *options: object
) -> str:
    """Run the quick form of a study with options; what it printed."""
    study = PIPELINES / name
    script = str(study / f"{name}.py")
    monkeypatch.setattr(sys, "argv", [script, "--quick", "--out", "run", *map(str, options)])
    monkeypatch.setattr(sys, "path", [str(study), *sys.path])
    with patch.dict(os.environ):
        runpy.run_path(script, run_name="__main__")
    return capfd.readouterr().out


def test_faces_of_celeba(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("resvg_py")
    monkeypatch.chdir(tmp_path)
    names = ["Eyeglasses", "Wearing_Hat", "Smiling", "Male", "Blond_Hair", "Young", "No_Beard"]
    photographs = tmp_path / "celeba" / "img_align_celeba"
    photographs.mkdir(parents=True)
    has = pd.DataFrame(
        RNG.random((260, len(names))) < 0.5, [f"{i:06}.jpg" for i in range(1, 261)], names
    )
    for name, row in has.iterrows():
        pixels = np.full((218, 178, 3), 200, np.uint8)
        for i, shown in enumerate(row):  # each attribute is a square of its own
            top, left = 45 + 45 * (i // 3), 25 + 45 * (i % 3)
            pixels[top : top + 35, left : left + 35] = 220 * shown
        Image.fromarray(pixels).save(photographs / str(name))
    table = (2 * has.astype(int) - 1).rename_axis("image_id")
    table.to_csv(tmp_path / "celeba" / "list_attr_celeba.csv")
    part = pd.Series(RNG.permutation(np.repeat([0, 1, 2], [210, 20, 30])), table.index)
    part.rename("partition").to_csv(tmp_path / "celeba" / "list_eval_partition.csv")
    output = run("faces", monkeypatch, capfd, "--celeba", "celeba", "--models", "plain")
    assert "the judge reads right, of test faces: Eyeglasses" in output
    edits = pd.read_csv("run/edits.csv").set_index("attribute")
    assert list(edits.index) == names[:5]
    assert edits[["flipped", "kept"]].stack().between(0, 1).all()
    assert edits.error_ratio.isna().all()  # nobody knows the same face without its glasses
    assert Path("run/counterfactuals.png").is_file()


def test_drawings_of_quickdraw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("sklearn")
    monkeypatch.chdir(tmp_path)
    arrays = {}
    for name, n in (("train", 70), ("valid", 20), ("test", 30)):
        arrays[name] = np.empty(n, object)
        for i in range(n):
            drawing = RNG.integers(-40, 40, (RNG.integers(6, 14), 3), dtype=np.int16)
            drawing[:, 2] = np.arange(len(drawing)) % 4 == 3  # the pen goes up
            drawing[-1, 2] = 1
            arrays[name][i] = drawing
    np.savez(tmp_path / "cat.npz", **arrays)
    output = run("sketches", monkeypatch, capfd, "--quickdraw", "cat.npz")
    assert "tables and figures" in output
    found = pd.read_csv("run/reconstruction.csv")
    assert len(found)
    assert np.isfinite(found.select_dtypes("number")).all(axis=None)


def test_house_numbers_of_svhn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, n in (("train", 400), ("test", 200)):
        x = RNG.integers(0, 256, (32, 32, 3, n), dtype=np.uint8)
        y = np.arange(n, dtype=np.uint8)[:, None] % 10 + 1
        savemat(tmp_path / f"{name}_32x32.mat", {"X": x, "y": y})
    output = run("colour_digits", monkeypatch, capfd, "--svhn", ".")
    assert "379 training images, 200 test images" in output
    errors = pd.read_csv("run/errors.csv")
    assert errors.error.between(0, 100).all()
    assert set(errors.method) == {"M2", "classifier"}
