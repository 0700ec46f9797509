"""Learned steps that improve q(z|x), where the best q is known in closed form."""

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, Normal

from conformance.latent_parts import check_standardise, parts_for
from molvae.base.errors import MolvaeError
from molvae.latent.amortization import fit_posterior
from molvae.latent.iterative import IterativeInference
from molvae.latent.training import FitConfig
from molvae.latent.vae import MOST_ITERATIONS, VAE, VAEConfig

NOISE, LATENT = 0.5, 3
PARTS = {"encoder": "mlp", "decoder": "linear", "likelihood": "gaussian", "noise": NOISE}
FIT = FitConfig(epochs=60, batch=100, kl_weight=1.0, kl_warmup=0.0, precision="32-true")


def make_linear(posterior: str = "isotropic", **options: Any) -> VAE:
    """A linear decoder, whose true posterior is Gaussian, and an encoder that knows nothing."""
    torch.manual_seed(0)
    shape = {"shape": (12,), "latent": LATENT, "encoder_hidden": 16}
    return VAE(VAEConfig(**shape, **PARTS, posterior=posterior, **options)).eval()


def test_learned_steps_come_near_the_true_posterior_and_change_nothing_else() -> None:
    vae = make_linear()
    x = torch.randn(1200, 12, generator=torch.Generator().manual_seed(1))
    train, held_out, unseen = x.split([800, 200, 200])
    layer = vae.decoder.layers[0]
    precision = torch.eye(LATENT) + layer.weight.T @ layer.weight / NOISE**2
    best = (x - layer.bias) @ layer.weight @ torch.linalg.inv(precision) / NOISE**2

    def lose(x: Tensor, best: Tensor) -> float:
        """Nats of the ELBO that the mean of q costs: it is quadratic around the best one."""
        with torch.no_grad():
            away = vae.encode(x) - best
            return float(0.5 * ((away @ precision) * away).sum(1).mean())

    lost, lost_there = lose(unseen, best[1000:]), lose(held_out, best[800:1000])
    weights = {k: v.clone() for k, v in vae.state_dict().items()}
    random_state = torch.get_rng_state()
    data = (train.numpy(),), (held_out.numpy(),)
    found = fit_posterior(vae, 2, *data, config=FIT)
    assert torch.equal(torch.get_rng_state(), random_state)
    assert lose(unseen, best[1000:]) < 0.05 * lost
    gained = lost_there - lose(held_out, best[800:1000])
    assert found.after - found.before == pytest.approx(gained, rel=0.05)
    for name, value in vae.state_dict().items():
        assert name.startswith("inference.") or torch.equal(value, weights[name])
    assert vae.config.iterations == 2
    assert not vae.training
    assert all(p.requires_grad for p in vae.parameters())
    back = fit_posterior(vae, 0, *data, config=FIT)
    assert (back.before, back.after) == pytest.approx((found.after, found.before))
    assert vae.inference is None


def test_the_steps_serve_the_properties_too() -> None:
    x = torch.randn(600, 12, generator=torch.Generator().manual_seed(1)).numpy()
    errors = []
    for y in (np.nan, 1.0):
        vae = make_linear(properties=("size",))
        assert vae.property_head is not None
        with torch.no_grad():
            vae.property_head.log_scale.fill_(-2.0)  # sure of what it predicts
        values = np.full((600, 1), y, np.float32)
        fit_posterior(vae, 1, (x[:500], values[:500]), (x[500:], values[500:]), config=FIT)
        with torch.no_grad():
            found = vae.property_head(vae.encode(torch.from_numpy(x[500:])))
        errors.append(float((found - 1.0).square().mean()))
    assert errors[1] < 0.8 * errors[0]


def test_the_steps_follow_the_coordinates() -> None:
    for posterior in ("isotropic", "diagonal"):
        parts = parts_for("images", encoder="mlp", decoder="mlp", posterior=posterior)
        check_standardise("images", **parts, iterations=2)


def test_each_step_is_from_the_gradient_at_the_last_mean_and_keeps_the_spread() -> None:
    vae = make_linear("diagonal", iterations=2)
    x, other = torch.randn(2, 5, 12)
    assert vae.inference is not None
    first = vae.head(vae.encoder(other))
    expected = first
    for _ in range(2):
        expected = vae.inference(expected, partial(vae.log_likelihood, x))
    found = vae.posterior(x, other)  # read in one form, written in another
    torch.testing.assert_close(found.mean, expected.mean)
    torch.testing.assert_close(found.stddev, first.stddev)
    assert (found.mean - vae.posterior(x).mean).abs().min() > 0
    # before training each step leads up the likelihood
    likelihood = vae.log_likelihood(x, found.mean)
    assert (likelihood > vae.log_likelihood(x, first.mean)).all()


def test_a_flat_likelihood_gives_a_finite_step() -> None:
    q = Independent(Normal(torch.zeros(4, LATENT), torch.ones(4, LATENT)), 1)
    step = IterativeInference(LATENT)(q, lambda z: 0.0 * z.sum(1)).mean
    assert step.isfinite().all()


def test_what_cannot_be_improved_is_one_clear_error() -> None:
    x = torch.randn(50, 12).numpy()
    for posterior in ("full", "flow"):
        vae = make_linear(posterior)
        with pytest.raises(MolvaeError, match="needs a posterior of independent Gaussians"):
            fit_posterior(vae, 2, (x,), (x,), config=FIT)
        assert vae.config.iterations == 0
        assert all(p.requires_grad for p in vae.parameters())
    for iterations in (-1, MOST_ITERATIONS + 1):
        with pytest.raises(MolvaeError, match=f"from 0 to {MOST_ITERATIONS}, not {iterations}"):
            make_linear(iterations=iterations)
    with pytest.raises(MolvaeError, match="no examples"):
        fit_posterior(make_linear(), 2, (x[:0],), (x,), config=FIT)
