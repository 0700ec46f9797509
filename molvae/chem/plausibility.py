"""Plausibility: whether a molecule is made of parts that real molecules have.

A search for a larger value finds chains of sulfur and charged nitrogens long before it finds a
drug, because nothing told it that nobody makes them. The molecules of a data set tell: in 250,000
of them nearly every part of a real molecule occurs, and such chains do not. So a `Domain` counts
the parts of a data set: the environment of each atom (with its hydrogens, charge and ring
membership) up to two bonds away, the pairs of environments that a bond joins, the ring systems, and
how many rotatable bonds, aromatic rings, halogens, sulfurs and charges a molecule has. A molecule
whose parts are all common has a plausibility of 1. Each rare part costs, more the rarer it is and
the fewer bonds it spans; the unit of cost is chosen so that 97 % of held-out molecules of the data
set are above 0.5.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import rdFingerprintGenerator, rdMolDescriptors

from molvae.base.errors import MolvaeError
from molvae.base.parallel import map_parallel
from molvae.chem.molecules import parse

RADII = 3  # environments of 0, 1 and 2 bonds
COMMON = (200, 30, 5)  # occurrences from which on an environment costs nothing, by radius
COST = (4.0, 2.0, 0.25)  # nats per factor e below that
ANION, ANION_COST = 10, 2.0  # the same two bonds around an anion, which what is there stabilises
COMMON_RING, RING_COST = 10, 2.0
UNLIKELY, PAIR_COST = 0.05, 1.0  # of the bonds that chance would make between two environments
USUAL = 0.002  # share of the molecules that must have as much of something for it to cost nothing
AMOUNT_COST = 1.5
PASSING, PASSED = 0.5, 0.97  # the plausibility that this share of held-out molecules exceeds
ENOUGH = 1_000  # molecules of a data set that can tell what is plausible
LEAST_SCALE = 1.0  # nats; where nearly no held-out molecule has a rare part
TABLES = RADII + 3  # environments, ends of bonds, pairs of these, ring systems
STEPS = 10  # a count is kept as a tenth of its binary logarithm, so to 4 %
COUNTS = [round(2 ** (code / STEPS)) for code in range(256)]
OXYGEN = 8
AROMATIC = int(Chem.BondType.AROMATIC)
MOST_RINGS = 100_000  # ring systems, as atoms and bonds in some order, whose SMILES are kept
RING_SMILES: dict[tuple[bytes, bytes], str] = {}
PROBE = "CC(=O)Nc1ccc2[nH]cc(C[NH3+])c2c1"  # its environments tell whether RDKit still agrees

Counts = Counter[int]
Environments: TypeAlias = Sequence[Sequence[int]]


class Parts(NamedTuple):
    """The parts of molecules and how often they occur."""

    environments: tuple[Counts, ...]
    ends: Counts
    """Ends of bonds: an atom with its other neighbours."""
    pairs: Counts
    """Bonds, by their two ends."""
    rings: Counts
    amounts: tuple[Counts, ...]

    @classmethod
    def make(cls) -> Parts:
        """Make empty counts."""
        environments: tuple[Counts, ...] = tuple(Counter() for _ in range(RADII))
        amounts: tuple[Counts, ...] = tuple(Counter() for _ in AMOUNTS)
        return cls(environments, Counter(), Counter(), Counter(), amounts)

    def tables(self) -> tuple[Counts, ...]:
        """Return all counts in a fixed order."""
        return (*self.environments, self.ends, self.pairs, self.rings, *self.amounts)


@dataclass(frozen=True)
class Explanation:
    """Why a molecule is not plausible.

    Attributes:
        plausibility: from 0 to 1.
        atoms: atoms whose environment is rare -> how often the data set has it.
        bonds: bonds between two such atoms.
        reasons: what is rare, in words, the costliest first.
    """

    plausibility: float
    atoms: Mapping[int, int]
    bonds: Sequence[int]
    reasons: Sequence[str]


def _count_halogens(mol: Chem.Mol) -> int:
    return len(mol.GetSubstructMatches(HALOGENS))


def _count_sulfurs(mol: Chem.Mol) -> int:
    return len(mol.GetSubstructMatches(SULFUR))


def _count_charges(mol: Chem.Mol) -> int:
    return abs(int(Chem.GetFormalCharge(mol)))


# searches, since loops over RDKit's atoms and bonds take ten times as long
HALOGENS, SULFUR, DOUBLE_BOND, CHAIN_BOND = map(
    Chem.MolFromSmarts, ("[Cl,Br,I]", "[#16]", "*=*", "[!D1]!@[!D1]")
)

ROTATABLE = "rotatable bonds"
AMOUNTS: dict[str, Callable[[Chem.Mol], int]] = {
    ROTATABLE: rdMolDescriptors.CalcNumRotatableBonds,
    "aromatic rings": rdMolDescriptors.CalcNumAromaticRings,
    "Cl, Br and I": _count_halogens,
    "S": _count_sulfurs,
    "net charges": _count_charges,
}


@cache
def _generator() -> rdFingerprintGenerator.FingerprintGenerator64:
    return rdFingerprintGenerator.GetMorganGenerator(
        radius=RADII - 1, includeRedundantEnvironments=True
    )


def find_environments(mol: Chem.Mol) -> Environments:
    """Molecule -> for each atom the numbers of its environments, by radius.

    The numbers are those of Morgan fingerprints (Rogers & Hahn 2010): element, neighbours,
    hydrogens, charge and ring membership of each atom, without chirality.
    """
    found = rdFingerprintGenerator.AdditionalOutput()
    found.AllocateAtomToBits()
    _generator().GetSparseCountFingerprint(mol, additionalOutput=found)
    numbers: Environments = found.GetAtomToBits()
    return numbers


def iter_bonds(mol: Chem.Mol, environments: Environments) -> Iterator[tuple[int, ...]]:
    """Molecule and its environments -> the atoms of each bond, its two ends, and the pair of these.

    An end is an atom with its bond and its other neighbours, without the one at the other end
    (Ehrt, 2024, "LACAN"), as a number.
    """
    begin, end, order = _list_bonds(mol)
    here, there = np.concatenate((begin, end)), np.concatenate((end, begin))  # in both directions
    order = np.concatenate((order, order))
    kinds = _find_kinds(environments)
    at_end = _mix(kinds[there], order)
    # a sum, so that the order of neighbours does not matter; exact, as they have 32 bits
    around = np.bincount(here, at_end, len(kinds)).astype(np.uint64)
    ends = _mix(kinds[here] + np.uint64(7) * order, around[here] - at_end)
    one, other = ends[: len(begin)], ends[len(begin) :]
    pairs = _mix(np.minimum(one, other), np.maximum(one, other))
    columns = (begin, end, one, other, pairs)
    return zip(*(column.tolist() for column in columns), strict=True)


def _find_kinds(environments: Environments) -> NDArray[np.uint64]:
    """Environments -> the number of each atom's own, without neighbours."""
    return np.array([numbers[0] for numbers in environments], np.uint64)


def _list_bonds(mol: Chem.Mol) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.uint64]]:
    """Molecule -> the two atoms and the type of each bond."""
    orders = Chem.GetAdjacencyMatrix(mol, useBO=True)
    begin, end = np.nonzero(orders)
    if len(begin) == 2 * mol.GetNumBonds():
        once = begin < end
        begin, end = begin[once], end[once]
        order = orders[begin, end]
        order[order == 1.5] = AROMATIC
    else:  # a bond that is dative has an order in one direction
        bonds = [
            (bond.GetBeginAtomIdx(), bond.GetEndAtomIdx(), int(bond.GetBondType()))
            for bond in map(mol.GetBondWithIdx, range(mol.GetNumBonds()))
        ]
        begin, end, order = np.array(bonds, np.intp).reshape(-1, 3).T
    return begin, end, order.astype(np.uint64)


def _mix(a: NDArray[np.uint64], b: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Two numbers -> one of 32 bits that depends on both, the same on every machine."""
    x = a * np.uint64(0x9E3779B97F4A7C15) + b * np.uint64(0xC2B2AE3D27D4EB4F)
    x = (x ^ (x >> np.uint64(31))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed: NDArray[np.uint64] = (x ^ (x >> np.uint64(29))) & np.uint64(0xFFFFFFFF)
    return mixed


def find_ring_systems(mol: Chem.Mol, environments: Environments | None = None) -> list[str]:
    """Molecule -> its ring systems as SMILES: rings that share atoms, with atoms doubly bonded."""
    systems: list[set[int]] = []
    for ring in mol.GetRingInfo().AtomRings():
        joined = set(ring)
        rest = []
        for system in systems:
            if system & joined:
                joined |= system
            else:
                rest.append(system)
        systems = [*rest, joined]
    if not systems:
        return []
    double = mol.GetSubstructMatches(DOUBLE_BOND)
    kinds = _find_kinds(find_environments(mol) if environments is None else environments)
    orders = Chem.GetAdjacencyMatrix(mol, useBO=True)
    return [_write_ring(mol, system, double, kinds, orders) for system in systems]


def _write_ring(
    mol: Chem.Mol,
    system: set[int],
    double: Sequence[tuple[int, int]],
    kinds: NDArray[np.uint64],
    orders: NDArray[np.float64],
) -> str:
    """Ring system of a molecule -> its SMILES, which takes RDKit long, so it is kept."""
    atoms = sorted(system.union(*(bond for bond in double if system.intersection(bond))))
    rows = np.array(atoms)
    key = kinds[rows].tobytes(), orders[rows[:, None], rows].tobytes()
    try:
        return RING_SMILES[key]
    except KeyError:
        smiles = str(Chem.MolFragmentToSmiles(mol, atoms, isomericSmiles=False))
    if len(RING_SMILES) < MOST_RINGS:
        RING_SMILES[key] = smiles
    return smiles


@lru_cache(MOST_RINGS)
def _number(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "little")


def count_parts(smiles: Sequence[str]) -> Parts:
    """SMILES -> their parts, counted; environments once per atom, ring systems once per molecule.

    Invalid SMILES are skipped.
    """
    found = Parts.make()
    for mol in filter(None, map(parse, smiles)):
        environments = find_environments(mol)
        for numbers in environments:
            for counts, number in zip(found.environments, numbers, strict=False):
                counts[number] += 1
        for *_, one, other, pair in iter_bonds(mol, environments):
            found.ends.update((one, other))
            found.pairs[pair] += 1
        found.rings.update(map(_number, set(find_ring_systems(mol, environments))))
        for counts, measure in zip(found.amounts, AMOUNTS.values(), strict=True):
            counts[measure(mol)] += 1
    return found


def _count_chunk(smiles: list[str]) -> list[Parts]:
    return [count_parts(smiles)]


class Domain:
    """The parts of a data set, and the plausibility of molecules by them; see the module.

    >>> from molvae import MolVAE
    >>> domain = MolVAE.load("zinc").domain
    >>> domain.find_plausibility(Chem.MolFromSmiles("Cc1ccccc1NC(=O)CCl"))
    1.0
    >>> domain.find_plausibility(Chem.MolFromSmiles("CSSSCc1ccccc1")) < 0.2
    True
    """

    def __init__(
        self,
        tables: Sequence[Mapping[int, int]],
        amounts: Sequence[Sequence[int]],
        molecules: int,
        scale: float,
    ) -> None:
        """Take what `fit` has found.

        Args:
            tables: number of a part -> how often it occurs, to 4 %: environments by radius, ends of
                bonds, pairs of these, ring systems.
            amounts: for each of `AMOUNTS`, the number of molecules with at least 0, 1, 2, ...
            molecules: number of molecules.
            scale: cost in nats that halves the plausibility.
        """
        self.tables = [dict(known) for known in tables]
        *self.environments, self.ends, self.pairs, self.rings = self.tables
        self.amounts = [list(tail) for tail in amounts]
        self.molecules, self.scale = molecules, scale
        self._bonds = max(1, sum(self.ends.values()) // 2)
        self._common = {  # environments that cost nothing
            number
            for known, least in zip(self.environments, COMMON, strict=True)
            for number, count in known.items()
            if count >= max(least, ANION)
        }

    @classmethod
    def fit(cls, smiles: Sequence[str], held_out: Sequence[str], progress: bool = False) -> Domain:
        """Molecules of a data set, and others of the same kind held out -> its domain.

        Raises:
            MolvaeError: there are no molecules.
        """
        if not smiles:
            raise MolvaeError("a domain needs molecules")
        total = Parts.make()
        for part in map_parallel(_count_chunk, list(smiles), "parts", progress):
            for mine, more in zip(total.tables(), part.tables(), strict=True):
                mine.update(more)
        tables = [*total.environments, total.ends, total.pairs, total.rings]
        kept = [{n: COUNTS[_encode(c)] for n, c in known.items() if c > 1} for known in tables]
        amounts = [_count_tail(counts) for counts in total.amounts]
        domain = cls(kept, amounts, len(smiles), LEAST_SCALE)
        costs = [domain.find_cost(mol) for mol in map(parse, held_out) if mol is not None]
        if costs:
            domain.scale = max(LEAST_SCALE, float(np.quantile(costs, PASSED)))
        return domain

    def find_cost(self, mol: Chem.Mol) -> float:
        """Molecule -> what its rare parts cost together, in nats."""
        environments = find_environments(mol)
        return (
            sum(cost for cost, *_ in self._iter_rare(mol, environments))
            + sum(cost for cost, *_ in self._iter_unlikely(mol, environments))
            + sum(cost for cost, _ in self._iter_unusual(mol, environments))
        )

    def find_plausibility(self, mol: Chem.Mol) -> float:
        """Molecule -> its plausibility: 1 where every part is common, near 0 with unknown parts."""
        return float(2.0 ** (-self.find_cost(mol) / self.scale))

    def explain(self, mol: Chem.Mol) -> Explanation:
        """Molecule -> its plausibility, and which of its parts are rare."""
        atoms: dict[int, int] = {}
        bonds: list[int] = []
        environments = find_environments(mol)
        reasons = list(self._iter_unusual(mol, environments))
        for cost, atom, radius, count in self._iter_rare(mol, environments):
            atoms[atom] = min(count, atoms.get(atom, count))
            symbol = mol.GetAtomWithIdx(atom).GetSymbol()
            reasons.append((cost, f"atom {atom} ({symbol}) within {radius} bonds"))
        for cost, *ends in self._iter_unlikely(mol, environments):
            bonds.append(mol.GetBondBetweenAtoms(*ends).GetIdx())
            names = " and ".join(f"{i} ({mol.GetAtomWithIdx(i).GetSymbol()})" for i in ends)
            reasons.append((cost, f"bond between atoms {names}"))
        ranked = [text for _, text in sorted(reasons, key=lambda pair: -pair[0])]
        return Explanation(self.find_plausibility(mol), atoms, bonds, ranked)

    def share_unknown(self, mol: Chem.Mol) -> float:
        """Molecule -> share of its atoms whose environment of two bonds the data set lacks."""
        known = self.environments[RADII - 1]
        places = [
            numbers[-1] in known for numbers in find_environments(mol) if len(numbers) == RADII
        ]
        return 1.0 - sum(places) / len(places) if places else 0.0

    def knows_rings(self, mol: Chem.Mol) -> bool:
        """Molecule -> whether the data set has all its ring systems."""
        return all(_number(ring) in self.rings for ring in find_ring_systems(mol))

    def _iter_rare(
        self, mol: Chem.Mol, environments: Environments
    ) -> Iterator[tuple[float, int, int, int]]:
        """Molecule -> cost, atom, radius and count of each rare environment."""
        for atom, numbers in enumerate(environments):
            for radius, number in enumerate(numbers):
                if number in self._common:
                    continue
                count = self.environments[radius].get(number, 0)
                cost = _cost(COST[radius], COMMON[radius], count)
                if radius == RADII - 1 and count < ANION and _is_anion(mol.GetAtomWithIdx(atom)):
                    cost = _cost(ANION_COST, ANION, count)
                if cost > 0:
                    yield cost, atom, radius, count

    def _iter_unlikely(
        self, mol: Chem.Mol, environments: Environments
    ) -> Iterator[tuple[float, int, int]]:
        """Molecule -> cost and atoms of a bond where two common ends are hardly ever joined."""
        for begin, end, one, other, pair in iter_bonds(mol, environments):
            expected = self.ends.get(one, 0) * self.ends.get(other, 0) / (4 * self._bonds)
            seen = self.pairs.get(pair, 0)
            if seen + 0.5 < UNLIKELY * expected:
                yield PAIR_COST * math.log(UNLIKELY * expected / (seen + 0.5)), begin, end

    def _iter_unusual(
        self, mol: Chem.Mol, environments: Environments
    ) -> Iterator[tuple[float, str]]:
        """Molecule -> cost and name of each rare ring system, and of what there is much of."""
        for ring in find_ring_systems(mol, environments):
            cost = _cost(RING_COST, COMMON_RING, self.rings.get(_number(ring), 0))
            if cost > 0:
                yield cost, f"ring system {ring}"
        usual = max(1.0, USUAL * self.molecules)
        for (name, measure), tail in zip(AMOUNTS.items(), self.amounts, strict=True):
            n = len(mol.GetSubstructMatches(CHAIN_BOND)) if name == ROTATABLE else len(tail)
            if n < len(tail) and tail[n] >= usual:
                continue  # as many bonds would be usual, and not all of them are rotatable
            n = measure(mol)
            if (cost := _cost(AMOUNT_COST, usual, tail[n] if n < len(tail) else 0)) > 0:
                yield cost, f"{n} {name}"

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return the domain as named arrays."""
        arrays: dict[str, NDArray[np.generic]] = {}
        for i, known in enumerate(self.tables):
            numbers = np.array(sorted(known), np.uint32)
            arrays[f"numbers.{i}"] = numbers.view(np.int32)
            codes = [_encode(known[n]) for n in numbers.tolist()]
            arrays[f"counts.{i}"] = np.array(codes, np.uint8)
        for i, tail in enumerate(self.amounts):
            arrays[f"amounts.{i}"] = np.array(tail, np.int32)
        arrays["sizes"] = np.array([self.molecules, self.scale], np.float64)
        arrays["probe"] = _probe()
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> Domain | None:
        """Arrays of `to_arrays` -> the domain; None if this RDKit numbers environments otherwise.

        Raises:
            KeyError, ValueError: they are not the arrays of a domain.
        """
        tables = []
        for i in range(TABLES):
            numbers, codes = arrays[f"numbers.{i}"], arrays[f"counts.{i}"]
            right = bool(numbers.dtype == np.int32 and codes.dtype == np.uint8)
            if numbers.shape != codes.shape or numbers.ndim != 1 or not right:
                raise ValueError("the arrays of its plausibility do not belong together")
            counts = map(COUNTS.__getitem__, codes.tolist())
            tables.append(dict(zip(numbers.view(np.uint32).tolist(), counts, strict=True)))
        molecules, scale = (float(n) for n in np.asarray(arrays["sizes"], np.float64))
        if not (1 <= molecules < math.inf and LEAST_SCALE <= scale < math.inf):
            raise ValueError(f"its plausibility has the sizes {molecules}, {scale}")
        tails = [[int(n) for n in arrays[f"amounts.{i}"].tolist()] for i in range(len(AMOUNTS))]
        if not np.array_equal(arrays["probe"], _probe()):
            return None
        return cls(tables, tails, int(molecules), scale)


def fit_domain(
    smiles: Sequence[str], held_out: Sequence[str], progress: bool = False
) -> Domain | None:
    """Molecules, and others held out -> their domain; None for fewer than 1,000, too few to tell.

    Of a small data set nearly every new molecule has parts that it lacks.
    """
    return Domain.fit(smiles, held_out, progress) if len(smiles) >= ENOUGH else None


def _encode(count: int) -> int:
    return round(STEPS * math.log2(count))


def _is_anion(atom: Chem.Atom) -> bool:
    return bool(atom.GetFormalCharge() < 0 and atom.GetAtomicNum() != OXYGEN)


def _cost(weight: float, common: float, count: float) -> float:
    """Nats for a part that occurs `count` times, where `common` times would cost nothing."""
    if count >= common:
        return 0.0
    return weight * max(0.0, math.log((common + 1) / (count + 1)))


def _count_tail(counts: Counts) -> list[int]:
    """Molecules with exactly n of something, by n -> molecules with at least 0, 1, 2, ..."""
    exact = [counts[n] for n in range(max(counts, default=0) + 1)]
    return [int(n) for n in np.cumsum(exact[::-1])[::-1]]


@cache
def _probe() -> NDArray[np.int32]:
    mol = Chem.MolFromSmiles(PROBE)
    environments = find_environments(mol)
    pairs = sorted(pair for *_, pair in iter_bonds(mol, environments))
    rings = [_number(ring) for ring in sorted(find_ring_systems(mol))]
    numbers = sorted(set().union(*environments))
    return np.array([*numbers, *pairs, *rings], np.uint32).view(np.int32)
