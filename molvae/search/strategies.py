"""All strategies by name, and the one that makes no use of what was observed."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from molvae.search import expected_improvement, hypervolume, local, neighbourhood
from molvae.search.strategy import (
    Features,
    Floats,
    Kind,
    Observations,
    Seed,
    clip_to_bounds,
    sample_prior,
    strategies,
)

__all__ = [
    "Around",
    "PriorSampling",
    "expected_improvement",
    "hypervolume",
    "local",
    "neighbourhood",
    "strategies",
]


@strategies.register("prior")
class PriorSampling:
    """Samples of the standard normal prior, in the order they come: the baseline of any search."""

    sees: ClassVar[Kind] = "latents"
    several: ClassVar[bool] = False

    def __init__(self, seen: Observations, seed: Seed) -> None:
        self._bounds = seen.bounds
        self._rng = np.random.default_rng(seed)

    def propose(self, p: int) -> Floats:
        """Return p samples (p, D) of the prior, clipped to the bounds."""
        return sample_prior(self._bounds, p, self._rng)

    def choose(self, features: Floats, q: int) -> NDArray[np.intp]:
        """Return the first q rows."""
        return np.arange(min(q, len(features)))


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
