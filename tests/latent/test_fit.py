"""The minibatch loop: it learns, resumes exactly, stops when it should, explains what is wrong."""

import csv
from pathlib import Path

import pytest
import torch

from molvae.base.errors import MolvaeError
from molvae.latent.checkpoint import read_tensors, write_tensors
from molvae.latent.fit import CHECKPOINT, METRICS, fit
from molvae.latent.training import FitConfig, Progress
from molvae.latent.vae import VAE, VAEConfig
from random_ids import LONGEST, VOCABULARY, sequences


def small(seed: int = 0) -> VAE:
    torch.manual_seed(seed)
    return VAE(VAEConfig(VOCABULARY, LONGEST, latent=4, encoder_hidden=16, decoder_hidden=16))


def train(folder: Path | None, stop_at: int | None = None, **options: object) -> tuple[VAE, list]:
    """Train on 300 random sequences; returns the model and the rows that were logged."""
    model, rows = small(), []
    config = FitConfig(**{"epochs": 6, "batch": 16, "validate_every": 40, **options})

    def observe(progress: Progress) -> bool:
        if progress.row:
            rows.append(progress.row)
        return progress.state.step == stop_at

    fit(model, sequences(300).numpy(), sequences(40, 1).numpy(), config, folder, observe)
    return model, rows


def test_training_lowers_the_loss_and_ends_with_the_best_weights(tmp_path: Path) -> None:
    model, rows = train(tmp_path)
    losses = [r.validation_loss for r in rows if r.validation_loss is not None]
    assert min(losses) < losses[0]
    with (tmp_path / METRICS).open() as file:
        assert [int(r["step"]) for r in csv.DictReader(file)] == [r.step for r in rows]
    again = train(None)[0]
    for a, b in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("stop_at", [33, 80])
def test_a_stopped_and_resumed_training_equals_the_unbroken_one(
    tmp_path: Path, stop_at: int
) -> None:
    unbroken, rows = train(tmp_path / "a")
    train(tmp_path / "b", stop_at=stop_at)
    resumed, _ = train(tmp_path / "b")
    for a, b in zip(unbroken.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)
    with (tmp_path / "b" / METRICS).open() as file:
        assert [int(r["step"]) for r in csv.DictReader(file)] == [r.step for r in rows]


def test_training_does_not_touch_the_random_state_of_its_caller() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    model, data = small(), sequences(40).numpy()
    torch.manual_seed(7)
    fit(model, data, data, FitConfig(epochs=1, batch=16))
    assert torch.equal(torch.rand(3), expected)


def test_patience_stops_a_training_that_no_longer_improves(tmp_path: Path) -> None:
    _, rows = train(tmp_path, epochs=500, learning_rate=0.0, validate_every=10, patience=3)
    assert rows[-1].step == 40


def test_a_damaged_or_foreign_checkpoint_is_one_clear_error(tmp_path: Path) -> None:
    train(tmp_path, epochs=1)
    path = tmp_path / CHECKPOINT
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(MolvaeError, match="damaged"):
        train(tmp_path)
    path.write_bytes(whole)
    with pytest.raises(MolvaeError, match="made with the optimizer muon"):
        train(tmp_path, optimizer="adam")
    tensors, metadata = read_tensors(path)
    tensors["optimizer.0.0.exp_avg"] = tensors.pop("optimizer.0.0.exp_avg")[1:]
    write_tensors(path, tensors, metadata)
    with pytest.raises(MolvaeError, match="has other optimizers"):
        train(tmp_path)
    wider = VAE(VAEConfig(VOCABULARY, LONGEST, latent=5, encoder_hidden=16, decoder_hidden=16))
    data = sequences(20).numpy()
    with pytest.raises(MolvaeError, match="do not fit"):
        fit(wider, data, data, FitConfig(), tmp_path)


def test_a_loss_that_is_not_finite_is_reported() -> None:
    with pytest.raises(MolvaeError, match="no longer finite"):
        train(None, learning_rate=1e30, clip=1e30, precision="32-true")
