"""Molecular features: circular fingerprints and numeric descriptors."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rdkit.Chem import Mol
from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator
from rdkit.Chem.rdMolDescriptors import CalcMolFormula, Properties
from rdkit.DataStructs import TanimotoSimilarity

from molvae.base.errors import MolvaeError
from molvae.chem.molecules import parse, parse_cached

BITS = 4_096
DESCRIPTORS = (
    "CrippenClogP",
    "CrippenMR",
    "tpsa",
    "NumHBD",
    "NumHBA",
    "NumRotatableBonds",
    "NumRings",
    "NumAromaticRings",
    "NumAliphaticRings",
    "NumBridgeheadAtoms",
    "NumSpiroAtoms",
    "NumAtomStereoCenters",
    "FractionCSP3",
)
ELEMENTS = ("H", "C", "N", "O", "F", "P", "S", "Cl", "Br", "I")
FORMULA = re.compile(r"([A-Z][a-z]?)(\d*)")  # as in C10H13ClN2O+, ignoring the charge
KEPT = 50_000  # molecules, about a kilobyte each
NUMBERS = len(DESCRIPTORS) + len(ELEMENTS)
FEATURES = np.dtype([("parts", np.uint8, BITS // 8), ("numbers", np.float32, NUMBERS)])


class MoleculeFeatures:
    """Morgan fingerprints of radius 2 and numeric descriptors, kept for the latest molecules.

    A fragment that occurs 2, 4 or 8 times sets additional bits, so the Tanimoto similarity of the
    bits approximates that of the counts. The numbers are RDKit descriptors and the atom count of
    each element. Many objectives are functions of these, and a fingerprint captures them only
    roughly.
    """

    def __init__(self) -> None:
        self._generator = GetMorganGenerator(radius=2, fpSize=BITS, countSimulation=True)
        self._descriptors = Properties(DESCRIPTORS)
        self._find = lru_cache(KEPT)(self._describe)

    def __call__(self, smiles: Sequence[str]) -> NDArray[Any]:
        """Valid SMILES (n) -> features (n,): packed `parts` (n, BITS / 8), `numbers` (n, K).

        Raises:
            MolvaeError: a SMILES is not valid.
        """
        found = np.empty(len(smiles), dtype=FEATURES)
        if smiles:
            parts, numbers = zip(*map(self._find, smiles), strict=True)
            found["parts"], found["numbers"] = parts, np.nan_to_num(numbers)
        return found

    def _describe(self, smiles: str) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """SMILES -> packed bits (BITS / 8,) and numbers (K,)."""
        mol = parse_cached(smiles)
        if mol is None:
            raise MolvaeError(f"{smiles!r} is not a valid SMILES, so it has no features")
        formula = dict(FORMULA.findall(CalcMolFormula(mol)))
        atoms = [int(formula.get(element, "0") or 1) for element in ELEMENTS]
        numbers = np.array([*self._descriptors.ComputeProperties(mol), *atoms], dtype=np.float32)
        return np.packbits(self._generator.GetFingerprintAsNumPy(mol)), numbers


@dataclass(frozen=True)
class Similarity:
    """Tanimoto similarity to a molecule, 0 to 1, of Morgan fingerprints (radius 2, 2,048 bits)."""

    smiles: str

    def __post_init__(self) -> None:
        if parse(self.smiles) is None:
            raise MolvaeError(f"{self.smiles!r} is not a valid SMILES")

    def __call__(self, mol: Mol) -> float:
        """Molecule -> its similarity to the target."""
        generator, reference = self._target
        return float(TanimotoSimilarity(generator.GetFingerprint(mol), reference))

    @cached_property
    def _target(self) -> tuple[Any, Any]:
        generator = GetMorganGenerator(radius=2, fpSize=2_048)
        return generator, generator.GetFingerprint(parse(self.smiles))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle only the SMILES; the fingerprint is recomputed."""
        return Similarity, (self.smiles,)


def tanimoto_similarities(smiles: Sequence[str], reference: str) -> list[float]:
    """SMILES and a valid reference SMILES -> Tanimoto similarities, 0 to 1, NaN where invalid.

    Uses Morgan fingerprints of radius 2 with 2,048 bits.
    """
    similarity = Similarity(reference)
    return [math.nan if mol is None else similarity(mol) for mol in map(parse, smiles)]
