"""A look around in latent space: the line between two molecules, the plane through one, samples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import torch

from molvae.chem.metrics import similarities
from molvae.chem.molecules import canonical
from molvae.chem.properties import properties
from molvae.errors import MolvaeError

if TYPE_CHECKING:
    from molvae.model import MolVAE

DRAWS_PER_MOLECULE = 50  # a model that needs more strings than this for a new one has run dry


def line(model: MolVAE, start: str, end: str, steps: int = 9) -> pd.DataFrame:
    """Two molecules -> what `steps` evenly spaced points on the line between them decode to.

    Args:
        model: a trained model.
        start: SMILES at t = 0.
        end: SMILES at t = 1.
        steps: points, both ends included; at least 2.

    Returns:
        One row a point: t, smiles (as decoded), valid, logP, SAS, QED, similarity_start,
        similarity_end (Tanimoto, to the molecules given). What an invalid string has not is NaN.

    Raises:
        MolvaeError: fewer than 2 steps, or an end that the model cannot encode.
    """
    if steps < 2:
        raise MolvaeError(f"a line needs at least 2 steps, not {steps}")
    ends = model.encode([start, end])  # (2, D)
    t = torch.linspace(0, 1, steps)[:, None]
    smiles = model.decode((1 - t) * ends[0] + t * ends[1])
    table = _described(smiles)
    table.insert(0, "t", t[:, 0].tolist())
    return table.assign(
        similarity_start=similarities(smiles, start), similarity_end=similarities(smiles, end)
    )


def plane(
    model: MolVAE, smiles: str, radius: float = 6.0, grid: int = 7, seed: int = 0
) -> pd.DataFrame:
    """A molecule -> what a square grid of latent points around its own decodes to.

    The grid lies in the plane through the molecule's latent point along two random orthogonal
    directions of unit length.

    Args:
        model: a trained model of at least two latent dimensions.
        smiles: the molecule in the middle.
        radius: latent distance from the middle to the middle of an edge.
        grid: points along an edge; odd, so that one is in the middle.
        seed: chooses the directions.

    Returns:
        One row a point, in the reading order of the picture: right, up (latent distances along
        the two directions), distance (from the middle), smiles (as decoded), valid, logP, SAS, QED.

    Raises:
        MolvaeError: an even or too small grid, a radius that is not positive, or a molecule that
            the model cannot encode.
    """
    if grid < 3 or grid % 2 == 0:
        raise MolvaeError(f"the grid must be an odd number from 3, not {grid}")
    if not 0 < radius < float("inf"):
        raise MolvaeError(f"the radius must be a positive number, not {radius}")
    if model.latent < 2:
        raise MolvaeError("a plane needs a model of at least two latent dimensions")
    z = model.encode([smiles])  # (1, D)
    generator = torch.Generator().manual_seed(seed)
    axes, _ = torch.linalg.qr(torch.randn(model.latent, 2, generator=generator))  # (D, 2)
    along = torch.linspace(-radius, radius, grid)
    up, right = torch.meshgrid(along.flip(0), along, indexing="ij")
    offsets = torch.stack([right.flatten(), up.flatten()], dim=1)  # (grid * grid, 2)
    table = _described(model.decode(z + offsets @ axes.T))
    table.insert(0, "right", offsets[:, 0].tolist())
    table.insert(1, "up", offsets[:, 1].tolist())
    table.insert(2, "distance", offsets.norm(dim=1).tolist())
    return table


def new_molecules(
    model: MolVAE, n: int, seed: int = 0, temperature: float = 0.0, progress: bool = False
) -> tuple[list[str], int]:
    """Draw from the prior until there are n different valid molecules.

    Returns:
        Their canonical SMILES in the order they were found, and how many strings were drawn;
        fewer than n where 50 n strings do not hold that many.
    """
    found: dict[str, None] = {}
    drawn = 0
    generator = torch.Generator().manual_seed(seed)
    while len(found) < n and drawn < DRAWS_PER_MOLECULE * n:
        batch = min(max(2 * (n - len(found)), 64), DRAWS_PER_MOLECULE * n - drawn)
        batch_seed = int(torch.randint(2**31, (), generator=generator))
        strings = model.sample(batch, seed=batch_seed, temperature=temperature, progress=progress)
        drawn += batch
        found.update(dict.fromkeys(form for form in map(canonical, strings) if form is not None))
    return list(found)[:n], drawn


def _described(smiles: list[str]) -> pd.DataFrame:
    """Decoded strings -> smiles, valid, logP, SAS, QED."""
    table = properties(smiles)[["logP", "SAS", "QED"]]
    table.insert(0, "smiles", smiles)
    table.insert(1, "valid", [canonical(s) is not None for s in smiles])
    return table
