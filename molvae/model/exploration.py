"""Exploring a latent space: lines, walks, planes and samples."""

from __future__ import annotations

from typing import Any

import pandas as pd
import torch

from molvae.base.errors import MolvaeError
from molvae.chem.fingerprints import tanimoto_similarities
from molvae.chem.molecules import canonicalize
from molvae.chem.property_tables import compute_properties
from molvae.model.molvae import MolVAE

DRAWS_PER_MOLECULE = 50  # give up when new molecules become this rare
THOROUGH = 32  # refinement steps: more than the default, as there are few molecules


def interpolate(model: MolVAE, start: str, end: str, steps: int = 9) -> pd.DataFrame:
    """Decode `steps` evenly spaced points on the line between two molecules.

    Args:
        model: a trained model.
        start: SMILES at t = 0.
        end: SMILES at t = 1.
        steps: number of evenly spaced points, both ends included; at least 2.

    Returns:
        One row per point: t, smiles (as decoded), valid, logP, SAS, QED, similarity_start,
        similarity_end (Tanimoto similarity to each end). Invalid strings have NaN.

    Raises:
        MolvaeError: there are fewer than 2 steps, or the model cannot encode an end.
    """
    if steps < 2:
        raise MolvaeError(f"an interpolation needs at least 2 steps, not {steps}")
    ends = model.encode([start, end], refine=THOROUGH)  # (2, D)
    t = torch.linspace(0, 1, steps)[:, None]
    smiles = model.decode((1 - t) * ends[0] + t * ends[1])
    table = _describe(smiles)
    table.insert(0, "t", t[:, 0].tolist())
    return table.assign(
        similarity_start=tanimoto_similarities(smiles, start),
        similarity_end=tanimoto_similarities(smiles, end),
    )


def walk_along_property(
    model: MolVAE, smiles: str, along: str, distance: float = 6.0, steps: int = 9
) -> pd.DataFrame:
    """Decode the points of a walk from a molecule up the gradient of a predicted property.

    Each step follows the gradient of the property that the model predicts, as in the local
    optimisation of Gómez-Bombarelli et al. 2018.

    Args:
        model: a trained model that predicts properties.
        smiles: the molecule at the start.
        along: name of the property; a minus sign, as in "-SAS", decreases it.
        distance: length of the whole walk in latent units.
        steps: number of points, the start included; at least 2.

    Returns:
        One row per point: distance, predicted (the property at the point), smiles (as decoded),
        valid, logP, SAS, QED, similarity (Tanimoto similarity to the start).

    Raises:
        MolvaeError: there are fewer than 2 steps, the distance is not positive, or the model does
            not predict the property or cannot encode the molecule.
    """
    if steps < 2:
        raise MolvaeError(f"a walk needs at least 2 steps, not {steps}")
    if not 0 < distance < float("inf"):
        raise MolvaeError(f"the distance must be a positive number, not {distance}")
    name = along.removeprefix("-")
    sign = -1.0 if along.startswith("-") else 1.0
    z = [model.encode([smiles], refine=THOROUGH)]
    for _ in range(steps - 1):
        slope = sign * model.property_gradient(z[-1], name)
        z.append(z[-1] + distance / (steps - 1) * slope / slope.norm())
    points = torch.cat(z)
    table = _describe(model.decode(points))
    table.insert(0, "distance", torch.linspace(0, distance, steps).tolist())
    table.insert(1, "predicted", model.predict_properties(points)[name])
    return table.assign(similarity=tanimoto_similarities(table["smiles"].tolist(), smiles))


def decode_plane(
    model: MolVAE,
    smiles: str,
    *,
    radius: float = 6.0,
    grid: int = 7,
    seed: int = 0,
    along: str | None = None,
) -> pd.DataFrame:
    """Decode a square grid of latent points around a molecule.

    The grid is centred on the molecule's latent point and spanned by two random orthonormal
    directions. With `along`, the first is the gradient of a predicted property.

    Args:
        model: a trained model with at least two latent dimensions.
        smiles: the molecule at the centre.
        radius: latent distance from the centre to the middle of an edge.
        grid: number of points per side; odd, so that one is at the centre.
        seed: random seed of the directions.
        along: name of a predicted property that increases to the right.

    Returns:
        One row per point, from left to right and top to bottom: right, up (coordinates along the
        two directions), distance (from the centre), smiles (as decoded), valid, logP, SAS, QED.

    Raises:
        MolvaeError: the grid is even or too small, the radius is not positive, or the model does
            not predict the property or cannot encode the molecule.
    """
    if grid < 3 or grid % 2 == 0:
        raise MolvaeError(f"the grid must be an odd number of at least 3, not {grid}")
    if not 0 < radius < float("inf"):
        raise MolvaeError(f"the radius must be a positive number, not {radius}")
    if model.latent < 2:
        raise MolvaeError("a plane needs a model with at least two latent dimensions")
    z = model.encode([smiles], refine=THOROUGH)  # (1, D)
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(model.latent, 2, generator=generator)
    if along is not None:
        directions[:, 0] = model.property_gradient(z, along)[0]
    axes, triangle = torch.linalg.qr(directions)  # (D, 2)
    axes = axes * triangle.diagonal().sign()  # QR may flip signs
    edge = torch.linspace(-radius, radius, grid)
    up, right = torch.meshgrid(edge.flip(0), edge, indexing="ij")
    offsets = torch.stack([right.flatten(), up.flatten()], dim=1)  # (grid * grid, 2)
    table = _describe(model.decode(z + offsets @ axes.T))
    table.insert(0, "right", offsets[:, 0].tolist())
    table.insert(1, "up", offsets[:, 1].tolist())
    table.insert(2, "distance", offsets.norm(dim=1).tolist())
    return table


def sample_new_molecules(
    model: MolVAE, n: int, seed: int = 0, **drawing: Any
) -> tuple[list[str], int]:
    """Model and n -> n unique valid molecules sampled from the prior, and the number of draws.

    Args:
        model: a trained model.
        n: number of molecules.
        seed: random seed.
        drawing: further arguments of `MolVAE.sample`.

    Returns:
        Canonical SMILES in the order of sampling, and the number of strings drawn. There are fewer
        than n molecules if 50 n strings do not contain that many.
    """
    found: dict[str, None] = {}
    drawn = 0
    generator = torch.Generator().manual_seed(seed)
    while len(found) < n and drawn < DRAWS_PER_MOLECULE * n:
        batch = min(max(2 * (n - len(found)), 64), DRAWS_PER_MOLECULE * n - drawn)
        batch_seed = int(torch.randint(2**31, (), generator=generator))
        strings = model.sample(batch, seed=batch_seed, **drawing)
        drawn += batch
        found.update(dict.fromkeys(form for form in map(canonicalize, strings) if form is not None))
    return list(found)[:n], drawn


def _describe(smiles: list[str]) -> pd.DataFrame:
    """Decoded strings -> smiles, valid, logP, SAS, QED."""
    table = compute_properties(smiles)[["logP", "SAS", "QED"]]
    table.insert(0, "smiles", smiles)
    table.insert(1, "valid", [canonicalize(s) is not None for s in smiles])
    return table
