"""The goal-directed tasks of GuacaMol and PMO, each a function molecule -> score, 0 to 1.

GuacaMol: Brown et al. 2019, "GuacaMol: Benchmarking Models for de Novo Molecular Design", tables in
the supporting information; scores match version 0.5.5 of its package. PMO: Gao et al. 2022, "Sample
Efficiency Matters"; its tasks are tasks from GuacaMol, QED and three bioactivity classifiers. A
task is built when it is first used.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

from rdkit import Chem
from rdkit.Chem import GraphDescriptors, Mol
from rdkit.Chem import rdFingerprintGenerator as fingerprints
from rdkit.Chem.Pharm2D import Generate, Gobbi_Pharm2D
from rdkit.Chem.QED import qed
from rdkit.Chem.rdMolDescriptors import (
    CalcCrippenDescriptors,
    CalcNumAromaticRings,
    CalcNumRings,
    CalcTPSA,
)
from rdkit.DataStructs import TanimotoSimilarity

from molvae.oracles.classifiers import drd2, gsk3b, jnk3

Score: TypeAlias = Callable[[Mol], float]


@dataclass(frozen=True)
class Task:
    """A score that is created on first use, and its description."""

    make: Callable[[], Score]
    description: str

    @cached_property
    def score(self) -> Score:
        """The scoring function."""
        return self.make()

    def __call__(self, mol: Mol) -> float:
        """Molecule -> its score."""
        return float(self.score(mol))


def log_p(mol: Mol) -> float:
    """Molecule -> Crippen's logP."""
    return float(CalcCrippenDescriptors(mol)[0])


def bertz(mol: Mol) -> float:
    """Molecule -> topological complexity (Bertz 1981)."""
    return float(GraphDescriptors.BertzCT(mol))  # type: ignore[no-untyped-call]


def similarity(target: str, kind: str) -> Score:
    """SMILES of a target and kind of fingerprint -> the Tanimoto similarity to the target.

    Kinds: ECFP4 and ECFP6, circular fingerprints of radius 2 and 3 (Rogers & Hahn 2010); FCFP4,
    circular with pharmacophoric atom types; AP, atom pairs up to 10 bonds apart (Carhart et al.
    1985); PHCO, 2D pharmacophores (Gobbi & Poppinger 1998). All but PHCO are count fingerprints.
    """
    fingerprint = _FINGERPRINTS[kind]()
    reference = fingerprint(Chem.MolFromSmiles(target))
    return lambda mol: float(TanimotoSimilarity(fingerprint(mol), reference))


def _circular(radius: int, **options: Any) -> Callable[[Mol], Any]:
    return fingerprints.GetMorganGenerator(radius=radius, **options).GetSparseCountFingerprint


_FINGERPRINTS: dict[str, Callable[[], Callable[[Mol], Any]]] = {
    "ECFP4": lambda: _circular(2),
    "ECFP6": lambda: _circular(3),
    "FCFP4": lambda: _circular(
        2, atomInvariantsGenerator=fingerprints.GetMorganFeatureAtomInvGen()
    ),
    "AP": lambda: fingerprints.GetAtomPairGenerator(maxDistance=10).GetSparseCountFingerprint,
    "PHCO": lambda: (
        lambda mol: Generate.Gen2DFingerprint(mol, Gobbi_Pharm2D.factory)  # type: ignore[no-untyped-call]
    ),
}


def has(smarts: str) -> Score:
    """SMARTS pattern -> a score of 1 if it matches, else 0."""
    pattern = Chem.MolFromSmarts(smarts)
    return lambda mol: float(mol.HasSubstructMatch(pattern))


def lacks(smarts: str) -> Score:
    """SMARTS pattern -> a score of 0 if it matches, else 1."""
    found = has(smarts)
    return lambda mol: 1 - found(mol)


def count(element: str) -> Score:
    """Symbol of an element other than hydrogen -> the number of its atoms."""
    return lambda mol: sum(atom.GetSymbol() == element for atom in mol.GetAtoms())


def formula(text: str) -> Score:
    """A molecular formula -> score of how close a molecule's formula is, by element and size."""
    wanted = {symbol: int(n or 1) for symbol, n in re.findall(r"([A-Z][a-z]?)(\d*)", text)}

    def score(mol: Mol) -> float:
        found = Counter(atom.GetSymbol() for atom in Chem.AddHs(mol).GetAtoms())
        parts = [bell(found[symbol] - n, 1) for symbol, n in wanted.items()]
        parts.append(bell(found.total() - sum(wanted.values()), 2))
        return math.prod(parts) ** (1 / len(parts))

    return score


def bell(distance: float, sigma: float) -> float:
    """Distance and width -> an unnormalised Gaussian, 1 at distance 0."""
    return math.exp(-0.5 * (distance / sigma) ** 2)


def near(value: Score, mu: float, sigma: float) -> Score:
    """Quantity and target -> a score of 1 at mu, falling as a Gaussian on both sides."""
    return lambda mol: bell(value(mol) - mu, sigma)


def alike(value: Score, target: str, sigma: float) -> Score:
    """Quantity and target SMILES -> a score of 1 where the quantity equals the target's."""
    return near(value, value(Chem.MolFromSmiles(target)), sigma)


def below(value: Score, mu: float, sigma: float) -> Score:
    """Quantity and limit -> a score of 1 up to mu, falling as a Gaussian above."""
    return lambda mol: bell(max(value(mol) - mu, 0), sigma)


def above(value: Score, mu: float, sigma: float) -> Score:
    """Quantity and limit -> a score of 1 from mu on, falling as a Gaussian below."""
    return lambda mol: bell(min(value(mol) - mu, 0), sigma)


def up_to(value: Score, top: float) -> Score:
    """Quantity and limit -> a score proportional to the quantity, 1 from `top` on."""
    return lambda mol: min(value(mol) / top, 1)


def geometric(*scores: Score) -> Score:
    """Scores -> their geometric mean, 0 if any score is 0."""
    return lambda mol: math.prod(score(mol) for score in scores) ** (1 / len(scores))


def arithmetic(*scores: Score) -> Score:
    """Scores -> their arithmetic mean."""
    return lambda mol: sum(score(mol) for score in scores) / len(scores)


CAMPHOR, MENTHOL = "CC1(C)C2CCC1(C)C(=O)C2", "CC(C)C1CCC(C)CC1O"
CELECOXIB = "CC1=CC=C(C=C1)C1=CC(=NN1C1=CC=C(C=C1)S(N)(=O)=O)C(F)(F)F"
TROGLITAZONE = "Cc1c(C)c2OC(C)(COc3ccc(CC4SC(=O)NC4=O)cc3)CCc2c(C)c1O"
THIOTHIXENE = "CN(C)S(=O)(=O)c1ccc2Sc3ccccc3C(=CCCN4CCN(C)CC4)c2c1"
ARIPIPRAZOLE = "Clc4cccc(N3CCN(CCCCOc2ccc1c(NC(=O)CC1)c2)CC3)c4Cl"
ALBUTEROL = "CC(C)(C)NCC(O)c1ccc(O)c(CO)c1"
MESTRANOL = "COc1ccc2[C@H]3CC[C@@]4(C)[C@@H](CC[C@@]4(O)C#C)[C@@H]3CCc2c1"
TADALAFIL = "O=C1N(CC(N2C1CC3=C(C2C4=CC5=C(OCO5)C=C4)NC6=C3C=CC=C6)=O)C"
SILDENAFIL = "CCCC1=NN(C2=C1N=C(NC2=O)C3=C(C=CC(=C3)S(=O)(=O)N4CCN(CC4)C)OCC)C"
OSIMERTINIB = "COc1cc(N(C)CCN(C)C)c(NC(=O)C=C)cc1Nc2nccc(n2)c3cn(C)c4ccccc34"
FEXOFENADINE = "CC(C)(C(=O)O)c1ccc(cc1)C(O)CCCN2CCC(CC2)C(O)(c3ccccc3)c4ccccc4"
SITAGLIPTIN = "Fc1cc(c(F)cc1F)CC(N)CC(=O)N3Cc2nnc(n2CC3)C(F)(F)F"
RANOLAZINE = "COc1ccccc1OCC(O)CN2CCN(CC(=O)Nc3c(C)cccc3C)CC2"
PERINDOPRIL = "O=C(OCC)C(NC(C(=O)N1C(C(=O)O)CC2CCCCC12)C)CCC"
AMLODIPINE = r"Clc1ccccc1C2C(=C(/N/C(=C2/C(=O)OCC)COCCN)C)\C(=O)OC"
ZALEPLON = "O=C(C)N(CC)C1=CC=CC(C2=CC=NC3=C(C=NN23)C#N)=C1"
HOPPED = "CCCOc1cc2ncnc(Nc3ccc4ncsc4c3)c2cc1S(=O)(=O)C(C)(C)C"
SCAFFOLD = "[#7]-c1n[c;h1]nc2[c;h1]c(-[#8])[c;h0][c;h1]c12"

_BOTH = {
    "albuterol_similarity": Task(
        lambda: up_to(similarity(ALBUTEROL, "FCFP4"), 0.75),
        "Similar to albuterol, by pharmacophoric features.",
    ),
    "amlodipine_mpo": Task(
        lambda: geometric(similarity(AMLODIPINE, "ECFP4"), near(CalcNumRings, 3, 0.5)),
        "Similar to amlodipine, with three rings.",
    ),
    "celecoxib_rediscovery": Task(lambda: similarity(CELECOXIB, "ECFP4"), "Rediscover celecoxib."),
    "deco_hop": Task(
        lambda: arithmetic(
            up_to(similarity(HOPPED, "PHCO"), 0.85),
            lacks("CS([#6])(=O)=O"),
            lacks("[#7]-c1ccc2ncsc2c1"),
            has(SCAFFOLD),
        ),
        "Keep a scaffold and change its substituents.",
    ),
    "fexofenadine_mpo": Task(
        lambda: geometric(
            up_to(similarity(FEXOFENADINE, "AP"), 0.8), above(CalcTPSA, 90, 10), below(log_p, 4, 1)
        ),
        "Similar to fexofenadine, but less lipophilic.",
    ),
    "isomers_c9h10n2o2pf2cl": Task(
        lambda: formula("C9H10N2O2PF2Cl"), "An isomer of C9H10N2O2PF2Cl."
    ),
    "median1": Task(
        lambda: geometric(similarity(CAMPHOR, "ECFP4"), similarity(MENTHOL, "ECFP4")),
        "Similar to both camphor and menthol.",
    ),
    "median2": Task(
        lambda: geometric(similarity(TADALAFIL, "ECFP6"), similarity(SILDENAFIL, "ECFP6")),
        "Similar to both tadalafil and sildenafil.",
    ),
    "mestranol_similarity": Task(
        lambda: up_to(similarity(MESTRANOL, "AP"), 0.75), "Similar to mestranol, by atom pairs."
    ),
    "osimertinib_mpo": Task(
        lambda: geometric(
            up_to(similarity(OSIMERTINIB, "FCFP4"), 0.8),
            below(similarity(OSIMERTINIB, "ECFP6"), 0.85, 0.1),
            above(CalcTPSA, 100, 10),
            below(log_p, 1, 1),
        ),
        "Similar to osimertinib, but more polar.",
    ),
    "perindopril_mpo": Task(
        lambda: geometric(similarity(PERINDOPRIL, "ECFP4"), near(CalcNumAromaticRings, 2, 0.5)),
        "Similar to perindopril, with two aromatic rings.",
    ),
    "ranolazine_mpo": Task(
        lambda: geometric(
            up_to(similarity(RANOLAZINE, "AP"), 0.7),
            above(log_p, 7, 1),
            near(count("F"), 1, 1),
            above(CalcTPSA, 95, 20),
        ),
        "Similar to ranolazine, but more lipophilic and with a fluorine.",
    ),
    "scaffold_hop": Task(
        lambda: arithmetic(
            up_to(similarity(HOPPED, "PHCO"), 0.75),
            has("[#6]-[#6]-[#6]-[#8]-[#6]~[#6]~[#6]~[#6]~[#6]-[#7]-c1ccc2ncsc2c1"),
            lacks(SCAFFOLD),
        ),
        "Keep the substituents and change the scaffold.",
    ),
    "sitagliptin_mpo": Task(
        lambda: geometric(
            near(similarity(SITAGLIPTIN, "ECFP4"), 0, 0.1),
            alike(log_p, SITAGLIPTIN, 0.2),
            alike(CalcTPSA, SITAGLIPTIN, 5),
            formula("C16H15F6N5O"),
        ),
        "Dissimilar to sitagliptin, with its properties and formula.",
    ),
    "thiothixene_rediscovery": Task(
        lambda: similarity(THIOTHIXENE, "ECFP4"), "Rediscover thiothixene."
    ),
    "troglitazone_rediscovery": Task(
        lambda: similarity(TROGLITAZONE, "ECFP4"), "Rediscover troglitazone."
    ),
    "valsartan_smarts": Task(
        lambda: geometric(
            has("CN(C=O)Cc1ccc(c2ccccc2)cc1"),
            alike(log_p, SITAGLIPTIN, 0.2),
            alike(CalcTPSA, SITAGLIPTIN, 5),
            alike(bertz, SITAGLIPTIN, 30),
        ),
        "A substructure of valsartan, with the properties of sitagliptin.",
    ),
    "zaleplon_mpo": Task(
        lambda: geometric(similarity(ZALEPLON, "ECFP4"), formula("C19H17N3O2")),
        "Similar to zaleplon, with another formula.",
    ),
}
_GUACAMOL = _BOTH | {
    "aripiprazole_similarity": Task(
        lambda: up_to(similarity(ARIPIPRAZOLE, "ECFP4"), 0.75), "Similar to aripiprazole."
    ),
    "isomers_c11h24": Task(lambda: formula("C11H24"), "An isomer of C11H24."),
}
_PMO = _BOTH | {
    "drd2": Task(lambda: drd2, "Active at the dopamine receptor D2, predicted by a classifier."),
    "gsk3b": Task(
        lambda: gsk3b, "Inhibits glycogen synthase kinase 3 beta, predicted by a classifier."
    ),
    "isomers_c7h8n2o2": Task(lambda: formula("C7H8N2O2"), "An isomer of C7H8N2O2."),
    "jnk3": Task(lambda: jnk3, "Inhibits c-Jun N-terminal kinase 3, predicted by a classifier."),
    "qed": Task(lambda: qed, "Drug-like."),
}
SUITES: dict[str, dict[str, Task]] = {
    "guacamol": dict(sorted(_GUACAMOL.items())),
    "pmo": dict(sorted(_PMO.items())),
}
