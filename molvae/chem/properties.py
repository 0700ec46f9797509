"""Properties of a molecule: one pure function each."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from rdkit.Chem import QED, Mol
from rdkit.Chem.rdMolDescriptors import CalcCrippenDescriptors
from rdkit.Contrib.SA_Score import sascorer

Property: TypeAlias = Callable[[Mol], float]


def logp(mol: Mol) -> float:
    """Octanol-water partition coefficient, log10 (Wildman & Crippen 1999)."""
    return float(CalcCrippenDescriptors(mol)[0])


def qed(mol: Mol) -> float:
    """Quantitative estimate of drug-likeness, 0 to 1 (Bickerton et al. 2012)."""
    return float(QED.qed(mol))  # type: ignore[no-untyped-call]


def sas(mol: Mol) -> float:
    """Synthetic accessibility, 1 easy to 10 hard, minimised (Ertl & Schuffenhauer 2009)."""
    return float(sascorer.calculateScore(mol))


def cycle(mol: Mol) -> float:
    """Atoms by which the longest ring (RDKit's ring information) exceeds six, at least 0."""
    longest = max((len(ring) for ring in mol.GetRingInfo().AtomRings()), default=0)
    return float(max(0, longest - 6))


def count_heavy_atoms(mol: Mol) -> float:
    """Number of atoms other than hydrogen."""
    return float(mol.GetNumHeavyAtoms())


PROPERTIES: dict[str, Property] = {
    "logP": logp,
    "SAS": sas,
    "QED": qed,
    "heavy_atoms": count_heavy_atoms,
}
STATISTICS = ("logP", "SAS", "QED")
"""The properties of the statistics table, in its order."""
