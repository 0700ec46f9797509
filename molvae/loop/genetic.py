"""What a genetic algorithm makes of a data set: with its moves alone, and as a search."""

from __future__ import annotations

import heapq
import math
import random
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from rdkit import rdBase
from tqdm import tqdm

from molvae.base.errors import MolvaeError
from molvae.chem.molecules import canonicalize
from molvae.oracles.history import Iteration
from molvae.oracles.oracle import Oracle

POPULATION = 10_000  # of the search: the best that were evaluated
GENERATIONS = 10
FOUNDERS = 1_000  # at least: few of them make the result depend on which they are


def breed_at_random(
    smiles: Sequence[str], molecules: int, seed: int = 0, progress: bool = False
) -> list[str]:
    """Data-set molecules -> new molecules from a Graph GA without selection pressure.

    Starts from random molecules of `smiles`. Each of ten generations crosses and mutates parents
    drawn uniformly, and the survivors of parents and offspring are drawn uniformly too, so no
    property is favoured. The moves are those of `mol_ga` (Jensen 2019, "A graph-based genetic
    algorithm"; Tripp & Hernández-Lobato 2023). `mol_ga`'s own loop is not used: it keeps the
    population in the order of a set of strings, which differs from one Python process to another.

    Args:
        smiles: valid molecules to start from, at least two different ones.
        molecules: how many offspring are wanted.
        seed: same seed and same data, same molecules.
        progress: show a progress bar.

    Returns:
        Unique canonical SMILES, none of them in the starting population, in the order of their
        birth; fewer than `molecules` where so few different ones can be made.

    Raises:
        MolvaeError: fewer than two molecules to start from.
    """
    unique = list(dict.fromkeys(smiles))
    if len(unique) < 2:
        raise MolvaeError("a genetic algorithm needs at least two different molecules to start")
    rng = random.Random(seed)
    offspring_size = -(-molecules // (GENERATIONS - 1))  # one in ten to spare for failed crossings
    population = rng.sample(unique, min(max(2 * offspring_size, FOUNDERS), len(unique)))
    size = len(population)
    found: dict[str, None] = {}
    start = set(population)
    with _log_restored(), tqdm(total=molecules, desc="GA", disable=not progress) as bar:
        for _ in range(GENERATIONS):
            parents = rng.choices(population, k=2 * offspring_size)
            offspring = _offspring(parents, offspring_size, rng)
            found.update(dict.fromkeys(child for child in offspring if child not in start))
            bar.update(min(len(found), molecules) - bar.n)
            population = rng.sample(sorted({*population, *offspring}), size)
    return list(found)[:molecules]


def _offspring(parents: list[str], size: int, rng: random.Random) -> list[str]:
    """Parents -> canonical children, sorted so that their order depends on the seed alone."""
    from mol_ga.graph_ga.gen_candidates import graph_ga_blended_generation  # disables RDKit's log

    children = graph_ga_blended_generation(parents, size, rng, None)
    return sorted({form for form in map(canonicalize, children) if form is not None})


@dataclass(frozen=True)
class GeneticSearch:
    """The search that others are compared with: `mol_ga`'s Graph GA on the oracle's own account.

    Each round breeds `batch` new molecules from parents that are drawn uniformly from the best
    0.1 % to 100 % of what was evaluated, as `mol_ga.default_ga` does (Tripp & Hernández-Lobato
    2023, "Genetic algorithms are strong baselines for molecule generation"); the first evaluates
    the leads and random ones of `start`, `initial` or as many as there are leads. A round is a
    function of the history before it and the seed.
    """

    oracle: Oracle
    start: Sequence[str]
    leads: Sequence[str]
    batch: int
    initial: int
    seed: int

    def candidates(
        self, k: int, pending: Collection[str] = ()
    ) -> tuple[list[str], None, Iteration]:
        """Return round k: molecules to evaluate, no latent points, and how they came about.

        None of them is `pending`, that is, of an earlier round and not evaluated yet.
        """
        began = time.perf_counter()
        past = self.oracle.history.records(before=k)
        seen = {record.smiles for record in past}.union(pending)
        known = [(record.y, record.smiles) for record in past if not math.isnan(record.y)]
        rng = random.Random(f"{self.seed} {k}")
        found: dict[str, None] = {}
        made = valid = 0
        children = self._bred(known, rng) if len(known) > 1 else self._drawn(rng)
        wanted = self.batch if len(known) > 1 else max(self.initial, len(self.leads))
        for name in map(self.oracle.admissible, children):
            made += 1
            valid += name is not None
            if name is not None and name not in seen:
                found[name] = None
            if len(found) == wanted:
                break
        spent = time.perf_counter() - began
        return list(found), None, Iteration(k, made, valid, len(found), spent)

    def _drawn(self, rng: random.Random) -> Iterator[str]:
        """The leads, and random molecules to start with."""
        rows = list(range(len(self.start)))
        rng.shuffle(rows)
        yield from self.leads
        yield from (self.start[row] for row in rows)

    def _bred(self, known: list[tuple[float, str]], rng: random.Random) -> Iterator[str]:
        """Generations of children of the best, as many as may be needed for a new one."""
        from mol_ga.sample_population import uniform_quantile_sampling

        best = heapq.nlargest(POPULATION, known)
        for _ in range(GENERATIONS):
            parents = uniform_quantile_sampling(best, 2 * self.batch, rng)
            with _log_restored():
                children = _offspring(parents, self.batch, rng)
            yield from children


@contextmanager
def _log_restored() -> Iterator[None]:
    """Undo what `mol_ga` does to RDKit's log: it switches channels off for the process."""
    enabled = [
        channel
        for channel, _, state in (line.partition(":") for line in rdBase.LogStatus().splitlines())
        if state == "enabled"
    ]
    try:
        yield
    finally:
        for channel in enabled:
            rdBase.EnableLog(channel)
