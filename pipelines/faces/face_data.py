"""Faces in three parts: their images, what is known of them, and of what an edit makes of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Images = NDArray[np.float32]


class Changed(NamedTuple):
    """What is known of n faces after one attribute was changed."""

    seen: NDArray[np.bool_]  # which attributes they have, of those that the judge reads (n, A)
    known: Tensor  # all that is known and can be seen, as numbers (n, P)


class Part(NamedTuple):
    """Images of n faces (n, 3, H, W) in [0, 1], and what is known of them."""

    x: Images
    seen: NDArray[np.bool_]  # (n, A)
    known: Tensor  # (n, P)
    changed: dict[str, Changed]  # by the attribute that is changed

    def head(self, n: int) -> Part:
        """Return the first n faces."""
        changed = {
            name: Changed(after.seen[:n], after.known[:n]) for name, after in self.changed.items()
        }
        return Part(self.x[:n], self.seen[:n], self.known[:n], changed)


class Faces(NamedTuple):
    """Faces to train on, of validation and of test."""

    seen: tuple[str, ...]  # names of the attributes that the judge reads (A), `edited` first
    edited: tuple[str, ...]
    train: Part
    validation: Part
    test: Part
    counterfactuals: dict[str, Images]  # by attribute, of the first quarter of the test faces
    factors: Tensor  # of the training faces, levels as integers (n, F)


def keep_images(path: Path, chunks: Iterator[Images]) -> Images:
    """Read the images that an earlier call kept in a file, or make them and keep them."""
    if not path.is_file():
        images = [(255 * chunk).round().astype(np.uint8) for chunk in chunks]
        partial_file = path.with_suffix(".part.npy")
        np.save(partial_file, np.concatenate(images))
        partial_file.replace(path)
    return np.load(path).astype(np.float32) / 255
