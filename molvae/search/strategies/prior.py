"""Prior sampling: the baseline that ignores all observations."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from molvae.search.proposals import sample_prior
from molvae.search.protocols import Floats, Kind, Observations, Seed, strategies


@strategies.register("prior")
class PriorSampling:
    """The prior-sampling baseline: samples of the standard normal prior, ignoring observations."""

    sees: ClassVar[Kind] = "latents"
    several: ClassVar[bool] = False

    def __init__(self, seen: Observations, seed: Seed) -> None:
        self._bounds = seen.bounds
        self._rng = np.random.default_rng(seed)

    def propose(self, p: int) -> Floats:
        """Return p prior samples (p, D), clipped to the bounds."""
        return sample_prior(self._bounds, p, self._rng)

    def choose(self, features: Floats, q: int) -> NDArray[np.intp]:
        """Return the first q rows."""
        return np.arange(min(q, len(features)))
