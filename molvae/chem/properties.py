"""Molecular properties: one registered function each, molecule -> float.

Any registered property can be reported, learned with `molvae train --properties`, and used by name
as an objective, in a constraint or in a goals file; so can each of RDKit's descriptors. To add a
property, write a function here and register it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from rdkit.Chem import QED, Descriptors, GetFormalCharge, Mol, MolToSmiles
from rdkit.Chem.rdMolDescriptors import CalcCrippenDescriptors, CalcNumRotatableBonds
from rdkit.Contrib.SA_Score import sascorer

from molvae.base.errors import MolvaeError
from molvae.base.registry import Registry
from molvae.chem.fragment_scores import prepare_sas
from molvae.chem.standardize import find_parents

Property: TypeAlias = Callable[[Mol], float]

REPORTED = ("logP", "SAS", "QED", "heavy_atoms")
"""Properties shown in every table of molecules."""

STATISTICS = ("logP", "SAS", "QED")
"""Properties in the statistics table, in column order."""


@dataclass(frozen=True)
class MoleculeProperty:
    """A property, its direction when used as an objective, and its unit ("" for a pure number)."""

    name: str
    function: Property
    maximise: bool
    description: str
    unit: str = ""


properties: Registry[MoleculeProperty] = Registry("property")

DESCRIPTORS: dict[str, Property] = dict(Descriptors.descList)
UNITS = dict.fromkeys(("MolWt", "HeavyAtomMolWt", "ExactMolWt"), "g/mol")
UNITS |= dict.fromkeys(("TPSA", "LabuteASA"), "Å²")


def molecule_property(
    name: str, *, maximise: bool = True, unit: str = ""
) -> Callable[[Property], Property]:
    """Property name -> a decorator that registers a function, described by its first line."""

    def store(function: Property) -> Property:
        description = (function.__doc__ or "").strip().partition("\n")[0]
        properties.register(name)(MoleculeProperty(name, function, maximise, description, unit))
        return function

    return store


def find_property(name: str) -> MoleculeProperty | None:
    """Name of a registered property or an RDKit descriptor -> the property, None for others."""
    if name in properties:
        return properties[name]
    if name in DESCRIPTORS:
        unit = UNITS.get(name, "")
        return MoleculeProperty(name, DESCRIPTORS[name], True, "an RDKit descriptor", unit)
    return None


def compute_or_nan(function: Property, mol: Mol) -> float:
    """Function and molecule -> the value, NaN if it cannot be computed.

    RDKit cannot compute QED of a few unusual molecules; a function or program of the user may fail
    in any way.

    Raises:
        MolvaeError: the function cannot be used at all.
    """
    try:
        return float(function(mol))
    except MolvaeError:
        raise
    except Exception:
        return math.nan


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
    prepare_sas()
    return float(sascorer.calculateScore(mol))


@molecule_property("heavy_atoms")
def count_heavy_atoms(mol: Mol) -> float:
    """Number of atoms other than hydrogen."""
    return float(mol.GetNumHeavyAtoms())


@molecule_property("logS", unit="log10(mol/L)")
def log_solubility(mol: Mol) -> float:
    """Solubility in water at 25 °C, an estimate, log10 of mol/L (ESOL, Delaney 2004).

    Linear in logP, mass, rotatable bonds and the share of aromatic atoms, with the coefficients
    that P. Walters fitted again to Delaney's 1,144 molecules with RDKit's descriptors (github.com/
    PatWalters/solubility). Of the neutral form: charges and crystals are not known to it.
    """
    aromatic = sum(atom.GetIsAromatic() for atom in mol.GetAtoms())
    return float(
        0.26121
        - 0.74167 * logp(mol)
        - 0.0066139 * DESCRIPTORS["MolWt"](mol)
        + 0.0034515 * CalcNumRotatableBonds(mol)
        - 0.42625 * aromatic / max(1, mol.GetNumAtoms())
    )


@molecule_property("charge")
def net_charge(mol: Mol) -> float:
    """Net formal charge."""
    return float(GetFormalCharge(mol))


@molecule_property("in_stock")
def find_in_stock(mol: Mol) -> float:
    """1 if the molecule's parent is probably in stock somewhere, else 0 (extra: molvae[stock]).

    Looked up in the catalogue of 9.2 million such molecules in ZINC20 (Irwin et al. 2020) that the
    package molbloom holds as a Bloom filter: what is in it is found, and one in 14 of all other
    molecules is taken for a part of it.

    Raises:
        MolvaeError: the package is missing.
    """
    try:
        from molbloom import buy
    except ImportError as error:
        raise MolvaeError("in_stock needs a package: pip install 'molvae[stock]'") from error
    (parent,) = find_parents([MolToSmiles(mol)])
    return float(parent is not None and buy(parent, catalog="zinc-instock-mini"))


def cycle(mol: Mol) -> float:
    """Number of atoms by which the largest ring in RDKit's ring information exceeds six, or 0."""
    longest = max((len(ring) for ring in mol.GetRingInfo().AtomRings()), default=0)
    return float(max(0, longest - 6))
