"""How to search. Whatever is left open is decided here, for shell and Python alike."""

from __future__ import annotations

from dataclasses import dataclass

from molvae.base.errors import MolvaeError
from molvae.base.registry import unknown_name
from molvae.loop import genetic  # noqa: F401 (registers "ga")
from molvae.loop.latent_proposer import InLatentSpace
from molvae.loop.proposers import ProposerKind, proposers
from molvae.search.strategies import strategies

FOR_ONE, FOR_SEVERAL = "neighbourhood", "ehvi"


@dataclass(frozen=True)
class OptimizeConfig:
    """How to search; with the start molecules and the model this determines a run.

    Attributes:
        strategy: a name from `molvae list strategies`; None for `neighbourhood`, or `ehvi` where
            there are several objectives.
        batch: candidates per round, q; None for a 400th of the budget, at least 10 (a tenth of a
            budget below 100), and for 5 of "ga".
        initial: molecules of the first round: two thirds from the data set, a third decoded from
            prior samples; or all leads, and some molecules around them. None for 1 % of the budget,
            at least 30 (a third of a budget below 90). As long as all values are equal, further
            rounds are drawn the same way.
        pool: latent points decoded together, p, several times a round; None for 10 per candidate,
            at least 100.
        plausibility: least plausibility of a molecule that is evaluated (`chem.plausibility`); None
            for `chem.plausibility.PASSING` where the model has a domain and no constraint is on the
            plausibility, 0 for any molecule. Leads need not be plausible.
        seed: of all randomness.
    """

    strategy: str | None = None
    batch: int | None = None
    initial: int | None = None
    pool: int | None = None
    plausibility: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.strategy is not None:
            find_proposer(self.strategy)  # an unknown name is reported at once
        for name in ("batch", "initial", "pool"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise MolvaeError(f"{name} must be at least 1, not {value}")
        if self.plausibility is not None and not 0 <= self.plausibility <= 1:
            raise MolvaeError(f"plausibility must be from 0 to 1, not {self.plausibility}")
        if self.seed < 0:
            raise MolvaeError(f"the seed must not be negative, got {self.seed}")


def default_strategy(objectives: int) -> str:
    """Number of objectives -> the strategy of a search that names none."""
    return FOR_ONE if objectives == 1 else FOR_SEVERAL


def strategy_names() -> list[str]:
    """All names that `OptimizeConfig.strategy` takes, importable ones aside."""
    return [*strategies, *proposers]


def find_proposer(name: str) -> ProposerKind:
    """The name of a strategy -> what makes its proposer.

    Raises:
        MolvaeError: there is no such strategy, and it cannot be imported.
    """
    if name in proposers:
        return proposers[name]
    if name not in strategies and ":" not in name:
        raise unknown_name("strategy", name, strategy_names())
    return InLatentSpace(strategies.look_up(name))
