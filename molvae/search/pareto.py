"""Several objectives at once: the front, its hypervolume, and how to enlarge it."""

from __future__ import annotations

import numpy as np
import torch
from botorch.utils.multi_objective.box_decompositions import FastNondominatedPartitioning
from botorch.utils.multi_objective.hypervolume import Hypervolume
from numpy.typing import NDArray
from scipy.stats import norm

from molvae.search.protocols import Floats

BELOW = 0.1  # of its range on the front: how far below the front the reference point lies


def pareto_front(y: Floats) -> NDArray[np.intp]:
    """Values (n, M), NaN where unknown -> the rows that no other row dominates, in order.

    A row dominates another that is nowhere greater and somewhere smaller; of equal rows the first
    counts.
    """
    rows = np.flatnonzero(~np.isnan(y).any(axis=1))
    rows = rows[np.lexsort((rows, -y[rows].sum(axis=1)))]  # none is dominated by a later one
    found: list[int] = []
    for row in rows:
        if not (y[found] >= y[row]).all(axis=1).any():
            found.append(int(row))
    return np.sort(np.array(found, dtype=np.intp))


def reference_point(y: Floats) -> Floats:
    """Values (n, M) -> the point (M,) below the front that hypervolumes are measured from.

    An objective that is the same all along the front takes its range from all values.
    """
    best, known = y[pareto_front(y)], y[~np.isnan(y).any(axis=1)]
    low, spread = best.min(axis=0), np.ptp(best, axis=0)
    spread = np.where(spread > 0, spread, np.ptp(known, axis=0))
    point: Floats = low - BELOW * np.where(spread > 0, spread, 1.0)
    return point


def free_boxes(y: Floats, below: Floats) -> tuple[Floats, Floats]:
    """A front (n, M) and the reference point (M,) -> corners (c, M) of the boxes it leaves free.

    The boxes fill what is above the reference point and not dominated.
    """

    if y.shape[1] == 1:
        return y.max(axis=0, keepdims=True), np.array([[np.inf]])
    parts = FastNondominatedPartitioning(torch.from_numpy(below), torch.from_numpy(y))
    low, high = parts.get_hypercell_bounds().numpy()
    return low, high


def hypervolume(y: Floats, below: Floats) -> float:
    """Values (n, M) -> volume of what they dominate above the reference point (M,)."""

    return float(Hypervolume(torch.from_numpy(below)).compute(torch.from_numpy(y[pareto_front(y)])))


def expected_hypervolume_improvement(
    mean: Floats, deviation: Floats, low: Floats, high: Floats
) -> NDArray[np.float64]:
    """Independent Gaussians (m, M) and free boxes (c, M) -> expected hypervolume improvement (m,).

    A point at y adds the product over the objectives of (min(y, high) - low)+ in each box; the
    expectation of each factor is a difference of expected improvements (Emmerich, Deutz &
    Klinkenberg 2011, "Hypervolume-based expected improvement").
    """
    growth = np.zeros(len(mean))
    for lower, upper in zip(low, high, strict=True):
        parts = _improvement(mean, deviation, lower) - _improvement(mean, deviation, upper)
        growth += parts.prod(axis=1)
    return growth


def _improvement(mean: Floats, deviation: Floats, above: Floats) -> Floats:
    """E[(y - above)+] (m, M), 0 above infinity."""
    finite = np.where(np.isinf(above), 0.0, above)
    u = (mean - finite) / deviation
    found: Floats = deviation * (norm.pdf(u) + u * norm.cdf(u))
    return np.where(np.isinf(above), 0.0, found)


def scalarise(y: Floats, rng: np.random.Generator) -> Floats:
    """Values (n, M) -> one value (n, 1): closeness to the best of each, in a random direction.

    The augmented Chebyshev scalarisation with random weights (Knowles 2006, "ParEGO").
    """
    if y.shape[1] == 1:
        return y
    low, high = np.nanmin(y, axis=0), np.nanmax(y, axis=0)
    away = (high - y) / np.where(high > low, high - low, 1.0)
    away = away * rng.dirichlet(np.ones(y.shape[1]))
    closeness: Floats = -away.max(axis=1, keepdims=True) - 0.05 * away.sum(axis=1, keepdims=True)
    return closeness
