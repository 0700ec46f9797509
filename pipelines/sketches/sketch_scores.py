"""How near two sketches are to the eye: pictures of them, blurred, and which is nearest."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch import Tensor

from molvae.latent.sketches import DOWN, END, UP, locate

SIDE = 28  # pixels of a picture
BLUR = 1.2  # pixels, the standard deviation of a Gaussian
Images = NDArray[np.float64]


def paint(x: Tensor, reach: float) -> Images:
    """Sketches (B, L, 5) -> blurred pictures (B, SIDE * SIDE) of their lines.

    Args:
        x: sketches.
        reach: from the middle of the sheet to its sides.
    """
    places = (locate(x).double().numpy() / reach + 1) * SIDE / 2
    drawn = ((x[:, :-1, DOWN] > 0) & (x[:, 1:, END] == 0)).numpy()  # a line to the next point
    sketch, point = drawn.nonzero()
    share = np.linspace(0, 1, 2 * SIDE)
    first, last = places[sketch, point], places[sketch, point + 1]
    ink = first[:, None] + share[:, None] * (last - first)[:, None]
    column, row = ink.astype(int).clip(0, SIDE - 1).transpose(2, 0, 1)
    images = np.zeros((len(x), SIDE, SIDE))
    images[np.broadcast_to(sketch[:, None], row.shape), row, column] = 1
    return gaussian_filter(images, (0, BLUR, BLUR)).reshape(len(x), -1)


def rank(images: Images, originals: Images, own: NDArray[np.intp] | list[int]) -> NDArray[np.intp]:
    """Images (n, P), originals (m, P), which is the own one of each (n,) -> how many are nearer."""
    distance = (
        np.square(images).sum(1)[:, None] + np.square(originals).sum(1) - 2 * images @ originals.T
    )
    return (distance < distance[np.arange(len(images)), own][:, None] - 1e-9).sum(1)


def cut(x: Tensor, points: Tensor) -> Tensor:
    """Sketches (B, L, 5) -> their first so many points (B,)."""
    kept = torch.arange(x.shape[1]) < points[:, None]
    end = torch.zeros(x.shape[2])
    end[END] = 1
    return torch.where(kept[..., None], x, end)


def halve(x: Tensor) -> Tensor:
    """Sketches (B, L, 5) -> the points of the first half of the strokes of each (B,), rounded up.

    A sketch of one stroke has no second half, so all of its points are in the first.
    """
    lifted = x[..., UP].cumsum(1)  # strokes that are finished
    half = (lifted[:, -1:] / 2).ceil()
    return (lifted < half).sum(1) + 1


def join(first: Tensor, points: int, other: Tensor, begin: int, placed: bool = True) -> Tensor:
    """The first points of a sketch (L, 5), then those of another from `begin` on.

    Args:
        first: sketch.
        points: of it that are kept.
        other: sketch.
        begin: its first point that is used.
        placed: the ending stays where it was on the sheet of the other sketch; otherwise the pen
            makes the same moves, from where the first points stop.
    """
    rows = int((other[:, END] == 0).sum()) - begin
    rows = min(rows, len(first) - 1 - points)
    whole = cut(first[None], torch.tensor([points]))[0]
    whole[points : points + rows] = other[begin : begin + rows]
    if placed:
        whole[points, :2] = locate(other[None])[0, begin] - locate(first[None])[0, points - 1]
    return whole
