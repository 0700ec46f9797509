"""What a strategy is: what has been observed -> where in the latent space to look next.

A strategy is made anew in every round from the observations and a seed, so that its state is a
function of the history and a resumed run goes on like the unbroken one. It proposes latent points;
once these are decoded, screened and encoded again, it chooses among the molecules that are left.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from molvae.base.registry import Registry

Floats: TypeAlias = NDArray[np.float64]
Features: TypeAlias = NDArray[Any]
Kind: TypeAlias = Literal["latents", "molecules"]
Seed: TypeAlias = int | Sequence[int]
# z (n, D) -> properties (n, P) that the latent model predicts there, and their slopes (n, P, D)
Predict: TypeAlias = Callable[[Floats], tuple[Floats, Floats]]


@dataclass(frozen=True)
class Observations:
    """What a strategy may know: z (n, D), y (n, M), NaN where it failed, and bounds (2, D).

    `features` are what a surrogate sees of the molecules: the latents again (n, D), or (n,) with
    the fields `parts` (n, F / 8), sets as of `numpy.packbits`, and `numbers` (n, K). `rounds` (n,)
    says in which round each was evaluated.
    """

    z: Floats
    y: Floats
    bounds: Floats
    features: Features
    rounds: NDArray[np.intp]
    predict: Predict

    def known(self) -> tuple[Floats, Floats]:
        """Return z (m, D) and y (m,) of the m evaluations that succeeded, best first, if M = 1."""
        order = np.argsort(-self.y[:, 0], kind="stable")  # NaN last
        order = order[~np.isnan(self.y[order, 0])]
        return self.z[order], self.y[order, 0]


class Strategy(Protocol):
    """One round of a search."""

    sees: ClassVar[Kind]  # the features that it is given
    several: ClassVar[bool]  # whether it takes M > 1 objectives; otherwise they come as one

    def __init__(self, seen: Observations, seed: Seed) -> None: ...

    def propose(self, p: int) -> Floats:
        """Return p latent points (p, D) inside the bounds; a further call returns others."""
        ...

    def choose(self, features: Features, q: int) -> NDArray[np.intp]:
        """Features of a pool of m -> at most q distinct rows, the most wanted first."""
        ...


@runtime_checkable
class Refining(Strategy, Protocol):
    """One that is shown what a pool of its proposals decoded to before it is asked for the next."""

    def consider(self, z: Floats, features: Features) -> None:
        """Take note of m new molecules: the points (m, D) that they decode from, and features."""
        ...


strategies: Registry[type[Strategy]] = Registry("strategy")


def draw_by_rank(z: Floats, count: int, share: float, rng: np.random.Generator) -> Floats:
    """Points (n, D), best first -> count of them, of which a share carries most of the weight."""
    weight = 1.0 / (share * len(z) + np.arange(len(z)))
    drawn: Floats = z[rng.choice(len(z), count, p=weight / weight.sum())]
    return drawn


def sample_prior(bounds: Floats, p: int, rng: np.random.Generator) -> Floats:
    """Samples (p, D) of N(0, I), clipped to the bounds."""
    return clip_to_bounds(rng.standard_normal((p, bounds.shape[1])), bounds)


def clip_to_bounds(z: Floats, bounds: Floats) -> Floats:
    """Points (n, D), each coordinate clipped to the bounds."""
    return z.clip(bounds[0], bounds[1])


def draw_best(
    mean: Floats, covariance: Floats, q: int, rng: np.random.Generator
) -> NDArray[np.intp]:
    """Mean (m,) and covariance (m, m) of a pool -> q distinct rows, Thompson sampling.

    Each is the best of its own joint draw, among the rows that are left (Hernández-Lobato et al.
    2017, "Parallel and distributed Thompson sampling for large-scale accelerated exploration of
    chemical space").
    """
    values, vectors = np.linalg.eigh(covariance)  # molecules may be alike: it may be singular
    root = vectors * np.sqrt(values.clip(0))
    rows: list[int] = []
    for draw in mean + rng.standard_normal((min(q, len(mean)), len(mean))) @ root.T:
        draw[rows] = -np.inf
        rows.append(int(draw.argmax()))
    return np.array(rows, dtype=np.intp)
