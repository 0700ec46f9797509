"""What the page can ask of a model: where molecules lie, and what lies at a place."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from molvae.base.errors import MolvaeError
from molvae.chem.changes import find_lost
from molvae.chem.datasets import load
from molvae.chem.molecules import canonicalize
from molvae.chem.neighbors import Neighbors
from molvae.model.atlas import Atlas, load_atlas
from molvae.model.exploration import interpolate, walk_along_property
from molvae.model.molvae import MolVAE
from molvae.studio.facts import LONGEST, Described, describe

NEAR = 5  # neighbours that are named
TOGETHER = 500  # molecules encoded before another call may come in between


@dataclass(frozen=True)
class RoundTrip:
    """What becomes of a molecule that is encoded and decoded again."""

    given: Described
    back: str
    lost: list[int]
    """Atoms of the given molecule that did not come back."""
    near: list[tuple[str, str]]
    """Neighbours: how they were found, and their SMILES."""


class Space:
    """A model and its map. One call at a time: torch and the page's threads share two cores."""

    def __init__(self, name: str, method: str = "PCA") -> None:
        """Name the model, which is loaded when it is first needed, and how its map is made."""
        self.name, self.method = name, method
        self.lock = threading.RLock()
        self._places: dict[str, NDArray[np.float32] | None] = {}

    @cached_property
    def model(self) -> MolVAE:
        """The model."""
        with self.lock:
            model = MolVAE.load(self.name)
            model.standardizes = False
            return model

    @cached_property
    def atlas(self) -> Atlas:
        """The map of its latent space."""
        with self.lock:
            return load_atlas(self.model, self.method)

    @cached_property
    def data(self) -> Neighbors | None:
        """The fingerprints of its data, None where the data is not to be had."""
        name = "zinc" if self.name == "drugs" else self.model.summary.data
        try:
            return Neighbors.load(load(name)) if name else None
        except MolvaeError:
            return None

    @property
    def predicted(self) -> list[str]:
        """The properties that the model predicts."""
        return list(self.model.vae.config.properties)

    def decode(
        self, places: NDArray[np.floating], known: NDArray[np.floating] | None = None
    ) -> list[Described]:
        """Places on the map (n, 2) -> the molecules that would be there."""
        with self.lock:
            z = self.atlas.lift(places, known).astype(np.float32)
            strings = self.model.decode(z)
            at_point = self.model.predict_properties(z) if self.predicted else pd.DataFrame()
        found = []
        for i, text in enumerate(strings):
            smiles = canonicalize(text) or text
            rows = describe(smiles, self.model.domain)
            rows += [
                (f"{name} predicted at the point", f"{at_point[name][i]:.3g}") for name in at_point
            ]
            found.append(Described(smiles, rows, z[i]))
        return found

    def describe(self, smiles: str) -> Described:
        """SMILES -> the molecule, what is known of it, and where it lies."""
        form = canonicalize(smiles) if len(smiles) <= LONGEST else None
        if form is None:
            return Described(smiles[:LONGEST], [("", "not a valid molecule")])
        with self.lock:
            z = self.model.encode_means([form])[0] if self.model.can_encode(form) else None
        rows = describe(form, self.model.domain)
        return Described(form, rows if z is not None else [*rows, ("", "cannot be encoded")], z)

    def find_places(self, names: list[str]) -> NDArray[np.float32]:
        """Canonical SMILES (k) -> latent points (k, D), kept; NaN for what cannot be encoded."""
        new = [name for name in dict.fromkeys(names) if name not in self._places]
        for i in range(0, len(new), TOGETHER):
            part = new[i : i + TOGETHER]
            self._places.update(zip(part, self.locate(part), strict=True))
        z = np.full((len(names), self.model.latent), np.nan, np.float32)
        for row, name in zip(z, names, strict=True):
            if (found := self._places[name]) is not None:
                row[:] = found
        return z

    def locate(self, names: list[str]) -> list[NDArray[np.float32] | None]:
        """Canonical SMILES -> their latent points together, None for what cannot be encoded."""
        with self.lock:
            usable = [name for name in names if self.model.can_encode_canonical(name)]
            found = (
                dict(zip(usable, self.model.encode_means(usable), strict=True)) if usable else {}
            )
        return [found.get(name) for name in names]

    def bring(self, smiles: str, evaluated: list[str]) -> RoundTrip:
        """SMILES -> its round trip, and its neighbours, among the evaluated molecules too.

        Raises:
            MolvaeError: it is not a molecule that the model can encode.
        """
        if len(smiles) > LONGEST:
            raise MolvaeError(f"a SMILES may have {LONGEST:,} characters")
        with self.lock:
            form = self.model.read_molecule(smiles).smiles
            point = self.model.encode([form])
            back = self.model.decode(point)[0]
        z = point[0].numpy()
        back = canonicalize(back) or back
        lost = [] if back == form else find_lost(form, back)
        gaps = ((self.atlas.z - z) ** 2).sum(1)
        near = []
        pools = [("evaluated", Neighbors.compute(evaluated) if evaluated else None)]
        pools.append(("in the data", self.data))
        for name, pool in pools:
            if pool is not None:
                found = pool.find_nearest([form]).iloc[0]
                text = f"most similar {name}, Tanimoto {found['similarity']:.2f}"
                near.append((text, str(found["nearest"])))
        near += [
            (f"{math.sqrt(gaps[i]):.2f} away in latent space", self.atlas.smiles[i])
            for i in gaps.argsort()[:NEAR]
        ]
        return RoundTrip(Described(form, describe(form, self.model.domain), z), back, lost, near)

    def walk(self, smiles: str, to: str | None, along: str | None) -> pd.DataFrame:
        """A molecule, and another one or a property -> the molecules on the way, with `x`, `y`."""
        with self.lock:
            if to is not None:
                table = interpolate(self.model, smiles, to)
                ends = self.atlas.place(self.model.encode([smiles, to]).numpy())
                t = table["t"].to_numpy()[:, None]
                places = (1 - t) * ends[0] + t * ends[1]
            else:
                table = walk_along_property(self.model, smiles, str(along))
                usable = [s for s in table["smiles"] if self.model.can_encode(s)]
                at = (
                    dict(zip(usable, self.model.encode_means(usable), strict=True))
                    if usable
                    else {}
                )
                nowhere = np.full(self.model.latent, np.nan, np.float32)
                z = np.array([at.get(s, nowhere) for s in table["smiles"]])
                places = self.atlas.place(z)
        return table.assign(x=places[:, 0], y=places[:, 1])
