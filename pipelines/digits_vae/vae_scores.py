"""Score a trained VAE on held-out images, in nats per image."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from molvae.base.errors import MolvaeError
from molvae.latent.elbo import elbo, iwae, kl_parts, log_marginal, marginals
from molvae.latent.vae import VAE

ACTIVE = 0.01  # a dimension is active if its posterior mean has a larger variance over x
BOUND_SAMPLES = 50  # samples of both bounds
AGGREGATE = 1_000  # most training images that make up the aggregate posterior
AT_ONCE = 200  # images per batch


class Scores(NamedTuple):
    """Scores of one model."""

    images: pd.DataFrame  # one row per image, nats
    active: int  # active dimensions (Burda et al. 2016, section 5.2)
    total_correlation: float  # of the aggregate posterior, nats; NaN if not available


@torch.no_grad()
def score(model: VAE, train: Tensor, test: Tensor, importance_samples: int) -> Scores:
    """Score a trained model on test images, with the same noise for every model.

    Args:
        model: The trained model.
        train: Training images, for the active dimensions and the total correlation, (m, ...).
        test: Test images, (n, ...).
        importance_samples: Samples of the estimate of log p(x).
    """
    torch.manual_seed(0)
    device = next(model.parameters()).device
    parts = []
    for x in test.to(device).split(AT_ONCE):
        marginal = log_marginal(model, x, importance_samples)
        terms = elbo(model, x, BOUND_SAMPLES)
        part = {
            "log_likelihood": marginal.value,
            "iwae": iwae(model, x, BOUND_SAMPLES).value(),
            "elbo": terms.value(),
            "reconstruction": -terms.log_likelihood,
            "kl": terms.kl,
            "effective_samples": marginal.effective_samples,
        }
        parts.append(pd.DataFrame({name: v.cpu().double() for name, v in part.items()}))
    train = train.to(device)
    active = int((model.encode(train).var(0) > ACTIVE).sum())
    correlation = estimate_total_correlation(model, train[:AGGREGATE])
    return Scores(pd.concat(parts, ignore_index=True), active, correlation)


def estimate_total_correlation(model: VAE, x: Tensor) -> float:
    """Estimate KL(q(z) || prod_j q(z_j)) in nats, where q(z) is the mean of q(z|x) over x (n, ...).

    All n images are in one batch. With N = 1 in eq. 3 of Chen et al. 2018, the estimate of log q(z)
    is exactly that of this mean.
    """
    q = model.posterior(x)
    try:
        marginals(q)
    except MolvaeError:
        return float("nan")
    parts = kl_parts(q, model.prior(), q.sample(), examples=1)
    return float(parts.total_correlation.mean())


def score_independent_pixels(train: Tensor, test: Tensor) -> float:
    """Mean log-likelihood in nats of binary test images under independent Bernoulli pixels."""
    share = (train.sum(0) + 1) / (len(train) + 2)  # Laplace's rule keeps it off 0 and 1
    return float((test * share.log() + (1 - test) * (1 - share).log()).sum((1, 2, 3)).mean())


def compute_standard_error(values: NDArray[np.float64]) -> float:
    """Values (seeds, images) -> standard error of their mean over images and trainings.

    The sum of the two variances counts their interaction twice and is therefore conservative. With
    one seed it leaves out the variance between trainings.
    """
    seeds, images = values.shape
    variance = values.mean(0).var(ddof=1) / images
    if seeds > 1:
        variance += values.mean(1).var(ddof=1) / seeds
    return float(np.sqrt(variance))
