"""Latent points to look at next: samples, steps from good points, points between them."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from molvae.search.protocols import Features, Floats, Kind, Seed

BEST = 100  # observations that proposals are made of
RANK_WEIGHT = 0.1  # share of them that carry most of the weight
STEPS = (0.15, 2.0)  # least and greatest length in each direction, in eighths of the bounds
JITTER = 0.1  # of the points that are made of two


def draw_by_rank(z: Floats, count: int, share: float, rng: np.random.Generator) -> Floats:
    """Points (n, D), best first -> count of them, of which a share carries most of the weight."""
    weight = 1.0 / (share * len(z) + np.arange(len(z)))
    drawn: Floats = z[rng.choice(len(z), count, p=weight / weight.sum())]
    return drawn


def sample_prior(bounds: Floats, p: int, rng: np.random.Generator) -> Floats:
    """Samples (p, D) of N(0, I), clipped to the bounds."""
    return clip_to_bounds(rng.standard_normal((p, bounds.shape[1])), bounds)


def clip_to_bounds(z: Floats, bounds: Floats) -> Floats:
    """Points (n, D), each coordinate clipped to the bounds."""
    return z.clip(bounds[0], bounds[1])


def propose_nearby(z: Floats, bounds: Floats, p: int, rng: np.random.Generator) -> Floats:
    """Points (n, D), best first -> p proposals (p, D) around and between them.

    Half are steps from one point, of lengths that differ by more than a factor of ten; a quarter
    lie between two of them; a quarter take each coordinate from one or the other. Which of them
    pay is left to a surrogate that sees what they decode to.
    """
    scale = (bounds[1] - bounds[0]) / 8
    one, other = (draw_by_rank(z[:BEST], p, RANK_WEIGHT, rng) for _ in range(2))
    noise = scale * rng.standard_normal(one.shape)
    low, high = np.log(STEPS)
    moved = one + noise * np.exp(rng.uniform(low, high, (p, 1)))
    share = np.where(
        np.arange(p)[:, None] % 2,  # of the pairs, every second one lies on their line
        rng.random((p, 1)),
        rng.integers(2, size=one.shape),
    )
    joined = one + share * (other - one) + JITTER * noise
    return clip_to_bounds(np.where(np.arange(p)[:, None] % 4 < 2, moved, joined), bounds)


class Around:
    """Points around the leads, before anything is known of them."""

    sees: ClassVar[Kind] = "latents"
    several: ClassVar[bool] = True
    distances = (0.1, 1.0)  # least and greatest, in standard deviations of the prior

    def __init__(self, leads: NDArray[np.floating[Any]], bounds: Floats, seed: Seed) -> None:
        self._leads, self._bounds = leads, bounds
        self._rng = np.random.default_rng(seed)

    def propose(self, p: int) -> Floats:
        """Return p points (p, D) at distances that differ by a factor of ten."""
        near = self._leads[self._rng.integers(len(self._leads), size=p)].astype(np.float64)
        low, high = np.log(self.distances)
        length = np.exp(self._rng.uniform(low, high, (p, 1)))
        return clip_to_bounds(near + length * self._rng.standard_normal(near.shape), self._bounds)

    def choose(self, features: Features, q: int) -> NDArray[np.intp]:
        """Return the first q rows."""
        return np.arange(min(q, len(features)))
