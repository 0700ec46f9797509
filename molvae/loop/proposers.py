"""Who proposes the molecules of a round: a strategy in a latent space, or another method.

Think of a project team that meets once a week. Somebody brings a list of molecules; they are made
and measured; the next list takes the results into account. A `Proposer` brings the list.
`molvae.loop.ask_tell` keeps the minutes, and does not care whether the list comes from a Gaussian
process on a latent space or from a genetic algorithm on graphs.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from molvae.base.registry import Registry
from molvae.loop.run import SearchRun
from molvae.oracles.history import Iteration


class Round(NamedTuple):
    """The molecules of a round, canonical SMILES, and how they came about."""

    names: list[str]
    iteration: Iteration


class Proposer(Protocol):
    """Makes each round a function of the run's settings and of the rounds before it."""

    def propose_round(self, k: int, pending: Collection[str] = ()) -> Round:
        """Return round k: new admissible molecules, none where no more can be found.

        `pending` are molecules of earlier rounds that have no value yet; none of them comes again.
        """
        ...

    def locate(self, names: Sequence[str]) -> list[NDArray[np.float32] | None]:
        """Return the latent point (D,) that the history stores beside each molecule, or None."""
        ...


class ProposerKind(Protocol):
    """What makes a `Proposer` for a run."""

    @property
    def several(self) -> bool:
        """Whether it takes several objectives."""
        ...

    def default_batch(self, budget: int) -> int:
        """Return the number of candidates per round where the user does not say."""
        ...

    def __call__(self, run: SearchRun) -> Proposer:
        """Make the proposer."""
        ...


# those that are not strategies in a latent space, which `molvae.search` registers
proposers: Registry[ProposerKind] = Registry("strategy")
