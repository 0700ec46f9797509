"""Sketches to train on: the characters of KanjiVG stroke by stroke, or drawings of QuickDraw."""

from __future__ import annotations

import json
import pickle
import re
import zipfile
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import ClassVar, NamedTuple
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from molvae.base.errors import MolvaeError
from molvae.base.files import write_file

SIDE = 109.0  # of the sheet of KanjiVG
PRECISION = 2.0  # of its units: how far a line may be from the curve
SVG, KVG = "{http://www.w3.org/2000/svg}", "{http://kanjivg.tagaini.net}"
Points = NDArray[np.float64]


class Sketch(NamedTuple):
    """A sketch, and what is known of it."""

    name: str
    points: Points
    """(n, 3): dx, dy, the first from the middle of the sheet, and whether the pen is lifted."""
    parts: dict[str, str]
    """The components of a character, and where each is: left, right, top ...; "" if not known."""

    @property
    def strokes(self) -> int:
        """The number of strokes."""
        return int(self.points[:, 2].sum())


def load_kanji(path: Path, most: int | None = None) -> list[Sketch]:
    """Read the characters of `read_kanji`, or those that an earlier call stored in a JSON file."""
    if not path.is_file():
        found = [(s.name, s.points.round(3).tolist(), s.parts) for s in read_kanji(most)]
        write_file(path, json.dumps(found))
    stored = json.loads(path.read_text(encoding="utf-8"))
    return [Sketch(name, np.array(points), parts) for name, points, parts in stored]


def read_kanji(most: int | None = None) -> list[Sketch]:
    """Read the characters of the package kanjivg, in the order of their code points.

    Variants of a character are left out.

    Args:
        most: how many, spread evenly over all; None reads all.

    Raises:
        MolvaeError: the package is missing.
    """
    try:
        files = distribution("kanjivg").files or []
    except PackageNotFoundError:
        raise MolvaeError("the package kanjivg is missing: pip install 'molvae[studies]'") from None
    found = sorted(path for path in files if re.fullmatch(r"kanji/[0-9a-f]{5}\.svg", str(path)))
    chosen = found if most is None else found[:: max(1, len(found) // most)][:most]
    return [
        _read_character(path.read_text(encoding="utf-8"), path.stem)
        for path in tqdm(chosen, "reading", unit="character")
    ]


def _read_character(svg: str, code: str) -> Sketch:
    root = ElementTree.fromstring(svg)
    curves = [path.attrib["d"] for path in root.iter(f"{SVG}path")]
    strokes = [simplify(trace(curve), PRECISION) - SIDE / 2 for curve in curves]
    whole = root.find(f".//{SVG}g[@{KVG}element]")
    parts = {
        group.attrib[f"{KVG}element"]: group.get(f"{KVG}position", "")
        for group in ([] if whole is None else whole.findall(f"{SVG}g"))
        if f"{KVG}element" in group.attrib
    }
    return Sketch(chr(int(code, 16)), to_points(strokes), parts)


def trace(path: str, steps: int = 8) -> Points:
    """An SVG path of one line of cubic Bézier curves -> points (n, 2) on it, `steps` a curve.

    Raises:
        MolvaeError: it has commands other than M, C and S, or no curve.
    """
    share = np.arange(1, steps + 1)[:, None] / steps
    points: list[Points] = []
    here = control = np.zeros(2)
    for command, numbers in re.findall(r"([A-Za-z])([^A-Za-z]*)", path):
        values = [float(n) for n in re.findall(r"-?(?:\d+\.?\d*|\.\d+)", numbers)]
        pairs = np.array(values).reshape(-1, 2)
        rest = {"M": 1, "C": 3, "S": 2}.get(command.upper(), 0)
        if not rest or len(pairs) % rest or not len(pairs) or (rest == 1) == bool(points):
            raise MolvaeError(f"a path that is not one line of Bézier curves: {path}")
        for curve in pairs.reshape(-1, rest, 2):
            if command.islower():
                curve = curve + here
            if rest == 1:
                points.append(curve)
            else:
                first = (
                    curve[0] if rest == 3 else 2 * here - control
                )  # mirrored, where it is not said
                second, end = curve[-2:]
                points.append(
                    (1 - share) ** 3 * here
                    + 3 * share * (1 - share) ** 2 * first
                    + 3 * share**2 * (1 - share) * second
                    + share**3 * end
                )
                control = second
            here = curve[-1]
            if rest == 1:
                control = here
    if len(points) < 2:
        raise MolvaeError(f"a path without a curve: {path}")
    return np.concatenate(points)


def simplify(points: Points, precision: float) -> Points:
    """Points (n, 2) of a line -> those that are needed for a line that is nowhere farther away.

    The algorithm of Ramer (1972) and of Douglas & Peucker (1973), as in QuickDraw.
    """
    first, last = points[0], points[-1]
    way = last - first
    length = float(np.hypot(*way))
    if length > 0:
        share = ((points - first) @ way / length**2).clip(0, 1)
        distance = np.hypot(*(points - first - share[:, None] * way).T)
    else:
        distance = np.hypot(*(points - first).T)
    farthest = int(distance.argmax())
    if distance[farthest] <= precision:
        return points[[0, -1]]
    ahead, back = points[: farthest + 1], points[farthest:]
    return np.concatenate([simplify(ahead, precision)[:-1], simplify(back, precision)])


def to_points(strokes: list[Points]) -> Points:
    """Strokes (n, 2) on the sheet -> rows (n, 3): dx, dy, whether the pen is lifted after it."""
    places = np.concatenate([np.zeros((1, 2)), *strokes])
    lifted = np.concatenate([np.arange(len(stroke)) == len(stroke) - 1 for stroke in strokes])
    return np.column_stack([np.diff(places, axis=0), lifted])


def read_quickdraw(path: Path) -> dict[str, list[Sketch]]:
    """Read a category of QuickDraw as SketchRNN has it -> sketches by "train", "valid", "test".

    The file is a .npz of arrays of arrays (n, 3): dx, dy, whether the pen is lifted. Such arrays
    are pickles, which could run anything; so nothing but arrays of numbers is taken from them.

    Raises:
        MolvaeError: not such a file.
    """
    try:
        with zipfile.ZipFile(path) as file:
            return {
                name: [
                    _centre(points, f"{name} {i}") for i, points in enumerate(_unpickle(file, name))
                ]
                for name in ("train", "valid", "test")
            }
    except (OSError, zipfile.BadZipFile, KeyError, ValueError, pickle.UnpicklingError) as error:
        raise MolvaeError(f"{path}: not a .npz of QuickDraw: {error}") from error


def _unpickle(file: zipfile.ZipFile, name: str) -> Iterable[NDArray[np.generic]]:
    with file.open(f"{name}.npy") as part:
        version = np.lib.format.read_magic(part)
        read = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }
        _, _, kind = read[version](part)
        if kind != np.dtype(object):
            raise ValueError(f"{name} is an array of {kind}, not of arrays")
        return _Arrays(part, encoding="latin1").load().flat


class _Arrays(pickle.Unpickler):
    """Reads pickled arrays, and refuses anything else."""

    allowed: ClassVar = {"_reconstruct", "ndarray", "dtype", "scalar", "_frombuffer"}

    def find_class(self, module: str, name: str) -> object:
        """Return a constructor of arrays.

        Raises:
            UnpicklingError: it is something else.
        """
        known = module in ("numpy", "numpy.core.multiarray", "numpy._core.multiarray")
        if known and name in self.allowed:
            return super().find_class(module, name)
        if module == "_codecs" and name == "encode":  # bytes, as Python 3 writes them
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it holds {module}.{name}")


def _centre(points: NDArray[np.generic], name: str) -> Sketch:
    rows = np.array(points, float)
    if rows.ndim != 2 or rows.shape[1] != 3 or not len(rows) or not np.isfinite(rows).all():
        raise ValueError(f"{name} is not an array (n, 3)")
    rows[-1, 2] = 1
    places = rows[:, :2].cumsum(0)
    rows[0, :2] -= (places.min(0) + places.max(0)) / 2
    return Sketch(name, rows, {})
