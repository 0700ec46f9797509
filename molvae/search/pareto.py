"""Multi-objective search: the Pareto front, its hypervolume and expected improvement."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtr

from molvae.search.protocols import Floats

BELOW = 0.1  # offset of the reference point below the front, as a share of each objective's range


def pareto_front(y: Floats) -> NDArray[np.intp]:
    """Values (n, M), NaN where unknown -> rows of the Pareto front, in increasing order.

    A row dominates another if it is at least as great in every objective and greater in at least
    one. Of equal rows, only the first is kept. Rows with a NaN are ignored.
    """
    rows = np.flatnonzero(~np.isnan(y).any(axis=1))
    rows = rows[np.lexsort((rows, -y[rows].sum(axis=1)))]  # no row is dominated by a later one
    found: list[int] = []
    for row in rows:
        if not (y[found] >= y[row]).all(axis=1).any():
            found.append(int(row))
    return np.sort(np.array(found, dtype=np.intp))


def find_undominated(y: Floats) -> NDArray[np.intp]:
    """Values (n, M), NaN where unknown -> the Pareto front as `pareto_front`, equal rows included.

    The rows are in increasing order.
    """
    front = {tuple(row) for row in y[pareto_front(y)].tolist()}
    return np.array([i for i, row in enumerate(y.tolist()) if tuple(row) in front], dtype=np.intp)


def reference_point(y: Floats) -> Floats:
    """Values (n, M) -> the reference point (M,) for hypervolumes, just below the front.

    The offset is a share of each objective's range on the front. If an objective is constant on the
    front, its range over all values is used instead.
    """
    best, known = y[pareto_front(y)], y[~np.isnan(y).any(axis=1)]
    low, spread = best.min(axis=0), np.ptp(best, axis=0)
    spread = np.where(spread > 0, spread, np.ptp(known, axis=0))
    point: Floats = low - BELOW * np.where(spread > 0, spread, 1.0)
    return point


def free_boxes(y: Floats, below: Floats) -> tuple[Floats, Floats]:
    """Front (n, M) and reference point (M,) -> lower and upper corners (c, M) of boxes.

    The boxes partition the non-dominated region above the reference point.
    """
    # BoTorch is imported where it is used: a search for one objective need not wait for it
    from botorch.utils.multi_objective.box_decompositions import FastNondominatedPartitioning

    if y.shape[1] == 1:
        return y.max(axis=0, keepdims=True), np.array([[np.inf]])
    parts = FastNondominatedPartitioning(torch.from_numpy(below), torch.from_numpy(y))
    low, high = parts.get_hypercell_bounds().numpy()
    return low, high


def hypervolume(y: Floats, below: Floats) -> float:
    """Values (n, M) and reference point (M,) -> hypervolume that the values dominate."""
    from botorch.utils.multi_objective.hypervolume import Hypervolume

    return float(Hypervolume(torch.from_numpy(below)).compute(torch.from_numpy(y[pareto_front(y)])))


def expected_hypervolume_improvement(
    mean: Floats, deviation: Floats, low: Floats, high: Floats
) -> NDArray[np.float64]:
    """Independent Gaussians (m, M) and boxes (c, M) -> expected hypervolume improvement (m,).

    In each box, a point at y adds the product over objectives of (min(y, high) - low)+. The
    expectation of each factor is a difference of two expected improvements (Emmerich, Deutz &
    Klinkenberg 2011, "Hypervolume-based expected improvement").

    Args:
        mean: predicted mean of each objective.
        deviation: predicted standard deviation of each objective, above 0.
        low: lower corners of the boxes from `free_boxes`.
        high: upper corners of the boxes; may be infinite.
    """
    growth = np.zeros(len(mean))
    for lower, upper in zip(low, high, strict=True):
        parts = _improvement(mean, deviation, lower) - _improvement(mean, deviation, upper)
        growth += parts.prod(axis=1)
    return growth


def _improvement(mean: Floats, deviation: Floats, above: Floats) -> Floats:
    """Gaussians (m, M) and thresholds (M,) -> E[(y - above)+] (m, M); 0 where above is infinite."""
    finite = np.where(np.isinf(above), 0.0, above)
    u = (mean - finite) / deviation
    density = np.exp(-(u**2) / 2) / math.sqrt(2 * math.pi)
    found: Floats = deviation * (density + u * ndtr(u))
    return np.where(np.isinf(above), 0.0, found)


def scalarise(y: Floats, rng: np.random.Generator) -> Floats:
    """Values (n, M) -> scalarised values (n, 1), to be maximised.

    The augmented Chebyshev scalarisation with random weights (Knowles 2006, "ParEGO"). With M = 1
    the values are returned unchanged.
    """
    if y.shape[1] == 1:
        return y
    low, high = np.nanmin(y, axis=0), np.nanmax(y, axis=0)
    away = (high - y) / np.where(high > low, high - low, 1.0)
    away = away * rng.dirichlet(np.ones(y.shape[1]))
    closeness: Floats = -away.max(axis=1, keepdims=True) - 0.05 * away.sum(axis=1, keepdims=True)
    return closeness
