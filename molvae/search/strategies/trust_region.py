"""Trust-region search around the best observation (TuRBO)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from molvae.search.acquisition import draw_best
from molvae.search.latent_surrogate import fit_surrogate
from molvae.search.proposals import clip_to_bounds, sample_prior
from molvae.search.protocols import Floats, Kind, Observations, Seed, strategies
from molvae.search.surrogate import select_observations


@strategies.register("trust-region")
class TrustRegion:
    """TuRBO: a Gaussian process in one trust region that grows, shrinks and restarts.

    The trust region is a box around its best observation, with sides proportional to the
    lengthscales. Proposals perturb some coordinates of the centre, and candidates are chosen among
    the decoded molecules by Thompson sampling (Eriksson et al. 2019, "Scalable global optimization
    via local Bayesian optimization"; in latent spaces, Maus et al. 2022). Several successful rounds
    in a row double the region and several failures in a row halve it; a region that has become too
    small is restarted from prior samples. The state is reconstructed from the previous rounds.
    """

    sees: ClassVar[Kind] = "latents"
    several: ClassVar[bool] = False
    sides = (0.05, 0.4, 0.8)  # minimum, initial and maximum side, as shares of the bounds' width
    successes = 3  # successful rounds in a row before the region is doubled
    better = 1e-3  # minimum improvement that counts as a success, relative to |best|
    initial = 20  # observations to collect before a new region is modelled
    changed = 20  # average number of coordinates that a proposal perturbs
    wider = 1.5  # growth of the region for each further pool of a round with too few new molecules

    def __init__(self, seen: Observations, seed: Seed) -> None:

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
        """Return p latent points (p, D) from the region, or from the prior if it is new."""
        if self._surrogate is None:
            return sample_prior(self._bounds, p, self._rng)
        shape = (p, len(self._centre))
        kept = self._rng.random(shape) >= self.changed / len(self._centre)
        kept[np.arange(p), self._rng.integers(shape[1], size=p)] = False
        step = self._rng.uniform(-self._reach, self._reach, shape)
        self._reach = self.wider * self._reach
        return clip_to_bounds(self._centre + np.where(kept, 0.0, step), self._bounds)

    def choose(self, features: Floats, q: int) -> NDArray[np.intp]:
        """Return up to q rows by Thompson sampling, or the first ones if the region is new."""

        if self._surrogate is None:
            return np.arange(min(q, len(features)))
        with torch.no_grad():
            posterior = self._surrogate.posterior(torch.as_tensor(features, dtype=torch.float64))
            mean, covariance = posterior.mean[:, 0].numpy(), posterior.covariance_matrix.numpy()
        return draw_best(mean, covariance, q, self._rng)

    def _replayed(self, seen: Observations) -> tuple[float, int]:
        """Observations -> the current side of the region, and the round in which it started."""
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
            patience = max(1, -(-seen.z.shape[1] // len(y)))  # as many evaluations as dimensions
            if up == self.successes:
                side, up = min(2 * side, greatest), 0
            elif down >= patience:
                side, down = side / 2, 0
            if side < least:
                side, since, best, members, up, down = first, int(k) + 1, -np.inf, 0, 0, 0
        return side, since
