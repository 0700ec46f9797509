"""A genetic algorithm on molecular graphs: its moves alone, and as a search."""

from __future__ import annotations

import heapq
import math
import random
import time
from collections.abc import Collection, Iterator, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from molvae.base.errors import MolvaeError
from molvae.chem.molecules import canonicalize, silence_rdkit
from molvae.loop.crossover import cross
from molvae.loop.mutation import mutate, restore_log
from molvae.loop.proposers import Round, proposers
from molvae.loop.run import SearchRun
from molvae.oracles.history import Iteration

with restore_log():
    from mol_ga.graph_ga.gen_candidates import graph_ga_blended_generation
    from mol_ga.sample_population import uniform_quantile_sampling

POPULATION = 10_000  # of the search: the best that were evaluated
GENERATIONS = 10  # of breeding at random
MOST = 100  # generations that a round of the search may take to be full
CHANGED, CHANGED_AFTER = 0.1, 0.01  # shares of children that are changed parents, and crossed too
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
    with tqdm(total=molecules, desc="GA", disable=not progress) as bar:
        for _ in range(GENERATIONS):
            parents = rng.choices(population, k=2 * offspring_size)
            offspring = _make_offspring(parents, offspring_size, rng)
            found.update(dict.fromkeys(child for child in offspring if child not in start))
            bar.update(min(len(found), molecules) - bar.n)
            population = rng.sample(sorted({*population, *offspring}), size)
    return list(found)[:molecules]


def _make_offspring(parents: list[str], size: int, rng: random.Random) -> list[str]:
    """Parents -> canonical children, sorted so that their order depends on the seed alone."""
    with restore_log():
        children = graph_ga_blended_generation(parents, size, rng, None)
    return sorted({form for form in map(canonicalize, children) if form is not None})


def breed(parents: list[str], size: int, rng: random.Random) -> list[str]:
    """Canonical parents (2 size) -> up to `size` children of pairs of them, valid SMILES.

    As in `mol_ga`, one in ten is a parent that was changed, and of the others one in a hundred was
    changed after the crossing; but it takes a fraction of the time (`molvae.loop.crossover`).
    """
    children: list[str | None] = []
    with silence_rdkit():
        for first, second in zip(parents[:size], parents[size:], strict=True):
            try:
                child = first if rng.random() < CHANGED else cross(first, second, rng)
                if child == first or (child is not None and rng.random() < CHANGED_AFTER):
                    child = mutate(child, rng)
            except (RuntimeError, ValueError):  # an error inside RDKit, or a ring it cannot read
                continue
            children.append(child)
    return [child for child in children if child is not None]


@proposers.register("ga")
class GeneticProposer:
    """A genetic algorithm on molecular graphs (`mol_ga`), the baseline that others are compared to.

    Each round breeds `batch` new molecules from parents drawn uniformly from the best 0.1 % to
    100 % of the evaluated molecules, as `mol_ga.default_ga` does (Tripp & Hernández-Lobato 2023,
    "Genetic algorithms are strong baselines for molecule generation"). The first round holds the
    leads and random molecules of `start`: `initial` of them, or as many as there are leads. Where
    values of leads are known, it breeds from these at once, beside the other leads.
    """

    several = False

    def __init__(self, run: SearchRun) -> None:
        self.run = run

    @staticmethod
    def default_batch(budget: int) -> int:
        """Return 5, as in `mol_ga.default_ga`."""
        return 5

    def propose_round(self, k: int, pending: Collection[str] = ()) -> Round:
        """Return round k: new admissible molecules, none of them `pending`."""
        began = time.perf_counter()
        run = self.run
        past = run.oracle.history.records(before=k)
        seen = {record.smiles for record in past}.union(pending)
        known = [(record.y, record.smiles) for record in past if not math.isnan(record.y)]
        rng = random.Random(f"{run.seed} {k}")
        found: dict[str, None] = {}
        made = valid = 0
        left = [name for name in run.leads if name not in seen]  # where some values are known
        children = chain(left, self._breed(known, rng)) if len(known) > 1 else self._draw(rng)
        wanted = max(run.batch if len(known) > 1 else max(run.initial, len(run.leads)), len(left))
        for name in map(run.oracle.admissible, children):
            made += 1
            valid += name is not None
            if name is not None and name not in seen:
                found[name] = None
            if len(found) == wanted:
                break
        spent = time.perf_counter() - began
        bred = len(found) if len(known) > 1 else 0
        return Round(list(found), Iteration(k, made, valid, len(found), spent, bred))

    def locate(self, names: Sequence[str]) -> list[NDArray[np.float32] | None]:
        """Return None for each: molecules of this search have no latent points."""
        return [None] * len(names)

    def _draw(self, rng: random.Random) -> Iterator[str]:
        """The leads, and random molecules to start with."""
        rows = list(range(len(self.run.start)))
        rng.shuffle(rows)
        yield from self.run.leads
        yield from (self.run.start[row] for row in rows)

    def _breed(self, known: list[tuple[float, str]], rng: random.Random) -> Iterator[str]:
        """Generations of children of the best, as many as the round takes to be full."""
        best = heapq.nlargest(POPULATION, known)
        for _ in range(MOST):
            parents = uniform_quantile_sampling(best, 2 * self.run.batch, rng)
            yield from _make_offspring(parents, self.run.batch, rng)
