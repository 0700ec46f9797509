"""Gradient ascent on the properties that the latent model predicts."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from molvae.search.proposals import clip_to_bounds, draw_by_rank
from molvae.search.protocols import Floats, Kind, Observations, Seed, strategies
from molvae.search.surrogate import select_observations


@strategies.register("gradient")
class Gradient:
    """Gradient ascent from the best molecules on the latent model's predicted properties.

    The objective is approximated by a linear function of these properties, fitted to the
    observations; its gradient at z comes from the property head (Gómez-Bombarelli et al. 2018).
    This does not work for an objective that is unrelated to the predicted properties.
    """

    sees: ClassVar[Kind] = "latents"
    several: ClassVar[bool] = False
    rank_weight = 0.02  # share of the observations that most ascents start from
    steps, stride = 10, 0.15  # maximum number of steps; their length in standard deviations of z
    noise = 0.1  # noise on the start points, in the same unit
    ridge = 1e-3  # ridge penalty on the weights of the standardised properties

    def __init__(self, seen: Observations, seed: Seed) -> None:

        self._rng = np.random.default_rng(seed)
        self._bounds, self._predict = seen.bounds, seen.predict
        rows = select_observations(seen.y[:, 0], self._rng)
        self._z = seen.known()[0]
        self._scale = self._z.std(axis=0)
        properties, _ = seen.predict(seen.z[rows])
        spread = properties.std(axis=0)
        x = (properties - properties.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
        y = seen.y[rows, 0] - seen.y[rows, 0].mean()
        gram = x.T @ x / len(x) + self.ridge * np.eye(x.shape[1])
        self._weights = np.linalg.solve(gram, x.T @ y / len(x)) / np.where(spread > 0, spread, 1.0)

    def propose(self, p: int) -> Floats:
        """Return p latent points (p, D): the end points of ascents of random length."""
        z = draw_by_rank(self._z, p, self.rank_weight, self._rng)
        z = z + self.noise * self._scale * self._rng.standard_normal(z.shape)
        length = self._rng.uniform(0, self.steps, (p, 1))
        for step in range(self.steps):
            _, slopes = self._predict(z)
            uphill = self._scale**2 * np.einsum("p,npd->nd", self._weights, slopes)
            norm = np.sqrt((uphill**2 / self._scale.clip(1e-12) ** 2).mean(axis=1, keepdims=True))
            z = z + self.stride * (length - step).clip(0, 1) * uphill / norm.clip(1e-12)
        return clip_to_bounds(z, self._bounds)

    def choose(self, features: Floats, q: int) -> NDArray[np.intp]:
        """Return up to q rows with the highest objective predicted from the properties."""
        order: NDArray[np.intp] = np.argsort(
            -(self._predict(features)[0] @ self._weights), kind="stable"
        )
        return order[:q]
