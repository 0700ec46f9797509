"""Molecular properties: one registered function each, molecule -> float.

Any registered property can be reported, learned with `molvae train --properties`, and used by name
as an objective, in a constraint or in a goals file. To add one, write a function here and register
it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from rdkit.Chem import QED, Mol
from rdkit.Chem.rdMolDescriptors import CalcCrippenDescriptors
from rdkit.Contrib.SA_Score import sascorer

from molvae.base.registry import Registry

Property: TypeAlias = Callable[[Mol], float]

REPORTED = ("logP", "SAS", "QED", "heavy_atoms")
"""Properties shown in every table of molecules."""

STATISTICS = ("logP", "SAS", "QED")
"""Properties in the statistics table, in column order."""


@dataclass(frozen=True)
class MoleculeProperty:
    """A property and its direction when used as an objective."""

    name: str
    function: Property
    maximise: bool
    description: str


properties: Registry[MoleculeProperty] = Registry("property")


def molecule_property(name: str, *, maximise: bool = True) -> Callable[[Property], Property]:
    """Property name -> a decorator that registers a function, described by its first line."""

    def store(function: Property) -> Property:
        description = (function.__doc__ or "").strip().partition("\n")[0]
        properties.register(name)(MoleculeProperty(name, function, maximise, description))
        return function

    return store


@molecule_property("logP")
def logp(mol: Mol) -> float:
    """Octanol-water partition coefficient, log10 (Wildman & Crippen 1999)."""
    return float(CalcCrippenDescriptors(mol)[0])


@molecule_property("QED")
def qed(mol: Mol) -> float:
    """Quantitative estimate of drug-likeness, 0 to 1 (Bickerton et al. 2012)."""
    return float(QED.qed(mol))  # type: ignore[no-untyped-call]


@molecule_property("SAS", maximise=False)
def sas(mol: Mol) -> float:
    """Synthetic accessibility, 1 easy to 10 hard, minimised (Ertl & Schuffenhauer 2009)."""
    return float(sascorer.calculateScore(mol))


@molecule_property("heavy_atoms")
def count_heavy_atoms(mol: Mol) -> float:
    """Number of atoms other than hydrogen."""
    return float(mol.GetNumHeavyAtoms())


def cycle(mol: Mol) -> float:
    """Number of atoms by which the largest ring in RDKit's ring information exceeds six, or 0."""
    longest = max((len(ring) for ring in mol.GetRingInfo().AtomRings()), default=0)
    return float(max(0, longest - 6))
