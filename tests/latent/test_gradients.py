"""Gradient estimators: unbiased against closed forms and enumeration, whatever q and f are."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor
from torch.distributions import (
    AffineTransform,
    Bernoulli,
    Categorical,
    Distribution,
    Exponential,
    Independent,
    MixtureSameFamily,
    Normal,
    OneHotCategorical,
    RelaxedBernoulli,
    TransformedDistribution,
)

from molvae.base.errors import MolvaeError
from molvae.latent.gradients import enumerated, estimators, reparameterised
from molvae.latent.gradients import score_function as score
from molvae.latent.protocols import Estimator

REPEATS = 20_000  # independent estimates of one gradient, side by side as a batch

QFamily = Callable[[Tensor], Distribution]
Function = Callable[[Tensor, Distribution, Tensor], Tensor]


def gaussian(parameters: Tensor) -> Distribution:
    """Parameters (..., 2, 2) -> means and scales of two dimensions."""
    return Independent(Normal(parameters[..., 0, :], parameters[..., 1, :].exp()), 1)


def bernoullis(parameters: Tensor) -> Distribution:
    return Independent(Bernoulli(logits=parameters.flatten(-2)), 1)


def categorical(parameters: Tensor) -> Distribution:
    return Categorical(logits=parameters.flatten(-2))


def one_hot(parameters: Tensor) -> Distribution:
    return OneHotCategorical(logits=parameters.flatten(-2))


def smooth(z: Tensor, q: Distribution, weight: Tensor) -> Tensor:
    """Not linear in z, and with a parameter of its own; the events are summed."""
    if not q.event_shape:
        z = z[..., None].to(weight)
    steps = torch.arange(1, z.shape[-1] + 1, dtype=weight.dtype)
    line = (steps * z).sum(-1)
    return weight * line**2 + (0.3 * line).exp() + 5


def own_density(z: Tensor, q: Distribution, weight: Tensor) -> Tensor:
    """Holds log q(z) in a way that its own gradient matters: E[grad f] is not zero."""
    return weight * q.log_prob(z) ** 2


PARAMETERS = torch.tensor([[0.4, -0.7], [0.2, -0.5]], dtype=torch.float64)
WEIGHT = torch.tensor(0.8, dtype=torch.float64)


def estimates(
    estimator: Estimator, family: QFamily, f: Function, samples: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Values (R,) and gradients of the parameters (R, 4) and of the weight in f (R,)."""
    torch.manual_seed(0)
    parameters = PARAMETERS.expand(REPEATS, 2, 2).clone().requires_grad_()
    weight = WEIGHT.expand(REPEATS).clone().requires_grad_()
    q = family(parameters)
    value = estimator(q, lambda z: f(z, q, weight), samples)
    gradients = torch.autograd.grad(value.sum(), [parameters, weight])
    return value.detach(), gradients[0].flatten(1), gradients[1]


def exact(family: QFamily, f: Function) -> tuple[Tensor, Tensor, Tensor]:
    """Value, gradient (4,) and gradient of the weight: quadrature or the sum over all states."""
    parameters, weight = (p.clone().requires_grad_() for p in (PARAMETERS, WEIGHT))
    q = family(parameters)
    if family is gaussian:
        nodes, masses = np.polynomial.hermite_e.hermegauss(60)
        pairs = torch.tensor(list(itertools.product(nodes, nodes)))
        mass = torch.tensor([a * b for a, b in itertools.product(masses, masses)]) / (2 * np.pi)
        z = q.mean + q.stddev * pairs
    else:
        states: dict[QFamily, Tensor] = {
            bernoullis: torch.tensor(list(itertools.product([0.0, 1.0], repeat=4))).double(),
            categorical: torch.arange(4),
            one_hot: torch.eye(4, dtype=torch.float64),
        }
        z = states[family]
        mass = q.log_prob(z).exp()
    value = (mass * f(z, q, weight)).sum()
    gradients = torch.autograd.grad(value, [parameters, weight])
    return value.detach(), gradients[0].flatten(), gradients[1]


CASES = [(reparameterised, gaussian), (score, gaussian)]
CASES += [(score, family) for family in (bernoullis, categorical, one_hot)]


@pytest.mark.parametrize("samples", [1, 5])
@pytest.mark.parametrize("f", [smooth, own_density])
@pytest.mark.parametrize(("estimator", "family"), CASES)
def test_value_and_gradients_are_unbiased(
    estimator: Estimator, family: QFamily, f: Function, samples: int
) -> None:
    for estimate, truth in zip(
        estimates(estimator, family, f, samples), exact(family, f), strict=True
    ):
        error = estimate.std(0) / REPEATS**0.5
        assert ((estimate.mean(0) - truth).abs() < 4 * error + 1e-9).all()  # some are constant
        assert (error < 0.25 * truth.abs().max()).all()  # so that a bias would show


@pytest.mark.parametrize("family", [bernoullis, categorical, one_hot])
@pytest.mark.parametrize("f", [smooth, own_density])
def test_enumeration_is_exact(family: QFamily, f: Function) -> None:
    for estimate, truth in zip(estimates(enumerated, family, f, 1), exact(family, f), strict=True):
        torch.testing.assert_close(estimate, truth.expand_as(estimate), rtol=1e-12, atol=1e-12)


def test_gaussian_gradients_against_the_closed_form() -> None:
    torch.manual_seed(0)
    mean, scale = (torch.full((REPEATS,), v, dtype=torch.float64) for v in (0.7, 0.5))
    mean.requires_grad_()
    scale.requires_grad_()
    a, c, m, s = 2.0, 0.9, 0.7, 0.5
    growth = np.exp(c * m + c**2 * s**2 / 2)  # E[exp(c z)]
    truth = [2 * a * m + c * growth, 2 * a * s + c**2 * s * growth]
    for estimator in (reparameterised, score):
        value = estimator(Normal(mean, scale), lambda z: a * z**2 + (c * z).exp(), 10)
        for gradient, expected in zip(
            torch.autograd.grad(value.sum(), [mean, scale]), truth, strict=True
        ):
            error = gradient.std() / REPEATS**0.5
            assert abs(gradient.mean() - expected) < 4 * error
            assert error < 0.02 * expected


@given(
    arrays(np.float64, st.tuples(st.integers(1, 3), st.integers(1, 5)), elements=st.floats(-4, 4)),
    st.integers(0, 2**16),
)
@settings(max_examples=30)
def test_enumeration_of_nested_batches(logits: np.ndarray, seed: int) -> None:
    """A Categorical in every place of an event of two axes: all combinations, batch by batch."""
    batch, states = logits.shape
    torch.manual_seed(seed)
    logits_2x2 = torch.from_numpy(logits)[:, None, None] + torch.randn(batch, 2, 2, states)
    logits_2x2.requires_grad_()
    table = torch.randn(states, states, states, states, dtype=torch.float64)
    q = Independent(Categorical(logits=logits_2x2), 2)
    value = enumerated(q, lambda z: table[tuple(z.flatten(-2).unbind(-1))], 1)
    p = logits_2x2.softmax(-1).flatten(1, 2).unbind(1)
    expected = torch.einsum("ijkl,bi,bj,bk,bl->b", table, *p)
    torch.testing.assert_close(value, expected, rtol=1e-11, atol=1e-11)
    gradients = [torch.autograd.grad(v.sum(), logits_2x2)[0] for v in (value, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("name", estimators)
def test_value_is_the_mean_of_f_and_extra_dimensions_share_their_draws(name: str) -> None:
    parameters = torch.randn(3, 2, 2, dtype=torch.float64, requires_grad=True)
    q = (bernoullis if name == "enumerated" else gaussian)(parameters)
    drawn: list[Tensor] = []

    def f(z: Tensor) -> Tensor:
        drawn.append(z)
        first = z.sin().sum(-1)
        return torch.stack([first, first**2, q.log_prob(z)], -1)

    results = []
    for pick in (slice(None), [0], [1], [2]):
        torch.manual_seed(3)
        results.append(estimators[name](q, lambda z, pick=pick: f(z)[..., pick], 7))
    assert results[0].shape == (3, 3)
    if name != "enumerated":
        assert drawn[0].shape == (7, 3, 2)
        torch.testing.assert_close(results[0], f(drawn[0]).mean(0), rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(results[0], torch.cat(results[1:], -1), rtol=1e-14, atol=1e-14)
    gradients = [torch.autograd.grad(r.sum(), parameters, retain_graph=True)[0] for r in results]
    torch.testing.assert_close(gradients[0], sum(gradients[1:]), rtol=1e-12, atol=1e-12)


def test_the_baseline_reduces_the_variance_and_cancels_a_constant() -> None:
    def shifted(z: Tensor, q: Distribution, weight: Tensor) -> Tensor:
        return smooth(z, q, weight) + 100

    _, with_baseline, _ = estimates(score, bernoullis, shifted, 8)
    _, alone, _ = estimates(score, bernoullis, shifted, 1)
    assert (alone.var(0) / 8 > 20 * with_baseline.var(0)).all()
    unshifted = estimates(score, bernoullis, smooth, 8)[1]
    torch.testing.assert_close(with_baseline, unshifted, rtol=1e-9, atol=1e-9)


def test_relaxation_tends_to_the_discrete_gradient_as_the_temperature_falls() -> None:
    truth = exact(bernoullis, smooth)[1]
    bias = []
    for temperature in (2.0, 0.1):
        heat = torch.tensor(temperature, dtype=torch.float64)

        def relaxed(p: Tensor, heat: Tensor = heat) -> Distribution:
            return Independent(RelaxedBernoulli(heat, logits=p.flatten(-2)), 1)

        gradient = estimates(reparameterised, relaxed, smooth, 4)[1]
        bias.append((gradient.mean(0) - truth).norm() / truth.norm())
    assert bias[1] < 0.1 < bias[0]


def test_a_transform_that_caches_keeps_its_gradient() -> None:
    where = torch.tensor([0.3, 0.8], dtype=torch.float64, requires_grad=True)
    zero, one = torch.zeros(50, dtype=torch.float64), torch.ones(50, dtype=torch.float64)
    gradients = []
    for q in (
        Normal(where[0] + zero, where[1]),
        TransformedDistribution(
            Normal(zero, one), [AffineTransform(where[0], where[1], cache_size=1)]
        ),
    ):
        torch.manual_seed(1)
        value = score(q, lambda z: z**3, 4)
        gradients.append(torch.autograd.grad(value.sum(), where)[0])
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-10)


def test_errors_say_what_to_do() -> None:
    normal, wide = Normal(torch.zeros(2), 1.0), Bernoulli(logits=torch.zeros(2, 17))
    mixture = MixtureSameFamily(Categorical(torch.ones(2)), normal)
    with pytest.raises(MolvaeError, match=r"Bernoulli.*'score-function'.*'enumerated'"):
        reparameterised(Independent(wide, 1), torch.sum, 1)
    with pytest.raises(MolvaeError, match="MixtureSameFamily has no reparameterised"):
        reparameterised(mixture, torch.square, 1)
    with pytest.raises(MolvaeError, match=r"2\^17 states"):
        enumerated(Independent(wide, 1), torch.sum, 1)
    with pytest.raises(MolvaeError, match="Exponential cannot be enumerated"):
        enumerated(Exponential(torch.ones(2)), torch.square, 1)
    for estimator in (reparameterised, score):
        with pytest.raises(MolvaeError, match="at least 1 sample, not 0"):
            estimator(normal, torch.square, 0)
        with pytest.raises(MolvaeError, match=r"\(3, 2\).*not \(3,\)"):
            estimator(normal, lambda z: z.sum(-1), 3)
