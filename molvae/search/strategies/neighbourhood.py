"""Points around and between the best molecules, ranked by a surrogate on molecular features."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from molvae.search.acquisition import choose_highest
from molvae.search.proposals import propose_nearby
from molvae.search.protocols import Features, Floats, Kind, Observations, Seed, strategies
from molvae.search.surrogate import MixedProcess, normal_scores

PROMISING = 50  # number of top molecules from this round's pools to start further proposals from


@strategies.register("neighbourhood-latent")
class LatentNeighbourhood:
    """As `neighbourhood`, but only with molecules that latent points decode to.

    Each candidate has the greatest mean + beta standard deviations under a Gaussian process on
    their parts and on numbers that describe them; beta is drawn anew for each, so that a batch both
    exploits and explores. The process sees the values rank-transformed to normal scores, so that
    the search is invariant to monotone transforms of the objective. From the second pool of a round
    on half of the proposals lie around and between the most promising molecules of the pools
    before, by mean + one standard deviation, so that a round may go several steps without the
    oracle. With a genetic algorithm for proposals and parts alone such a process is a strong
    baseline (Tripp, Simm & Hernández-Lobato 2021, "A fresh look at de novo molecular design
    benchmarks").
    """

    sees: ClassVar[Kind] = "molecules"
    several: ClassVar[bool] = False

    def __init__(self, seen: Observations, seed: Seed) -> None:

        self.rng = np.random.default_rng(seed)
        self._bounds = seen.bounds
        self._z = seen.known()[0]
        self._found, self._bound = self._z[:0], np.empty(0)  # from the pools of this round
        self._predictions: dict[bytes, tuple[float, float]] = {}
        self.surrogate = MixedProcess(seen.features, normal_scores(seen.y[:, 0]), self.rng)

    def propose(self, p: int) -> Floats:
        """Return p latent points (p, D) from `propose_nearby`, half of them from promising ones."""
        promising = self._found[np.argsort(-self._bound, kind="stable")[:PROMISING]]
        half = p // 2 if len(promising) else 0
        near = propose_nearby(self._z, self._bounds, p - half, self.rng)
        if not half:
            return near
        return np.concatenate([near, propose_nearby(promising, self._bounds, half, self.rng)])

    def consider(self, z: Floats, features: Features) -> None:
        """Update with the decoded pool: its points and their upper confidence bounds."""
        self._found = np.concatenate([self._found, z])
        self._bound = np.concatenate([self._bound, self._upper_bounds(features)])

    def choose(self, features: Features, q: int) -> NDArray[np.intp]:
        """Return up to q rows with the greatest upper confidence bounds."""
        return choose_highest(*self._predicted(features), q, self.rng)

    def _upper_bounds(self, features: Features) -> Floats:
        mean, deviation = self._predicted(features)
        return mean + deviation

    def _predicted(self, features: Features) -> tuple[Floats, Floats]:
        """Features (m,) -> predicted mean and deviation (m,), cached per molecule."""
        keys = [row.tobytes() for row in features]
        new = [row for row, key in enumerate(keys) if key not in self._predictions]
        if new:
            found = zip(*self.surrogate.predict(features[new]), strict=True)
            self._predictions |= zip((keys[row] for row in new), found, strict=True)
        mean, deviation = np.array([self._predictions[key] for key in keys]).reshape(-1, 2).T
        return mean, deviation


@strategies.register("neighbourhood")
class Neighbourhood(LatentNeighbourhood):
    """Points around and between the best molecules, ranked by a surrogate on molecular features.

    Once 100 values are known, a round also chooses from molecules bred from the best and the most
    promising ones (`molvae.loop.latent_proposer`).
    """

    def rank(self, features: Features) -> Floats:
        """Features (m,) -> upper confidence bounds (m,), of one standard deviation."""
        return self._upper_bounds(features)
