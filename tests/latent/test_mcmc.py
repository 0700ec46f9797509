"""Samples of the true posterior: right where it is known, and nothing else is disturbed."""

import sys

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import (
    Bernoulli,
    Categorical,
    Distribution,
    Gamma,
    Independent,
    MixtureSameFamily,
    Normal,
)

from molvae.base.errors import MolvaeError
from molvae.latent.mcmc import PosteriorSamples, mcmc
from molvae.latent.vae import VAE, VAEConfig

pytest.importorskip("pyro")


class LinearGaussian(nn.Module):
    """z ~ N(0, I) in three dimensions, x = W z + noise: p(z|x) is known; q is far from it."""

    noise = 0.5

    def __init__(self, dtype: torch.dtype = torch.float64, dropout: float = 0.0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.w = nn.Parameter(torch.randn(4, 3, generator=generator, dtype=dtype))
        self.dropout = nn.Dropout(dropout)

    def prior(self) -> Distribution:
        return Independent(Normal(torch.zeros(3, dtype=self.w.dtype), 1.0), 1)

    def posterior(self, x: Tensor) -> Distribution:
        return Independent(Normal(x[:, :3] + 2, torch.full_like(x[:, :3], 0.05)), 1)

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        return Normal(self.dropout(z) @ self.w.T, self.noise).log_prob(x).sum(1)

    @torch.no_grad()
    def exact(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean (B, 3) and covariance (3, 3) of p(z|x): Bishop 2006, eq. 2.116."""
        precision = torch.eye(3, dtype=x.dtype) + self.w.T @ self.w / self.noise**2
        covariance = precision.inverse()
        return x @ self.w @ covariance / self.noise**2, covariance


X = torch.tensor([[0.5, -1.0, 2.0, 0.3], [-2.0, 0.7, 0.1, 1.0]], dtype=torch.float64)


def error_of_the_mean(values: Tensor) -> Tensor:
    """Standard error of the mean of values (S, ...) of four chains in a row."""
    from pyro.ops.stats import effective_sample_size

    n = effective_sample_size(values.unflatten(0, (4, -1)))
    return values.std(0) / n.sqrt()


@pytest.mark.parametrize("kernel", ["nuts", "hmc"])
def test_samples_have_the_mean_and_covariance_of_the_posterior(kernel: str) -> None:
    model = LinearGaussian()
    result = mcmc(model, X, samples=600, warmup=150, kernel=kernel)
    mean, covariance = model.exact(X)
    assert result.z.shape == (600, 2, 3)
    error = (covariance.diag() / result.effective_samples).sqrt()
    assert ((result.z.mean(0) - mean).abs() < 4 * error).all()
    assert (error < 0.15 * covariance.diag().sqrt()).all()
    assert ((model.posterior(X).mean - mean).abs() > 10 * error).any()  # q would not pass
    centred = result.z - mean
    products = centred[..., :, None] * centred[..., None, :]
    assert ((products.mean(0) - covariance).abs() < 4 * error_of_the_mean(products)).all()
    assert (result.r_hat < 1.1).all()
    assert 0.6 < result.acceptance_rate <= 1
    assert result.divergences == 0


def test_float32_and_a_posterior_that_is_not_gaussian() -> None:
    class Coin(LinearGaussian):
        def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
            return Bernoulli(logits=4 * z).log_prob(x[:, :3]).sum(1)

    x = torch.tensor([[1.0, 0.0, 1.0, 0.0]])
    result = mcmc(Coin(torch.float32), x, samples=600, warmup=100)
    assert result.z.dtype == torch.float32
    grid = torch.linspace(-9, 9, 20_001, dtype=torch.float64)
    density = Normal(0.0, 1.0).log_prob(grid).exp() * (4 * grid).sigmoid()
    mean = (grid * density).sum() / density.sum() * torch.tensor([[1, -1, 1]])
    error = result.z.std(0) / result.effective_samples.sqrt()
    assert ((result.z.mean(0) - mean).abs() < 4 * error).all()
    assert (error < 0.1 * mean.abs()).all()


def test_chains_that_do_not_meet_are_told() -> None:
    class TwoIslands(LinearGaussian):
        def prior(self) -> Distribution:
            means = torch.tensor([[-9.0], [9.0]], dtype=torch.float64).expand(2, 3)
            islands = Independent(Normal(means, 1.0), 1)
            return MixtureSameFamily(Categorical(torch.ones(2, dtype=torch.float64)), islands)

        def posterior(self, x: Tensor) -> Distribution:
            return Independent(Normal(torch.zeros(len(x), 3, dtype=x.dtype), 9.0), 1)

        def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
            return 0 * z.sum(1)

    result = mcmc(TwoIslands(), X, samples=120, warmup=30)
    assert result.r_hat.max() > 1.5
    assert result.effective_samples.min() < 20


def test_a_transition_that_leaves_the_support_is_rejected_and_counted() -> None:
    class Positive(LinearGaussian):
        def posterior(self, x: Tensor) -> Distribution:
            return Independent(Normal(torch.full_like(x[:, :3], 0.5), 0.01), 1)

        def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
            return Gamma(1.0, 2.0).log_prob(z).sum(1) + 0 * z.sqrt().sum(1)  # NaN below zero

    result = mcmc(Positive(), X[:1], samples=200, warmup=50)
    assert (result.z > 0).all()
    assert result.divergences > 0


def few(model: nn.Module, x: Tensor = X, seed: int = 0) -> PosteriorSamples:
    return mcmc(model, x, samples=16, warmup=5, seed=seed)


def test_same_seed_same_samples_and_the_callers_random_state_is_kept() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    first = few(LinearGaussian())
    assert torch.equal(torch.rand(3), expected)
    assert torch.equal(few(LinearGaussian()).z, first.z)
    assert not torch.equal(few(LinearGaussian(), seed=1).z, first.z)


def test_model_and_settings_are_left_as_they_were(capfd: pytest.CaptureFixture[str]) -> None:
    model = LinearGaussian(dropout=0.9).train()
    model.dropout.eval()
    before = model.w.detach().clone()
    validate = Distribution._validate_args
    Distribution.set_default_validate_args(False)
    try:
        with torch.no_grad():
            few(model)
        assert not Distribution._validate_args
    finally:
        Distribution.set_default_validate_args(validate)
    few(model)
    assert Distribution._validate_args == validate
    assert model.w.grad is None
    assert model.w.requires_grad
    assert torch.equal(model.w, before)
    assert model.training
    assert not model.dropout.training
    assert capfd.readouterr() == ("", "")


def test_dropout_is_off_while_sampling() -> None:
    model = LinearGaussian(dropout=0.9).train()
    assert torch.equal(few(model).z, few(LinearGaussian()).z)
    assert model.dropout.training


def test_a_vae_of_sequences_can_be_refined() -> None:
    torch.manual_seed(0)
    model = VAE(
        VAEConfig(vocabulary=9, max_length=14, latent=3, encoder_hidden=16, decoder_hidden=16)
    )
    x = torch.tensor([[1, 3, 4, 2, 0], [1, 5, 5, 6, 2]])
    result = few(model, x)
    assert result.z.shape == (16, 2, 3)
    assert result.z.isfinite().all()
    assert (result.z.std(0) > 0).all()
    assert all(p.grad is None for p in model.parameters())


def test_errors_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    model = LinearGaussian()
    with pytest.raises(MolvaeError, match=r"unknown kernel 'gibbs'.*nuts"):
        mcmc(model, X, kernel="gibbs")
    for samples in (12, 18):
        with pytest.raises(MolvaeError, match="multiple of 4"):
            mcmc(model, X, samples=samples)
    with pytest.raises(MolvaeError, match="warmup"):
        mcmc(model, X, warmup=0)
    with pytest.raises(MolvaeError, match=r"not finite .* 4 of 8"):
        few(model, torch.cat([X[:1], X[1:] * torch.inf]))
    for name in [name for name in sys.modules if name.split(".")[0] == "pyro"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MolvaeError, match=r"pip install 'molvae\[mcmc\]'"):
        mcmc(model, X)
