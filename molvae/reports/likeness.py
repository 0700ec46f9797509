"""How alike samples and data are, beyond their properties: FCD, diversity, functional groups.

A model can match the mean of every property with molecules that nobody has made. These figures see
more of a molecule: an activation of a network that knows what molecules do, pairs of fingerprints,
and the groups that chemists name.
"""

from __future__ import annotations

import math
import random
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rdkit.Chem import Fragments
from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator
from rdkit.DataStructs import BulkTanimotoSimilarity

from molvae.chem.molecules import parse

Activations: TypeAlias = NDArray[np.float32]

PAIRED = 1_000  # molecules whose pairs are compared
GROUPS = {name[3:]: getattr(Fragments, name) for name in dir(Fragments) if name.startswith("fr_")}
LISTED = 8  # groups, those whose share differs most


def measure_likeness(
    samples: Sequence[str], held_out: Sequence[str], data: Sequence[str], seed: int = 0
) -> tuple[dict[str, float], pd.DataFrame]:
    """Valid samples, and molecules that were not trained on -> figures, and functional groups.

    Args:
        samples: SMILES from a model.
        held_out: SMILES of the data set.
        data: others of it, so many that their FCD says what real molecules have.
        seed: of the choice of pairs.

    Returns:
        `fcd` of the samples and `fcd_data` of `data`, each to the held-out molecules, NaN without
        the extra `fcd` (both grow as fewer molecules are compared); `internal_diversity` of the
        samples and `internal_diversity_data` of the held-out ones, mean Tanimoto distance of pairs
        (Benhenda 2017). The table has the share of molecules with a functional group (RDKit's
        fragments), of data and samples, for the groups that differ most.
    """
    reference = compute_activations(held_out)
    figures = {
        "fcd": _measure_fcd(samples, reference),
        "fcd_data": _measure_fcd(data, reference),
        "internal_diversity": measure_diversity(samples, seed),
        "internal_diversity_data": measure_diversity(held_out, seed),
    }
    shares = pd.DataFrame({"data": count_groups(held_out), "samples": count_groups(samples)})
    order = (shares["samples"] - shares["data"]).abs().sort_values(ascending=False, kind="stable")
    return figures, shares.loc[order.index[:LISTED]]


def measure_diversity(smiles: Sequence[str], seed: int = 0) -> float:
    """SMILES -> mean Tanimoto distance of pairs of up to 1,000 of them; NaN for fewer than two.

    Morgan fingerprints of radius 2 with 2,048 bits.
    """
    chosen = random.Random(seed).sample(list(smiles), min(PAIRED, len(smiles)))
    generator = GetMorganGenerator(radius=2, fpSize=2048)
    prints = [generator.GetFingerprint(mol) for mol in map(parse, chosen) if mol is not None]
    pairs = [BulkTanimotoSimilarity(prints[i], prints[:i]) for i in range(1, len(prints))]
    return 1 - float(np.mean(np.concatenate(pairs))) if pairs else math.nan


def count_groups(smiles: Sequence[str]) -> dict[str, float]:
    """SMILES -> share of the molecules that have each functional group, by its name in RDKit."""
    mols = [mol for mol in map(parse, smiles) if mol is not None]
    return {
        name: float(np.mean([count(mol) > 0 for mol in mols])) if mols else math.nan
        for name, count in GROUPS.items()
    }


def _measure_fcd(smiles: Sequence[str], reference: Activations | None) -> float:
    found = compute_activations(smiles) if reference is not None and len(smiles) > 1 else None
    if found is None or reference is None or len(reference) < 2:
        return math.nan
    return compute_frechet_distance(found, reference)


def compute_activations(smiles: Sequence[str]) -> Activations | None:
    """SMILES -> ChemNet activations (n, 512), or None if fcd_torch is not installed.

    Preuer et al. 2018, "Fréchet ChemNet Distance".
    """
    if find_spec("fcd_torch") is None:
        return None
    from fcd_torch import FCD

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # raised by NumPy inside fcd_torch
        activations: Activations = FCD(canonize=False).get_predictions(list(smiles))
    return activations


def compute_frechet_distance(first: Activations, second: Activations) -> float:
    """Two sets of points (n, F) -> squared Fréchet distance of the Gaussians fitted to them.

    |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) (Dowson & Landau 1982). The eigenvalues of a
    product of two covariances are real and non-negative up to rounding.
    """
    one, two = (np.cov(points.astype(np.float64).T) for points in (first, second))
    shift = first.mean(0, dtype=np.float64) - second.mean(0, dtype=np.float64)
    root = np.sqrt(np.linalg.eigvals(one @ two).real.clip(0)).sum()
    return float(shift @ shift + np.trace(one) + np.trace(two) - 2 * root)
