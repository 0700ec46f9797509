"""Strategies: what has been observed -> where in the latent space to look next.

A strategy is made anew in every round from the observations and a seed, so that its state is a
function of the history and a resumed run goes on like the unbroken one. It proposes latent points;
once these are decoded, screened and encoded again, it chooses among the molecules that are left.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from molvae.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor

Floats: TypeAlias = NDArray[np.float64]
Features: TypeAlias = NDArray[Any]
Kind: TypeAlias = Literal["latents", "fingerprints"]
Seed: TypeAlias = int | Sequence[int]


@dataclass(frozen=True)
class Observations:
    """What a strategy may know: z (n, D), y (n, 1), NaN where it failed, and bounds (2, D).

    `features` (n, F) are what a surrogate sees of the molecules: the latents again, or
    fingerprints of 0 and 1.
    """

    z: Floats
    y: Floats
    bounds: Floats
    features: Features

    def known(self) -> tuple[Floats, Floats]:
        """Return z (m, D) and y (m,) of the m evaluations that succeeded, best first."""
        order = np.argsort(-self.y[:, 0], kind="stable")  # NaN last
        order = order[~np.isnan(self.y[order, 0])]
        return self.z[order], self.y[order, 0]


class Strategy(Protocol):
    """One round of a search."""

    sees: ClassVar[Kind]  # the features that it is given

    def __init__(self, seen: Observations, seed: Seed) -> None: ...

    def propose(self, p: int) -> Floats:
        """Return p latent points (p, D) inside the bounds; a further call returns others."""
        ...

    def choose(self, features: Features, q: int) -> NDArray[np.intp]:
        """Features (m, F) of a pool -> at most q distinct rows, the most wanted first."""
        ...


strategies: Registry[type[Strategy]] = Registry("strategy")


@strategies.register("prior")
class PriorSampling:
    """Samples of the standard normal prior, in the order they come: the baseline of any search."""

    sees: ClassVar[Kind] = "latents"

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

    sees: ClassVar[Kind] = "latents"
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

    def _good(self, count: int) -> Floats:
        return _by_rank(self._z, count, self.rank_weight, self._rng)

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
        one, other = (_by_rank(self._z, p, self.rank_weight, self._rng) for _ in range(2))
        noise = self._scale * self._rng.standard_normal(one.shape)
        low, high = np.log(self.steps)
        moved = one + noise * np.exp(self._rng.uniform(low, high, (p, 1)))
        share = np.where(
            np.arange(p)[:, None] % 2,  # of the pairs, every second one lies on their line
            self._rng.random((p, 1)),
            self._rng.integers(2, size=one.shape),
        )
        joined = one + share * (other - one) + self.jitter * noise
        return _inside(np.where(np.arange(p)[:, None] % 4 < 2, moved, joined), self._bounds)

    def choose(self, features: Features, q: int) -> NDArray[np.intp]:
        """Return up to q rows with the greatest mean + standard deviation."""
        mean, deviation = self._surrogate.predict(features)
        order: NDArray[np.intp] = np.argsort(-(mean + deviation), kind="stable")[:q]
        return order


def _by_rank(z: Floats, count: int, share: float, rng: np.random.Generator) -> Floats:
    """Points (n, D), best first -> count of them, of which a share carries most of the weight."""
    weight = 1.0 / (share * len(z) + np.arange(len(z)))
    drawn: Floats = z[rng.choice(len(z), count, p=weight / weight.sum())]
    return drawn


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
