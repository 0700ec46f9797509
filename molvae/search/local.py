"""Searches that stay near the best: inside a region that adapts, or up a slope."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from molvae.search.strategy import (
    Floats,
    Kind,
    Observations,
    Seed,
    clip_to_bounds,
    draw_best,
    draw_by_rank,
    sample_prior,
    strategies,
)


@strategies.register("trust-region")
class TrustRegion:
    """TuRBO: a Gaussian process on the latents of one region, which grows, shrinks and restarts.

    The region is a box around its best observation whose sides follow the lengthscales; proposals
    change some coordinates of the centre, and candidates are Thompson samples of the decoded
    molecules (Eriksson et al. 2019, "Scalable global optimization via local Bayesian
    optimization"; in latent spaces Maus et al. 2022). Some rounds in a row that improve on the
    best double the region, some that do not halve it, and one that has become tiny is left for
    samples of the prior. All this is found again from the rounds before.
    """

    sees: ClassVar[Kind] = "latents"
    several: ClassVar[bool] = False
    sides = (0.05, 0.4, 0.8)  # least, first and greatest, as shares of the bounds
    successes = 3  # rounds in a row that double it
    better = 1e-3  # of |best|: what counts as an improvement
    initial = 20  # observations that a region begins with
    changed = 20  # coordinates that a proposal changes on average
    wider = 1.5  # each further pool of a round, where one held too few new molecules

    def __init__(self, seen: Observations, seed: Seed) -> None:
        from molvae.search.surrogate import fit_surrogate, select_observations

        self._rng = np.random.default_rng(seed)
        self._bounds = seen.bounds
        y = seen.y[:, 0]
        enough = min(self.initial, len(select_observations(y, self._rng)))
        side, since = self._replayed(seen)
        inner = np.flatnonzero(~np.isnan(y) & (seen.rounds >= since))
        self._surrogate = None
        if len(inner) >= enough:
            rows = inner[np.sort(select_observations(y[inner], self._rng))]
            self._surrogate = fit_surrogate(seen.z[rows], seen.y[rows])
            self._centre = seen.z[rows[y[rows].argmax()]]
            lengths = self._surrogate.covar_module.lengthscale.detach().numpy()[0]
            relative = lengths / np.exp(np.log(lengths).mean())
            self._reach = side / 2 * relative * (seen.bounds[1] - seen.bounds[0])

    def propose(self, p: int) -> Floats:
        """Return p latent points (p, D): of the region, or of the prior where it is new."""
        if self._surrogate is None:
            return sample_prior(self._bounds, p, self._rng)
        shape = (p, len(self._centre))
        kept = self._rng.random(shape) >= self.changed / len(self._centre)
        kept[np.arange(p), self._rng.integers(shape[1], size=p)] = False
        step = self._rng.uniform(-self._reach, self._reach, shape)
        self._reach = self.wider * self._reach
        return clip_to_bounds(self._centre + np.where(kept, 0.0, step), self._bounds)

    def choose(self, features: Floats, q: int) -> NDArray[np.intp]:
        """Return up to q rows by Thompson sampling, or the first ones where the region is new."""
        import torch

        if self._surrogate is None:
            return np.arange(min(q, len(features)))
        with torch.no_grad():
            posterior = self._surrogate.posterior(torch.as_tensor(features, dtype=torch.float64))
            mean, covariance = posterior.mean[:, 0].numpy(), posterior.covariance_matrix.numpy()
        return draw_best(mean, covariance, q, self._rng)

    def _replayed(self, seen: Observations) -> tuple[float, int]:
        """The side of the region now, and the round since which observations belong to it."""
        least, first, greatest = self.sides
        side, since, best, members, up, down = first, -1, -np.inf, 0, 0, 0
        for k in np.unique(seen.rounds):
            y = seen.y[seen.rounds == k, 0]
            top = np.nanmax(y) if not np.isnan(y).all() else -np.inf
            if members >= self.initial:
                improved = top > best + self.better * abs(best)
                up, down = (up + 1, 0) if improved else (0, down + 1)
            members += int((~np.isnan(y)).sum())
            best = max(best, top)
            patience = max(1, -(-seen.z.shape[1] // len(y)))  # as many steps as dimensions
            if up == self.successes:
                side, up = min(2 * side, greatest), 0
            elif down >= patience:
                side, down = side / 2, 0
            if side < least:
                side, since, best, members, up, down = first, int(k) + 1, -np.inf, 0, 0, 0
        return side, since


@strategies.register("gradient")
class Gradient:
    """Ascent from the best molecules along the properties that the latent model itself predicts.

    The objective is taken for a linear function of these properties, fitted to what was observed;
    its slope at z is that of the property head (Gómez-Bombarelli et al. 2018, the lecture's local
    optimisation). An objective that has nothing to do with them is not found this way.
    """

    sees: ClassVar[Kind] = "latents"
    several: ClassVar[bool] = False
    rank_weight = 0.02  # share of the observations that most ascents start from
    steps, stride = 10, 0.15  # at most, and the length of each in standard deviations of z
    noise = 0.1  # of where they start, in the same unit
    ridge = 1e-3  # penalty on the weights of the standardised properties

    def __init__(self, seen: Observations, seed: Seed) -> None:
        from molvae.search.surrogate import select_observations

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
        """Return p latent points (p, D): where ascents of random lengths end."""
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
        """Return up to q rows for which the properties promise most."""
        order: NDArray[np.intp] = np.argsort(
            -(self._predict(features)[0] @ self._weights), kind="stable"
        )
        return order[:q]
