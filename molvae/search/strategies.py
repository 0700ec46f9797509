"""Strategies: what has been observed -> where in the latent space to look next.

A strategy is made anew in every round from the observations and a seed, so that its state is a
function of the history and a resumed run goes on like the unbroken one. It proposes latent points;
once these are decoded, screened and encoded again, it chooses among the molecules that are left.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from molvae.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor

Floats: TypeAlias = NDArray[np.float64]
Seed: TypeAlias = int | Sequence[int]


@dataclass(frozen=True)
class Observations:
    """What a strategy may know: z (n, D), y (n, 1), NaN where it failed, and bounds (2, D)."""

    z: Floats
    y: Floats
    bounds: Floats

    def known(self) -> tuple[Floats, Floats]:
        """Return z (m, D) and y (m,) of the m evaluations that succeeded, best first."""
        order = np.argsort(-self.y[:, 0], kind="stable")  # NaN last
        order = order[~np.isnan(self.y[order, 0])]
        return self.z[order], self.y[order, 0]


class Strategy(Protocol):
    """One round of a search."""

    def propose(self, p: int) -> Floats:
        """Return p latent points (p, D) inside the bounds; a further call returns others."""
        ...

    def choose(self, features: Floats, q: int) -> NDArray[np.intp]:
        """Features (m, F) of a pool -> at most q distinct rows, the most wanted first."""
        ...


strategies: Registry[Callable[[Observations, Seed], Strategy]] = Registry("strategy")


@strategies.register("prior")
class PriorSampling:
    """Samples of the standard normal prior, in the order they come: the baseline of any search."""

    def __init__(self, seen: Observations, seed: Seed) -> None:
        self._bounds = seen.bounds
        self._rng = np.random.default_rng(seed)

    def propose(self, p: int) -> Floats:
        """Return p samples (p, D) of the prior, clipped to the bounds."""
        return _prior_samples(self._bounds, p, self._rng)

    def choose(self, features: Floats, q: int) -> NDArray[np.intp]:
        """Return the first q rows."""
        return np.arange(min(q, len(features)))


@strategies.register("ei")
class ExpectedImprovement:
    """Log expected improvement over a pool grown around the best molecules.

    A decoder is reliable near molecules only, so the pool is made of steps of several lengths from
    good observations (drawn by rank, Tripp, Daxberger & Hernández-Lobato 2020), of points on the
    lines between them, of points on the way up the acquisition from the best, and of some prior
    samples. The candidates maximise the joint log expected improvement of the batch over the
    pool's molecules that promise most alone (Ament et al. 2023, "Unexpected improvements to
    expected improvement"), greedily.
    """

    steps = (0.15, 0.3, 0.5, 0.8)  # lengths of a step, in standard deviations of the observed z
    rank_weight = 0.02  # share of the observations that carry most of the weight
    ascents = 8  # how many of the best observations are moved up the acquisition
    ascent_steps = 20
    finalists = 5  # molecules per candidate that the joint acquisition is computed for

    def __init__(self, seen: Observations, seed: Seed) -> None:
        from molvae.search.surrogate import fit_surrogate

        self._rng = np.random.default_rng(seed)
        self._bounds = seen.bounds
        self._z, self._y = seen.known()
        self._scale = self._z.std(axis=0)
        self._surrogate = fit_surrogate(seen.z, seen.y)
        self._summits: Floats | None = None

    def propose(self, p: int) -> Floats:
        """Return p latent points (p, D): half steps, a quarter on lines, the rest see above."""
        lines, uphill, prior = p // 4, p // 8, p // 8
        points = [
            self._steps(p - lines - uphill - prior),
            self._lines(lines),
            self._uphill(uphill),
            _prior_samples(self._bounds, prior, self._rng),
        ]
        return _inside(np.concatenate(points), self._bounds)

    def choose(self, features: Floats, q: int) -> NDArray[np.intp]:
        """Return up to q rows with the greatest joint log expected improvement, greedily."""
        import torch
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
            # molecules that share a latent point make a covariance singular, up to the jitter
            warnings.simplefilter("ignore", NumericalWarning)
            finalists = choices[
                alone(choices[:, None]).argsort(descending=True)[: self.finalists * q]
            ]
            chosen, _ = optimize_acqf_discrete(together, q, finalists)
        return _rows_of(_array(chosen), _array(choices))

    def _good(self, count: int) -> NDArray[np.intp]:
        """Draw observations with a probability that falls with their rank."""
        weight = 1.0 / (self.rank_weight * len(self._z) + np.arange(len(self._z)))
        drawn: NDArray[np.intp] = self._rng.choice(len(weight), count, p=weight / weight.sum())
        return drawn

    def _steps(self, count: int) -> Floats:
        length = self._rng.choice(self.steps, size=(count, 1))
        noise = self._rng.standard_normal((count, self._z.shape[1]))
        ends: Floats = self._z[self._good(count)] + length * self._scale * noise
        return ends

    def _lines(self, count: int) -> Floats:
        start, end = self._z[self._good(count)], self._z[self._good(count)]
        return start + self._rng.uniform(0.0, 1.3, size=(count, 1)) * (end - start)

    def _uphill(self, count: int) -> Floats:
        if self._summits is None:
            self._summits = self._climb(self._z[: self.ascents])
        row = self._rng.integers(len(self._summits), size=count)
        way = self._rng.uniform(0.0, 1.0, size=(count, 1))
        start = self._z[row]
        return start + way * (self._summits[row] - start)

    def _climb(self, starts: Floats) -> Floats:
        """Starts (s, D) -> where some gradient steps on log expected improvement lead, (s, D)."""
        import torch
        from botorch.acquisition.analytic import LogExpectedImprovement
        from botorch.optim import optimize_acqf

        bounds = torch.as_tensor(self._bounds, dtype=torch.float64)
        first = torch.as_tensor(_inside(starts, self._bounds), dtype=torch.float64)
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


def _prior_samples(bounds: Floats, p: int, rng: np.random.Generator) -> Floats:
    return _inside(rng.standard_normal((p, bounds.shape[1])), bounds)


def _inside(z: Floats, bounds: Floats) -> Floats:
    return z.clip(bounds[0], bounds[1])


def _array(points: Tensor) -> Floats:
    array: Floats = points.detach().numpy()
    return array


def _rows_of(chosen: Floats, choices: Floats) -> NDArray[np.intp]:
    """Rows of `choices` that equal those of `chosen`, each row once even where two are alike."""
    rows: list[int] = []
    for point in chosen:
        alike = np.flatnonzero((choices == point).all(axis=1))
        rows.append(next(int(row) for row in alike if row not in rows))
    return np.array(rows, dtype=np.intp)
