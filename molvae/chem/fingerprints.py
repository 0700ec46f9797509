"""What a surrogate may see of a molecule itself: which parts it has, and how often."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator

from molvae.chem.molecules import parse

BITS = 4_096


class Fingerprints:
    """Circular fingerprints of radius 2, each molecule's computed once.

    A part that occurs 2, 4 or 8 times sets further bits, so that Tanimoto similarity of the bits
    is close to that of the counts.
    """

    def __init__(self) -> None:
        self._generator = GetMorganGenerator(radius=2, fpSize=BITS, countSimulation=True)
        self._known: dict[str, NDArray[np.uint8]] = {}

    def __call__(self, smiles: Sequence[str]) -> NDArray[np.uint8]:
        """Valid SMILES (n) -> fingerprints (n, BITS), 0 or 1."""
        for name in smiles:
            if name not in self._known:
                self._known[name] = self._generator.GetFingerprintAsNumPy(parse(name))
        found = [self._known[name] for name in smiles]
        return np.array(found, dtype=np.uint8).reshape(len(found), BITS)
