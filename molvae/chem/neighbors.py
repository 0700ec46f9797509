"""Which molecule of a data set is most like another one, and which molecules are alike."""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

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
TOGETHER = 2_048  # fingerprints compared at a time, which a core's cache holds
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
        asked = _join(_pack(list(smiles)))
        found, best = np.zeros(len(asked), np.intp), np.full(len(asked), -1.0)
        for first in range(0, len(self.words), TOGETHER):
            words = np.ascontiguousarray(self.words[first : first + TOGETHER].T)  # (32, b)
            counts = _count_bits(words)
            for i, own in enumerate(asked[:, :, None]):  # (32, 1)
                shared = _count_bits(words & own)
                either = counts + _count_bits(own) - shared
                similarity = shared / np.maximum(either, 1)
                row = similarity.argmax()
                if similarity[row] > best[i]:
                    found[i], best[i] = first + row, similarity[row]
            _release(self.words)
        nearest = [self.smiles[row] for row in found.tolist()]
        return pd.DataFrame({"nearest": nearest, "similarity": best})


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


def _release(array: NDArray[Any]) -> None:
    """Give the memory of a mapped file's pages back; they are read again when they are needed."""
    pages = getattr(array, "_mmap", None)
    if pages is not None and hasattr(mmap, "MADV_DONTNEED"):  # not on Windows
        pages.madvise(mmap.MADV_DONTNEED)


def _count_bits(words: NDArray[np.uint64]) -> Counts:
    """Words (32, b) of b fingerprints -> the number of bits of each (b,)."""
    counts: Counts = np.bitwise_count(words).sum(axis=0, dtype=np.int32)
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
