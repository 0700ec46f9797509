"""A prior fitted to the aggregate posterior of a trained model."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from molvae.base.errors import MolvaeError
from molvae.latent.aggregate import fit_prior
from molvae.latent.elbo import elbo
from molvae.latent.fit import fit
from molvae.latent.training import FitConfig
from molvae.latent.vae import VAE, VAEConfig

FIT = FitConfig(epochs=30, batch=64, kl_weight=0.1, validate_every=100, precision="32-true")


@pytest.fixture(scope="module")
def digits() -> np.ndarray:
    images = (load_digits().images[:, None] / 16).astype(np.float32)
    return images[np.random.default_rng(0).permutation(len(images))]


@pytest.fixture(scope="module")
def trained(digits: np.ndarray) -> VAE:
    """A model whose latents are far from its prior, as a small KL weight leaves them."""
    torch.manual_seed(0)
    sizes = {"latent": 3, "encoder_hidden": 64, "decoder_hidden": 64}
    parts = {"encoder": "mlp", "decoder": "mlp", "likelihood": "bernoulli"}
    model = VAE(VAEConfig(shape=(1, 8, 8), **sizes, **parts))
    fit(model, digits[:1000], digits[1000:1200], FIT)
    return model.eval()


@pytest.mark.parametrize("name", ["mixture", "vamp", "flow", "flow-matching"])
def test_the_elbo_gains_what_the_prior_gains(name: str, trained: VAE, digits: np.ndarray) -> None:
    model = VAE(trained.config).eval()
    model.load_state_dict(trained.state_dict())
    torch.manual_seed(0)
    model.standardise(torch.from_numpy(digits[:1000]))
    x = torch.from_numpy(digits[1200:])

    def mean_elbo() -> float:
        with torch.no_grad():
            torch.manual_seed(0)
            return float(elbo(model, x, samples=50).value().mean())

    before = mean_elbo()
    random_state = torch.get_rng_state()
    config = replace(FIT, epochs=15, learning_rate=1e-2)
    options = {"layers": 2, "hidden": 64} if name == "flow-matching" else {}
    gained = fit_prior(
        model, name, digits[:1000], digits[1000:1200], config=config, options=options, samples=4
    )
    assert torch.equal(torch.get_rng_state(), random_state)
    gain = gained.after - gained.before
    assert gain > 0.1
    assert mean_elbo() - before == pytest.approx(gain, abs=0.15)  # other held-out images
    assert not model.training
    assert model.config.prior == name


def test_the_standard_normal_comes_back_without_training(
    trained: VAE, digits: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    model = VAE(trained.config).eval()
    model.load_state_dict(trained.state_dict())
    fitted = fit_prior(
        model, "mixture", digits[:100], digits[100:150], config=replace(FIT, epochs=1)
    )
    assert not capsys.readouterr().err
    again = fit_prior(
        model, "standard-normal", digits[:100], digits[100:150], config=FIT, progress=True
    )
    assert "encode: 100%" in capsys.readouterr().err
    assert again.after == pytest.approx(fitted.before, rel=0.1)  # other draws of q(z|x)
    assert model.config.prior == "standard-normal"


def test_bad_input_leaves_the_model_as_it_was(trained: VAE, digits: np.ndarray) -> None:
    for name, train in (("mixxture", digits[:50]), ("flow", digits[:0])):
        with pytest.raises(MolvaeError):
            fit_prior(trained, name, train, digits[:50], config=FIT)
    with pytest.raises(MolvaeError, match="cannot be made"):
        fit_prior(trained, "flow", digits[:50], digits[:50], config=FIT, options={"layers": 3})
    assert trained.config.prior == "standard-normal"
