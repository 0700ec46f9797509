"""The three bioactivity classifiers of the PMO benchmark: molecule -> probability.

The models were trained on published assays and are distributed by Therapeutics Data Commons (Huang
et al. 2021); see data/README.md. Each is stored as plain arrays and loaded on first use.
"""

from __future__ import annotations

import importlib.resources
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rdkit.Chem import Mol
from rdkit.Chem import rdFingerprintGenerator as fingerprints

BITS = 2_048  # length of both fingerprints
TOLERANCE = 0.0025  # stopping tolerance of libsvm's pairwise coupling for two classes

Arrays = dict[str, NDArray[Any]]


def gsk3b(mol: Mol) -> float:
    """Molecule -> predicted probability that it inhibits glycogen synthase kinase 3 beta."""
    return _forest(mol, "gsk3b")


def jnk3(mol: Mol) -> float:
    """Molecule -> predicted probability that it inhibits c-Jun N-terminal kinase 3."""
    return _forest(mol, "jnk3")


def drd2(mol: Mol) -> float:
    """Molecule -> predicted probability that it is active at the dopamine receptor D2.

    A support vector machine on counts of Morgan features of radius 3 with pharmacophoric atom
    types. Probabilities are computed as in libsvm: Platt scaling, then the pairwise coupling of Wu,
    Lin & Weng 2004, section 4.3. With two classes, the coupling changes the result only because it
    stops early.
    """
    model = _load("drd2")
    counts = _pharmacophores().GetSparseCountFingerprint(mol).GetNonzeroElements()
    x = np.zeros(BITS)
    np.add.at(x, np.array([key % BITS for key in counts], dtype=int), list(counts.values()))
    found = x.nonzero()[0]
    products = x[found] @ model["columns"][found]
    distances = (x**2).sum() + model["norms"] - 2 * products
    decision = model["dual"] @ np.exp(-model["gamma"] * distances) + model["intercept"]
    inactive = 1 / (1 + np.exp(model["probA"] * decision + model["probB"]))
    return 1 - _couple(float(np.clip(inactive, 1e-7, 1 - 1e-7)))


def _couple(r: float) -> float:
    """Probability of the first of two classes, as estimated -> after libsvm's iteration."""
    q = np.array([[(1 - r) ** 2, -(1 - r) * r], [-(1 - r) * r, r**2]])
    p = np.array([0.5, 0.5])
    while np.abs(q @ p - p @ q @ p).max() >= TOLERANCE:
        for t in range(2):
            p[t] += (p @ q @ p - q[t] @ p) / q[t, t]
            p /= p.sum()
    return float(p[0])


def _forest(mol: Mol, name: str) -> float:
    """Molecule -> mean prediction of the trees of a random forest on its Morgan fingerprint."""
    model = _load(name)
    x = _morgan().GetFingerprintAsNumPy(mol)
    node = model["roots"]
    while True:
        left = model["left"][node]
        leaf = left < 0
        if leaf.all():
            return float(model["p1"][node].mean(dtype=np.float64))
        low = x[model["feature"][node]] <= model["threshold"][node]
        node = np.where(leaf, node, np.where(low, left, model["right"][node]))


@cache
def _load(name: str) -> Arrays:
    file = importlib.resources.files("molvae") / "weights" / f"{name}.npz"
    with file.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
        model = dict(arrays)
    if name == "drd2":
        vectors = model.pop("sv").astype(np.float32)
        model["norms"], model["columns"] = (vectors**2).sum(axis=1), vectors.T.copy()
    return model


@cache
def _morgan() -> Any:
    return fingerprints.GetMorganGenerator(radius=2, fpSize=BITS)


@cache
def _pharmacophores() -> Any:
    types = fingerprints.GetMorganFeatureAtomInvGen()
    return fingerprints.GetMorganGenerator(radius=3, atomInvariantsGenerator=types)
