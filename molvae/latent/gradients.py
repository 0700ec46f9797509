"""Estimators of the gradient of E_q(z)[f(z)], one signature for continuous and discrete latents.

All return a tensor whose value is the Monte Carlo mean of f and whose autograd gradient is an
unbiased estimate of the gradient of the expectation, for every parameter of q and every one inside
f. They differ in the q they can take and in their variance.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent

from molvae.base.errors import MolvaeError
from molvae.base.registry import Registry
from molvae.latent.inputs import check_samples
from molvae.latent.protocols import Estimator, Integrand

LARGEST_SUPPORT = 2**16  # states that are summed over


estimators: Registry[Estimator] = Registry("gradient estimator")


@estimators.register("reparameterised")
def reparameterised(q: Distribution, f: Integrand, samples: int) -> Tensor:
    """Differentiate through the draws of a q that has `rsample`: see `Estimator` for the shapes.

    Kingma & Welling 2014, section 2.4; Rezende et al. 2014, section 3. A discrete q can be
    given in relaxed form, as torch's RelaxedBernoulli or RelaxedOneHotCategorical (Gumbel-softmax:
    Jang et al. 2017; Maddison et al. 2017). The estimate is then unbiased for the relaxed
    expectation, which is not the discrete one: the lower the temperature, the smaller this bias
    and the larger the variance.

    >>> mean = torch.tensor(2.0, requires_grad=True)
    >>> square = reparameterised(torch.distributions.Normal(mean, 1e-9), torch.square, 5)
    >>> square.backward()
    >>> round(mean.grad.item(), 3)
    4.0

    Raises:
        MolvaeError: q has no reparameterised draws.
    """
    if not q.has_rsample:
        raise MolvaeError(
            f"{_name(q)} has no reparameterised samples: take the estimator 'score-function', or "
            "'enumerated' where it has few states, or a relaxed distribution"
        )
    return _values(f, q, q.rsample(check_samples(samples))).mean(0)


@estimators.register("score-function")
def score_function(q: Distribution, f: Integrand, samples: int) -> Tensor:
    """Weigh the gradient of log q by f, for any q: see `Estimator` for the shapes.

    REINFORCE (Williams 1992), grad E[f] = E[f grad log q + grad f]. With two samples or more, the
    mean of f over the others is subtracted from f as a baseline, which is independent of the
    sample and so leaves no bias (Mnih & Rezende 2016; Kool et al. 2019).
    """
    # A new tensor, so that a transformed q with a cache inverts it anew, with a gradient.
    z = q.sample(check_samples(samples)).detach()
    values = _values(f, q, z)
    log_q = _like(q.log_prob(z), values)
    reward = values.detach()
    if samples > 1:
        reward = reward - (reward.sum(0) - reward) / (samples - 1)
    score = log_q - log_q.detach()  # zero, with the gradient of log q
    return (values + reward * score).mean(0)


@estimators.register("enumerated")
def enumerated(q: Distribution, f: Integrand, samples: int = 1) -> Tensor:
    """Sum over all states of a discrete q: exact, so `samples` is not read.

    See `Estimator` for the shapes; f is given every state at once, K of them. The states of an
    `Independent` q are all combinations of those of its dimensions.

    Raises:
        MolvaeError: q is not discrete with finite support, or has more than 65,536 states.
    """
    z = _support(q)
    values = _values(f, q, z)
    return (_like(q.log_prob(z).exp(), values) * values).sum(0)


def _support(q: Distribution) -> Tensor:
    """Return all states of q, (states, *batch, *event)."""
    base: Distribution = q
    while isinstance(base, Independent):
        base = base.base_dist
    if not base.has_enumerate_support:
        raise MolvaeError(
            f"the states of {_name(q)} cannot be enumerated: take the estimator "
            "'score-function' or 'reparameterised'"
        )
    one: Tensor = base.enumerate_support()
    batch = len(q.batch_shape)
    joint = base.batch_shape[batch:]  # the dimensions whose states combine
    size = joint.numel()
    if len(one) ** size > LARGEST_SUPPORT:
        raise MolvaeError(
            f"{_name(q)} has {len(one)}^{size} states, too many to enumerate: "
            "take the estimator 'score-function'"
        )
    one = one.reshape(len(one), q.batch_shape.numel(), size, -1)
    digits, places = (torch.arange(n, device=one.device) for n in (len(one), size))
    states = torch.cartesian_prod(*[digits] * size).reshape(-1, size)
    chosen = one.transpose(1, 2)[states, places]  # (states, size, members of the batch, -1)
    return chosen.transpose(1, 2).reshape(len(states), *q.batch_shape, *q.event_shape)


def _values(f: Integrand, q: Distribution, z: Tensor) -> Tensor:
    """Evaluate f and refuse a shape that would be broadcast or averaged wrongly."""
    values = f(z)
    expected = torch.Size([len(z)]) + q.batch_shape
    if values.shape[: len(expected)] != expected:
        raise MolvaeError(
            f"f must return one value per sample and member of the batch, of shape "
            f"{tuple(expected)} and any extra dimensions, not {tuple(values.shape)}"
        )
    return values


def _like(weights: Tensor, values: Tensor) -> Tensor:
    """Give weights (K, *batch) the trailing dimensions of values (K, *batch, *extra)."""
    return weights.reshape(weights.shape + (1,) * (values.dim() - weights.dim()))


def _name(q: Distribution) -> str:
    while isinstance(q, Independent):
        q = q.base_dist
    return type(q).__name__
