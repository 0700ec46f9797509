"""Exploring a latent space: lines, walks, planes and samples.

A point and the molecule that it decodes to are two things. On a walk up a predicted property the
prediction rises at every point, while ten points in a row may decode to one and the same molecule,
whose property does not change. So the tables give the molecule's own value: computed where it can
be, else predicted at the molecule's own latent point; and in a column of its own the prediction at
the point, which is what the walk follows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from molvae.base.errors import MolvaeError
from molvae.chem.fingerprints import tanimoto_similarities
from molvae.chem.molecules import canonicalize, parse
from molvae.chem.properties import MoleculeProperty, compute_or_nan, find_property
from molvae.chem.property_tables import compute_properties
from molvae.model.molvae import MolVAE

DRAWS_PER_MOLECULE = 50  # give up when new molecules become this rare
THOROUGH = 32  # refinement steps: more than the default, as there are few molecules


@dataclass(frozen=True)
class Axis:
    """A direction in latent space: the gradient of a property that the model predicts.

    Attributes:
        name: the property.
        rises: whether it increases in this direction.
        computed: the property where it can be computed from a molecule, None where it is predicted.
    """

    name: str
    rises: bool
    computed: MoleculeProperty | None

    @property
    def value(self) -> str:
        """The column of the decoded molecules' own values."""
        return f"predicted_{self.name}" if self.computed is None else self.name

    @property
    def at_point(self) -> str:
        """The column of the predictions at the points."""
        return f"{self.name}_at_point"

    @property
    def how(self) -> str:
        """How the decoded molecules' own values come about."""
        return "computed" if self.computed else "predicted at its own latent point"

    def write_legend(self, place: str, value: float) -> str:
        """Where a point is and the value of its molecule -> the text below the drawing."""
        if math.isnan(value):
            return place
        if self.computed is None:
            return f"{place}, predicted {self.name} {value:.2f}"
        return f"{place}, {self.name} {value:.2f} {self.computed.unit}".rstrip()

    def measure(self, model: MolVAE, smiles: list[str]) -> list[float]:
        """SMILES (n) -> the molecules' own values, NaN where invalid."""
        if self.computed is None:
            return list(model.predict_molecules(smiles)[self.name])
        function, mols = self.computed.function, map(parse, smiles)
        return [math.nan if mol is None else compute_or_nan(function, mol) for mol in mols]


def read_axis(model: MolVAE, along: str) -> Axis:
    """Model and "[-]NAME" of a property that it predicts -> the axis along which it rises or falls.

    `predicted:NAME` is the same as NAME.

    Raises:
        MolvaeError: the model does not predict the property.
    """
    known, text = list(model.predict_molecules([])), along.strip()
    rises = text in known or not text.startswith("-")
    name = text if text in known else text.removeprefix("-").removeprefix("predicted:")
    if name not in known:
        raise MolvaeError(
            f"this model does not predict {name!r}: choose from {', '.join(map(str, known))}, or "
            "train one with --properties"
        )
    return Axis(name, rises, find_property(name))


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
    table = _describe(model, smiles)
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
        along: name of the property, as in `read_axis`; a minus, as in "-SAS", decreases it.
        distance: length of the whole walk in latent units.
        steps: number of points, the start included; at least 2.

    Returns:
        One row per point: distance, smiles (as decoded), valid; NAME, or predicted_NAME where it
        cannot be computed (both of the decoded molecule); NAME_at_point (predicted at the point);
        of logP, SAS and QED those that are not NAME; similarity (Tanimoto similarity to the start).

    Raises:
        MolvaeError: there are fewer than 2 steps, the distance is not positive, or the model does
            not predict the property or cannot encode the molecule.
    """
    if steps < 2:
        raise MolvaeError(f"a walk needs at least 2 steps, not {steps}")
    if not 0 < distance < float("inf"):
        raise MolvaeError(f"the distance must be a positive number, not {distance}")
    axis = read_axis(model, along)
    sign = 1.0 if axis.rises else -1.0
    z = [model.encode([smiles], refine=THOROUGH)]
    for _ in range(steps - 1):
        slope = sign * model.property_gradient(z[-1], axis.name)
        z.append(z[-1] + distance / (steps - 1) * slope / slope.norm())
    points = torch.cat(z)
    table = _describe(model, model.decode(points), points, axis)
    table.insert(0, "distance", torch.linspace(0, distance, steps).tolist())
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
        along: name of a predicted property that increases to the right, or decreases where it has a
            minus; as in `read_axis`.

    Returns:
        One row per point, from left to right and top to bottom: right, up (coordinates along the
        two directions), distance (from the centre), smiles (as decoded), valid, logP, SAS, QED.
        With `along`, also the columns of `walk_along_property` for the property.

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
    axis = None if along is None else read_axis(model, along)
    if axis is not None:
        slope = model.property_gradient(z, axis.name)[0]
        directions[:, 0] = slope if axis.rises else -slope
    axes, triangle = torch.linalg.qr(directions)  # (D, 2)
    axes = axes * triangle.diagonal().sign()  # QR may flip signs
    edge = torch.linspace(-radius, radius, grid)
    up, right = torch.meshgrid(edge.flip(0), edge, indexing="ij")
    offsets = torch.stack([right.flatten(), up.flatten()], dim=1)  # (grid * grid, 2)
    points = z + offsets @ axes.T
    table = _describe(model, model.decode(points), points, axis)
    table.insert(0, "right", offsets[:, 0].tolist())
    table.insert(1, "up", offsets[:, 1].tolist())
    table.insert(2, "distance", offsets.norm(dim=1).tolist())
    return table


def sample_new_molecules(
    model: MolVAE, n: int, seed: int = 0, plausibility: float = 0.0, **drawing: Any
) -> tuple[list[str], int]:
    """Model and n -> n unique valid molecules sampled from the prior, and the number of draws.

    Args:
        model: a trained model.
        n: number of molecules.
        seed: random seed.
        plausibility: the least of a molecule, 0 for any; see `chem.plausibility`.
        drawing: further arguments of `MolVAE.sample`.

    Returns:
        Canonical SMILES in the order of sampling, and the number of strings drawn. There are fewer
        than n molecules if 50 n strings do not contain that many.

    Raises:
        MolvaeError: plausible ones are wanted, but the model cannot tell.
    """
    found: dict[str, None] = {}
    domain = model.domain
    if plausibility and domain is None:
        raise MolvaeError(
            "this model does not know which molecules are plausible: it stores no parts of its "
            "training molecules"
        )

    def is_plausible(form: str) -> bool:
        mol = parse(form) if plausibility else None
        return mol is None or domain is None or domain.find_plausibility(mol) >= plausibility

    drawn = 0
    generator = torch.Generator().manual_seed(seed)
    while len(found) < n and drawn < DRAWS_PER_MOLECULE * n:
        batch = min(max(2 * (n - len(found)), 64), DRAWS_PER_MOLECULE * n - drawn)
        batch_seed = int(torch.randint(2**31, (), generator=generator))
        strings = model.sample(batch, seed=batch_seed, **drawing)
        drawn += batch
        forms = [form for form in map(canonicalize, strings) if form is not None]
        found.update(dict.fromkeys(form for form in forms if form in found or is_plausible(form)))
    return list(found)[:n], drawn


def _describe(
    model: MolVAE, smiles: list[str], points: Tensor | None = None, axis: Axis | None = None
) -> pd.DataFrame:
    """Decoded strings -> smiles, valid, the columns of an axis, logP, SAS, QED."""
    table = pd.DataFrame({"smiles": smiles})
    different = list(dict.fromkeys(smiles))  # many points of a plane decode to one molecule
    valid = {s: canonicalize(s) is not None for s in different}
    table["valid"] = [valid[s] for s in smiles]
    if axis is not None and points is not None:
        table[axis.value] = axis.measure(model, smiles)
        table[axis.at_point] = list(model.predict_properties(points)[axis.name])
    found = compute_properties(different)[["logP", "SAS", "QED"]].set_axis(different)
    others = found.loc[smiles].reset_index(drop=True)
    return table.join(others[[name for name in others if name not in table]])
