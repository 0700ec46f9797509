"""Bayesian optimisation: a Gaussian process on the latent space, and expected improvement."""

from __future__ import annotations

import warnings
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from molvae.search.latent_surrogate import fit_surrogate
from molvae.search.proposals import clip_to_bounds, draw_by_rank, sample_prior
from molvae.search.protocols import Floats, Kind, Observations, Seed, strategies
from molvae.search.surrogate import select_observations


@strategies.register("ei")
class ExpectedImprovement:
    """Log expected improvement over a pool of points around the best molecules.

    A decoder is reliable only near encoded molecules. The pool therefore consists of steps of
    several lengths from good observations (sampled by rank, Tripp, Daxberger & Hernández-Lobato
    2020), points on the lines between them, points along gradient ascents of the acquisition from
    the best observations, and some prior samples. The molecules with the highest individual log
    expected improvement are shortlisted, and the batch is chosen from them greedily by joint log
    expected improvement (Ament et al. 2023, "Unexpected improvements to expected improvement").
    """

    sees: ClassVar[Kind] = "latents"
    several: ClassVar[bool] = False
    steps = (0.15, 0.3, 0.5, 0.8)  # step lengths, in standard deviations of the observed z
    rank_weight = 0.02  # share of the observations that carries most of the sampling weight
    ascents = 8  # number of top observations to start ascents of the acquisition from
    ascent_steps = 20
    finalists = 5  # shortlisted molecules per candidate

    def __init__(self, seen: Observations, seed: Seed) -> None:
        self._rng = np.random.default_rng(seed)
        self._bounds = seen.bounds
        self._z, self._y = seen.known()
        self._scale = self._z.std(axis=0)
        rows = np.sort(select_observations(seen.y[:, 0], self._rng))
        self._surrogate = fit_surrogate(seen.z[rows], seen.y[rows])
        self._summits: Floats | None = None

    def propose(self, p: int) -> Floats:
        """Return p latent points (p, D): 1/2 steps, 1/4 on lines, 1/8 ascents, 1/8 from prior."""
        lines, uphill, prior = p // 4, p // 8, p // 8
        points = [
            self._steps(p - lines - uphill - prior),
            self._lines(lines),
            self._uphill(uphill),
            sample_prior(self._bounds, prior, self._rng),
        ]
        return clip_to_bounds(np.concatenate(points), self._bounds)

    def choose(self, features: Floats, q: int) -> NDArray[np.intp]:
        """Return up to q rows, chosen greedily by joint log expected improvement."""
        from botorch.acquisition.analytic import LogExpectedImprovement
        from botorch.acquisition.logei import qLogExpectedImprovement
        from botorch.optim import optimize_acqf_discrete
        from botorch.sampling import SobolQMCNormalSampler
        from linear_operator.utils.warnings import NumericalWarning

        choices = torch.as_tensor(features, dtype=torch.float64)
        if len(choices) <= q:
            return np.arange(len(choices))
        sampler = SobolQMCNormalSampler(torch.Size([128]), seed=int(self._rng.integers(2**31)))
        best = float(self._y[0])
        alone = LogExpectedImprovement(self._surrogate, best)
        together = qLogExpectedImprovement(self._surrogate, best, sampler)
        with torch.no_grad(), warnings.catch_warnings():
            # molecules that share a latent point make the covariance singular without jitter
            warnings.simplefilter("ignore", NumericalWarning)
            finalists = choices[
                alone(choices[:, None]).argsort(descending=True)[: self.finalists * q]
            ]
            chosen, _ = optimize_acqf_discrete(together, q, finalists)
        return _rows_of(_array(chosen), _array(choices))

    def _good(self, count: int) -> Floats:
        return draw_by_rank(self._z, count, self.rank_weight, self._rng)

    def _steps(self, count: int) -> Floats:
        length = self._rng.choice(self.steps, size=(count, 1))
        noise = self._rng.standard_normal((count, self._z.shape[1]))
        ends: Floats = self._good(count) + length * self._scale * noise
        return ends

    def _lines(self, count: int) -> Floats:
        start, end = self._good(count), self._good(count)
        return start + self._rng.uniform(0.0, 1.3, size=(count, 1)) * (end - start)

    def _uphill(self, count: int) -> Floats:
        if self._summits is None:
            self._summits = self._climb(self._z[: self.ascents])
        row = self._rng.integers(len(self._summits), size=count)
        way = self._rng.uniform(0.0, 1.0, size=(count, 1))
        start = self._z[row]
        return start + way * (self._summits[row] - start)

    def _climb(self, starts: Floats) -> Floats:
        """Start points (s, D) -> end points (s, D) of ascents of log expected improvement."""
        from botorch.acquisition.analytic import LogExpectedImprovement
        from botorch.optim import optimize_acqf

        bounds = torch.as_tensor(self._bounds, dtype=torch.float64)
        first = torch.as_tensor(clip_to_bounds(starts, self._bounds), dtype=torch.float64)
        ends, _ = optimize_acqf(
            LogExpectedImprovement(self._surrogate, float(self._y[0])),
            bounds,
            q=1,
            num_restarts=len(first),
            batch_initial_conditions=first[:, None],
            options={"maxiter": self.ascent_steps},
            return_best_only=False,
            retry_on_optimization_warning=False,
        )
        return _array(ends[:, 0])


def _array(points: Tensor) -> Floats:
    array: Floats = points.detach().numpy()
    return array


def _rows_of(chosen: Floats, choices: Floats) -> NDArray[np.intp]:
    """Points (q, D) and choices (m, D) -> the distinct rows of `choices` that equal the points."""
    rows: list[int] = []
    for point in chosen:
        alike = np.flatnonzero((choices == point).all(axis=1))
        rows.append(next(int(row) for row in alike if row not in rows))
    return np.array(rows, dtype=np.intp)
