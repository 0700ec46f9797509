"""Latent proposals: prior samples, steps from good points, and points between them."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from molvae.search.protocols import Features, Floats, Kind, Seed

BEST = 100  # number of top observations to start proposals from
RANK_WEIGHT = 0.1  # share of those that carries most of the sampling weight
STEPS = (0.15, 2.0)  # range of the step length per dimension, in eighths of the bounds' width
JITTER = 0.1  # noise added to points made from two others, in the same unit


def draw_by_rank(z: Floats, count: int, share: float, rng: np.random.Generator) -> Floats:
    """Points (n, D), best first -> a rank-weighted sample (count, D), with replacement.

    Args:
        z: the points, best first.
        count: sample size.
        share: share of the points that carries most of the weight; the weight of the point of rank
            r (from 0) is proportional to 1 / (share * n + r).
        rng: source of randomness.
    """
    weight = 1.0 / (share * len(z) + np.arange(len(z)))
    drawn: Floats = z[rng.choice(len(z), count, p=weight / weight.sum())]
    return drawn


def sample_prior(bounds: Floats, p: int, rng: np.random.Generator) -> Floats:
    """Bounds (2, D) -> p samples (p, D) of N(0, I), clipped to the bounds."""
    return clip_to_bounds(rng.standard_normal((p, bounds.shape[1])), bounds)


def clip_to_bounds(z: Floats, bounds: Floats) -> Floats:
    """Points (n, D) and bounds (2, D) -> points with each coordinate clipped to the bounds."""
    return z.clip(bounds[0], bounds[1])


def propose_nearby(z: Floats, bounds: Floats, p: int, rng: np.random.Generator) -> Floats:
    """Points (n, D), best first -> p proposals (p, D) around and between them.

    Half of the proposals are steps from one point, with log-uniform lengths over more than a
    factor of ten. A quarter interpolate between two points, and a quarter take each coordinate from
    one of two points (uniform crossover). A surrogate then ranks the molecules that the proposals
    decode to.

    Args:
        z: the points, best first; only the first `BEST` are used.
        bounds: lower and upper bounds (2, D).
        p: number of proposals.
        rng: source of randomness.
    """
    scale = (bounds[1] - bounds[0]) / 8
    one, other = (draw_by_rank(z[:BEST], p, RANK_WEIGHT, rng) for _ in range(2))
    noise = scale * rng.standard_normal(one.shape)
    low, high = np.log(STEPS)
    moved = one + noise * np.exp(rng.uniform(low, high, (p, 1)))
    share = np.where(
        np.arange(p)[:, None] % 2,  # alternate between interpolation and crossover
        rng.random((p, 1)),
        rng.integers(2, size=one.shape),
    )
    joined = one + share * (other - one) + JITTER * noise
    return clip_to_bounds(np.where(np.arange(p)[:, None] % 4 < 2, moved, joined), bounds)


class Around:
    """Points around the leads, for the rounds before there are observations to learn from."""

    sees: ClassVar[Kind] = "latents"
    several: ClassVar[bool] = True
    distances = (0.1, 1.0)  # minimum and maximum, in standard deviations of the prior

    def __init__(self, leads: NDArray[np.floating[Any]], bounds: Floats, seed: Seed) -> None:
        self._leads, self._bounds = leads, bounds
        self._rng = np.random.default_rng(seed)

    def propose(self, p: int) -> Floats:
        """Return p points (p, D) around random leads, at log-uniform distances."""
        near = self._leads[self._rng.integers(len(self._leads), size=p)].astype(np.float64)
        low, high = np.log(self.distances)
        length = np.exp(self._rng.uniform(low, high, (p, 1)))
        return clip_to_bounds(near + length * self._rng.standard_normal(near.shape), self._bounds)

    def choose(self, features: Features, q: int) -> NDArray[np.intp]:
        """Return the first q rows."""
        return np.arange(min(q, len(features)))
