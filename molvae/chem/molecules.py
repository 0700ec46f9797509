"""SMILES <-> RDKit molecule: parsing, canonical form, and silencing RDKit's log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from rdkit import Chem
from rdkit.rdBase import BlockLogs

MAX_SMILES_LENGTH = 2_000  # longer strings are not drug-like and can stall the parser


@contextmanager
def silence_rdkit() -> Iterator[None]:
    """Silence RDKit's log inside a `with` block and restore it afterwards."""
    block = BlockLogs()
    try:
        yield
    finally:
        del block


def parse(smiles: str) -> Chem.Mol | None:
    """SMILES -> sanitised molecule, or None if the string is empty, too long or invalid."""
    if not smiles.isascii() or not smiles.strip() or len(smiles) > MAX_SMILES_LENGTH:
        return None
    with silence_rdkit():
        mol = Chem.MolFromSmiles(smiles.strip())
    return mol if mol is not None and mol.GetNumAtoms() > 0 else None


# `parse` for strings that recur soon; the returned molecule is shared, so do not modify it
parse_cached = lru_cache(1_024)(parse)


def count_heavy_atoms(smiles: str) -> int:
    """Valid SMILES -> its number of heavy atoms, skipping the sanitisation that `parse` does."""
    return int(Chem.MolFromSmiles(smiles, sanitize=False).GetNumHeavyAtoms())


def randomize_smiles(smiles: str, n: int) -> list[str]:
    """Valid SMILES -> n SMILES of the molecule with random atom orders, from a fixed seed."""
    return list(Chem.MolToRandomSmilesVect(Chem.MolFromSmiles(smiles), n, randomSeed=1))


def canonicalize(smiles: str) -> str | None:
    """SMILES -> RDKit's canonical SMILES, or None if it is invalid.

    >>> canonicalize("OCC"), canonicalize("C1CC")
    ('CCO', None)
    """
    mol = parse(smiles)
    return None if mol is None else Chem.MolToSmiles(mol)
