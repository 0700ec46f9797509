"""Crossing two molecules as graphs (Jensen 2019, "A graph-based genetic algorithm").

The moves and their odds are those of `mol_ga.graph_ga.crossover`, which makes every product of two
cuts and draws one of them. Here products are made in random order until one is a molecule, and
those whose ring would be too large are not made: the same kinds of children in a fraction of the
time.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from itertools import product

from rdkit import Chem

TRIES = 10  # of each kind, and of kinds, until a child is found
SINGLE = Chem.MolFromSmarts("[*]-;!@[*]")
# two bonds of a ring: on either side of a third one, or of an atom that has a substituent
OPPOSITE, ADJACENT = map(Chem.MolFromSmarts, ("[R]@[R]@[R]@[R]", "[R]@[R;!D2]@[R]"))
RING, ALLENE, STRAINED = map(Chem.MolFromSmarts, ("[R]", "[R]=[R]=[R]", "[r3,r4]=[r3,r4]"))
SMALLEST_RING, LARGEST_RING = 3, 6
BONDS = (Chem.BondType.SINGLE, Chem.BondType.DOUBLE)  # that a new ring is closed with
BY_LABEL = Chem.MolzipParams()
BY_LABEL.label = Chem.MolzipLabel.Isotope


class Parent:
    """A molecule without aromatic bonds, and where it can be cut."""

    def __init__(self, smiles: str) -> None:
        self.mol = Chem.MolFromSmiles(smiles)
        Chem.Kekulize(self.mol, clearAromaticFlags=True)

    @cached_property
    def chain_cuts(self) -> Sequence[tuple[int, ...]]:
        """The atoms of single bonds outside rings."""
        return tuple(self.mol.GetSubstructMatches(SINGLE))

    @cached_property
    def ring_cuts(self) -> tuple[Sequence[tuple[int, ...]], ...]:
        """The atoms of pairs of ring bonds: opposite ones, and adjacent ones."""
        return tuple(tuple(self.mol.GetSubstructMatches(kind)) for kind in (OPPOSITE, ADJACENT))


find_parent = lru_cache(256)(Parent)  # those of a generation are at most 200


def cross(first: str, second: str, rng: random.Random) -> str | None:
    """Two canonical SMILES -> a molecule of parts of both, or None where none is found.

    Either both are cut at a single bond outside rings and a part of each is joined, or both are cut
    through a ring, and the halves make a new one of at most six atoms.
    """
    parents = find_parent(first), find_parent(second)
    for _ in range(TRIES):
        move = _cross_chains if rng.random() <= 0.5 else _cross_rings
        child = move(*parents, rng)
        if child is None:
            continue
        smiles: str = Chem.MolToSmiles(child)
        if smiles not in (first, second):
            return smiles
    return None


def is_sound(mol: Chem.Mol) -> bool:
    """Sanitise a molecule; False where that fails or only an atom is left."""
    try:
        Chem.SanitizeMol(mol)
    except ValueError:
        return False
    return bool(mol.GetNumAtoms() > 1)


def has_usual_rings(mol: Chem.Mol) -> bool:
    """Return whether no ring is too large, an allene, or a strained one with a double bond."""
    has: Callable[[Chem.Mol], bool] = mol.HasSubstructMatch
    if not has(RING):
        return True
    sizes = map(len, mol.GetRingInfo().AtomRings())
    return max(sizes) <= LARGEST_RING and not has(ALLENE) and not has(STRAINED)


def _cross_chains(first: Parent, second: Parent, rng: random.Random) -> Chem.Mol | None:
    for _ in range(TRIES):
        parts = _cut_chain(first, rng), _cut_chain(second, rng)
        if not all(parts):
            return None
        pairs = list(product(*parts))
        rng.shuffle(pairs)
        for pair in pairs:
            child = Chem.molzip(*pair, BY_LABEL)
            if is_sound(child):
                return child
    return None


def _cross_rings(first: Parent, second: Parent, rng: random.Random) -> Chem.Mol | None:
    for _ in range(TRIES):
        parts = _cut_ring(first, rng), _cut_ring(second, rng)
        if not all(parts):
            return None
        sizes = [[(part, _count_path(part)) for part in two] for two in parts]
        ways = [
            (one, other, bonds)
            for (one, m), (other, n) in product(*sizes)
            if SMALLEST_RING <= m + n <= LARGEST_RING
            for bonds in product(BONDS, BONDS)
        ]
        rng.shuffle(ways)
        for one, other, bonds in ways:
            child = _join_ring(one, other, bonds)
            if is_sound(child) and has_usual_rings(child):
                return child
    return None


def _cut_chain(parent: Parent, rng: random.Random) -> tuple[Chem.Mol, ...]:
    """Cut a random single bond outside rings; no parts where there is none."""
    return _break(parent.mol, [rng.choice(parent.chain_cuts)]) if parent.chain_cuts else ()


def _cut_ring(parent: Parent, rng: random.Random) -> tuple[Chem.Mol, ...]:
    """Cut two bonds of a ring, so that two parts result; none where that is not found."""
    for _ in range(TRIES):
        found = parent.ring_cuts[rng.random() < 0.5]
        if not found:
            return ()
        atoms = rng.choice(found)
        parts = _break(parent.mol, [atoms[:2], atoms[-2:]])
        if len(parts) == 2:
            return parts
    return ()


def _break(mol: Chem.Mol, bonds: Sequence[tuple[int, ...]]) -> tuple[Chem.Mol, ...]:
    """Molecule and bonds by their atoms -> its parts, the ends of cut i labelled by isotope i."""
    rows = [mol.GetBondBetweenAtoms(*atoms).GetIdx() for atoms in bonds]
    labels = [(i, i) for i in range(1, len(rows) + 1)]
    kinds = [Chem.BondType.SINGLE] * len(rows)
    broken = Chem.FragmentOnBonds(mol, rows, dummyLabels=labels, bondTypes=kinds)
    parts: tuple[Chem.Mol, ...] = Chem.GetMolFrags(broken, asMols=True, sanitizeFrags=False)
    return parts


def _count_path(part: Chem.Mol) -> int:
    """Part, its labelled ends last -> the atoms of the shortest path between these."""
    n = part.GetNumAtoms()
    return len(Chem.GetShortestPath(part, n - 2, n - 1)) - 2


def _join_ring(
    one: Chem.Mol, other: Chem.Mol, bonds: tuple[Chem.BondType, Chem.BondType]
) -> Chem.Mol:
    """Join two parts at both of their ends, with bonds of these types."""
    child = Chem.molzip(one, other, BY_LABEL)
    for row, kind in enumerate(bonds, child.GetNumBonds() - len(bonds)):  # the new ones are last
        child.GetBondWithIdx(row).SetBondType(kind)
    return child
