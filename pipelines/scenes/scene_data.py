"""Draw scenes of handwritten digits, and score what a model found in them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from molvae.base.errors import MolvaeError

SIDE = 50  # pixels of a scene
INK = 0.2  # intensity from which a pixel counts as part of a digit
TRIES = 200  # places tried for a digit before its scene is begun again
TWICE = 6.0  # pixels: two finds that are nearer to one digit than this found it twice

Images = NDArray[np.float32]


class SceneSet(NamedTuple):
    """Scenes x (n, 1, 50, 50) in [0, 1], numbers of digits (n,), and the middle of each digit.

    `where` (n, most, 2) is row and column in pixels of the middle of the 28 x 28 pixels of a digit,
    which in MNIST is its centre of mass; NaN where there is no digit.
    """

    x: Images
    count: NDArray[np.int64]
    where: Images


def draw_scenes(
    digits: Images, counts: NDArray[np.int64], rng: np.random.Generator, overlap: bool = False
) -> SceneSet:
    """Place random digits at random places in scenes, one scene for each of the counts.

    Args:
        digits: images (n, 28, 28) to choose from.
        counts: number of digits of each scene.
        rng: of digits and places.
        overlap: whether the boxes around the ink of two digits may overlap. Without, they do not.

    Raises:
        MolvaeError: so many digits do not fit into a scene.
    """
    x = np.zeros((len(counts), 1, SIDE, SIDE), np.float32)
    where = np.full((len(counts), max(1, counts.max(initial=0)), 2), np.nan, np.float32)
    for i, count in enumerate(counts):
        for _ in range(TRIES):
            places = _draw_scene(digits, count, rng, overlap, x[i, 0])
            if places is not None:
                break
            x[i] = 0
        else:
            raise MolvaeError(f"{count} digits do not fit into a scene without overlap")
        where[i, :count] = places
    return SceneSet(x, counts, where)


def _draw_scene(
    digits: Images, count: int, rng: np.random.Generator, overlap: bool, canvas: Images
) -> NDArray[np.float64] | None:
    """Draw into a canvas and return the places; None where a digit found none."""
    boxes: list[tuple[int, int, int, int]] = []
    places = np.zeros((count, 2))
    for k in range(count):
        digit = digits[rng.integers(len(digits))]
        rows, columns = np.nonzero(digit > INK)
        top, bottom = rows.min(), rows.max() + 1
        left, right = columns.min(), columns.max() + 1
        for _ in range(TRIES):
            down = rng.integers(-top, SIDE - bottom, endpoint=True)
            across = rng.integers(-left, SIDE - right, endpoint=True)
            box = (top + down, bottom + down, left + across, right + across)
            apart = (
                box[1] <= o[0] or o[1] <= box[0] or box[3] <= o[2] or o[3] <= box[2] for o in boxes
            )
            if overlap or all(apart):
                break
        else:
            return None
        boxes.append(box)
        inside = canvas[box[0] : box[1], box[2] : box[3]]
        np.maximum(inside, digit[top:bottom, left:right], out=inside)
        places[k] = down + 13.5, across + 13.5
    return places


class SceneScores(NamedTuple):
    """How well scenes were read."""

    counted: float  # share of the scenes with the right number of digits
    distance: float  # pixels from a digit to its find, mean over scenes counted right
    near: float  # share of these digits within 4 pixels of their find
    twice: float  # share of all scenes in which two finds lie at one digit


def score_scenes(
    scenes: SceneSet, count: NDArray[np.int64], where: NDArray[np.float32]
) -> SceneScores:
    """Compare finds, count (n,) and where (n, N, 2), with the truth; each digit has one find."""
    distances: list[float] = []
    twice = 0
    for true, places, found, finds in zip(scenes.count, scenes.where, count, where, strict=True):
        gaps = np.linalg.norm(finds[:found, None] - places[None, :true], axis=-1)
        if true and found > 1:
            near = gaps < TWICE
            lonely = near & (near.sum(1, keepdims=True) == 1)  # at no other digit
            twice += bool((lonely.sum(0) > 1).any())
        if true == found > 0:
            distances += gaps[linear_sum_assignment(gaps)].tolist()
    right = count == scenes.count
    if not distances:
        return SceneScores(float(right.mean()), np.nan, np.nan, twice / len(right))
    near_share = float((np.array(distances) < 4).mean())
    return SceneScores(
        float(right.mean()), float(np.mean(distances)), near_share, twice / len(right)
    )
