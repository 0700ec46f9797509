"""Multi-objective search by expected hypervolume improvement around the Pareto front."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from molvae.search.pareto import (
    expected_hypervolume_improvement,
    free_boxes,
    pareto_front,
    reference_point,
)
from molvae.search.proposals import BEST, propose_nearby
from molvae.search.protocols import Features, Floats, Kind, Observations, Seed, strategies
from molvae.search.surrogate import MixedProcess


@strategies.register("ehvi")
class ExpectedHypervolume:
    """Expected hypervolume improvement over points around and between the Pareto front.

    Proposals are those of `neighbourhood` around the Pareto front, then the next front, and so on.
    Each objective has its own Gaussian process. A chosen candidate is assumed to have its mean
    value, so that the next one adds to it.
    """

    sees: ClassVar[Kind] = "molecules"
    several: ClassVar[bool] = True

    def __init__(self, seen: Observations, seed: Seed) -> None:

        self._rng = np.random.default_rng(seed)
        self._bounds = seen.bounds
        columns = seen.y.T
        self._surrogates = [MixedProcess(seen.features, y, self._rng) for y in columns]
        self._z = seen.z[self._best_first(seen.y)]
        self._front = seen.y[pareto_front(seen.y)]
        self._below = reference_point(seen.y)

    def propose(self, p: int) -> Floats:
        """Return p latent points (p, D) from `propose_nearby`."""
        return propose_nearby(self._z, self._bounds, p, self._rng)

    def choose(self, features: Features, q: int) -> NDArray[np.intp]:
        """Return up to q rows, chosen greedily by expected hypervolume improvement."""
        found = [surrogate.predict(features) for surrogate in self._surrogates]
        mean, deviation = (np.stack(part, axis=1) for part in zip(*found, strict=True))
        deviation = deviation.clip(1e-9)
        best, rows = self._front, list[int]()
        while len(rows) < min(q, len(mean)):
            growth = expected_hypervolume_improvement(
                mean, deviation, *free_boxes(best, self._below)
            )
            growth[rows] = -1.0
            rows.append(int(growth.argmax()))
            best = np.concatenate([best, mean[rows[-1:]]])
            best = best[pareto_front(best)]
        return np.array(rows, dtype=np.intp)

    def _best_first(self, y: Floats) -> NDArray[np.intp]:
        """Rows of the successive non-dominated fronts, until there are at least `BEST`."""
        left, rows = y.copy(), list[int]()
        while len(rows) < min(BEST, int((~np.isnan(y).any(axis=1)).sum())):
            next_front = self._rng.permutation(pareto_front(left))
            rows += next_front.tolist()
            left[next_front] = np.nan
        return np.array(rows, dtype=np.intp)
