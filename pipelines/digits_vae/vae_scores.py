"""What a trained VAE reaches on images that it has not seen, in nats per image."""

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

ACTIVE = 0.01  # variance over x of the posterior mean, above which a dimension is active
BOUND_SAMPLES = 50  # of both bounds
AGGREGATE = 1_000  # training images, at most, whose posteriors make up the aggregate posterior
AT_ONCE = 200  # images scored together


class Scores(NamedTuple):
    """What a model reaches."""

    images: pd.DataFrame  # a row for each image, nats
    active: int  # dimensions (Burda et al. 2016, section 5.2)
    total_correlation: float  # of the aggregate posterior, nats; NaN where it is not known


@torch.no_grad()
def score(model: VAE, train: Tensor, test: Tensor, importance_samples: int) -> Scores:
    """Measure a trained model on test images (n, ...), with the same noise for every model."""
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
    correlation = total_correlation(model, train[:AGGREGATE])
    return Scores(pd.concat(parts, ignore_index=True), active, correlation)


def total_correlation(model: VAE, x: Tensor) -> float:
    """Estimate KL(q(z) || prod_j q(z_j)) in nats, where q(z) is the mean of q(z|x) over x (n, ...).

    The n images are the whole population here, and all in one batch. With 1 for the N of Chen et
    al. 2018, eq. 3, the estimate of log q(z) is then that of this mean itself.
    """
    q = model.posterior(x)
    try:
        marginals(q)
    except MolvaeError:
        return float("nan")
    parts = kl_parts(q, model.prior(), q.sample(), examples=1)
    return float(parts.total_correlation.mean())


def independent_pixels(train: Tensor, test: Tensor) -> float:
    """Mean log-likelihood of the test images where each pixel has its share of ones, nats."""
    share = (train.sum(0) + 1) / (len(train) + 2)  # Laplace's rule: never 0 or 1
    return float((test * share.log() + (1 - test) * (1 - share).log()).sum((1, 2, 3)).mean())


def standard_error(values: NDArray[np.float64]) -> float:
    """Values (seeds, images) -> standard error of their mean: chance of images and of trainings.

    The sum of both variances counts their interaction twice and so errs on the safe side. From one
    seed it cannot know what training adds.
    """
    seeds, images = values.shape
    variance = values.mean(0).var(ddof=1) / images
    if seeds > 1:
        variance += values.mean(1).var(ddof=1) / seeds
    return float(np.sqrt(variance))
