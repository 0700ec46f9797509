"""The best q of each example, where it is known in closed form."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal

from molvae.base.errors import MolvaeError
from molvae.latent.amortization import find_best_posterior
from molvae.latent.elbo import elbo, log_marginal
from molvae.latent.vae import VAE, VAEConfig

W = torch.tensor([[1.0, 0.8], [0.2, 1.0], [0.5, -0.3]]).double()
NOISE = 0.4


class Linear:
    """x = W z + noise, with a q that is the same for every x: as bad as an encoder can be."""

    def prior(self) -> Distribution:
        return Independent(Normal(torch.zeros(2).double(), 1.0), 1)

    def posterior(self, x: Tensor) -> Distribution:
        return Independent(Normal(torch.zeros(len(x), 2).double(), 1.0), 1)

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        return Normal(z @ W.t(), NOISE).log_prob(x).sum(1)


def test_the_best_q_of_a_linear_model_is_the_closed_form() -> None:
    torch.manual_seed(0)
    model = Linear()
    x = torch.randn(5, 3).double()
    precision = torch.eye(2).double() + W.t() @ W / NOISE**2
    mean = x @ W @ torch.linalg.inv(precision) / NOISE**2
    own = find_best_posterior(model, x, samples=32)
    torch.testing.assert_close(own.mean.detach(), mean, atol=0.03, rtol=0)
    spread = precision.diagonal() ** -0.5  # of the mean-field q, narrower than the marginals
    torch.testing.assert_close(
        own.log_spread.detach(), spread.log().expand(5, 2), atol=0.05, rtol=0
    )
    with torch.no_grad():
        best = elbo(own, x, 20_000).value()
        exact = MultivariateNormal(
            torch.zeros(3).double(), W @ W.t() + NOISE**2 * torch.eye(3).double()
        ).log_prob(x)
        # KL of the mean-field q from the true posterior: the approximation gap
        gap = 0.5 * (precision.diagonal().log().sum() - torch.logdet(precision))
        torch.testing.assert_close(exact - best, gap.expand(5), atol=0.02, rtol=0)
        assert (best - elbo(model, x, 2_000).value()).min() > 1
        sampled = log_marginal(own, x, 20_000).value
        torch.testing.assert_close(sampled, exact, atol=0.02, rtol=0)


def test_the_weights_of_the_model_stay() -> None:
    torch.manual_seed(0)
    shape = {"shape": (6,), "latent": 2, "encoder_hidden": 16, "decoder_hidden": 8}
    parts = {"encoder": "mlp", "decoder": "mlp", "likelihood": "bernoulli"}
    model = VAE(VAEConfig(**shape, **parts)).eval()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    x = torch.rand(4, 6).round()
    own = find_best_posterior(model, x, steps=50)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    with torch.no_grad():
        gain = elbo(own, x, 5_000).value() - elbo(model, x, 5_000).value()
    assert (gain > -0.02).all()
    assert math.isfinite(float(gain.sum()))


def test_what_cannot_be_started_is_one_clear_error() -> None:
    shape = {"shape": (6,), "latent": 2, "encoder_hidden": 16, "decoder_hidden": 8}
    parts = {"encoder": "mlp", "decoder": "mlp", "likelihood": "bernoulli", "posterior": "flow"}
    with pytest.raises(MolvaeError, match="use a Gaussian one"):
        find_best_posterior(VAE(VAEConfig(**shape, **parts)), torch.rand(4, 6).round())
    with pytest.raises(MolvaeError, match="at least 1"):
        find_best_posterior(Linear(), torch.zeros(2, 3).double(), steps=0)
