"""Crossing two molecules as graphs (Jensen 2019, "A graph-based genetic algorithm").

The moves and their odds are those of `mol_ga.graph_ga.crossover`, which makes every product of two
cuts and draws one of them. Here products are made in random order until one is a molecule: the
same kinds of children in a fraction of the time.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from functools import lru_cache
from itertools import product

from rdkit import Chem
from rdkit.Chem import rdChemReactions

TRIES = 10  # of each kind, and of kinds, until a child is found
SINGLE = Chem.MolFromSmarts("[*]-;!@[*]")
# two bonds of a ring: on either side of a third one, or of an atom that has a substituent
OPPOSITE, ADJACENT = map(Chem.MolFromSmarts, ("[R]@[R]@[R]@[R]", "[R]@[R;!D2]@[R]"))
RING, ALLENE, STRAINED = map(Chem.MolFromSmarts, ("[R]", "[R]=[R]=[R]", "[r3,r4]=[r3,r4]"))
LARGEST_RING = 6
_join = rdChemReactions.ReactionFromSmarts
JOIN = _join("[*:1]-[1*].[1*]-[*:2]>>[*:1]-[*:2]")
JOIN_HALVES = [_join(f"[*:1]~[1*].[1*]~[*:2]>>[*:1]{bond}[*:2]") for bond in "-="]
CLOSE = [_join(f"([*:1]~[1*].[1*]~[*:2])>>[*:1]{bond}[*:2]") for bond in "-="]


def cross(first: str, second: str, rng: random.Random) -> str | None:
    """Two canonical SMILES -> a molecule of parts of both, or None where none is found.

    Either both are cut at a single bond outside rings and a part of each is joined, or both are cut
    through a ring, and the halves make a new one of at most six atoms.
    """
    mols = [_parse_kekulized(smiles) for smiles in (first, second)]
    for _ in range(TRIES):
        move = _cross_chains if rng.random() <= 0.5 else _cross_rings
        child = move(mols[0], mols[1], rng)
        if child is None:
            continue
        smiles: str = Chem.MolToSmiles(child)
        if smiles not in (first, second):
            return smiles
    return None


@lru_cache(1_024)  # the parents of a round are few
def _parse_kekulized(smiles: str) -> Chem.Mol:
    mol = Chem.MolFromSmiles(smiles)
    Chem.Kekulize(mol, clearAromaticFlags=True)
    return mol


def _cross_chains(first: Chem.Mol, second: Chem.Mol, rng: random.Random) -> Chem.Mol | None:
    for _ in range(TRIES):
        halves = _cut(first, rng), _cut(second, rng)
        if not all(halves):
            return None
        pairs = list(product(*halves))
        rng.shuffle(pairs)
        for pair in pairs:
            for products in JOIN.RunReactants(pair)[:1]:
                child: Chem.Mol = products[0]
                if _is_sound(child):
                    return child
    return None


def _cross_rings(first: Chem.Mol, second: Chem.Mol, rng: random.Random) -> Chem.Mol | None:
    for _ in range(TRIES):
        halves = _cut_ring(first, rng), _cut_ring(second, rng)
        if not all(halves):
            return None
        ways = list(product(JOIN_HALVES, product(*halves), CLOSE))
        rng.shuffle(ways)
        for join, pair, close in ways:
            for (opened,) in join.RunReactants(pair)[:1]:
                if not _is_sound(opened):
                    continue
                closed: list[Chem.Mol] = [found[0] for found in close.RunReactants((opened,))]
                rng.shuffle(closed)
                for child in closed:
                    if _is_sound(child) and _has_usual_rings(child):
                        return child
    return None


def _cut(mol: Chem.Mol, rng: random.Random) -> tuple[Chem.Mol, ...]:
    """Cut a random single bond outside rings; no parts where there is none."""
    bonds = mol.GetSubstructMatches(SINGLE)
    return _break(mol, [rng.choice(bonds)]) if bonds else ()


def _cut_ring(mol: Chem.Mol, rng: random.Random) -> tuple[Chem.Mol, ...]:
    """Cut two bonds of a ring, so that two parts result; none where that is not found."""
    for _ in range(TRIES):
        opposite = rng.random() < 0.5
        found = mol.GetSubstructMatches(OPPOSITE if opposite else ADJACENT)
        if not found:
            return ()
        atoms = rng.choice(found)
        parts = _break(mol, [atoms[:2], atoms[-2:]])
        if len(parts) == 2:
            return parts
        if not parts:
            return ()
    return ()


def _break(mol: Chem.Mol, bonds: Iterable[tuple[int, ...]]) -> tuple[Chem.Mol, ...]:
    """Molecule and bonds by their atoms -> its parts, with labelled atoms where it was cut."""
    rows = [mol.GetBondBetweenAtoms(*atoms).GetIdx() for atoms in bonds]
    broken = Chem.FragmentOnBonds(mol, rows, dummyLabels=[(1, 1)] * len(rows))
    try:
        parts: tuple[Chem.Mol, ...] = Chem.GetMolFrags(broken, asMols=True, sanitizeFrags=True)
    except ValueError:  # which RDKit raises for valences and rings that cannot be
        return ()
    return parts


def _is_sound(mol: Chem.Mol) -> bool:
    try:
        Chem.SanitizeMol(mol)
    except ValueError:
        return False
    return bool(mol.GetNumAtoms() > 1)


def _has_usual_rings(mol: Chem.Mol) -> bool:
    has: Callable[[Chem.Mol], bool] = mol.HasSubstructMatch
    if not has(RING):
        return True
    sizes = map(len, mol.GetRingInfo().AtomRings())
    return max(sizes) <= LARGEST_RING and not has(ALLENE) and not has(STRAINED)
