"""Which molecule of a data set is most like another one, and which molecules are alike."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rdkit.Chem import FastFindRings, MolFromSmiles
from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator
from rdkit.DataStructs import BulkTanimotoSimilarity
from rdkit.SimDivFilters.rdSimDivPickers import LeaderPicker

from molvae.base.errors import MolvaeError
from molvae.base.parallel import map_parallel
from molvae.chem.cache import load_or_compute_array
from molvae.chem.datasets import DataSet
from molvae.chem.molecules import parse

Counts: TypeAlias = NDArray[np.int32]

BITS = 2_048
ALIKE = 0.4  # Tanimoto similarity from which on molecules are in one cluster


@dataclass(frozen=True)
class Neighbors:
    """The fingerprints of a data set: Morgan, radius 2, 2,048 bits."""

    smiles: Sequence[str]
    words: NDArray[np.uint64]
    """(n, 32)"""

    @classmethod
    def load(cls, data: DataSet, progress: bool = False) -> Neighbors:
        """Data set -> the fingerprints of its molecules; cached."""

        def compute() -> NDArray[np.uint64]:
            return _join(map_parallel(_pack_canonical, list(data.smiles), "fingerprints", progress))

        return cls(data.smiles, load_or_compute_array(f"{data.key}-morgan2", compute))

    @classmethod
    def compute(cls, smiles: Sequence[str]) -> Neighbors:
        """Valid SMILES -> their fingerprints.

        Raises:
            MolvaeError: a SMILES is not valid.
        """
        return cls(smiles, _join(_pack(list(smiles))))

    def find_nearest(self, smiles: Sequence[str]) -> pd.DataFrame:
        """Valid SMILES (n) -> columns nearest, the most similar molecule, and its similarity.

        The similarity is Tanimoto's, 0 to 1.

        Raises:
            MolvaeError: a SMILES is not valid.
        """
        counts = _count_bits(self.words)
        rows: list[tuple[str, float]] = []
        for own in _join(_pack(list(smiles))):
            shared = _count_bits(self.words, own)
            either = counts + int(np.bitwise_count(own).sum()) - shared
            similarity = shared / np.maximum(either, 1)
            best = int(similarity.argmax())
            rows.append((self.smiles[best], float(similarity[best])))
        return pd.DataFrame(rows, columns=["nearest", "similarity"])


def find_clusters(smiles: Sequence[str], alike: float = ALIKE) -> list[int]:
    """Valid SMILES (n), the most important first -> the cluster of each, numbered from 1.

    Sphere exclusion: a molecule that is less similar than `alike` to the first molecule of every
    cluster so far begins the next one; each belongs to the first cluster that it is similar to.

    Raises:
        MolvaeError: a SMILES is not valid.
    """
    generator = GetMorganGenerator(radius=2, fpSize=BITS)
    mols = [parse(s) for s in smiles]
    if None in mols:
        raise MolvaeError(f"{smiles[mols.index(None)]!r} is not a valid SMILES")
    prints = [generator.GetFingerprint(mol) for mol in mols]
    if not prints:
        return []
    leaders = list(LeaderPicker().LazyBitVectorPick(prints, len(prints), 1.0 - alike))
    clusters = [0] * len(prints)
    for number, leader in enumerate(leaders, start=1):
        for row, similarity in enumerate(BulkTanimotoSimilarity(prints[leader], prints)):
            if clusters[row] == 0 and similarity >= alike - 1e-9:
                clusters[row] = number
    return clusters


def _join(rows: Iterable[bytes]) -> NDArray[np.uint64]:
    """Packed fingerprints (n) -> their words (n, 32)."""
    return np.frombuffer(b"".join(rows), np.uint64).reshape(-1, BITS // 64)


def _count_bits(words: NDArray[np.uint64], own: NDArray[np.uint64] | None = None) -> Counts:
    """Words (n, 32) -> number of bits of each row (n,), or of those that it shares with `own`."""
    counts = np.zeros(len(words), np.int32)
    for column in range(words.shape[1]):  # one at a time takes no memory
        word = words[:, column] if own is None else words[:, column] & own[column]
        counts += np.bitwise_count(word)
    return counts


def _pack(smiles: list[str]) -> list[bytes]:
    generator = GetMorganGenerator(radius=2, fpSize=BITS)
    rows = []
    for text in smiles:
        mol = parse(text)
        if mol is None:
            raise MolvaeError(f"{text!r} is not a valid SMILES, so it has no fingerprint")
        rows.append(np.packbits(generator.GetFingerprintAsNumPy(mol)).tobytes())
    return rows


def _pack_canonical(smiles: list[str]) -> list[bytes]:
    """Like `_pack`, three times as fast: a canonical SMILES says what is aromatic."""
    generator = GetMorganGenerator(radius=2, fpSize=BITS)
    rows = []
    for text in smiles:
        mol = MolFromSmiles(text, sanitize=False)
        mol.UpdatePropertyCache(strict=False)
        FastFindRings(mol)
        rows.append(np.packbits(generator.GetFingerprintAsNumPy(mol)).tobytes())
    return rows
