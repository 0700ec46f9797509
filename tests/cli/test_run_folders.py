"""Folders that commands write into: settings agree, and damage is one clear line."""

import json
import shutil
from pathlib import Path

import pytest

from molvae.base.errors import MolvaeError
from molvae.base.files import RunFolder, write_file
from molvae.cli import main
from molvae.latent.fit import CHECKPOINT

TINY = ["--epochs", "1", "--limit", "60", "--latent", "8"]
TINY += ["--encoder-hidden", "16", "--decoder-hidden", "16", "--tokenizer", "char"]
SEARCH = ["--model", "qm9", "--budget", "12", "--strategy", "prior"]
# command -> (its words, where its settings are, what resumes it)
COMMANDS = {
    "train": (["train", *TINY, "--properties", "--out", "{folder}"], "config.json", ["--resume"]),
    "optimize": (
        [
            "optimize",
            "--model",
            "qm9",
            "--budget",
            "12",
            "--strategy",
            "prior",
            "--out",
            "{folder}",
        ],
        "config.json",
        ["--resume"],
    ),
    "encode": (["encode", "CCO", "--model", "qm9", "--out", "{folder}/"], "_settings.json", []),
    "benchmark": (
        ["benchmark", *SEARCH, "--tasks", "qed", "--out", "{folder}"],
        "settings.json",
        [],
    ),
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A finished run of each command."""
    folders = {}
    for name, (words, _, _) in COMMANDS.items():
        folders[name] = tmp_path_factory.mktemp(name) / "run"
        assert main([word.format(folder=folders[name]) for word in words]) == 0
    return folders


@pytest.mark.parametrize("name", COMMANDS)
def test_a_damaged_file_of_settings_is_one_line_and_nothing_is_lost(
    name: str, finished: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words, settings, resume = COMMANDS[name]
    folder = tmp_path / "run"
    shutil.copytree(finished[name], folder)
    whole = (folder / settings).read_bytes()
    again = [word.format(folder=folder) for word in words] + resume
    for damaged in (
        b"",
        whole[:1],
        whole[: len(whole) // 2],
        whole[:-3],
        b"[1]",
        b"\xff\xfe",
        b"{}",
    ):
        (folder / settings).write_bytes(damaged)
        before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
        capsys.readouterr()
        assert main(again) == 1, damaged
        error = capsys.readouterr().err.replace("\r", "\n").strip().split("\n")[-1]
        assert error.startswith(f"molvae {name}: "), error
        assert str(folder) in error
        assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before
    (folder / settings).write_bytes(whole)
    assert main(again) == 0


def test_a_training_that_cannot_begin_leaves_no_folder(tmp_path: Path) -> None:
    (tmp_path / "one.smi").write_text("CCO\n")
    for words in (
        ["--data", str(tmp_path / "one.smi")],
        ["--encoder", "mlp"],
        ["--latent", "0"],
        ["--precision", "7-bit"],
    ):
        assert main(["train", *TINY, *words, "--out", str(tmp_path / "run")]) == 1
        assert not (tmp_path / "run").exists()


def test_a_training_that_cannot_resume_loses_nothing(
    finished: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished["train"], folder)
    whole = (folder / CHECKPOINT).read_bytes()
    for damaged in (b"", whole[:100], whole[: len(whole) // 2]):
        (folder / CHECKPOINT).write_bytes(damaged)
        before = {p: p.read_bytes() for p in folder.iterdir()}
        assert main(["train", "--resume", "--out", str(folder)]) == 1
        assert "damaged, or not a molvae file" in capsys.readouterr().err
        assert {p: p.read_bytes() for p in folder.iterdir()} == before
    (folder / CHECKPOINT).write_bytes(whole)
    assert main(["train", "--resume", "--out", str(folder)]) == 0


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_file(path, "old")

    def full(self: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        write_file(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_may_change_on_resume_and_what_may_not(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    with pytest.raises(MolvaeError, match="holds no run to resume"):
        folder.resume({}, may_change=[])
    folder.begin({"seed": 1, "budget": 10, "sizes": (2, 3)})
    with pytest.raises(MolvaeError, match="holds a run already"):
        folder.begin({"seed": 1})
    given = {"budget": 20, "sizes": (2, 3)}
    assert folder.resume(given, may_change=["budget"])["budget"] == 20
    with pytest.raises(MolvaeError, match=r"--budget cannot change on resume \(this run has 10\)"):
        folder.resume(given, may_change=[])
    with pytest.raises(MolvaeError, match="damaged: it lacks model"):
        folder.resume({}, may_change=[], required=["seed", "model"])
    folder.agree({"seed": 1, "budget": 10, "sizes": [2, 3]})
    with pytest.raises(MolvaeError, match="seed was 1 when the folder was made, and is 2 now"):
        folder.agree({"seed": 2, "budget": 10, "sizes": [2, 3]})
    assert json.loads(folder.settings_path.read_text())["seed"] == 1


def test_a_model_without_a_data_set_is_told_to_name_one(
    small_model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from dataclasses import replace

    from molvae.model.molvae import MolVAE

    nameless = MolVAE(*small_model.parts)
    nameless.summary = replace(small_model.summary, data=None)
    nameless.save(tmp_path / "nameless.safetensors")
    words = ["--model", str(tmp_path / "nameless.safetensors"), "--out", str(tmp_path / "run")]
    words = ["benchmark", *words, "--tasks", "pmo:qed", "--budget", "12", "--strategy", "prior"]
    assert main(words) == 1
    assert "does not name its training data: add --data" in capsys.readouterr().err
    assert main([*words, "--data", "zinc"]) == 0
    words = ["optimize", *words[1:3], "--out", str(tmp_path / "search"), "--budget", "12"]
    words += ["--objective", "QED", "--strategy", "prior"]
    assert main(words) == 1
    assert "does not name its training data: add --data" in capsys.readouterr().err
    assert not (tmp_path / "search").exists()
    assert main([*words, "--data", "zinc"]) == 0
