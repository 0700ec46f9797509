"""`molvae train` as a user runs it: in a process, killed, resumed, on a file of theirs."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from molvae import MolVAE
from molvae.base.errors import MolvaeError
from molvae.cli import main
from molvae.latent.fit import CHECKPOINT

TINY = [
    "--encoder-hidden", "32", "--decoder-hidden", "32", "--latent", "4",
    "--batch", "32", "--validate-every", "20",
]  # fmt: skip


@pytest.fixture
def table(zinc: list[str], tmp_path: Path) -> Path:
    """A CSV as a user has it: other columns, a few rows that are no molecules."""
    path = tmp_path / "mine.csv"
    rows = [*zinc[:900], "rubbish", ""]
    pd.DataFrame({"id": range(len(rows)), "structure": rows}).to_csv(path, index=False)
    return path


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "molvae", "train", *words]


def test_a_users_csv_becomes_a_model(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = table.parent / "run"
    words = ["train", "--data", f"{table}:structure", "--epochs", "2", "--out", str(out), *TINY]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "read 900 molecules, SMILES from column 'structure'" in said
    assert "2 left out" in said
    model = MolVAE.load(out / "model.safetensors")
    assert model.summary.data == f"{table}:structure"
    assert len(model.decode(model.encode(["CCO"]))) == 1
    assert (out / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
    assert main(words) == 1
    assert "holds a run already: add --resume" in capsys.readouterr().err
    assert main([*words, "--resume", "--latent", "5"]) == 1
    assert "--latent cannot change on resume (this run has 4)" in capsys.readouterr().err


def test_a_model_starts_from_another_and_learns_a_column(
    table: Path, small_model_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = pd.read_csv(table)
    rows.assign(affinity=rows["structure"].str.len()).to_csv(table, index=False)
    out = str(table.parent / "run")
    words = ["train", "--data", f"{table}:structure", "--out", out, "--epochs", "1"]
    words += ["--start", small_model_file, "--properties", "affinity"]
    assert main([*words, "--latent", "5"]) == 1
    assert "latent cannot be changed when fine-tuning a model" in capsys.readouterr().err
    assert main(words) == 0
    model = MolVAE.load(f"{out}/model.safetensors")
    assert list(model.predict_properties(model.encode(["CCO"]))) == ["affinity"]
    assert model.latent == MolVAE.load(small_model_file).latent
    capsys.readouterr()
    before = model.sample(5)
    words = ["fit-prior", f"{out}/model.safetensors", "--epochs", "1", "--prior", "mixture"]
    assert main(words) == 0
    assert "nats under the new prior 'mixture'" in capsys.readouterr().out
    fitted = MolVAE.load(f"{out}/model.safetensors")
    assert fitted.vae.config.prior == "mixture"
    assert fitted.sample(5, standard=True) == before
    assert main(["fit-prior", "zinc"]) == 1
    assert "give an output file with --out" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_training_resumes_with_the_same_curve(table: Path, number: int) -> None:
    words = ["--data", f"{table}:structure", "--epochs", "8", *TINY]
    whole, broken = table.parent / "whole", table.parent / "broken"
    subprocess.run(command(*words, "--out", str(whole)), check=True, capture_output=True)
    process = subprocess.Popen(
        command(*words, "--out", str(broken), "--checkpoint-minutes", "0"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (broken / CHECKPOINT).exists():
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        time.sleep(0.02)
    os.kill(process.pid, number)
    _, errors = process.communicate(timeout=60)
    if number == signal.SIGTERM:
        assert process.returncode == 128 + number
        assert "resume with: molvae train --resume" in errors
    resume = command("--resume", "--out", str(broken))
    subprocess.run(resume, check=True, capture_output=True)
    assert curve(broken) == curve(whole)


def curve(folder: Path) -> list[tuple[str, str]]:
    with (folder / "metrics.csv").open() as file:
        return [(r["step"], r["validation_loss"]) for r in csv.DictReader(file)]


def test_options_that_make_no_sense_are_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for words, message in [
        (["--data", "zink"], "zink: neither a file nor a data set"),
        (["--tokenizer", "words"], "unknown tokenizer 'words'"),
        (["--encoder", "grru"], "unknown encoder 'grru': did you mean 'gru'"),
        (["--resume", "--out", "nowhere"], "nowhere holds no run to resume"),
        (["--properties", "gap"], "zinc has no property 'gap'; known: logP"),
        (["--batch", "0"], "batch must be at least 1"),
        (["--optimizer", "sgd"], "the optimizer is muon or adam, not 'sgd'"),
        (["--random-smiles", "-1"], "random SMILES must not be negative"),
        (["--precision", "float3"], "precision"),
    ]:
        assert main(["train", *words, "--limit", "50", "--epochs", "1"]) == 1, words
        err = capsys.readouterr().err
        assert message in err.replace("\r", "\n").split("\n")[-2], (words, err)


def test_recombined_molecules_are_trained_on_and_not_validated_on(
    table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = table.parent / "run"
    words = ["train", "--data", f"{table}:structure", "--epochs", "1", "--out", str(out), *TINY]
    assert main([*words, "--recombine", "300"]) == 0
    shown = capsys.readouterr().out
    assert "recombined molecules added to the training data" in shown
    summary = MolVAE.load(out / "model.safetensors").summary
    own = int(shown.split(" molecules for training")[0].split()[-1])
    assert own + 250 < summary.molecules <= own + 300
    assert main([*words, "--recombine", "301", "--resume"]) == 1
    assert "--recombine cannot change on resume (this run has 300)" in capsys.readouterr().err


def test_of_recombined_molecules_what_can_be_computed_is_learned(
    table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = pd.read_csv(table)
    rows.assign(affinity=1.0 + rows["structure"].str.len()).to_csv(table, index=False)
    words = ["train", "--data", f"{table}:structure", "--out", str(table.parent / "run"), *TINY]
    seen = []

    def fit(vae: object, train: tuple[object, ...], *_: object) -> None:
        seen.append(train)
        raise MolvaeError("that is all")

    monkeypatch.setattr("molvae.model.job.fit", fit)
    assert main([*words, "--recombine", "300", "--properties", "logP", "affinity"]) == 1
    known = np.isfinite(seen[0][1])
    assert known[:, 0].all()
    assert 250 < (~known[:, 1]).sum() <= 300
    assert known[:400, 1].all()
