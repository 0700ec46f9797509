"""A kind of x: sketches, what a pen does from one point to the next.

A sketch is not a picture but the way it is drawn, one row a point (Ha & Eck 2018, section 3.1):

    (dx, dy, down, up, end)

The first two are the way from the point before, the first from the middle of the sheet, y down.
The others are the state of the pen *after* the point, one of them 1: down draws a line to the next
point, up moves there without a line, and an end is the row behind the last point. All further rows
repeat it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from molvae.base.errors import MolvaeError
from molvae.latent.kinds import Example, Kind, kinds

DOWN, UP, END = 2, 3, 4  # columns of the states of the pen
WIDTH = 5
POSITION = 2  # columns that say where the pen is


def stack_sketches(sketches: Sequence[NDArray[np.floating]], length: int) -> NDArray[np.float32]:
    """Points (n, 3) of each sketch, dx, dy and whether the pen is lifted after it -> (N, L, 5).

    Args:
        sketches: as QuickDraw and KanjiVG have them; any n of its own for each.
        length: L, more than the points of the longest.

    Raises:
        MolvaeError: a sketch has no points, or too many.
    """
    stacked = np.zeros((len(sketches), length, WIDTH), np.float32)
    stacked[:, :, END] = 1
    for i, points in enumerate(sketches):
        if not 0 < len(points) < length:
            raise MolvaeError(
                f"sketch {i} has {len(points)} points: it must have 1 to {length - 1}"
            )
        rows = stacked[i, : len(points)]
        rows[:, :2] = points[:, :2]
        rows[:, DOWN], rows[:, UP], rows[:, END] = points[:, 2] == 0, points[:, 2] != 0, 0
    return stacked


def count_rows(x: Tensor) -> Tensor:
    """Sketches (B, L, 5) -> the rows of each that say something, its first end among them (B,)."""
    return ((x[..., END] == 0).sum(1) + 1).clamp(max=x.shape[1])


def locate(x: Tensor) -> Tensor:
    """Sketches (B, L, 5) -> where each point is on the sheet (B, L, 2)."""
    return x[..., :2].cumsum(1)


def _draw_sketches(n: int, seed: int) -> tuple[Example, Tensor]:
    longest = 8
    rng = np.random.default_rng(seed)
    drawn = []
    for points in rng.integers(2, longest, n):
        lifted = rng.random((points, 1)) < 0.3
        lifted[-1] = True
        drawn.append(np.hstack([rng.normal(size=(points, 2)), lifted]))
    example = Example((longest, WIDTH), kind="sketches")
    return example, torch.from_numpy(stack_sketches(drawn, longest))


kinds.register("sketches")(
    Kind(
        "sketches (L, 5)",
        _draw_sketches,
        fits=lambda shape, vocabulary: len(shape) == 2 and shape[1] == WIDTH and vocabulary is None,
    )
)
