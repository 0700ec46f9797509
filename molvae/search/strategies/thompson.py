"""Thompson sampling over the proposals of `neighbourhood`."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from molvae.search.acquisition import draw_best
from molvae.search.protocols import Features, Floats, Kind, Observations, Seed, strategies
from molvae.search.strategies.neighbourhood import LatentNeighbourhood


@strategies.register("thompson")
class Thompson:
    """Thompson sampling: proposals of `neighbourhood`, each candidate the best of one draw."""

    sees: ClassVar[Kind] = "molecules"
    several: ClassVar[bool] = False

    def __init__(self, seen: Observations, seed: Seed) -> None:
        self._near = LatentNeighbourhood(seen, seed)

    def propose(self, p: int) -> Floats:
        """Return p latent points (p, D) as `neighbourhood` does."""
        return self._near.propose(p)

    def consider(self, z: Floats, features: Features) -> None:
        """Update with the decoded pool as `neighbourhood` does."""
        self._near.consider(z, features)

    def choose(self, features: Features, q: int) -> NDArray[np.intp]:
        """Return up to q rows by Thompson sampling."""
        return draw_best(*self._near.surrogate.joint(features), q, self._near.rng)
