"""What a strategy promises: observations in, latent points to try next out.

A strategy is created in each round from the observations and a seed. Its state is therefore a
function of the history, and a resumed run continues like an unbroken one. It proposes latent
points; these are decoded, screened and encoded again, and the strategy chooses among the molecules
that remain.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, TypeAlias, get_args, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from molvae.base.errors import MolvaeError
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
    the fields `parts` (n, F / 8), sets packed by `numpy.packbits`, and `numbers` (n, K). `rounds`
    (n,) says in which round each was evaluated.
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
    """Proposes and chooses in one round of a search."""

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
    """A strategy that sees what each pool decodes to before it proposes the next one."""

    def consider(self, z: Floats, features: Features) -> None:
        """Update with a decoded pool: m new molecules, their points (m, D) and features."""
        ...


def check_strategy(name: str, entry: type[Strategy]) -> None:
    """Refuse what is not a strategy.

    Raises:
        MolvaeError: naming what it lacks.
    """
    if not isinstance(entry, type):
        raise MolvaeError(f"the strategy {name!r} is not a class, but {entry!r}")
    if missing := [n for n in ("sees", "several", "propose", "choose") if not hasattr(entry, n)]:
        raise MolvaeError(f"the strategy {name!r} lacks {', '.join(missing)}")
    if entry.sees not in get_args(Kind):
        known = " or ".join(map(repr, get_args(Kind)))
        raise MolvaeError(f"the strategy {name!r} sees {entry.sees!r}, which is not {known}")


strategies: Registry[type[Strategy]] = Registry("strategy", check_strategy)
