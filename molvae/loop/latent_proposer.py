"""Rounds in a latent space: propose, decode, screen, encode again, choose.

A strategy proposes points. What counts is the molecule that a point decodes to: repeats and
inadmissible molecules are dropped, the others are encoded again or described by their own features,
and the strategy chooses among these. A score therefore never belongs to another molecule's point.

The points near the best molecules decode to less and less that is new, and some molecules no point
near their own decodes to. So once `BRED_FROM` values are known, a round also chooses from molecules
that are bred: crossed and changed as graphs (Jensen 2019), over generations that the surrogate
selects, as in GP-BO (Tripp, Simm & Hernández-Lobato 2021). Many generations find better molecules
with fewer evaluations, but take most of a round, so there are many only while the search becomes
better. None is larger than the largest of the best known molecules: selected by a surrogate alone,
molecules grow from generation to generation until it knows nothing of them.
"""

from __future__ import annotations

import heapq
import random
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from molvae.base.errors import MolvaeError
from molvae.base.parallel import compute_in_one_thread
from molvae.chem.fingerprints import MoleculeFeatures
from molvae.chem.molecules import canonicalize, count_heavy_atoms, parse, parse_cached
from molvae.loop.genetic import breed
from molvae.loop.proposers import Round
from molvae.loop.run import SearchRun
from molvae.loop.space import LatentSpace
from molvae.oracles.history import Iteration, Record
from molvae.search.pareto import scalarise
from molvae.search.proposals import Around
from molvae.search.protocols import Features, Floats, Observations, Ranking, Refining, Strategy
from molvae.search.strategies import strategies

CHOICE = 20  # new molecules per candidate that a round wants to choose from
FEW = 10  # a round of fewer candidates chooses from as many as one of these
ROUNDS = 5  # pools decoded in search of them before settling for fewer
LOOKED_AT = 20_000  # start molecules that a draw looks at, where few meet the constraints
BEST, OTHERS = 500, 2_100  # molecules of the search and of the data set for fine-tuning
BRED_FROM = 100  # known values; earlier starts have not been measured
PARENTS = 100  # the best that are known, and as many promising ones
DEEP, SHALLOW = 12, 3  # generations, while the search becomes better and while it stands still
# new molecules of a generation, by those that a round wants to choose from; the larger ones once
# `MANY` values are known, while the search becomes better
LITTER, LARGE_LITTER, MANY = 1 / 5, 1 / 2, 1_000
TOP = 10  # the search becomes better if one of so many best molecules is of the last rounds
RECENT, LEAST_DECODED = 10, 0.2  # rounds; the more was bred in them, the less is decoded
REMEMBERED = 100_000  # decoded strings
MARGIN = 0.25  # the bounds exceed the range of the encoded molecules by this share


@dataclass(frozen=True)
class InLatentSpace:
    """A strategy of `molvae.search` as a `ProposerKind`."""

    strategy: type[Strategy]
    several: bool = True  # one that takes a single objective is given a scalarisation

    def default_batch(self, budget: int) -> int:
        """Return a 400th of the budget, at least 10, but no more than a tenth."""
        return max(min(10, max(1, budget // 10)), budget // 400)

    def __call__(self, run: SearchRun) -> LatentProposer:
        """Make the proposer."""
        return LatentProposer(run, self.strategy)


class LatentProposer:
    """A strategy and a latent space: makes rounds, a function of the run and its history."""

    def __init__(self, run: SearchRun, strategy: type[Strategy]) -> None:
        """Prepare the rounds of a run.

        Raises:
            MolvaeError: the history was begun with another model.
        """
        self.run, self.model, self.oracle = run, run.model, run.oracle
        self.stage, self.space = 0, run.model
        self.places: dict[str, NDArray[np.float32]] = {}
        self.make = strategy
        placed = [(r.smiles, r.z) for r in self.oracle.history.records() if r.z is not None]
        if placed and not self._same_place(*placed[0]):
            raise MolvaeError(f"history {self.oracle.history.where} was begun with another model")
        self.bounds = self._find_bounds()
        self.molecules = MoleculeFeatures()
        self.domain = run.model.domain if run.plausibility else None
        self.added = 0  # constraints that the user added
        # of what is decoded late in a search most has been seen before
        self._admissible = lru_cache(REMEMBERED)(self.oracle.admissible)
        self._can_encode = lru_cache(REMEMBERED)(self.model.can_encode_canonical)
        self._is_known = lru_cache(REMEMBERED)(self._knows)

    def locate(self, names: Sequence[str]) -> list[NDArray[np.float32] | None]:
        """Return the posterior mean (D,) of each molecule, None where it cannot be encoded."""
        known = [name for name in names if self.model.can_encode_canonical(name)]
        found = dict(zip(known, self._encode(known, self.model), strict=True))
        return [found.get(name) for name in names]

    def propose_round(self, k: int, pending: Collection[str] = ()) -> Round:
        """Return round k: at most q candidates, none of them `pending`.

        Leads without a value come first, all of them.
        """
        started = time.perf_counter()
        if len(self.oracle.added) != self.added:
            self.added = len(self.oracle.added)
            self._admissible.cache_clear()
        past = self.oracle.history.records(before=k)
        self._fine_tune(past)
        with compute_in_one_thread():
            names, decoded, valid, bred = self._find_candidates(k, past, pending)
        seconds = time.perf_counter() - started
        return Round(names, Iteration(k, decoded, valid, len(names), seconds, bred))

    def _find_candidates(
        self, k: int, past: list[Record], pending: Collection[str]
    ) -> tuple[list[str], int, int, int]:
        """Round and the records before it -> names; how many points were decoded, are admissible.

        The last number says how many of the names were bred.
        """
        seen = {record.smiles for record in past}.union(pending)
        known, seed, bred = [r for r in past if r.z is not None], [self.run.seed, k], 0
        if len({r.values for r in known if not np.isnan(r.y)}) < 2:  # nothing to learn from yet
            names, decoded, valid = self._draw_first(seen, seed)
        else:
            points = np.array(self._place(known), dtype=np.float64)
            y = np.array([r.values for r in known], dtype=np.float64)
            observed = Observations(
                z=points,
                y=y if self.make.several else scalarise(y, np.random.default_rng([*seed, 1])),
                bounds=self.bounds,
                features=self._describe([r.smiles for r in known], points),
                rounds=np.array([r.iteration for r in known]),
                predict=self.space.predict,
            )
            names, decoded, valid = self._left_leads(seen), 0, 0
            if len(names) < self.run.batch:
                strategy = self.make(observed, seed)
                q = CHOICE * max(FEW, self.run.batch)
                taken, children = seen.union(names), list[str]()
                breeds = isinstance(strategy, Ranking) and len(known) >= BRED_FROM
                wanted = round(q * max(LEAST_DECODED, 1 - self._share_bred(k))) if breeds else q
                pool, decoded, valid = self._decode_pool(strategy, taken, wanted)
                if isinstance(strategy, Ranking) and breeds:
                    order = np.argsort(-observed.y[:, 0], kind="stable")[:PARENTS]  # NaN last
                    best = [known[row].smiles for row in order]
                    is_better = max(known[row].iteration for row in order[:TOP]) >= k - RECENT
                    generations = DEEP if is_better else SHALLOW
                    large = is_better and len(known) >= MANY
                    size = round(q * (LARGE_LITTER if large else LITTER))
                    children = self._breed(strategy, best, pool, taken, generations, size, seed)
                pool = self._keep_plausible(pool + children)
                rows = strategy.choose(self._describe(pool), self.run.batch - len(names))
                names += [pool[row] for row in rows]
                bred = len(set(children).intersection(names))
        return names, decoded, valid, bred

    def _share_bred(self, k: int) -> float:
        """The share of the molecules of the last rounds before round k that were bred."""
        past = [one for one in self.oracle.history.iterations() if one.iteration < k][-RECENT:]
        return sum(one.bred for one in past) / max(sum(one.candidates for one in past), 1)

    def _breed(
        self,
        strategy: Ranking,
        best: list[str],
        pool: list[str],
        taken: set[str],
        generations: int,
        size: int,
        seed: list[int],
    ) -> list[str]:
        """Breed new admissible molecules from the best ones and a pool, up to `size` a generation.

        The parents of a generation are the best and the most promising of the pool and of the
        generations before, the first of either more often.
        """
        rng = random.Random(f"{seed} breed")
        largest = max(map(count_heavy_atoms, best))
        promise: dict[str, float] = {}
        new, children = pool, dict[str, None]()
        for _ in range(generations):
            promise |= zip(new, strategy.rank(self._describe(new)).tolist(), strict=True)
            promising = heapq.nlargest(PARENTS, promise, key=promise.__getitem__)
            weights = [1 / (5 + place) for row in (best, promising) for place in range(len(row))]
            parents = rng.choices(best + promising, weights, k=2 * size)
            found = dict.fromkeys(map(self._admissible, breed(parents, size, rng)))
            known = taken.union(promise)
            new = [n for n in found if n and n not in known and self._can_encode(n)]
            new = [n for n in new if count_heavy_atoms(n) <= largest]
            children |= dict.fromkeys(new)
        return list(children)

    def _draw_first(self, seen: set[str], seed: list[int]) -> tuple[list[str], int, int]:
        """Molecules until values differ: leads and some around them, or data and prior samples.

        Returns their names, how many points were decoded, and how many of these are admissible.
        """
        rng = np.random.default_rng(seed)
        count = self.run.batch if seen else self.run.initial
        names = self._left_leads(seen)
        if not self.run.leads:
            names = self._draw(rng, round(count * 2 / 3), seen, self.oracle.admissible)
        no_z = np.empty((0, self.model.latent))
        none = np.empty(0, dtype=np.intp)
        nothing = Observations(no_z, np.empty((0, 1)), self.bounds, no_z, none, self.space.predict)
        sampling: Strategy = strategies["prior"](nothing, [*seed, 1])
        if self.run.leads:
            sampling = Around(self._encode(list(self.run.leads)), self.bounds, [*seed, 1])
        q = max(0, count - len(names))
        sampled, decoded, valid = self._decode_pool(sampling, seen | set(names), q)
        names += sampled[:q]
        return names, decoded, valid

    def _left_leads(self, seen: set[str]) -> list[str]:
        return [name for name in self.run.leads if name not in seen]

    def _fine_tune(self, past: list[Record]) -> None:
        """Fine-tune the model on the best molecules each time a stage is over.

        A stage begins with a round, so a resumed run fine-tunes at the same places.
        """
        stage = len(past) // self.run.stage
        if self.run.fine_tune is None or stage == self.stage:
            return
        last = past[stage * self.run.stage - 1].iteration  # of the stage before
        found = [r for r in past if r.iteration <= last and not np.isnan(r.y) and r.z is not None]
        best = sorted(found, key=lambda r: -r.y)[:BEST]
        seed = self.run.seed + stage
        others = self._draw(np.random.default_rng([seed, 2]), OTHERS, set(), canonicalize)
        self.space = self.run.fine_tune([r.smiles for r in best], others, seed)
        self.stage, self.places = stage, {}

    def _place(self, records: list[Record]) -> list[NDArray[np.float32]]:
        """The latent points of evaluated molecules in the space as it is now."""
        if self.space is self.model:
            return [r.z for r in records if r.z is not None]
        new = [r.smiles for r in records if r.smiles not in self.places]
        self.places |= zip(new, self._encode(new), strict=True)
        return [self.places[r.smiles] for r in records]

    def _draw(
        self,
        rng: np.random.Generator,
        count: int,
        seen: set[str],
        admit: Callable[[str], str | None],
    ) -> list[str]:
        """Draw unseen molecules of the data set that can be encoded and are admitted."""
        names: dict[str, None] = {}
        for row in rng.permutation(len(self.run.start))[:LOOKED_AT]:
            if len(names) == count:
                break
            name = admit(self.run.start[row])
            if name and name not in seen and parse(name) and self.model.can_encode_canonical(name):
                names[name] = None
        return list(names)

    def _decode_pool(
        self, strategy: Strategy, seen: set[str], q: int
    ) -> tuple[list[str], int, int]:
        """Decode proposals until there are q new molecules: names, decoded, valid."""
        names: dict[str, None] = {}
        decoded, valid, p = 0, 0, max(self.run.pool, 2 * q // ROUNDS)
        for _ in range(ROUNDS):
            points = strategy.propose(p).astype(np.float32)
            found = [self._admissible(text) for text in self.space.decode_greedily(points)]
            decoded += len(found)
            valid += sum(name is not None for name in found)
            new: dict[str, int] = {}
            for row, name in enumerate(found):
                if name and name not in seen and name not in names and self._can_encode(name):
                    new.setdefault(name, row)
            names |= dict.fromkeys(new)
            if len(names) >= q:
                break
            if new and isinstance(strategy, Refining):
                z = points[list(new.values())].astype(np.float64)
                strategy.consider(z, self._describe(list(new)))
        return list(names), decoded, valid

    def _keep_plausible(self, pool: list[str]) -> list[str]:
        """Molecules -> those worth a choice, where the run asks for plausible ones.

        Admissibility alone is a limit, and what is maximised pushes against it round by round. So
        the less plausible half is dropped, but for molecules all of whose atom environments the
        data has: these are merely rare.
        """
        if self.domain is None or len(pool) < 2 * self.run.batch:
            return pool
        values = np.array([self.oracle.find_plausibility(name) for name in pool])
        least = float(np.median(values))
        return [n for n, v in zip(pool, values, strict=True) if v >= least or self._is_known(n)]

    def _knows(self, name: str) -> bool:
        mol = parse_cached(name)
        return mol is not None and self.domain is not None and self.domain.share_unknown(mol) == 0

    def _describe(self, names: list[str], z: Floats | None = None) -> Features:
        """Molecules, and their z (n, D) where it is known -> what the strategy sees of them."""
        if self.make.sees == "molecules":
            return self.molecules(names)
        return self._encode(names).astype(np.float64) if z is None else z

    def _encode(self, names: list[str], space: LatentSpace | None = None) -> NDArray[np.float32]:
        if not names:
            return np.empty((0, self.model.latent), dtype=np.float32)
        return (space or self.space).encode_means(names)

    def _find_bounds(self) -> Floats:
        """The box (2, D) around data-set molecules and the bulk of the prior."""
        prior = np.full((2, self.model.latent), 4.0) * [[-1.0], [1.0]]
        names = self._draw(np.random.default_rng(self.run.seed), 200, set(), canonicalize)
        if not names:
            return prior
        z = self._encode(names).astype(np.float64)
        low, high = z.min(axis=0), z.max(axis=0)
        reach = MARGIN * (high - low)
        return np.stack([np.minimum(low - reach, prior[0]), np.maximum(high + reach, prior[1])])

    def _same_place(self, smiles: str, z: NDArray[np.float32]) -> bool:
        if z.shape != (self.model.latent,) or not self.model.can_encode_canonical(smiles):
            return False
        return bool(np.allclose(self._encode([smiles]), z, atol=1e-2, rtol=1e-2))
