"""Choosing rows of a pool from what a surrogate predicts of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from molvae.search.protocols import Floats

BETAS = (0.1, 3.0)  # standard deviations that a candidate may be given above its mean


def draw_best(
    mean: Floats, covariance: Floats, q: int, rng: np.random.Generator
) -> NDArray[np.intp]:
    """Mean (m,) and covariance (m, m) of a pool -> q distinct rows, Thompson sampling.

    Each is the best of its own joint draw, among the rows that are left (Hernández-Lobato et al.
    2017, "Parallel and distributed Thompson sampling for large-scale accelerated exploration of
    chemical space").
    """
    values, vectors = np.linalg.eigh(covariance)  # molecules may be alike: it may be singular
    root = vectors * np.sqrt(values.clip(0))
    rows: list[int] = []
    for draw in mean + rng.standard_normal((min(q, len(mean)), len(mean))) @ root.T:
        draw[rows] = -np.inf
        rows.append(int(draw.argmax()))
    return np.array(rows, dtype=np.intp)


def choose_highest(
    mean: Floats, deviation: Floats, q: int, rng: np.random.Generator
) -> NDArray[np.intp]:
    """Mean and deviation (m,) of a pool -> q distinct rows, each the highest for its own beta."""
    rows: list[int] = []
    low, high = np.log(BETAS)
    for beta in np.exp(rng.uniform(low, high, min(q, len(mean)))):
        bound = mean + beta * deviation
        bound[rows] = -np.inf
        rows.append(int(bound.argmax()))
    return np.array(rows, dtype=np.intp)
