"""Changing a molecule as a graph (Jensen 2019, "A graph-based genetic algorithm").

The moves and their odds are those of `mol_ga.graph_ga.mutate`, which makes every product of a move
and draws one of those that are molecules. Here they are tried in random order until one is: the
same kinds of children in a fraction of the time.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache

from rdkit import Chem, rdBase
from rdkit.Chem import rdChemReactions

from molvae.loop.crossover import TRIES, find_parent, has_usual_rings, is_sound


@contextmanager
def restore_log() -> Iterator[None]:
    """Restore RDKit's log, whose channels `mol_ga` switches off when imported and called."""
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


with restore_log():
    from mol_ga.graph_ga import mutate as moves

MOVES: dict[Callable[[Chem.Mol, random.Random], str], float] = {  # and how likely they are
    lambda _, rng: moves.insert_atom(rng): 0.15,
    lambda _, rng: moves.change_bond_order(rng): 0.14,
    lambda _, __: moves.delete_cyclic_bond(): 0.14,
    lambda _, rng: moves.add_ring(rng): 0.14,
    lambda _, rng: moves.delete_atom(rng): 0.14,
    moves.change_atom: 0.14,
    lambda _, rng: moves.append_atom(rng): 0.15,
}
_read_reaction = lru_cache(rdChemReactions.ReactionFromSmarts)


def mutate(smiles: str, rng: random.Random) -> str | None:
    """Canonical SMILES -> the molecule with an atom, bond or ring changed, or None."""
    mol = find_parent(smiles).mol
    for _ in range(TRIES):
        move = rng.choices(list(MOVES), weights=list(MOVES.values()))[0]
        products = list(_read_reaction(move(mol, rng)).RunReactants((mol,)))
        rng.shuffle(products)
        for (child,) in products:
            if is_sound(child) and has_usual_rings(child):
                return str(Chem.MolToSmiles(child))
    return None
