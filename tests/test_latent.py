"""The latent room: bounds, encoders, decoders, the minibatch loop."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, Normal, kl_divergence

from molvae.errors import MolvaeError
from molvae.latent import BOS, EOS, PAD
from molvae.latent.decoders import decoders
from molvae.latent.elbo import elbo
from molvae.latent.encoders import encoders
from molvae.latent.fit import CHECKPOINT, METRICS, fit
from molvae.latent.posteriors import posteriors
from molvae.latent.training import FitConfig, Progress
from molvae.latent.vae import VAE, VAEConfig

VOCABULARY, LONGEST = 9, 14


def sequences(n: int, seed: int = 0) -> Tensor:
    """Random sequences of different lengths: ids (n, LONGEST)."""
    rng = np.random.default_rng(seed)
    x = np.full((n, LONGEST), PAD)
    for line in x:
        length = rng.integers(1, LONGEST - 2)
        line[: length + 2] = [BOS, *rng.integers(3, VOCABULARY, length), EOS]
    return torch.from_numpy(x)


class LinearGaussian:
    """z ~ N(0, 1), x = w z + noise of scale s: everything about it is known in closed form."""

    w, s = 1.7, 0.6

    def prior(self) -> Independent:
        return Independent(Normal(torch.zeros(1, dtype=torch.float64), 1.0), 1)

    def posterior(self, x: Tensor) -> Independent:
        precision = 1 + self.w**2 / self.s**2
        return Independent(Normal(self.w * x / self.s**2 / precision, precision**-0.5), 1)

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        return Normal(self.w * z, self.s).log_prob(x)[:, 0]


def test_with_the_exact_posterior_the_bound_is_the_log_likelihood_in_expectation() -> None:
    torch.manual_seed(0)
    model, x = LinearGaussian(), torch.tensor([[0.3], [-2.0], [1.1]], dtype=torch.float64)
    exact = Normal(0.0, (model.w**2 + model.s**2) ** 0.5).log_prob(x)[:, 0]
    repeats = 20_000
    bound = elbo(model, x.repeat(repeats, 1)).value().view(repeats, 3)
    error = bound.std(0) / repeats**0.5
    assert ((bound.mean(0) - exact).abs() < 4 * error).all()
    terms = elbo(model, x)
    torch.testing.assert_close(terms.kl, kl_divergence(model.posterior(x), model.prior()))
    torch.testing.assert_close(terms.value(0.5) - terms.value(), 0.5 * terms.kl)


@pytest.mark.parametrize("name", encoders)
def test_encoder_ignores_padding_and_batch_and_learns_with_every_parameter(name: str) -> None:
    torch.manual_seed(0)
    encoder, x = encoders[name](VOCABULARY, LONGEST + 5, 16), sequences(6)
    hidden = encoder(x)
    assert hidden.shape == (6, 16)
    padded = torch.cat([x, torch.full((6, 5), PAD)], dim=1)
    torch.testing.assert_close(encoder(padded), hidden)
    one_by_one = [encoder(row[None, : (row != PAD).sum()]) for row in x]
    torch.testing.assert_close(torch.cat(one_by_one), hidden)
    hidden.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in encoder.parameters())


@pytest.mark.parametrize("name", decoders)
def test_decoder_scores_sequences_whatever_their_padding(name: str) -> None:
    torch.manual_seed(0)
    decoder, x = decoders[name](VOCABULARY, LONGEST, 4, 16), sequences(6)
    z = torch.randn(6, 4, requires_grad=True)
    log_likelihood = decoder.log_likelihood(x, z)
    assert log_likelihood.shape == (6,)
    padded = torch.cat([x, torch.full((6, 5), PAD)], dim=1)
    torch.testing.assert_close(decoder.log_likelihood(padded, z), log_likelihood)
    one_by_one = [decoder.log_likelihood(x[i : i + 1], z[i : i + 1]) for i in range(6)]
    torch.testing.assert_close(torch.cat(one_by_one), log_likelihood)
    log_likelihood.sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in [z, *decoder.parameters()])


@pytest.mark.parametrize("name", decoders)
def test_greedy_generation_takes_the_likeliest_next_symbol(name: str) -> None:
    torch.manual_seed(1)
    decoder = decoders[name](VOCABULARY, LONGEST, 4, 16).eval()
    z = 3 * torch.randn(40, 4)
    ids = decoder.generate(z)
    assert ids.shape == (40, LONGEST)
    assert (ids[:, 0] == BOS).all()
    logits = decoder(z, ids).detach()
    logits[..., [PAD, BOS]] = -torch.inf
    real = ids[:, 1:] != PAD
    assert torch.equal(logits.argmax(-1)[real], ids[:, 1:][real])
    after_end = (ids == EOS).cumsum(1) - (ids == EOS).long() > 0
    assert (ids[after_end] == PAD).all()
    drawn = [decoder.generate(z, 1.0, torch.Generator().manual_seed(5)) for _ in range(2)]
    assert torch.equal(*drawn)
    assert not torch.equal(drawn[0], ids)


@pytest.mark.parametrize("posterior", posteriors)
@pytest.mark.parametrize("decoder", decoders)
def test_standardised_coordinates_match_the_prior_and_change_no_decode(
    posterior: str, decoder: str
) -> None:
    torch.manual_seed(0)
    x = sequences(400)
    config = VAEConfig(VOCABULARY, LONGEST, 4, encoder_hidden=16, decoder_hidden=16)
    model = VAE(replace(config, posterior=posterior, decoder=decoder)).eval()
    before, kl_before = model.posterior(x), model(x).kl.mean()
    mean = before.mean.mean(0)
    scale = (before.mean.var(0) + before.variance.mean(0)).sqrt()
    z = before.mean
    said, written = model.log_likelihood(x, z), model.decoder.generate(3 * z)
    model.standardise(x)
    after = model.posterior(x)
    torch.testing.assert_close(after.mean, (before.mean - mean) / scale, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(after.variance, before.variance / scale**2, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(model.log_likelihood(x, (z - mean) / scale), said)
    assert torch.equal(model.decoder.generate((3 * z - mean) / scale), written)
    assert model(x).kl.mean() < kl_before


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
    wider = VAE(VAEConfig(VOCABULARY, LONGEST, latent=5, encoder_hidden=16, decoder_hidden=16))
    data = sequences(20).numpy()
    with pytest.raises(MolvaeError, match="do not fit"):
        fit(wider, data, data, FitConfig(), tmp_path)


def test_a_loss_that_is_not_finite_is_reported() -> None:
    with pytest.raises(MolvaeError, match="no longer finite"):
        train(None, learning_rate=1e30, clip=1e30, precision="32-true")
