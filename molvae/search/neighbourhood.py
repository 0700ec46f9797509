"""Points around and between the best molecules, and a surrogate that sees the molecules."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from molvae.search.strategy import (
    Features,
    Floats,
    Kind,
    Observations,
    Seed,
    by_rank,
    drawn_best,
    inside,
    strategies,
)


@strategies.register("neighbourhood")
class Neighbourhood:
    """Points around and between the best molecules, ranked by a surrogate of the molecules.

    Proposals: half are steps from one of the best, of lengths that differ by more than a factor of
    ten; a quarter lie between two of them; a quarter take each coordinate from one or the other.
    Which of them pay the surrogate finds out, since it sees the molecules themselves. Candidates
    have the greatest mean + standard deviation under a Gaussian process on fingerprints, which on
    its own, with a genetic algorithm for proposals, is a strong baseline (Tripp, Simm &
    Hernández-Lobato 2021, "A fresh look at de novo molecular design benchmarks").
    """

    sees: ClassVar[Kind] = "fingerprints"
    best = 100  # observations that proposals are made of
    rank_weight = 0.1  # share of them that carry most of the weight
    steps = (0.1, 1.2)  # least and greatest length in each direction, in eighths of the bounds
    jitter = 0.1  # of the points that are made of two

    def __init__(self, seen: Observations, seed: Seed) -> None:
        from molvae.search.surrogate import TanimotoProcess

        self._rng = np.random.default_rng(seed)
        self._bounds = seen.bounds
        self._scale = (seen.bounds[1] - seen.bounds[0]) / 8
        self._z = seen.known()[0][: self.best]
        self._surrogate = TanimotoProcess(seen.features, seen.y[:, 0], self._rng)

    def propose(self, p: int) -> Floats:
        """Return p latent points (p, D)."""
        one, other = (by_rank(self._z, p, self.rank_weight, self._rng) for _ in range(2))
        noise = self._scale * self._rng.standard_normal(one.shape)
        low, high = np.log(self.steps)
        moved = one + noise * np.exp(self._rng.uniform(low, high, (p, 1)))
        share = np.where(
            np.arange(p)[:, None] % 2,  # of the pairs, every second one lies on their line
            self._rng.random((p, 1)),
            self._rng.integers(2, size=one.shape),
        )
        joined = one + share * (other - one) + self.jitter * noise
        return inside(np.where(np.arange(p)[:, None] % 4 < 2, moved, joined), self._bounds)

    def choose(self, features: Features, q: int) -> NDArray[np.intp]:
        """Return up to q rows with the greatest mean + standard deviation."""
        mean, deviation = self._surrogate.predict(features)
        order: NDArray[np.intp] = np.argsort(-(mean + deviation), kind="stable")[:q]
        return order


@strategies.register("thompson")
class Thompson(Neighbourhood):
    """The proposals of `neighbourhood`; each candidate is the best of one draw of the surrogate."""

    def choose(self, features: Features, q: int) -> NDArray[np.intp]:
        """Return up to q rows by Thompson sampling."""
        return drawn_best(*self._surrogate.joint(features), q, self._rng)
