"""A latent space as a map that one can look at, and the way back from a place on it.

A road atlas flattens a globe: places keep their neighbours as far as that goes, and the legend says
how much is lost. Here the globe is the latent space of a model, and flattening is a principal
component analysis of its training molecules: a linear map, the same every time, that can be
inverted. Two dimensions of 64 leave much out, so `trustworthiness` (Venna & Kaski 2001) says how
far neighbours on the map are neighbours in the latent space. UMAP (McInnes 2018) keeps more
neighbours and gives up distances; a further point is placed among its latent neighbours.

The way back is not unique: many latent points lie above a place. The mean plane, which the inverse
of the PCA gives, holds none of the molecules: they all lie some distance from it. So a place is
lifted to beside the molecule that is nearest on the map: its latent point, moved within the plane
until it lies above the place. Of a UMAP, which has no plane, it is lifted to the mean of the
molecules around it, nearer ones counting more.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np
import pandas as pd
import torch
from contourpy import contour_generator
from numpy.typing import NDArray

from molvae.base.errors import MolvaeError
from molvae.chem.cache import load_or_compute
from molvae.chem.datasets import load
from molvae.model.molvae import MolVAE

SHOWN = 3_000  # molecules that the map is fitted to
JUDGED, NEIGHBOURS = 1_000, 15  # of these, for the trustworthiness
CELLS = 96  # of the density, along a side
DRAWN = 2_000  # points of the prior for its contours


AROUND = 5  # neighbours that place or lift a point by UMAP
AT_ONCE = 4_000  # points whose distances to all molecules of the map are held in memory
WITHIN = (0.39, 0.86)  # of the prior, as within 1 and 2 sd of a normal distribution
COARSE = 40  # cells of its density, along a side


class Projection(Protocol):
    """A way to flatten a latent space; see `Atlas.place` and `Atlas.lift`."""

    def place(self, z: NDArray[np.floating]) -> NDArray[np.float64]:
        """Latent points (n, D) -> places (n, 2)."""

    def lift(self, places: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Places (n, 2) -> latent points (n, D) beside some of `points` (m, D)."""

    def describe(self, z: NDArray[np.float64]) -> tuple[str, str]:
        """Return its name, and what it shows of the points (n, D), in words."""


@dataclass(frozen=True)
class Pca:
    """A principal component analysis: `centre` (D,) and two orthonormal `axes` (2, D)."""

    centre: NDArray[np.float64]
    axes: NDArray[np.float64]

    def place(self, z: NDArray[np.floating]) -> NDArray[np.float64]:
        """Latent points (n, D) -> places (n, 2)."""
        found: NDArray[np.float64] = (np.asarray(z, np.float64) - self.centre) @ self.axes.T
        return found

    def lift(self, places: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Places (n, 2) -> the nearest of `points` (m, D), moved in the plane of the map."""
        flat = self.place(points)
        near = _distances(places, flat).argmin(1)
        found: NDArray[np.float64] = points[near] + (places - flat[near]) @ self.axes
        return found

    def explain(self, z: NDArray[np.float64]) -> float:
        """Return the share of the variance of the points (n, D) that the map shows."""
        spread = ((z - self.centre) ** 2).sum()
        return float((self.place(z) ** 2).sum() / spread) if spread else 1.0

    def describe(self, z: NDArray[np.float64]) -> tuple[str, str]:
        """Return its name, and what it shows of the points (n, D), in words."""
        return "PCA", f"it shows {self.explain(z):.0%} of their variance"


@dataclass(frozen=True)
class Umap:
    """What a UMAP made of latent points `z` (n, D): their places `flat` (n, 2)."""

    z: NDArray[np.float64]
    flat: NDArray[np.float64]

    def place(self, z: NDArray[np.floating]) -> NDArray[np.float64]:
        """Latent points (n, D) -> the mean places (n, 2) of their latent neighbours."""
        points = np.asarray(z, np.float64)
        parts = [
            _average(points[i : i + AT_ONCE], self.z, self.flat)
            for i in range(0, len(points), AT_ONCE)
        ]
        return np.concatenate(parts) if parts else np.empty((0, 2))

    def lift(self, places: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Places (n, 2) -> the means of those of `points` (m, D) that lie around them."""
        return _average(places, self.place(points), points)

    def describe(self, z: NDArray[np.float64]) -> tuple[str, str]:
        """Return its name, and what it shows, in words."""
        return "UMAP", "distances on it mean little"


def _distances(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.float64]:
    """Points (n, d) and (m, d) -> squared distances (n, m)."""
    found: NDArray[np.float64] = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * (a @ b.T)
    return np.maximum(found, 0)


def _average(
    points: NDArray[np.floating], known: NDArray[np.floating], values: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Points (n, d) -> the means of the values (m, k) of the nearest of `known` (m, d)."""
    gaps = _distances(points, known)
    near = np.argpartition(gaps, min(AROUND, len(known)) - 1, axis=1)[:, :AROUND]
    weights = 1 / (np.take_along_axis(gaps, near, 1) + 1e-9)
    found: NDArray[np.float64] = (weights[:, :, None] * values[near]).sum(1)
    found /= weights.sum(1, keepdims=True)
    return found


def measure_trust(z: NDArray[np.floating], flat: NDArray[np.floating], neighbours: int) -> float:
    """Points (n, D) and their places (n, 2) -> the trustworthiness of the places.

    Venna & Kaski 2001: each of the nearest neighbours on the map costs the number of points that
    come before it in the space, beyond `neighbours`. The same as
    `sklearn.manifold.trustworthiness`, whose import takes a second.
    """
    n = len(z)
    gaps, flat_gaps = _distances(z, z), _distances(flat, flat)
    np.fill_diagonal(gaps, np.inf)
    np.fill_diagonal(flat_gaps, np.inf)
    ranks = gaps.argsort(1).argsort(1) + 1
    near = np.argpartition(flat_gaps, neighbours - 1, axis=1)[:, :neighbours]
    beyond = np.maximum(np.take_along_axis(ranks, near, 1) - neighbours, 0).sum()
    return float(1 - beyond * 2 / (n * neighbours * (2 * n - 3 * neighbours - 1)))


@dataclass(frozen=True)
class Atlas:
    """A flat map of a latent space.

    Attributes:
        projection: how it is flattened.
        z: latent points (n, D) of the molecules that it was fitted to.
        smiles: these molecules.
        source: what they are, in words.
        prior: latent points (m, D) of the prior.
    """

    projection: Projection
    z: NDArray[np.float64]
    smiles: list[str]
    source: str
    prior: NDArray[np.float64]

    def place(self, z: NDArray[np.floating]) -> NDArray[np.float64]:
        """Latent points (n, D) -> their places on the map (n, 2)."""
        return self.projection.place(z)

    def lift(
        self, places: NDArray[np.floating], known: NDArray[np.floating] | None = None
    ) -> NDArray[np.float64]:
        """Places (n, 2) -> latent points (n, D) above them, beside the nearest molecule of the map.

        Args:
            places: where.
            known: latent points (k, D) of further molecules that may be the nearest.
        """
        points = self.z if known is None else np.concatenate([self.z, known])
        return self.projection.lift(np.asarray(places, np.float64), points)

    @cached_property
    def places(self) -> NDArray[np.float64]:
        """The places (n, 2) of the molecules that it was fitted to."""
        return self.place(self.z)

    @cached_property
    def trust(self) -> float:
        """Trustworthiness of the map with 15 neighbours: 1 is perfect, about 0.5 is chance."""
        z = self.z[:JUDGED]
        if len(z) <= 2 * NEIGHBOURS:
            return float("nan")
        return measure_trust(z, self.place(z), NEIGHBOURS)

    def describe(self) -> str:
        """Return the legend: what the map is, and how faithful."""
        name, shown = self.projection.describe(self.z)
        return (
            f"{name} of {self.source}; {shown}, "
            f"trustworthiness {self.trust:.2f} (1 is perfect, 0.5 is chance)"
        )

    def density(self) -> tuple[NDArray[np.uint8], tuple[float, float, float, float]]:
        """Return how dense its molecules lie: (96, 96), 0 to 255, and the box left, low, right, up.

        The first row is the lowest.
        """
        low, high = self.places.min(0), self.places.max(0)
        reach = 0.08 * (high - low) + 1e-6
        low, high = low - reach, high + reach
        edges = [np.linspace(a, b, CELLS + 1) for a, b in zip(low, high, strict=True)]
        counts = np.histogram2d(self.places[:, 1], self.places[:, 0], bins=edges[::-1])[0]
        smooth = _smooth(_smooth(counts).T).T
        scaled = np.sqrt(smooth / max(float(smooth.max()), 1e-12))
        box = float(low[0]), float(low[1]), float(high[0]), float(high[1])
        return (255 * scaled).astype(np.uint8), box

    def contours(self) -> list[NDArray[np.float64]]:
        """Return the lines (n, 2) within which 39 % and 86 % of the prior lie."""
        flat = self.place(self.prior)
        low, high = flat.min(0), flat.max(0)
        reach = 0.2 * (high - low) + 1e-6
        edges = [
            np.linspace(a, b, COARSE + 1) for a, b in zip(low - reach, high + reach, strict=True)
        ]
        mass = _smooth(_smooth(np.histogram2d(flat[:, 1], flat[:, 0], bins=edges[::-1])[0]).T).T
        falling = np.sort(mass.ravel())[::-1]
        share = falling.cumsum() / falling.sum()
        middle = [(edge[1:] + edge[:-1]) / 2 for edge in edges]
        lines = contour_generator(x=middle[0], y=middle[1], z=mass)
        levels = [float(falling[np.searchsorted(share, part)]) for part in WITHIN]
        return [np.asarray(line) for level in levels for line in lines.lines(level)]


def fit_atlas(
    z: NDArray[np.floating],
    smiles: Sequence[str],
    source: str,
    prior: NDArray[np.floating] | None = None,
) -> Atlas:
    """Latent points (n, D) of molecules -> their map by PCA, the same every time.

    Args:
        z: latent points.
        smiles: the molecules.
        source: what they are, in words.
        prior: latent points (m, D) of the prior; None for `z`.

    Raises:
        MolvaeError: there are fewer than three points, or dimensions than two.
    """
    points = np.asarray(z, np.float64)
    if len(points) < 3 or points.shape[1] < 2:
        raise MolvaeError("a map needs at least three molecules and two latent dimensions")
    centre = points.mean(0)
    axes = np.linalg.svd(points - centre, full_matrices=False)[2][:2]
    signs = np.sign(axes[np.arange(2), np.abs(axes).argmax(1)])  # the SVD may flip them
    drawn = points if prior is None else np.asarray(prior, np.float64)
    return Atlas(Pca(centre, axes * signs[:, None]), points, list(smiles), source, drawn)


def load_atlas(model: MolVAE, method: str = "PCA") -> Atlas:
    """Model -> the map of its latent space, fitted once and stored in the cache.

    It is fitted to training molecules; where these are not to be had, to points of the prior.

    Args:
        model: the model.
        method: "PCA" or "UMAP", which needs the extra `studio`.

    Raises:
        MolvaeError: the extra is not installed.
    """
    mark = _fingerprint(model)

    def compute() -> pd.DataFrame:
        smiles, z, source = _draw(model)
        return _tabulate(z).assign(smiles=smiles, source=source)

    table = load_or_compute(f"atlas-{mark}", compute)
    prior = load_or_compute(
        f"atlas-prior-{mark}", lambda: _tabulate(model.sample_latents(DRAWN).numpy())
    )
    z = table.drop(columns=["smiles", "source"]).to_numpy(np.float64)
    smiles, source = table["smiles"].tolist(), str(table["source"].iloc[0])
    atlas = fit_atlas(z, smiles, source, prior.to_numpy(np.float64))
    if method == "PCA":
        return atlas
    flat = load_or_compute(name_umap(model), lambda: _tabulate(_fit_umap(z)))
    return replace(atlas, projection=Umap(z, flat.to_numpy(np.float64)))


def name_umap(model: MolVAE) -> str:
    """Model -> the name in the cache of the places that UMAP gave its molecules."""
    return f"atlas-umap-{_fingerprint(model)}"


def _fit_umap(z: NDArray[np.float64]) -> NDArray[np.floating]:
    """Latent points (n, D) -> their places (n, 2), the same every time."""
    try:
        from umap import UMAP
    except ModuleNotFoundError as error:
        raise MolvaeError("UMAP needs an extra: pip install 'molvae[studio]'") from error
    threads = torch.get_num_threads()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a seed takes one thread
        fit = UMAP(n_neighbors=min(NEIGHBOURS, len(z) - 1), random_state=0, n_jobs=1)
        found: NDArray[np.floating] = fit.fit_transform(z)
    torch.set_num_threads(threads)  # numba gives torch, which shares its pool, one for each core
    return found


def _tabulate(points: NDArray[np.floating]) -> pd.DataFrame:
    names = [str(i) for i in range(points.shape[1])]
    return pd.DataFrame(points.astype(np.float32), columns=names)


def _draw(model: MolVAE) -> tuple[list[str], NDArray[np.floating], str]:
    name = model.summary.data
    try:
        found = load(name).split("train") if name else []
    except MolvaeError:
        found = []
    order = np.random.default_rng(0).permutation(len(found))
    smiles = _take(found, order, model.can_encode_canonical)
    if len(smiles) > 2:
        return smiles, model.encode_means(smiles), f"{len(smiles):,} training molecules ({name})"
    z = model.sample_latents(SHOWN).numpy()
    return model.decode_greedily(z), z, f"{SHOWN:,} points of the prior"


def _take(
    found: Sequence[str], order: NDArray[np.intp], usable: Callable[[str], bool]
) -> list[str]:
    smiles: list[str] = []
    for row in order:
        if len(smiles) == SHOWN:
            break
        if usable(found[row]):
            smiles.append(found[row])
    return smiles


def _fingerprint(model: MolVAE) -> str:
    """Model -> what tells its weights, and the data that its map shows, from others."""
    found = hashlib.sha256((model.summary.data or "").encode())
    for name, tensor in sorted(model.vae.state_dict().items()):
        found.update(name.encode())
        found.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()[:16]


def _smooth(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Blur each row with a Gaussian of 2 cells."""
    offsets = np.arange(-6, 7)
    kernel = np.exp(-(offsets**2) / 8)
    kernel /= kernel.sum()
    found: NDArray[np.float64] = np.apply_along_axis(np.convolve, 1, rows, kernel, mode="same")
    return found
