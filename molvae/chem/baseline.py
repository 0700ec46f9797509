"""The GA row of the statistics table: what a genetic algorithm's moves alone make of a data set."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rdkit import rdBase
from tqdm import tqdm

from molvae.chem.molecules import canonical
from molvae.errors import MolvaeError

GENERATIONS = 10
FOUNDERS = 1_000  # at least: few of them make the result depend on which they are


def random_graph_ga(
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
            offspring = _offspring(population, offspring_size, rng)
            found.update(dict.fromkeys(child for child in offspring if child not in start))
            bar.update(min(len(found), molecules) - bar.n)
            population = rng.sample(sorted({*population, *offspring}), size)
    return list(found)[:molecules]


def _offspring(population: list[str], size: int, rng: random.Random) -> list[str]:
    """Parents -> canonical children, sorted so that their order depends on the seed alone."""
    from mol_ga.graph_ga.gen_candidates import graph_ga_blended_generation  # disables RDKit's log

    parents = rng.choices(population, k=2 * size)
    children = graph_ga_blended_generation(parents, size, rng, None)
    return sorted({form for form in map(canonical, children) if form is not None})


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
