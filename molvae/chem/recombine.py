"""Recombination: new training molecules made of fragments of known ones.

A model that sees the same molecules again and again memorises them. Exchanging the fragments on
either side of acyclic single bonds gives as many new molecules as needed, of the same sizes and
with the same kinds of bonds.
"""

from __future__ import annotations

import math
import random
import re
import warnings
from collections import defaultdict
from functools import partial
from typing import NamedTuple

import pandas as pd
from rdkit import Chem

from molvae.base.errors import MolvaeError, MolvaeWarning
from molvae.base.parallel import map_parallel
from molvae.chem.cache import load_or_compute
from molvae.chem.datasets import DataSet, assign_part
from molvae.chem.molecules import canonicalize, parse

CUTS = 3  # bonds cut per molecule, at most
LEAST = 3  # minimum number of heavy atoms on either side of a cut
CLOSE = 3  # maximum difference in heavy atoms between two swapped parts
TRIES = 4  # attempts per requested molecule

_FIRST_ATOM = re.compile(r"\[[^\]]*\]|Br|Cl|.")

Bond = tuple[str, str]  # atom types on this side and on the other


class Part(NamedTuple):
    """One side of a cut bond."""

    smiles: str
    """Starts with the atom at the cut bond."""
    bond: Bond
    atoms: int


def recombine(data: DataSet, number: int, seed: int = 0, progress: bool = False) -> DataSet:
    """Make about `number` new molecules from the training split of `data`; cached.

    One part of a random molecule is swapped for a part of another molecule that was attached by the
    same type of bond and has a similar number of atoms. The crossover of Jensen 2019 has no such
    conditions. A stereocentre at the bond may be inverted. No new molecule is in the data set or
    falls into the validation or test part of the split. Fewer molecules are returned if few bonds
    can be cut. Molecules of several fragments, such as salts, are not recombined.

    Args:
        data: the data set; only its training part is recombined.
        number: how many molecules to make.
        seed: random seed; the same seed and data give the same molecules.
        progress: whether to show a progress bar.

    Returns:
        A data set of unique canonical SMILES, all in the training part of the split.

    Raises:
        MolvaeError: the number is negative.

    Warns:
        MolvaeWarning: some molecules are not recombined.
    """
    if number < 0:
        raise MolvaeError(f"the number of recombined molecules must not be negative, got {number}")
    train, key = data.split("train"), f"{data.key}-recombined{number}-{seed}"

    if number and (salts := sum("." in s for s in train)):
        warnings.warn(
            f"{salts:,} of {len(train):,} molecules are not recombined: they consist of several "
            "fragments, as salts do",
            MolvaeWarning,
            stacklevel=2,
        )

    def compute() -> pd.DataFrame:
        order = random.Random(seed).sample(train, len(train))
        work = partial(_exchange, each=number / len(train), seed=seed)
        known = set(data.smiles)
        new = [s for s in map_parallel(work, order, "recombine", progress) if s not in known]
        return pd.DataFrame({"smiles": list(dict.fromkeys(new))}, dtype=object)

    table = load_or_compute(key, compute) if number and train else pd.DataFrame({"smiles": []})
    return DataSet(data.name, table["smiles"].tolist(), 0, key)


def _exchange(smiles: list[str], each: float, seed: int) -> list[str]:
    """Molecules -> `each` times as many new ones, made of their fragments."""
    rng = random.Random(f"{seed} {smiles[0]}")
    pairs = [pair for s in smiles for pair in cut_bonds(s, rng)]
    alike: dict[tuple[Bond, int], list[Part]] = defaultdict(list)
    for part in (part for pair in pairs for part in pair):
        for atoms in range(part.atoms - CLOSE, part.atoms + CLOSE + 1):
            alike[part.bond, atoms].append(part)
    sizes = [one.atoms + other.atoms for one, other in pairs] or [0]
    smallest, largest = min(sizes), max(sizes)
    wanted, known = math.ceil(each * len(smiles)), set(smiles)
    found: dict[str, None] = {}
    for _ in range(TRIES * wanted if pairs else 0):
        if len(found) >= wanted:
            break
        kept, left = rng.sample(rng.choice(pairs), 2)
        other = rng.choice(alike[left.bond, left.atoms])
        if not smallest <= kept.atoms + other.atoms <= largest:
            continue  # a search takes its size bounds from the sizes of the training molecules
        new = canonicalize(join_parts(kept.smiles, other.smiles))
        if new is not None and new not in known and assign_part(new) == "train":
            found[new] = None
    return list(found)


def cut_bonds(smiles: str, rng: random.Random) -> list[tuple[Part, Part]]:
    """SMILES -> both sides of each of up to `CUTS` random acyclic single bonds.

    A molecule of several fragments gives none: its parts would not add up to it.
    """
    mol = parse(smiles)
    if mol is None or "." in smiles:
        return []
    single = [b for b in mol.GetBonds() if b.GetBondType() == Chem.BondType.SINGLE]
    bonds = [b for b in single if not b.IsInRing()]
    found = []
    for bond in rng.sample(bonds, min(CUTS, len(bonds))):
        ends = bond.GetBeginAtom(), bond.GetEndAtom()
        kinds = [f"{a.GetSymbol()} {a.GetHybridization()} {a.GetFormalCharge()}" for a in ends]
        cut = Chem.FragmentOnBonds(mol, [bond.GetIdx()], dummyLabels=[(0, 0)])
        where: list[tuple[int, ...]] = []  # the atom indices of each half, with its dummy atom
        mols = Chem.GetMolFrags(cut, asMols=True, sanitizeFrags=False, fragsMolAtomMapping=where)
        halves = [_write_rooted(m) for m in mols]
        if min(map(len, where)) <= LEAST or any(s.startswith(("/", "\\")) for s in halves):
            continue  # too small, or a double bond would lose its E/Z label
        if ends[0].GetIdx() not in where[0]:
            kinds.reverse()
        sides = (kinds[0], kinds[1]), (kinds[1], kinds[0])
        a, b = (
            Part(s, kind, len(atoms) - 1)
            for s, kind, atoms in zip(halves, sides, where, strict=True)
        )
        found.append((a, b))
    return found


def _write_rooted(part: Chem.Mol) -> str:
    """A part with a dummy atom -> its SMILES, starting at the neighbour of the dummy."""
    dummy = next(a.GetIdx() for a in part.GetAtoms() if a.GetAtomicNum() == 0)
    return str(Chem.MolToSmiles(part, rootedAtAtom=dummy)).removeprefix("*")


def join_parts(one: str, other: str) -> str:
    """SMILES of two parts -> SMILES of the molecule that bonds their first atoms."""
    return ".".join(_FIRST_ATOM.sub(lambda m: m[0] + "%99", part, count=1) for part in (one, other))
