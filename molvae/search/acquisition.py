"""Acquisition: choosing rows of a pool from a surrogate's predictions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from molvae.search.protocols import Floats

BETAS = (0.1, 3.0)  # range of beta, the weight of the standard deviation in the upper bound


def draw_best(
    mean: Floats, covariance: Floats, q: int, rng: np.random.Generator
) -> NDArray[np.intp]:
    """Mean (m,) and covariance (m, m) of a pool -> q distinct rows by Thompson sampling.

    Each row maximises its own draw from the joint posterior, among the rows not yet chosen
    (Hernández-Lobato et al. 2017, "Parallel and distributed Thompson sampling for large-scale
    accelerated exploration of chemical space").

    Args:
        mean: posterior mean of each row.
        covariance: posterior covariance of the rows.
        q: number of rows to choose; all m if there are fewer.
        rng: source of randomness.
    """
    values, vectors = np.linalg.eigh(covariance)  # may be singular, if molecules coincide
    root = vectors * np.sqrt(values.clip(0))
    rows: list[int] = []
    for draw in mean + rng.standard_normal((min(q, len(mean)), len(mean))) @ root.T:
        draw[rows] = -np.inf
        rows.append(int(draw.argmax()))
    return np.array(rows, dtype=np.intp)


def choose_highest(
    mean: Floats, deviation: Floats, q: int, rng: np.random.Generator
) -> NDArray[np.intp]:
    """Mean and deviation (m,) of a pool -> q distinct rows by upper confidence bound.

    Each row has the highest mean + beta * deviation for its own beta, drawn log-uniformly from
    `BETAS`, among the rows not yet chosen.

    Args:
        mean: posterior mean of each row.
        deviation: posterior standard deviation of each row.
        q: number of rows to choose; all m if there are fewer.
        rng: source of randomness.
    """
    rows: list[int] = []
    low, high = np.log(BETAS)
    for beta in np.exp(rng.uniform(low, high, min(q, len(mean)))):
        bound = mean + beta * deviation
        bound[rows] = -np.inf
        rows.append(int(bound.argmax()))
    return np.array(rows, dtype=np.intp)
