"""A round of the search: propose, decode, screen, encode again, choose."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from molvae.base.errors import MolvaeError
from molvae.chem.fingerprints import MoleculeFeatures
from molvae.chem.molecules import canonicalize, parse
from molvae.oracles.history import Iteration, Record
from molvae.oracles.oracle import Oracle
from molvae.search.hypervolume import scalarise
from molvae.search.strategies import Around, strategies
from molvae.search.strategy import Features, Floats, Observations, Refining, Strategy

if TYPE_CHECKING:
    import pandas as pd

GENETIC = "ga"
CHOICE = 20  # new molecules per candidate that a round wants to choose from
FEW = 10  # a round of fewer candidates chooses from as many as one of these
ROUNDS = 5  # pools decoded in search of them before going on with fewer
LOOKED_AT = 20_000  # start molecules that a draw looks at, where few meet the constraints
STAGES = 10  # how often a model is adapted in a run
BEST, OTHERS = 500, 2_100  # molecules of the search and of the data set that it is adapted to
REMEMBERED = 100_000  # decoded strings
MARGIN = 0.25  # the bounds reach beyond the encoded molecules by this share of their range


class LatentSpace(Protocol):
    """What the search needs of a model; `MolVAE` has it."""

    @property
    def latent(self) -> int:
        """The latent dimension D."""
        ...

    def can_encode_canonical(self, form: str) -> bool:
        """Whether `encode` accepts this canonical SMILES."""
        ...

    def encode(self, smiles: list[str], *, refine: int) -> Any:
        """SMILES (n) -> latent points (n, D)."""
        ...

    def properties(self, z: Any) -> pd.DataFrame:
        """Latent points (n, D) -> the properties that are predicted there, a column each."""
        ...

    def gradient(self, z: Any, name: str) -> Any:
        """Latent points (n, D) -> slopes (n, D) of one of these properties."""
        ...

    def decode(self, z: Any, *, beam: int) -> list[str]:
        """Latent points (n, D) -> n strings, each the same for the same point."""
        ...


@dataclass(frozen=True)
class OptimizeConfig:
    """How to search; with the start molecules and the model this determines a run.

    Attributes:
        strategy: a name from `molvae.search.strategies`, or "ga": a genetic algorithm, which makes
            no use of the latent space and is there to compare with.
        batch: candidates per round, q; None for a 400th of the budget, at least 10, and for 5 of
            "ga".
        initial: molecules of the first round, two thirds from the data set, a third decoded prior
            samples, or the leads, all of them, and some around them; None for 1 % of the budget, at
            least 30. While all values are alike, further rounds are drawn in the same way.
        pool: latent points decoded together, p, several times a round; None for 10 per candidate,
            at least 100.
        seed: of all randomness.
    """

    strategy: str = "neighbourhood"
    batch: int | None = None
    initial: int | None = None
    pool: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.strategy != GENETIC:
            _ = strategies.look_up(self.strategy)  # a wrong name is told at once
        for name in ("batch", "initial", "pool"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise MolvaeError(f"{name} must be at least 1, not {value}")
        if self.seed < 0:
            raise MolvaeError(f"the seed must not be negative, got {self.seed}")

    def complete(self, budget: int, begun: Mapping[str, Any]) -> Complete:
        """Fill in what follows from the budget, or what a run was begun with."""
        least = 5 if self.strategy == GENETIC else max(10, budget // 400)
        batch = self.batch or begun.get("batch") or least
        initial = self.initial or begun.get("initial") or max(30, budget // 100)
        stage = begun.get("stage") or max(batch, budget // STAGES)
        pool = self.pool or 10 * max(FEW, batch)
        return Complete(self.strategy, batch, initial, pool, self.seed, stage)


class Complete(NamedTuple):
    """An `OptimizeConfig` without None."""

    strategy: str
    batch: int
    initial: int
    pool: int
    seed: int
    stage: int  # evaluations after which the model is adapted again


# the model, the best molecules found, others, a seed -> the model adapted to them
Adapt: TypeAlias = Callable[[Any, Sequence[str], Sequence[str], int], LatentSpace]


class LatentRounds:
    """What stays the same from round to round: the model, the start molecules, the bounds."""

    def __init__(
        self,
        model: LatentSpace,
        oracle: Oracle,
        start: Sequence[str],
        leads: Sequence[str],
        config: Complete,
        adapt: Adapt | None = None,
    ) -> None:
        self.model, self.oracle, self.start, self.config = model, oracle, start, config
        self.adapt, self.stage, self.space = adapt, 0, model
        self.places: dict[str, NDArray[np.float32]] = {}
        admitted = (oracle.admissible(lead) for lead in leads)
        self.leads = dict.fromkeys(
            n for n in admitted if n is not None and model.can_encode_canonical(n)
        )
        self.make = strategies.look_up(config.strategy)
        placed = [(r.smiles, r.z) for r in oracle.history.records() if r.z is not None]
        if placed and not self._placed_alike(*placed[0]):
            raise MolvaeError("this history was begun with another model")
        self.bounds = self._bounds()
        self.molecules = MoleculeFeatures()
        # of what is decoded late in a search most has been seen before
        self._admissible = lru_cache(REMEMBERED)(oracle.admissible)
        self._readable = lru_cache(REMEMBERED)(model.can_encode_canonical)

    def candidates(
        self, k: int, pending: Collection[str] = ()
    ) -> tuple[list[str], NDArray[np.float32], Iteration]:
        """Return round k: candidates (<= q), their latent points, and how they came about.

        None of them is `pending`, that is, of an earlier round and not evaluated yet.
        """
        started = time.perf_counter()
        past = self.oracle.history.records(before=k)
        self._adapt(past)
        seen = {record.smiles for record in past}.union(pending)
        known, seed = [r for r in past if r.z is not None], [self.config.seed, k]
        if len({r.values for r in known if not np.isnan(r.y)}) < 2:  # nothing to learn from yet
            names, z, decoded, valid = self._first(seen, seed)
        else:
            points = np.array(self._placed(known), dtype=np.float64)
            y = np.array([r.values for r in known], dtype=np.float64)
            observed = Observations(
                z=points,
                y=y if self.make.several else scalarise(y, np.random.default_rng([*seed, 1])),
                bounds=self.bounds,
                features=self._features([r.smiles for r in known], points),
                rounds=np.array([r.iteration for r in known]),
                predict=self._predicted,
            )
            strategy = self.make(observed, seed)
            q = CHOICE * max(FEW, self.config.batch)
            pool, decoded, valid = self._pool(strategy, seen, q)
            rows = strategy.choose(self._features(pool), self.config.batch)
            names = [pool[row] for row in rows]
            z = self._encoded(names, self.model)  # also where the space is adapted
        return names, z, Iteration(k, decoded, valid, len(names), time.perf_counter() - started)

    def _first(
        self, seen: set[str], seed: list[int]
    ) -> tuple[list[str], NDArray[np.float32], int, int]:
        """Molecules until values differ: leads and some around them, or data and prior samples."""
        rng = np.random.default_rng(seed)
        count = self.config.batch if seen else self.config.initial
        names = [name for name in self.leads if name not in seen]
        if not self.leads:
            names = self._drawn(rng, round(count * 2 / 3), seen, self.oracle.admissible)
        no_z = np.empty((0, self.model.latent))
        none = np.empty(0, dtype=np.intp)
        nothing = Observations(no_z, np.empty((0, 1)), self.bounds, no_z, none, self._predicted)
        sampling: Strategy = strategies["prior"](nothing, [*seed, 1])
        if self.leads:
            sampling = Around(self._encoded(list(self.leads)), self.bounds, [*seed, 1])
        q = max(0, count - len(names))
        sampled, decoded, valid = self._pool(sampling, seen | set(names), q)
        names += sampled[:q]
        return names, self._encoded(names), decoded, valid

    def _adapt(self, past: list[Record]) -> None:
        """Have the model adapted to what was found, once more each time a stage is over.

        The same whether the run was stopped in between or not: a stage begins with a round.
        """
        stage = len(past) // self.config.stage
        if self.adapt is None or stage == self.stage:
            return
        last = past[stage * self.config.stage - 1].iteration  # of the stage before
        found = [r for r in past if r.iteration <= last and not np.isnan(r.y) and r.z is not None]
        best = sorted(found, key=lambda r: -r.y)[:BEST]
        seed = self.config.seed + stage
        others = self._drawn(np.random.default_rng([seed, 2]), OTHERS, set(), canonicalize)
        self.space = self.adapt(self.model, [r.smiles for r in best], others, seed)
        self.stage, self.places = stage, {}

    def _placed(self, records: list[Record]) -> list[NDArray[np.float32]]:
        """The latent points of evaluated molecules in the space as it is now."""
        if self.space is self.model:
            return [r.z for r in records if r.z is not None]
        new = [r.smiles for r in records if r.smiles not in self.places]
        self.places |= zip(new, self._encoded(new), strict=True)
        return [self.places[r.smiles] for r in records]

    def _drawn(
        self,
        rng: np.random.Generator,
        count: int,
        seen: set[str],
        admit: Callable[[str], str | None],
    ) -> list[str]:
        """Draw unseen molecules of the data set that can be encoded and are admitted."""
        names: dict[str, None] = {}
        for row in rng.permutation(len(self.start))[:LOOKED_AT]:
            if len(names) == count:
                break
            name = admit(self.start[row])
            if name and name not in seen and parse(name) and self.model.can_encode_canonical(name):
                names[name] = None
        return list(names)

    def _pool(self, strategy: Strategy, seen: set[str], q: int) -> tuple[list[str], int, int]:
        """Decode proposals until there are q new molecules: names, decoded, valid."""
        names: dict[str, None] = {}
        decoded, valid, p = 0, 0, max(self.config.pool, 2 * q // ROUNDS)
        for _ in range(ROUNDS):
            points = strategy.propose(p).astype(np.float32)
            # greedily: eight times as many points give more new molecules than a beam would
            found = [self._admissible(text) for text in self.space.decode(points, beam=1)]
            decoded += len(found)
            valid += sum(name is not None for name in found)
            new: dict[str, int] = {}
            for row, name in enumerate(found):
                if name and name not in seen and name not in names and self._readable(name):
                    new.setdefault(name, row)
            names |= dict.fromkeys(new)
            if len(names) >= q:
                break
            if new and isinstance(strategy, Refining):
                z = points[list(new.values())].astype(np.float64)
                strategy.consider(z, self._features(list(new)))
        return list(names), decoded, valid

    def _features(self, names: list[str], z: Floats | None = None) -> Features:
        """Molecules, and their z (n, D) where it is known -> what the strategy sees of them."""
        if self.make.sees == "molecules":
            return self.molecules(names)
        return self._encoded(names).astype(np.float64) if z is None else z

    def _predicted(self, z: Floats) -> tuple[Floats, Floats]:
        """Latent points (n, D) -> what the model predicts there (n, P), its slopes (n, P, D)."""
        table = self.space.properties(z)
        slopes = [np.asarray(self.space.gradient(z, name), np.float64) for name in map(str, table)]
        return table.to_numpy(np.float64), np.stack(slopes, axis=1)

    def _encoded(self, names: list[str], space: LatentSpace | None = None) -> NDArray[np.float32]:
        if not names:
            return np.empty((0, self.model.latent), dtype=np.float32)
        z = (space or self.space).encode(names, refine=0)  # nothing gained by it
        return np.asarray(z.detach().cpu() if hasattr(z, "detach") else z, dtype=np.float32)

    def _bounds(self) -> Floats:
        """The box (2, D) around data-set molecules and the bulk of the prior."""
        prior = np.full((2, self.model.latent), 4.0) * [[-1.0], [1.0]]
        names = self._drawn(np.random.default_rng(self.config.seed), 200, set(), canonicalize)
        if not names:
            return prior
        z = self._encoded(names).astype(np.float64)
        low, high = z.min(axis=0), z.max(axis=0)
        reach = MARGIN * (high - low)
        return np.stack([np.minimum(low - reach, prior[0]), np.maximum(high + reach, prior[1])])

    def _placed_alike(self, smiles: str, z: NDArray[np.float32]) -> bool:
        found = self._encoded([smiles]) if self.model.can_encode_canonical(smiles) else np.inf
        return bool(np.allclose(found, z, atol=1e-2, rtol=1e-2))
