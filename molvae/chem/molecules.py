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
    """SMILES -> sanitised molecule, or None if `find_fault` would find one in the string itself.

    `canonicalize` decides whether a string is a molecule here: it also needs a canonical form that
    can be read again.
    """
    if not isinstance(smiles, str) or not smiles.isascii() or not smiles.strip():
        return None
    if len(smiles) > MAX_SMILES_LENGTH or "\0" in smiles:  # where RDKit would stop reading
        return None
    with silence_rdkit():
        mol = Chem.MolFromSmiles(smiles.strip())
    if mol is None or mol.GetNumHeavyAtoms() == 0:
        return None
    return None if _has_dummy(mol, smiles) else mol


def _has_dummy(mol: Chem.Mol, smiles: str) -> bool:
    written = "*" in smiles or "#0" in smiles  # spares most molecules the loop over their atoms
    return written and any(atom.GetAtomicNum() == 0 for atom in mol.GetAtoms())


# `parse` for strings that recur soon; the returned molecule is shared, so do not modify it
parse_cached = lru_cache(1_024)(parse)


def count_heavy_atoms(smiles: str) -> int:
    """Valid SMILES -> its number of heavy atoms, skipping the sanitisation that `parse` does."""
    return int(Chem.MolFromSmiles(smiles, sanitize=False).GetNumHeavyAtoms())


def randomize_smiles(smiles: str, n: int) -> list[str]:
    """Valid SMILES -> n SMILES of the molecule with random atom orders, from a fixed seed."""
    return list(Chem.MolToRandomSmilesVect(Chem.MolFromSmiles(smiles), n, randomSeed=1))


def canonicalize(smiles: str) -> str | None:
    """SMILES -> RDKit's canonical SMILES, or None if it is not a molecule (see `find_fault`).

    >>> canonicalize("OCC"), canonicalize("C1CC")
    ('CCO', None)
    """
    mol = parse(smiles)
    return None if mol is None else write_canonical(mol, smiles)


def write_canonical(mol: Chem.Mol, smiles: str) -> str | None:
    """Molecule and the string that it was parsed from -> its canonical SMILES.

    None if RDKit cannot read that again, as with a few aromatic rings.
    """
    form = str(Chem.MolToSmiles(mol))
    return form if form == smiles or parse_cached(form) is not None else None


def find_fault(smiles: str) -> str | None:
    """String -> why it is not a molecule here, as the end of a sentence; None if it is one.

    >>> find_fault("C1CC"), find_fault("[H][H]"), find_fault("OCC")
    ('is not a valid SMILES', 'has no heavy atom', None)
    """
    if canonicalize(smiles) is not None:
        return None
    if not isinstance(smiles, str):
        return f"is not text but {type(smiles).__name__}"
    if not smiles.strip():
        return "is empty"
    if len(smiles) > MAX_SMILES_LENGTH:
        return f"has more than {MAX_SMILES_LENGTH:,} characters"
    with silence_rdkit():
        readable = smiles.isascii() and "\0" not in smiles
        mol = Chem.MolFromSmiles(smiles.strip()) if readable else None
    if mol is None:
        return "is not a valid SMILES"
    if _has_dummy(mol, smiles):
        return "has a dummy atom (*)"
    if mol.GetNumHeavyAtoms() == 0:
        return "has no heavy atom"
    return "has a canonical SMILES that RDKit cannot read again"
