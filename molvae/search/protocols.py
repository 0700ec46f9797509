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
# z (n, D) -> properties (n, P) predicted by the latent model, and their gradients (n, P, D)
Predict: TypeAlias = Callable[[Floats], tuple[Floats, Floats]]


@dataclass(frozen=True)
class Observations:
    """The observations that a strategy is given.

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
        """Return z (m, D) and y (m,) of the m successful evaluations, best first (for M = 1)."""
        order = np.argsort(-self.y[:, 0], kind="stable")  # NaN last
        order = order[~np.isnan(self.y[order, 0])]
        return self.z[order], self.y[order, 0]


class Strategy(Protocol):
    """Proposes and chooses in one round of a search."""

    sees: ClassVar[Kind]  # the kind of features it is given
    several: ClassVar[bool]  # whether it handles M > 1 objectives; if not, they are scalarised

    def __init__(self, seen: Observations, seed: Seed) -> None: ...

    def propose(self, p: int) -> Floats:
        """Return p latent points (p, D) within the bounds; each call returns new ones."""
        ...

    def choose(self, features: Features, q: int) -> NDArray[np.intp]:
        """Features of a pool of m molecules -> at most q distinct rows, the best first."""
        ...


@runtime_checkable
class Refining(Strategy, Protocol):
    """A strategy that sees what each pool decodes to before it proposes the next one."""

    def consider(self, z: Floats, features: Features) -> None:
        """Update with a decoded pool: m new molecules, their points (m, D) and features."""
        ...


@runtime_checkable
class Ranking(Strategy, Protocol):
    """A strategy that says how promising molecules are that none of its points decoded to."""

    def rank(self, features: Features) -> Floats:
        """Features of m molecules -> m numbers, the greater the more promising."""
        ...


def check_strategy(name: str, entry: type[Strategy]) -> None:
    """Check that a registered class implements `Strategy`.

    Raises:
        MolvaeError: it does not; the message names what is missing.
    """
    if not isinstance(entry, type):
        raise MolvaeError(f"the strategy {name!r} must be a class, not {entry!r}")
    if missing := [n for n in ("sees", "several", "propose", "choose") if not hasattr(entry, n)]:
        raise MolvaeError(f"the strategy {name!r} lacks {', '.join(missing)}")
    if entry.sees not in get_args(Kind):
        known = " or ".join(map(repr, get_args(Kind)))
        raise MolvaeError(f"the strategy {name!r} has sees = {entry.sees!r}; it must be {known}")


strategies: Registry[type[Strategy]] = Registry("strategy", check_strategy)
