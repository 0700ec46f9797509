"""No verb overwrites a file unasked, and it says so before it begins to work."""

from pathlib import Path

import pandas as pd
import pytest

from molvae.cli import main
from molvae.model.molvae import MolVAE

ASPIRIN, IBUPROFEN = "CC(=O)Oc1ccccc1C(=O)O", "CC(C)Cc1ccc(C(C)C(=O)O)cc1"
SMALL = ("--molecules", "30", "--samples", "20", "--data", "mine.smi")
# words of a command -> the file that it writes
WRITERS = {
    ("encode", ASPIRIN, "--out", "z.npz"): "z.npz",
    ("encode", ASPIRIN, "--out", "z.csv"): "z.csv",
    ("decode", "in.csv", "--out", "back.csv"): "back.csv",
    ("sample", "-n", "3", "--out", "new.csv"): "new.csv",
    ("sample", "-n", "1", "--valid", "--out", "new.smi"): "new.smi",
    ("interpolate", ASPIRIN, IBUPROFEN, "--steps", "2", "--out", "line.csv"): "line.csv",
    ("interpolate", ASPIRIN, "--along", "QED", "--steps", "2", "--out", "w.svg"): "w.svg",
    ("neighbors", ASPIRIN, "--grid", "3"): "neighbors.png",
    ("neighbors", ASPIRIN, "--grid", "3", "--out", "deep/n.svg"): "deep/n.svg",
    ("report", *SMALL): "runs/report-first-model/report.json",
    ("report", *SMALL, "--out", "r"): "r/report.json",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_model: MolVAE) -> Path:
    """A working folder with two models of one file name, and something to read."""
    monkeypatch.chdir(tmp_path)
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        small_model.save(tmp_path / name / "model.safetensors")
    pairs = [f"{'C' * n}{end}" for n in range(1, 16) for end in ("O", "N", "Cl", "F")]
    (tmp_path / "mine.smi").write_text("\n".join(pairs))
    point = pd.DataFrame([[0.1] * small_model.latent])
    point.columns = [f"z{i}" for i in range(small_model.latent)]
    point.to_csv(tmp_path / "in.csv", index=False)
    return tmp_path


def command(words: tuple[str, ...], model: str = "first") -> list[str]:
    path = f"{model}/model.safetensors"
    given = [path] if words[0] == "report" else ["--model", path]
    return [words[0], *given, *words[1:]]


@pytest.mark.parametrize("words", WRITERS, ids=" ".join)
def test_an_existing_file_is_refused_before_any_work(
    words: tuple[str, ...],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = folder / WRITERS[words]
    assert main(command(words)) == 0
    assert file.stat().st_size > 0
    file.write_text("precious")
    capsys.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr(MolVAE, "load", lambda source, **options: pytest.fail("work was begun"))
        assert main(command(words)) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert f"{WRITERS[words]} exists already: add --overwrite" in err
    assert file.read_text() == "precious"
    assert main([*command(words), "--overwrite"]) == 0
    assert b"precious" not in file.read_bytes()


def test_two_models_of_one_file_name_have_a_report_each(folder: Path) -> None:
    for name in ("first", "second"):
        assert main(command(("report", *SMALL), model=name)) == 0
    found = {path.name for path in (folder / "runs").iterdir()}
    assert found == {"report-first-model", "report-second-model"}


def test_what_is_in_the_way_is_told_at_once(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "n.png").mkdir()
    assert main(command(("neighbors", ASPIRIN, "--out", "n.png"))) == 1
    assert "n.png is a folder" in capsys.readouterr().err
    assert main(command(("report", *SMALL, "--out", "mine.smi"))) == 1
    assert "mine.smi is a file, not a folder" in capsys.readouterr().err
    (folder / "properties.png").write_text("precious")
    assert main(command(("report", *SMALL, "--out", "."))) == 1
    assert "properties.png exists already" in capsys.readouterr().err


def test_a_folder_of_parts_is_resumed_and_not_replaced(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = command(("sample", "-n", "3", "--out", "parts/"))
    assert main(words) == 0
    assert main(words) == 0
    assert main([*words, "--overwrite"]) == 1
    assert "a folder is resumed" in capsys.readouterr().err


def test_a_search_does_not_replace_the_results_of_another_program(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "best.csv").write_text("precious")
    assert main(["optimize", "--budget", "10", "--data", "mine.smi", "--out", "."]) == 1
    assert "best.csv exists already" in capsys.readouterr().err
    assert (folder / "best.csv").read_text() == "precious"
    assert not (folder / "history.sqlite").exists()
