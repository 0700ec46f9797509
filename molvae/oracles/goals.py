"""Several quantities combined into one objective by a JSON file: a sum or desirabilities.

{"sum": {"QED": 5, "SAS": -1}}

is a weighted sum. Alternatively, each quantity is mapped to a desirability between 0 and 1, and
their weighted geometric mean is maximised (Derringer & Suich 1980, "Simultaneous optimization of
several response variables"):

{"desirability": {
    "QED": {"worst": 0.3, "best": 0.9},
    "SAS": {"worst": 5, "best": 2, "weight": 2},
    "logP": {"between": [1, 3], "margin": 1},
    "similarity(c1ccccc1O)": {"worst": 0.2, "best": 0.6}}}

The desirability is 0 at `worst` and beyond, 1 at `best` and beyond, and linear in between. With
`between`, it is 1 between the two values and falls linearly to 0 over the `margin` on either side.
Quantities have the same names as on the left side of a constraint
(`molvae.oracles.constraints`).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from rdkit.Chem import Mol

from molvae.base.errors import MolvaeError
from molvae.chem.properties import Property
from molvae.oracles.objectives import look_up_quantity

KEYS = {frozenset({"worst", "best"}), frozenset({"between", "margin"})}


@dataclass(frozen=True)
class Goals:
    """The content of a goals file; called with a molecule, it returns the value to maximise."""

    text: str

    @classmethod
    def read(cls, path: str) -> Goals:
        """Read and parse a file.

        Raises:
            MolvaeError: the file does not exist or is not in the format above.
        """
        try:
            goals = cls(Path(path).read_text(encoding="utf-8"))
            _ = goals.parts
        except (OSError, ValueError) as error:
            raise MolvaeError(f"{path}: {error}") from error
        except MolvaeError as error:
            raise MolvaeError(f"{path}: {error}") from None
        return goals

    @property
    def digest(self) -> str:
        """Six characters of a hash of the text."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:6]

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle only the text; the functions are rebuilt from it."""
        return Goals, (self.text,)

    def __call__(self, mol: Mol) -> float:
        """Molecule -> the weighted sum, or the weighted geometric mean of the desirabilities."""
        kind, parts = self.parts
        if kind == "sum":
            return sum(weight * value(mol) for value, weight in parts)
        found = [(value(mol), weight) for value, weight in parts]
        if any(desirability == 0 for desirability, _ in found):
            return 0.0
        total = sum(weight for _, weight in found)
        return math.exp(sum(weight * math.log(d) for d, weight in found) / total)

    @cached_property
    def parts(self) -> tuple[str, list[tuple[Property, float]]]:
        """The kind ("sum" or "desirability"), and each function with its weight.

        Raises:
            MolvaeError: the text is not in the format above.
        """
        goals = json.loads(self.text)
        if not isinstance(goals, dict) or len(goals) != 1:
            raise MolvaeError('goals must be {"sum": {...}} or {"desirability": {...}}')
        ((kind, entries),) = goals.items()
        makers = {"sum": _term, "desirability": _desirability}
        if kind not in makers or not isinstance(entries, dict) or not entries:
            raise MolvaeError(f'{kind!r} is not "sum" or "desirability", or has no quantities')
        return kind, [makers[kind](name, entry) for name, entry in entries.items()]


def _term(name: str, weight: object) -> tuple[Property, float]:
    return look_up_quantity(name), _number(weight, name)


def _desirability(name: str, entry: object) -> tuple[Property, float]:
    if not isinstance(entry, Mapping) or frozenset(entry) - {"weight"} not in KEYS:
        raise MolvaeError(
            f'{name!r} needs {{"worst": ..., "best": ...}} or {{"between": [..., ...], '
            '"margin": ...}, and optionally a "weight"'
        )
    weight = _number(entry.get("weight", 1), name)
    if not weight > 0:
        raise MolvaeError(f"{name!r} needs a weight above 0, not {weight:g}")
    if "between" in entry:
        low, high = _pair(entry["between"], name)
        margin = _number(entry["margin"], name)
        if low > high or margin <= 0:
            raise MolvaeError(
                f"{name!r} needs two values in increasing order, and a margin above 0"
            )
        points = [low - margin, low, high, high + margin], [0.0, 1.0, 1.0, 0.0]
    else:
        ends = sorted((_number(entry[end], name), y) for end, y in (("worst", 0.0), ("best", 1.0)))
        points = [x for x, _ in ends], [y for _, y in ends]
        if points[0][0] == points[0][1]:
            raise MolvaeError(f'{name!r} needs a "worst" and a "best" that differ')
    value = look_up_quantity(name)
    return lambda mol: float(np.interp(value(mol), *points)), weight


def _pair(given: object, name: str) -> tuple[float, float]:
    if not isinstance(given, list) or len(given) != 2:
        raise MolvaeError(f'{name!r} needs "between": [low, high]')
    return _number(given[0], name), _number(given[1], name)


def _number(given: object, name: str) -> float:
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not math.isfinite(given):
        raise MolvaeError(f"{name!r} needs numbers, not {given!r}")
    return float(given)
