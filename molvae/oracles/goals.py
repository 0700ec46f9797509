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
Quantities are named as anywhere else (`molvae.oracles.given`): a docking program may stand beside a
descriptor and a prediction of the model.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np
from rdkit.Chem import Mol, MolToSmiles

from molvae.base.errors import MolvaeError
from molvae.oracles.objectives import Quantity

KEYS = {frozenset({"worst", "best"}), frozenset({"between", "margin"})}

LookUp: TypeAlias = Callable[[str], Quantity]


@dataclass(frozen=True)
class Part:
    """A quantity of a goals file with its weight, and for a desirability the ends of its lines."""

    quantity: Quantity
    weight: float
    points: tuple[list[float], list[float]] | None = None

    def desirability(self, value: float) -> float:
        """Value of the objective, with the user's sign -> its desirability, 0 to 1."""
        if self.points is None:
            return math.nan
        return float(np.interp(-value if self.quantity.negative else value, *self.points))


@dataclass(eq=False)
class Goals:
    """The content of a goals file; called with a molecule, it returns the value to maximise.

    Attributes:
        text: the content.
        kind: "sum" or "desirability".
        parts: the quantities, in the order of the file.
        record: a file that keeps the values of the parts, a line of JSON for each molecule, for
            the report: what a program computed is not computed again. None keeps them in memory.
    """

    text: str
    kind: str
    parts: list[Part]
    record: Path | None = None
    _seen: dict[str, list[float]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: str, look_up: LookUp) -> Goals:
        """Read and parse a file, in which `look_up` finds the quantities.

        Raises:
            MolvaeError: the file does not exist or is not in the format above.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
            return cls(text, *_parse(json.loads(text), look_up))
        except (OSError, ValueError, RecursionError) as error:
            raise MolvaeError(f"{path}: {error}") from error
        except MolvaeError as error:
            raise MolvaeError(f"{path}: {error}") from None

    @property
    def digest(self) -> str:
        """Six characters of a hash of the text."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:6]

    @property
    def is_ours(self) -> bool:
        """Whether molvae or RDKit computes all parts, so that they can be computed again."""
        return all(part.quantity.objective.is_ours for part in self.parts)

    def __call__(self, mol: Mol) -> float:
        """Molecule -> the weighted sum, or the weighted geometric mean of the desirabilities."""
        values = [float(part.quantity.objective.function(mol)) for part in self.parts]
        if not self.is_ours:
            self._keep(MolToSmiles(mol), values)
        rows = list(zip(self.parts, values, strict=True))
        if self.kind == "sum":
            signed = (-v if part.quantity.negative else v for part, v in rows)
            return sum(part.weight * v for part, v in zip(self.parts, signed, strict=True))
        found = [(part.desirability(value), part.weight) for part, value in rows]
        if any(desirability == 0 for desirability, _ in found):
            return 0.0
        total = sum(weight for _, weight in found)
        return math.exp(sum(weight * math.log(d) for d, weight in found) / total)

    def measure(self, mols: Sequence[Mol]) -> list[list[float]]:
        """Molecules -> the values of the parts of each, with the user's sign.

        NaN if a program or a function of the user computes a part and has not seen the molecule in
        this run: neither is called again.
        """
        known = {} if self.is_ours else self._load()
        return [known.get(MolToSmiles(mol)) or self._compute_ours(mol) for mol in mols]

    def _compute_ours(self, mol: Mol) -> list[float]:
        quantities = [part.quantity.objective for part in self.parts]
        return [float(one.function(mol)) if one.is_ours else math.nan for one in quantities]

    def _keep(self, smiles: str, values: list[float]) -> None:
        if self.record is None:
            self._seen[smiles] = values
            return
        with self.record.open("a", encoding="utf-8") as file:  # several processes append lines
            file.write(json.dumps({"smiles": smiles, "values": values}) + "\n")

    def _load(self) -> dict[str, list[float]]:
        if self.record is None or not self.record.exists():
            return self._seen
        found = {}
        for line in self.record.read_text(encoding="utf-8").splitlines():
            try:
                row = json.loads(line)
            except ValueError:  # the process was killed while it wrote the line
                continue
            found[row["smiles"]] = row["values"]
        return found


def _parse(goals: object, look_up: LookUp) -> tuple[str, list[Part]]:
    """JSON of a goals file -> its kind and its parts."""
    if not isinstance(goals, dict) or len(goals) != 1:
        raise MolvaeError('goals must be {"sum": {...}} or {"desirability": {...}}')
    ((kind, entries),) = goals.items()
    makers = {"sum": _term, "desirability": _desirability}
    if kind not in makers or not isinstance(entries, dict) or not entries:
        raise MolvaeError(f'{kind!r} is not "sum" or "desirability", or has no quantities')
    return kind, [makers[kind](name, entry, look_up) for name, entry in entries.items()]


def _term(name: str, weight: object, look_up: LookUp) -> Part:
    return Part(look_up(name), _number(weight, name))


def _desirability(name: str, entry: object, look_up: LookUp) -> Part:
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
    quantity = look_up(name)
    if quantity.negative and "worst" in entry and entry["worst"] > entry["best"]:
        raise MolvaeError(
            f'{name!r} is the negative of the quantity, so its "worst" is below its "best": leave '
            "out the minus, or turn the signs of the two values"
        )
    return Part(quantity, weight, points)


def _pair(given: object, name: str) -> tuple[float, float]:
    if not isinstance(given, list) or len(given) != 2:
        raise MolvaeError(f'{name!r} needs "between": [low, high]')
    return _number(given[0], name), _number(given[1], name)


def _number(given: object, name: str) -> float:
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not math.isfinite(given):
        raise MolvaeError(f"{name!r} needs numbers, not {given!r}")
    return float(given)
