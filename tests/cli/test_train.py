"""`molvae train` as a user runs it: in a process, killed, resumed, on a file of theirs."""

import csv
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from molvae import MolVAE
from molvae.base.errors import MolvaeError
from molvae.chem.datasets import assign_part
from molvae.cli import main, options
from molvae.cli.watch import Watch
from molvae.latent.aggregate import PriorFit
from molvae.latent.amortization import PosteriorFit
from molvae.latent.fit import CHECKPOINT
from molvae.latent.training import Progress
from molvae.reports.plots import plot_learning_curve

TINY = [
    "--encoder-hidden", "32", "--decoder-hidden", "32", "--latent", "4",
    "--batch", "32", "--validate-every", "20", "--precision", "32-true",
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
    shift, scale = torch.full((model.latent,), 2.0), torch.full((model.latent,), 0.5)
    for part in (model.vae.head, model.vae.decoder, model.vae.property_head):
        part.standardise(shift, scale)  # now N(0, I) is not a good prior
    model.save(f"{out}/model.safetensors")
    model = MolVAE.load(f"{out}/model.safetensors")
    before = model.sample(5)
    given = Path(f"{out}/model.safetensors").read_bytes()
    words = ["fit-prior", f"{out}/model.safetensors", "--epochs", "40", "--prior", "mixture"]
    assert main(words) == 0
    assert "nats under the new prior 'mixture'" in capsys.readouterr().out
    assert Path(f"{out}/model.safetensors").read_bytes() == given
    fitted = MolVAE.load(f"{out}/model-mixture.safetensors")
    assert fitted.vae.config.prior == "mixture"
    assert fitted.summary.prior is not None
    assert fitted.summary.prior.after > fitted.summary.prior.before
    assert fitted.sample(5, standard=True) == before
    assert main(words) == 1
    assert "model-mixture.safetensors exists already: add --overwrite" in capsys.readouterr().err
    assert main([*words, "--overwrite"]) == 0


def test_a_prior_that_is_worse_is_not_saved(
    table: Path,
    small_model_file: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = table.parent / "worse.safetensors"
    words = ["fit-prior", small_model_file, "--data", f"{table}:structure", "--out", str(out)]
    for after in (-20.5, float("nan")):
        worse = PriorFit(before=-11.25, after=after)
        monkeypatch.setattr(MolVAE, "fit_prior", lambda *_, worse=worse, **__: worse)
        assert main([*words, "--prior", "mixture"]) == 1
        line = capsys.readouterr().err.splitlines()[-1]
        assert f"{after:.2f} nats under the new prior 'mixture', -11.25 under the" in line
        assert not out.exists()


def test_a_fit_that_is_stopped_keeps_what_was_fitted(
    table: Path,
    small_model_file: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = table.parent / "stopped.safetensors"

    def interrupt(self: Watch, progress: Progress) -> bool:
        stop = call(self, progress)
        if progress.state.step == 30:
            os.kill(os.getpid(), signal.SIGTERM)
        return stop

    call = Watch.__call__
    monkeypatch.setattr(Watch, "__call__", interrupt)
    words = ["fit-posterior", small_model_file, "--data", f"{table}:structure", "--out", str(out)]
    assert main([*words, "--epochs", "4000"]) == 128 + signal.SIGTERM
    lines = capsys.readouterr().err.splitlines()
    assert lines[-2].startswith("stopped early; ELBO of held-out molecules")
    assert lines[-1] == f"model: {out}"
    model = MolVAE.load(out)
    assert model.vae.inference is not None
    missing = table.parent / "none.safetensors"
    code = options.save_fit(model, str(missing), "a bound", better=False, stopped=signal.SIGINT)
    assert code == 130  # as Ctrl-C everywhere
    said = capsys.readouterr().err
    assert said == f"stopped early; a bound: it is no better, and {missing} is not written\n"
    assert not missing.exists()


def test_a_posterior_is_fitted_and_one_that_is_no_better_is_not_saved(
    table: Path,
    small_model_file: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = table.parent / "better.safetensors"
    words = ["fit-posterior", small_model_file, "--data", f"{table}:structure", "--out", str(out)]
    assert main([*words, "--epochs", "40", "--molecules", "300"]) == 0
    shown = capsys.readouterr().out
    assert re.search(
        r"ELBO of held-out molecules, KL weight [\d.]+: -\d+\.\d+ nats with 2 learned steps", shown
    )
    fitted, given = MolVAE.load(out), MolVAE.load(small_model_file)
    assert fitted.vae.config.iterations == 2
    assert fitted.summary.posterior is not None
    assert fitted.summary.posterior.molecules == 300
    assert fitted.summary.posterior.fit.kl_weight == given.summary.fit.kl_weight
    assert not torch.equal(fitted.encode(["CCO"], refine=0), given.encode(["CCO"], refine=0))
    assert main(words) == 1
    assert f"{out} exists already: add --overwrite" in capsys.readouterr().err
    out.unlink()
    for after in (-20.5, float("nan")):
        worse = PosteriorFit(before=-11.25, after=after)
        monkeypatch.setattr(MolVAE, "fit_posterior", lambda *_, worse=worse, **__: worse)
        assert main(words) == 1
        line = capsys.readouterr().err.splitlines()[-1]
        assert f"{after:.2f} nats with 2 learned steps, -11.25 with the" in line
        assert not out.exists()


def test_a_few_molecules_improve_a_model_or_leave_it_as_it_is(
    small_model_file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Sixteen molecules, which a split by hash leaves nothing to validate on."""
    chains = [f"{'C' * n}{end}" for n in range(2, 14) for end in ("O", "N", "Cl")]
    few = [s for s in chains if assign_part(s) == "train"][:16]
    (tmp_path / "few.smi").write_text("\n".join(few))
    words = ["train", "--data", str(tmp_path / "few.smi"), "--start", small_model_file]
    assert main([*words, "--minutes", "60", "--out", str(tmp_path / "a")]) == 0
    shown = capsys.readouterr().out
    assert "14 molecules for training, 2 for validation" in shown
    assert "14 molecules are few to fine-tune on: at most 40 epochs" in shown
    assert re.search(r"best validation loss \d+\.\d+ ± .* before training \(2 held-out", shown)
    start, tuned = MolVAE.load(small_model_file), MolVAE.load(tmp_path / "a" / "model.safetensors")
    fit, training = tuned.summary.fit, tuned.summary.training
    assert (fit.validate_every, fit.kl_weight) == (1, start.summary.fit.kl_weight)
    assert training.start_loss is not None
    assert training.best_loss < training.start_loss
    curve = pd.read_csv(tmp_path / "a" / "metrics.csv")
    assert curve["step"].tolist() == list(range(training.step + 1))
    assert curve["validation_loss"].min() == pytest.approx(training.best_loss)

    still = ["--learning-rate", "0", "--epochs", "3", "--out", str(tmp_path / "b")]
    assert main([*words, *still]) == 0
    shown = capsys.readouterr().out
    assert f"nothing better was found on 2 held-out molecules than {small_model_file}" in shown
    same = MolVAE.load(tmp_path / "b" / "model.safetensors")
    assert same.vae.config.prior == start.vae.config.prior
    assert torch.equal(same.encode(few, refine=0), start.encode(few, refine=0))


def test_a_second_training_in_a_folder_waits_for_the_first(
    table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = table.parent / "run"
    words = ["train", "--data", f"{table}:structure", "--epochs", "1", "--out", str(out), *TINY]
    assert main(words) == 0
    metrics = (out / "metrics.csv").read_bytes()
    capsys.readouterr()
    code = "import sys; from molvae.base.files import lock_folder\n"
    code += "from pathlib import Path\nwith lock_folder(Path(sys.argv[1])): print(); input()"
    first = subprocess.Popen(
        [sys.executable, "-c", code, str(out)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert first.stdout is not None
    first.stdout.readline()
    assert main(["train", "--resume", "--epochs", "2", "--out", str(out)]) == 1
    assert "another process is writing there" in capsys.readouterr().err
    (out / "config.json").unlink()  # as before the first training has written it
    assert main(words) == 1
    assert "another process is writing there" in capsys.readouterr().err
    assert (out / "metrics.csv").read_bytes() == metrics
    first.communicate(b"\n", timeout=60)


def test_a_training_that_is_stopped_at_once_leaves_no_empty_picture(tmp_path: Path) -> None:
    metrics, picture = tmp_path / "metrics.csv", tmp_path / "curve.png"
    names = "step,reconstruction_nats,kl_nats,validation_reconstruction_nats,validation_kl_nats"
    rows = ["0,nan,nan,30.5,20.1", "25,28.1,19.0,,"]
    for count in range(3):
        metrics.write_text("\n".join([names, *rows[:count]]) + "\n")
        plot_learning_curve(metrics, picture)
        assert picture.exists() == (count == 2)


def test_a_killed_training_resumes_with_the_same_curve(table: Path) -> None:
    words = ["--data", f"{table}:structure", "--epochs", "3", *TINY]
    whole = table.parent / "whole"
    assert main(["train", *words, "--out", str(whole)]) == 0
    for number in (signal.SIGTERM, signal.SIGKILL):
        broken = table.parent / number.name
        process = subprocess.Popen(
            command(*words, "--out", str(broken), "--checkpoint-minutes", "0", "--quiet"),
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
            again = f"molvae train --resume --out {broken}"
            assert errors == f"stopped; resume with: {again}\n"  # the only line with --quiet
        assert main(["train", "--resume", "--out", str(broken)]) == 0
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
        (["--properties", "pIC50"], "zinc has no property 'pIC50'; known: logP"),
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
