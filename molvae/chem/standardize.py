"""Standard forms of molecules: the parent structure behind a salt, a charge state or a label."""

from __future__ import annotations

from typing import NamedTuple

from rdkit import Chem
from rdkit.Chem.MolStandardize import rdMolStandardize

from molvae.base.errors import MolvaeError
from molvae.chem.molecules import find_fault, parse, silence_rdkit, write_canonical

_LARGEST = rdMolStandardize.LargestFragmentChooser(True)  # organic fragments first
_UNCHARGER = rdMolStandardize.Uncharger(True)
_LABELS = (
    ("isotopes dropped", Chem.Atom.GetIsotope, Chem.Atom.SetIsotope),
    ("atom maps dropped", Chem.Atom.GetAtomMapNum, Chem.Atom.SetAtomMapNum),
)


class Standard(NamedTuple):
    """The parent of a molecule as canonical SMILES, and what was done to get it."""

    smiles: str
    changes: tuple[str, ...]


def standardize(smiles: str) -> Standard:
    """SMILES -> its parent: the largest fragment, neutral, without isotopes and atom maps.

    Charges that no proton can balance stay, such as that of a quaternary nitrogen; so does
    stereochemistry. Fragments and charges are treated by RDKit's rdMolStandardize.

    >>> standardize("C[NH3+].[Cl-]")
    Standard(smiles='CN', changes=('largest fragment', 'neutralised'))

    Raises:
        MolvaeError: the SMILES or its parent is not a molecule.
    """
    mol = parse(smiles)
    if mol is None:
        raise MolvaeError(f"{smiles[:80]!r} {find_fault(smiles)}")
    changes = []
    with silence_rdkit():
        if len(Chem.GetMolFrags(mol)) > 1:
            mol = _LARGEST.choose(mol)
            changes.append("largest fragment")
        for what, read, clear in _LABELS:
            labelled = [atom for atom in mol.GetAtoms() if read(atom)]
            for atom in labelled:
                clear(atom, 0)
            if labelled:
                changes.append(what)
        if changes:  # what was deuterium may be the proton that balances a charge
            mol = Chem.RemoveHs(mol)
        charges = [atom.GetFormalCharge() for atom in mol.GetAtoms()]
        if any(charges):
            neutral = _UNCHARGER.uncharge(mol)
            same = [atom.GetFormalCharge() for atom in neutral.GetAtoms()] == charges
            if not same and Chem.MolFromSmiles(Chem.MolToSmiles(neutral)):  # not so PF6-
                mol = neutral
                changes.append("neutralised")
        if changes:  # the canonical form depends on more than the atoms that are left
            mol = parse(Chem.MolToSmiles(mol))
    form = None if mol is None else write_canonical(mol, smiles)
    if form is None:
        raise MolvaeError(f"the parent of {smiles[:80]!r} is not a molecule")
    return Standard(form, tuple(changes))


def find_parents(smiles: list[str]) -> list[str | None]:
    """SMILES -> the parent of each, None where there is none."""
    return [_find_parent(s) for s in smiles]


def _find_parent(smiles: str) -> str | None:
    try:
        return standardize(smiles).smiles
    except MolvaeError:
        return None
