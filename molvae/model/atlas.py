"""A latent space as a map that one can look at, and the way back from a place on it.

A road atlas flattens a globe: places keep their neighbours as far as that goes, and the legend says
how much is lost. Here the globe is the latent space of a model, and flattening is a principal
component analysis of its training molecules: a linear map, the same every time, that can be
inverted. Two dimensions of 64 leave much out, so `trustworthiness` (Venna & Kaski 2001) says how
far neighbours on the map are neighbours in the latent space.

The way back is not unique: many latent points lie above a place. The mean plane, which the inverse
of the projection gives, holds none of the molecules: they all lie some distance from it. So a place
is lifted to beside the molecule that is nearest on the map: its latent point, moved within the
plane until it lies above the place.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.manifold import trustworthiness

from molvae.base.errors import MolvaeError
from molvae.chem.cache import load_or_compute
from molvae.chem.datasets import load
from molvae.model.molvae import MolVAE

SHOWN = 3_000  # molecules that the map is fitted to
JUDGED, NEIGHBOURS = 1_000, 15  # of these, for the trustworthiness
CELLS = 96  # of the density, along a side
DRAWN = 4_000  # points of the prior for its contours


@dataclass(frozen=True)
class Atlas:
    """A flat map of a latent space.

    Attributes:
        centre: the latent point (D,) in its middle.
        axes: its two orthonormal directions (2, D).
        z: latent points (n, D) of the molecules that it was fitted to.
        smiles: these molecules.
        source: what they are, in words.
    """

    centre: NDArray[np.float64]
    axes: NDArray[np.float64]
    z: NDArray[np.float64]
    smiles: list[str]
    source: str

    def place(self, z: NDArray[np.floating]) -> NDArray[np.float64]:
        """Latent points (n, D) -> their places on the map (n, 2)."""
        found: NDArray[np.float64] = (np.asarray(z, np.float64) - self.centre) @ self.axes.T
        return found

    def lift(
        self, places: NDArray[np.floating], known: NDArray[np.floating] | None = None
    ) -> NDArray[np.float64]:
        """Places (n, 2) -> latent points (n, D) above them, beside the nearest molecule of the map.

        Args:
            places: where.
            known: latent points (k, D) of further molecules that may be the nearest.
        """
        points = self.z if known is None else np.concatenate([self.z, known])
        flat = self.place(points)
        found = []
        for place in np.asarray(places, np.float64):
            near = int(((flat - place) ** 2).sum(1).argmin())
            found.append(points[near] + (place - flat[near]) @ self.axes)
        return np.array(found).reshape(len(places), len(self.centre))

    @cached_property
    def places(self) -> NDArray[np.float64]:
        """The places (n, 2) of the molecules that it was fitted to."""
        return self.place(self.z)

    @cached_property
    def explained(self) -> float:
        """Share of the variance of the latent points that the map shows."""
        spread = ((self.z - self.centre) ** 2).sum()
        return float((self.places**2).sum() / spread) if spread else 1.0

    @cached_property
    def trust(self) -> float:
        """Trustworthiness of the map with 15 neighbours: 1 is perfect, about 0.5 is chance."""
        z = self.z[:JUDGED]
        if len(z) <= 2 * NEIGHBOURS:
            return float("nan")
        return float(trustworthiness(z, self.place(z), n_neighbors=NEIGHBOURS))

    def describe(self) -> str:
        """Return the legend: what the map is, and how faithful."""
        return (
            f"PCA of {self.source}; it shows {self.explained:.0%} of their variance, "
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

    def contours(self, prior: NDArray[np.floating]) -> list[NDArray[np.float64]]:
        """Points of the prior (n, D) -> ellipses (64, 2) at 1 and 2 standard deviations."""
        flat = self.place(prior)
        values, vectors = np.linalg.eigh(np.cov(flat.T))
        angle = np.linspace(0, 2 * np.pi, 64)
        circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        ellipse = circle * np.sqrt(np.maximum(values, 0)) @ vectors.T
        return [flat.mean(0) + k * ellipse for k in (1, 2)]


def fit_atlas(z: NDArray[np.floating], smiles: Sequence[str], source: str) -> Atlas:
    """Latent points (n, D) of molecules -> their map, the same every time.

    Args:
        z: latent points.
        smiles: the molecules.
        source: what they are, in words.

    Raises:
        MolvaeError: there are fewer than three points, or dimensions than two.
    """
    points = np.asarray(z, np.float64)
    if len(points) < 3 or points.shape[1] < 2:
        raise MolvaeError("a map needs at least three molecules and two latent dimensions")
    centre = points.mean(0)
    axes = np.linalg.svd(points - centre, full_matrices=False)[2][:2]
    signs = np.sign(axes[np.arange(2), np.abs(axes).argmax(1)])  # the SVD may flip them
    return Atlas(centre, axes * signs[:, None], points, list(smiles), source)


def load_atlas(model: MolVAE) -> Atlas:
    """Model -> the map of its latent space, fitted once and stored in the cache.

    It is fitted to training molecules; where these are not to be had, to points of the prior.
    """

    def compute() -> pd.DataFrame:
        smiles, z, source = _draw(model)
        table = pd.DataFrame(z.astype(np.float32), columns=[str(i) for i in range(z.shape[1])])
        return table.assign(smiles=smiles, source=source)

    table = load_or_compute(f"atlas-{_fingerprint(model)}", compute)
    z = table.drop(columns=["smiles", "source"]).to_numpy(np.float64)
    return fit_atlas(z, table["smiles"].tolist(), str(table["source"].iloc[0]))


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
    """Model -> what tells its weights from others."""
    found = hashlib.sha256()
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
