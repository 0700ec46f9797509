"""How smooth a latent space is: whether near points are similar molecules, and how far that holds.

A map is useful where a short way in it is a small change of the molecule. That is measured in
several ways, none of which tells everything: the rank correlation of distances, what is decoded at
growing distance from a molecule, how far a point moves when it is decoded and encoded again, and
how well the nearest neighbours in the space predict a property.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator
from rdkit.DataStructs import BulkTanimotoSimilarity
from scipy.spatial import cKDTree
from scipy.stats import spearmanr

from molvae.chem.molecules import canonicalize, parse
from molvae.model.molvae import MolVAE

RADII = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5)  # root mean square step of each dimension
PAIRED = 1_000  # molecules whose pairs are compared
NEIGHBORS = 5


def measure_smoothness(
    model: MolVAE,
    smiles: Sequence[str],
    properties: Mapping[str, NDArray[np.float64]],
    seed: int = 0,
) -> tuple[dict[str, float], pd.DataFrame]:
    """Model and canonical SMILES (n) that it can encode -> figures, and a curve against the radius.

    Points are posterior means, and decoding is greedy.

    Args:
        model: a trained model.
        smiles: molecules that it was not trained on.
        properties: values (n,) to predict from the nearest neighbours.
        seed: of the noise.

    Returns:
        `distance_correlation`, Spearman's, of latent and Tanimoto distance over pairs of molecules;
        `drift`, root mean square change per dimension of a point near a molecule (radius 0.5) that
        is decoded and encoded again (latent points have a standard deviation of about 1);
        `neighbors_r2_NAME`, R^2 of the mean of the five nearest other molecules. The curve has the
        columns radius, valid, same (the molecule itself) and similarity (Tanimoto's, mean over
        valid strings).
    """
    z = model.encode(smiles, refine=0)
    generator = torch.Generator().manual_seed(seed)
    curve = []
    figures: dict[str, float] = {"distance_correlation": _correlate(z.numpy(), smiles)}
    for radius in RADII:
        points = z + radius * torch.randn(z.shape, generator=generator)
        forms = [canonicalize(s) for s in model.decode_greedily(points)]
        valid = [form is not None for form in forms]
        same = [form == s for form, s in zip(forms, smiles, strict=True)]
        curve.append((radius, np.mean(valid), np.mean(same), _compare(smiles, forms)))
        if radius == 0.5:
            figures["drift"] = _measure_drift(model, points, forms)
    for name, values in properties.items():
        figures[f"neighbors_r2_{name}"] = _predict_from_neighbors(z.numpy(), values)
    return figures, pd.DataFrame(curve, columns=["radius", "valid", "same", "similarity"])


def _correlate(z: NDArray[np.float32], smiles: Sequence[str]) -> float:
    """Points and their molecules -> rank correlation of the two distances of all pairs."""
    few = min(PAIRED, len(smiles))
    generator = GetMorganGenerator(radius=2, fpSize=2_048)
    prints = [generator.GetFingerprint(parse(s)) for s in smiles[:few]]
    near, like = [], []
    for i in range(1, few):
        near.append(np.linalg.norm(z[:i] - z[i], axis=1))
        like.append(1 - np.array(BulkTanimotoSimilarity(prints[i], prints[:i])))
    if few < 3:
        return math.nan
    return float(spearmanr(np.concatenate(near), np.concatenate(like)).statistic)


def _compare(smiles: Sequence[str], forms: Sequence[str | None]) -> float:
    """Molecules and what was decoded near each -> mean Tanimoto similarity of the valid ones."""
    generator = GetMorganGenerator(radius=2, fpSize=2_048)
    found = []
    for one, other in zip(smiles, forms, strict=True):
        if other is not None:
            a, b = (generator.GetFingerprint(parse(s)) for s in (one, other))
            found.extend(BulkTanimotoSimilarity(a, [b]))
    return float(np.mean(found)) if found else math.nan


def _measure_drift(model: MolVAE, points: torch.Tensor, forms: Sequence[str | None]) -> float:
    rows = [i for i, s in enumerate(forms) if s is not None and model.can_encode_canonical(s)]
    if not rows:
        return math.nan
    again = model.encode([str(forms[i]) for i in rows], refine=0)
    return float((again - points[rows]).square().mean().sqrt())


def _predict_from_neighbors(z: NDArray[np.float32], values: NDArray[np.float64]) -> float:
    """Points (n, D) and values (n,) -> R^2 of the mean of the nearest others; NaN if undefined."""
    known = np.isfinite(values)
    x, y = z[known], values[known]
    if len(y) <= NEIGHBORS or np.ptp(y) == 0:
        return math.nan
    _, nearest = cKDTree(x).query(x, NEIGHBORS + 1)
    found = y[nearest[:, 1:]].mean(axis=1)
    return float(1 - np.square(y - found).sum() / np.square(y - y.mean()).sum())
