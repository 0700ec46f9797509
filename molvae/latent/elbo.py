"""Bounds on log p(x), each written once, for any `LatentModel`.

Every bound returns a `Bound`: two terms in nats per example, the log-likelihood that is gained and
the divergence from the prior that is paid for it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import (
    Distribution,
    Independent,
    MultivariateNormal,
    Normal,
    kl_divergence,
)

from molvae.base.errors import MolvaeError
from molvae.latent.gradients import reparameterised
from molvae.latent.inputs import check_samples
from molvae.latent.protocols import Estimator, LatentModel


class Bound(NamedTuple):
    """The two terms of a bound, each (B,) in nats: log p(x) >= log_likelihood - kl."""

    log_likelihood: Tensor
    kl: Tensor

    def value(self, kl_weight: float = 1.0) -> Tensor:
        """Return log_likelihood - kl_weight * kl, (B,); 1 gives the bound itself."""
        return self.log_likelihood - kl_weight * self.kl

    def of_data_set(self, examples: int, kl_weight: float = 1.0) -> Tensor:
        """Estimate the bound of a whole data set from this minibatch, (), in nats.

        N / M times the sum over the minibatch, for N `examples` of which M were drawn at random
        (Kingma & Welling 2014, eq. 8).
        """
        value = self.value(kl_weight)
        return examples / len(value) * value.sum()


def elbo(
    model: LatentModel, x: Tensor, samples: int = 1, estimator: Estimator = reparameterised
) -> Bound:
    """Estimate the evidence lower bound at x (B, ...) from some samples of z.

    Kingma & Welling 2014, eq. 3: E_q[log p(x|z)] - KL(q(z|x) || p(z)). The KL is exact where a
    closed form is known, else estimated from the same samples.

    Args:
        model: gives prior, posterior and log p(x|z).
        x: examples.
        samples: of z for each x.
        estimator: how the gradient reaches q, and so which latents may be used
            (`latent.gradients`).

    Raises:
        MolvaeError: no samples, or an x that the model refuses, as in every bound.
    """
    q, p = model.posterior(x), model.prior()
    exact = closed_form_kl(q, p)

    def terms(z: Tensor) -> Tensor:  # (K, B, D) -> (K, B, 1 or 2)
        parts = [log_likelihoods(model, x, z)]
        if exact is None:
            parts.append(q.log_prob(z) - p.log_prob(z))
        return torch.stack(parts, dim=-1)

    means = estimator(q, terms, samples)  # (B, 1 or 2)
    return Bound(means[:, 0], means[:, 1] if exact is None else exact)


def beta_elbo(model: LatentModel, x: Tensor, beta: float, samples: int = 1) -> Bound:
    """Weigh the KL by beta (Higgins et al. 2017, eq. 4); above 1 it is a looser bound.

    Args:
        model: as in `elbo`.
        x: examples (B, ...).
        beta: weight of the KL.
        samples: of z for each x.
    """
    log_likelihood, kl = elbo(model, x, samples)
    return Bound(log_likelihood, beta * kl)


def blurred_elbo(model: LatentModel, x: Tensor, share: float) -> Bound:
    """The ELBO at x (B, ...), but the decoder reads a z that is often moved towards the prior.

    For a `share` of the examples z becomes sqrt(1 - s^2) z + s e, with s uniform in [0, 1] and e a
    draw of the prior: the noise of a diffusion model (Ho et al. 2020, eq. 4), at a strength that
    the decoder is not told. So it learns what to make of points between and far from those that
    the encoder uses, which a plain VAE with a small KL weight never shows it. What it returns is no
    bound: train with it, measure with `elbo`.
    """
    if not 0 <= share <= 1:
        raise MolvaeError(f"the share of blurred examples must be from 0 to 1, not {share}")
    q, p = model.posterior(x), model.prior()
    z = q.rsample()
    kl = closed_form_kl(q, p)
    if kl is None:
        kl = q.log_prob(z) - p.log_prob(z)
    s = torch.rand_like(z[:, :1]) * (torch.rand_like(z[:, :1]) < share)
    with torch.no_grad():  # of a normal distribution `sample` would wait for the GPU
        draw = (p.rsample if p.has_rsample else p.sample)(z.shape[:1])
    moved = (1 - s.square()).sqrt() * z + s * draw
    return Bound(model.log_likelihood(x, moved), kl)


def iwae(model: LatentModel, x: Tensor, samples: int) -> Bound:
    """Estimate the importance-weighted bound at x (B, ...): log of the mean of K weights.

    Burda et al. 2016, eq. 8: log 1/K sum_k p(x, z_k) / q(z_k|x). The terms are those of the ELBO
    of the better posterior that the weights imply (Cremer et al. 2017): its `value()` is the bound.
    """
    q = model.posterior(x)
    z = q.rsample(check_samples(samples))  # (K, B, D)
    likelihoods = log_likelihoods(model, x, z)  # (K, B)
    log_weights = likelihoods + model.prior().log_prob(z) - q.log_prob(z)
    bound = log_weights.logsumexp(0) - math.log(samples)
    log_likelihood = (log_weights.softmax(0) * likelihoods).sum(0)
    return Bound(log_likelihood, log_likelihood - bound)


def free_bits_elbo(model: LatentModel, x: Tensor, nats: float) -> Bound:
    """Do not penalise the first `nats` of each dimension's mean KL (Kingma et al. 2016, eq. 15).

    The sum over dimensions of max(nats, KL averaged over the minibatch), so that a dimension that
    carries less than `nats` is not pushed towards carrying nothing.

    Raises:
        MolvaeError: prior or posterior is not a product over dimensions with a known KL.
    """
    q = model.posterior(x)
    kl = kl_per_dimension(q, model.prior())  # (B, D)
    kl = torch.where(kl.mean(0) < nats, nats, kl)
    log_likelihood = log_likelihoods(model, x, q.rsample(torch.Size([1])))[0]
    return Bound(log_likelihood, kl.sum(-1))


class KLParts(NamedTuple):
    """The three parts of the KL term, each (B,) in nats; they sum to log q(z|x) - log p(z)."""

    mutual_information: Tensor
    total_correlation: Tensor
    dimension_wise: Tensor


def kl_parts(q: Distribution, p: Distribution, z: Tensor, examples: int) -> KLParts:
    """Split the KL of a minibatch into index-code mutual information, total correlation and rest.

    Chen et al. 2018, eq. 2: log q(z|x)/q(z) + log q(z)/prod_j q(z_j) + log prod_j q(z_j)/p(z), with
    the aggregate posterior q(z) estimated by minibatch-weighted sampling (eq. 3): the sum of
    q(z|x_m) over the M examples at hand divided by N M, a lower bound on log q(z) in expectation.
    The last part is the dimension-wise KL where p is a product over dimensions.

    Args:
        q: posteriors of the minibatch, batch (M,), event (D,).
        p: prior.
        z: one sample of each (M, D).
        examples: size N of the data set that the minibatch comes from.

    Raises:
        MolvaeError: the marginals of q are not known, or there are no examples.
    """
    check_samples(examples)
    pairs = z[:, None]  # (M, 1, D) against the batch (M,) of q
    log_size = math.log(examples * len(z))
    each = marginals(q).log_prob(pairs)  # (M, M, D)
    log_product = (each.logsumexp(1) - log_size).sum(-1)
    log_q_given_x = q.log_prob(z)
    log_q = q.log_prob(pairs).logsumexp(1) - log_size
    return KLParts(log_q_given_x - log_q, log_q - log_product, log_product - p.log_prob(z))


def tc_elbo(model: LatentModel, x: Tensor, examples: int, tc_weight: float = 1.0) -> Bound:
    """Weigh the total correlation of the latents by `tc_weight` (Chen et al. 2018, eq. 4).

    Above 1 it makes the dimensions of the aggregate posterior independent, without the loss of
    mutual information of `beta_elbo`.

    Args:
        model: as in `elbo`.
        x: examples (B, ...).
        examples: size N of the data set.
        tc_weight: of the total correlation; 1 gives the evidence lower bound.

    Raises:
        MolvaeError: the marginals of the posterior are not known.
    """
    q = model.posterior(x)
    z = q.rsample(torch.Size([1]))  # (1, B, D)
    mutual_information, total_correlation, rest = kl_parts(q, model.prior(), z[0], examples)
    kl = mutual_information + tc_weight * total_correlation + rest
    return Bound(log_likelihoods(model, x, z)[0], kl)


class LogMarginal(NamedTuple):
    """An estimate of log p(x) (B,) in nats, and the effective number of samples (B,)."""

    value: Tensor
    effective_samples: Tensor


@torch.no_grad()
def log_marginal(
    model: LatentModel, x: Tensor, samples: int = 1000, chunk: int = 100
) -> LogMarginal:
    """Estimate log p(x) by importance sampling from q(z|x).

    The weights are those of `iwae`; effective samples are (sum w)^2 / sum w^2 (Kish 1965). A small
    number means that q misses the true posterior and that the value is too low.

    Args:
        model: as in `elbo`.
        x: examples (B, ...).
        samples: of z for each x.
        chunk: samples that are in memory at a time.
    """
    check_samples(samples)
    check_samples(chunk)
    q, p = model.posterior(x), model.prior()
    parts = []
    for start in range(0, samples, chunk):
        z = q.sample(torch.Size([min(chunk, samples - start)]))
        parts.append(log_likelihoods(model, x, z) + p.log_prob(z) - q.log_prob(z))
    log_weights = torch.cat(parts)  # (K, B)
    total = log_weights.logsumexp(0)
    effective = (2 * total - (2 * log_weights).logsumexp(0)).exp()
    return LogMarginal(total - math.log(samples), effective)


def log_likelihoods(model: LatentModel, x: Tensor, z: Tensor) -> Tensor:
    """Examples x (B, ...), samples z (K, B, D) -> log p(x|z) (K, B), in one call of the model."""
    repeated = x.expand(len(z), *x.shape).flatten(0, 1)  # (K B, ...)
    return model.log_likelihood(repeated, z.flatten(0, 1)).view(z.shape[:2])


def closed_form_kl(q: Distribution, p: Distribution) -> Tensor | None:
    """Return KL(q || p) (B,) in nats, or None where no closed form is known."""
    if isinstance(q, MultivariateNormal) != isinstance(p, MultivariateNormal):
        q, p = _dense(q), _dense(p)  # torch knows the KL of two dense Gaussians
    try:
        kl: Tensor = kl_divergence(q, p)
    except NotImplementedError:
        return None
    return kl


def kl_per_dimension(q: Distribution, p: Distribution) -> Tensor:
    """Return the KL of each latent dimension, (B, D) in nats; they sum to KL(q || p).

    Raises:
        MolvaeError: q or p is not a product over dimensions with a known KL.
    """
    if isinstance(q, Independent) and isinstance(p, Independent):
        kl = closed_form_kl(q.base_dist, p.base_dist)
        if kl is not None:
            return kl
    raise MolvaeError(
        "a KL per latent dimension needs a posterior and a prior that are products over "
        "dimensions, such as 'diagonal' and 'standard-normal'"
    )


def marginals(q: Distribution) -> Distribution:
    """Return the marginals q(z_j), batch (B, D), event ().

    Raises:
        MolvaeError: they are not known in closed form.
    """
    if isinstance(q, Independent):
        each: Distribution = q.base_dist
        return each
    if isinstance(q, MultivariateNormal):
        return Normal(q.loc, q.stddev)
    raise MolvaeError("total correlation needs the marginals of q: a Gaussian posterior has them")


def _dense(gaussian: Distribution) -> Distribution:
    if isinstance(gaussian, Independent) and isinstance(gaussian.base_dist, Normal):
        return MultivariateNormal(gaussian.mean, scale_tril=torch.diag_embed(gaussian.stddev))
    return gaussian
