"""The bounds: exact identities on linear-Gaussian models, where everything is known."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import (
    Bernoulli,
    Distribution,
    Independent,
    MultivariateNormal,
    Normal,
)

from molvae.base.errors import MolvaeError
from molvae.latent.elbo import (
    beta_elbo,
    blurred_elbo,
    closed_form_kl,
    elbo,
    free_bits_elbo,
    iwae,
    kl_parts,
    kl_per_dimension,
    log_marginal,
    tc_elbo,
)
from molvae.latent.gradients import enumerated, score_function
from molvae.latent.ppca import PPCA

LATENT, WIDTH = 3, 6


def exact_model(seed: int, width: int = WIDTH) -> tuple[PPCA, Tensor]:
    """A PPCA fitted to correlated data, and fresh data to measure."""
    rng = torch.Generator().manual_seed(seed)
    mix = torch.randn(width, width, generator=rng, dtype=torch.float64)
    x = torch.randn(60, width, generator=rng, dtype=torch.float64) @ mix + 1
    return PPCA(LATENT).fit(x[:40].numpy()), x[40:]


class Approximate:
    """The model of a PPCA with a posterior of its own: N(mean + shift, widen * diagonal)."""

    def __init__(self, ppca: PPCA, shift: float = 0.3, widen: float = 1.4) -> None:
        self.ppca, self.shift, self.widen = ppca, shift, widen

    def prior(self) -> Distribution:
        return Independent(Normal(torch.zeros(LATENT, dtype=torch.float64), 1.0), 1)

    def posterior(self, x: Tensor) -> Distribution:
        exact = self.ppca.posterior(x)
        return Independent(Normal(exact.mean + self.shift, self.widen * exact.stddev), 1)

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        return self.ppca.log_likelihood(x, z)


class TwoBits:
    """Two Bernoulli latents, a Gaussian x for each of the four states, learnable q."""

    def __init__(self) -> None:
        rng = torch.Generator().manual_seed(0)
        self.means = torch.randn(2, 2, generator=rng, dtype=torch.float64)
        self.logits = torch.randn(2, 2, generator=rng, dtype=torch.float64).requires_grad_()

    def prior(self) -> Distribution:
        return Independent(Bernoulli(torch.full((2,), 0.3, dtype=torch.float64)), 1)

    def posterior(self, x: Tensor) -> Distribution:
        return Independent(Bernoulli(logits=x @ self.logits), 1)

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        return Normal(z @ self.means, 0.7).log_prob(x).sum(-1)


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000), samples=st.integers(1, 4))
def test_with_the_exact_posterior_every_sample_of_the_weighted_bound_is_log_p(
    seed: int, samples: int
) -> None:
    model, x = exact_model(seed)
    exact = torch.from_numpy(model.score_samples(x.numpy()))
    torch.testing.assert_close(iwae(model, x, samples).value(), exact, atol=1e-10, rtol=1e-10)
    estimate = log_marginal(model, x, samples=10, chunk=4)
    torch.testing.assert_close(estimate.value, exact, atol=1e-10, rtol=1e-10)
    torch.testing.assert_close(estimate.effective_samples, torch.full_like(exact, 10.0))


def test_with_the_exact_posterior_the_elbo_is_log_p_in_expectation() -> None:
    torch.manual_seed(0)
    model, x = exact_model(1)
    exact = torch.from_numpy(model.score_samples(x.numpy()))
    repeats = torch.stack([elbo(model, x).value() for _ in range(2_000)])
    error = repeats.std(0) / len(repeats) ** 0.5
    assert ((repeats.mean(0) - exact).abs() < 4 * error).all()
    many = elbo(model, x, samples=2_000).value()  # the same mean, in one call
    assert ((many - exact).abs() < 4 * error).all()


def test_weighted_bound_rises_with_samples_to_the_exact_value_for_a_wrong_posterior() -> None:
    torch.manual_seed(0)
    ppca, x = exact_model(2)
    model = Approximate(ppca)
    exact = torch.from_numpy(ppca.score_samples(x.numpy())).mean()
    x = x.repeat(200, 1)
    means, errors = [], []
    for samples in (1, 2, 8, 32, 128):
        values = iwae(model, x, samples).value()
        means.append(values.mean())
        errors.append(values.std() / len(values) ** 0.5)
    assert all(b > a for a, b in itertools.pairwise(means))
    assert means[0] < exact - 0.3
    assert abs(means[-1] - exact) < 0.05
    one_sample = elbo(model, x).value()
    assert abs(one_sample.mean() - means[0]) < 4 * (errors[0] + one_sample.std() / len(x) ** 0.5)
    estimate = log_marginal(model, x[:20], samples=20_000)
    torch.testing.assert_close(
        estimate.value, torch.from_numpy(ppca.score_samples(x[:20].numpy())), atol=0.05, rtol=0
    )
    assert (estimate.effective_samples > 200).all()
    assert (estimate.effective_samples < 20_000).all()


def gaussians(seed: int, kind: str) -> Distribution:
    rng = torch.Generator().manual_seed(seed)
    mean = torch.randn(5, LATENT, generator=rng, dtype=torch.float64)
    factor = torch.randn(5, LATENT, LATENT, generator=rng, dtype=torch.float64).tril(-1)
    scale = torch.rand(5, LATENT, generator=rng, dtype=torch.float64) + 0.3
    if kind == "diagonal":
        return Independent(Normal(mean, scale), 1)
    return MultivariateNormal(mean, scale_tril=factor + torch.diag_embed(scale))


@pytest.mark.parametrize("q_kind", ["diagonal", "full"])
@pytest.mark.parametrize("p_kind", ["standard", "diagonal", "full"])
def test_closed_form_kl_agrees_with_monte_carlo(q_kind: str, p_kind: str) -> None:
    torch.manual_seed(0)
    q = gaussians(1, q_kind)
    standard = Independent(Normal(torch.zeros(LATENT, dtype=torch.float64), 1.0), 1)
    p = standard if p_kind == "standard" else gaussians(2, p_kind)
    exact = closed_form_kl(q, p)
    assert exact is not None
    z = q.sample(torch.Size([20_000]))
    ratio = q.log_prob(z) - p.log_prob(z)
    assert ((ratio.mean(0) - exact).abs() < 4 * ratio.std(0) / len(z) ** 0.5).all()


def test_a_kl_without_closed_form_is_estimated_from_the_samples_of_the_bound() -> None:
    torch.manual_seed(0)

    class NoClosedForm(Distribution):
        """N(0, I) that torch does not recognise."""

        def __init__(self) -> None:
            super().__init__(event_shape=torch.Size([LATENT]), validate_args=False)

        def log_prob(self, z: Tensor) -> Tensor:
            return -0.5 * (z.square() + math.log(2 * math.pi)).sum(-1)

    ppca, x = exact_model(3)
    model, plain = Approximate(ppca), Approximate(ppca)
    model.prior = NoClosedForm  # type: ignore[method-assign]
    assert closed_form_kl(model.posterior(x), model.prior()) is None
    estimates = torch.stack([elbo(model, x, samples=5).kl for _ in range(1_000)])
    exact = elbo(plain, x).kl
    assert ((estimates.mean(0) - exact).abs() < 4 * estimates.std(0) / 1_000**0.5).all()
    model.posterior = ppca.posterior  # type: ignore[method-assign]
    torch.testing.assert_close(  # the same draws in both terms: exact for every sample
        elbo(model, x).value(), torch.from_numpy(ppca.score_samples(x.numpy()))
    )


def test_weights_of_the_terms_and_the_bound_of_a_data_set() -> None:
    ppca, x = exact_model(4)
    torch.manual_seed(5)
    terms = elbo(ppca, x)
    torch.manual_seed(5)
    heavier = beta_elbo(ppca, x, 4.0)
    torch.testing.assert_close(heavier.value(), terms.value(4.0))
    torch.testing.assert_close(terms.value() - terms.value(4.0), 3 * terms.kl)
    torch.testing.assert_close(terms.of_data_set(1000), 1000 * terms.value().mean())
    batches = sum(  # minibatches of a partition, scaled, average to the whole
        type(terms)(*(t[i : i + 5] for t in terms)).of_data_set(len(x)) for i in range(0, 20, 5)
    )
    torch.testing.assert_close(batches / 4, terms.value().sum())


def test_free_bits_charge_each_dimension_at_least_its_allowance() -> None:
    ppca, x = exact_model(6)
    model = Approximate(ppca)
    each = kl_per_dimension(model.posterior(x), model.prior())
    torch.testing.assert_close(each.sum(-1), elbo(model, x).kl)
    torch.testing.assert_close(free_bits_elbo(model, x, 0.0).kl, each.sum(-1))
    allowance = float(each.mean(0).median())
    charged = free_bits_elbo(model, x, allowance).kl
    torch.testing.assert_close(charged.mean(), each.mean(0).clamp(min=allowance).sum())
    with pytest.raises(MolvaeError, match="products over"):
        free_bits_elbo(ppca, x, 0.1)  # whose posterior is a dense Gaussian


@pytest.mark.parametrize("kind", ["diagonal", "full"])
def test_parts_of_the_kl_sum_to_it(kind: str) -> None:
    torch.manual_seed(0)
    q = gaussians(7, kind)
    p = Independent(Normal(torch.zeros(LATENT, dtype=torch.float64), 1.0), 1)
    z = q.sample()
    parts = kl_parts(q, p, z, examples=500)
    torch.testing.assert_close(sum(parts), q.log_prob(z) - p.log_prob(z), atol=1e-10, rtol=1e-10)
    repeats = torch.stack([sum(kl_parts(q, p, q.sample(), 500)) for _ in range(3_000)])
    exact = closed_form_kl(q, p)
    assert ((repeats.mean(0) - exact).abs() < 4 * repeats.std(0) / 3_000**0.5).all()


def test_parts_of_the_kl_against_the_aggregate_posterior_itself() -> None:
    """One example twice: q(z) = q(z|x), so that the estimates have a known value each."""
    torch.manual_seed(0)
    single = gaussians(8, "diagonal")
    q = Independent(Normal(single.mean[:1].expand(4, -1), single.stddev[:1].expand(4, -1)), 1)
    p = Independent(Normal(torch.zeros(LATENT, dtype=torch.float64), 1.0), 1)
    z = q.sample()
    parts = kl_parts(q, p, z, examples=4)
    size = torch.full((4,), math.log(4), dtype=torch.float64)  # sum of 4 equal terms over 4 * 4
    torch.testing.assert_close(parts.mutual_information, size)
    torch.testing.assert_close(parts.total_correlation, (LATENT - 1) * size)
    torch.testing.assert_close(parts.dimension_wise, q.log_prob(z) - p.log_prob(z) - LATENT * size)


def test_weight_of_the_total_correlation() -> None:
    ppca, x = exact_model(9)
    model = Approximate(ppca)
    bounds = []
    for weight in (1.0, 5.0):
        torch.manual_seed(1)
        bounds.append(tc_elbo(model, x, examples=40, tc_weight=weight))
    torch.manual_seed(1)
    q = model.posterior(x)
    z = q.rsample(torch.Size([1]))[0]
    torch.testing.assert_close(bounds[0].kl, q.log_prob(z) - model.prior().log_prob(z))
    correlation = kl_parts(q, model.prior(), z, 40).total_correlation
    torch.testing.assert_close(bounds[1].kl - bounds[0].kl, 4 * correlation)
    torch.testing.assert_close(bounds[1].log_likelihood, bounds[0].log_likelihood)


def test_discrete_latents_train_through_the_score_function() -> None:
    torch.manual_seed(0)
    model, x = TwoBits(), torch.tensor([[0.3, -1.0], [2.0, 0.4]], dtype=torch.float64)
    elbo(model, x, estimator=enumerated).value().sum().backward()
    exact = model.logits.grad
    draws = []
    for _ in range(400):
        model.logits.grad = None
        elbo(model, x, samples=8, estimator=score_function).value().sum().backward()
        draws.append(model.logits.grad)
    gradients = torch.stack(draws)
    assert exact.abs().max() > 0.05
    error = gradients.std(0) / len(gradients) ** 0.5
    assert ((gradients.mean(0) - exact).abs() < 4 * error).all()
    with pytest.raises(MolvaeError, match="score-function"):
        elbo(model, x)


def test_log_p_of_a_model_with_few_states_is_their_sum_and_keeps_no_graph() -> None:
    torch.manual_seed(0)
    model, x = TwoBits(), torch.tensor([[0.3, -1.0], [2.0, 0.4]], dtype=torch.float64)
    states = torch.tensor(list(itertools.product((0.0, 1.0), repeat=2)), dtype=torch.float64)
    joint = [model.log_likelihood(x, z.expand(2, 2)) + model.prior().log_prob(z) for z in states]
    estimate = log_marginal(model, x, samples=20_000)
    torch.testing.assert_close(estimate.value, torch.stack(joint).logsumexp(0), atol=0.1, rtol=0)
    assert not estimate.value.requires_grad  # a graph of 1,000 samples would fill the memory


@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_a_blurred_z_has_the_moments_of_noise_added_on_the_way_to_the_prior(share: float) -> None:
    class Recorder(Approximate):
        def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
            self.z = z
            return z.sum(-1)

    model, x = Recorder(exact_model(0)[0]), exact_model(0)[1][:1]
    torch.manual_seed(0)
    bound = blurred_elbo(model, x.expand(200_000, -1), share)
    q = model.posterior(x)
    torch.testing.assert_close(bound.kl[:1], closed_form_kl(q, model.prior()))
    torch.testing.assert_close(bound.log_likelihood, model.z.sum(-1))
    # s uniform: E sqrt(1 - s^2) = pi / 4, E s^2 = 1 / 3
    mean = (1 - share + share * math.pi / 4) * q.mean[0]
    square = (1 - share / 3) * (q.mean[0].square() + q.variance[0]) + share / 3
    close = {"atol": 0.01, "rtol": 0.01}
    torch.testing.assert_close(model.z.mean(0), mean, **close)
    torch.testing.assert_close(model.z.square().mean(0), square, **close)
