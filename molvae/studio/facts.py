"""What is known of a molecule, as text; loads neither a model nor torch."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from molvae.chem.alerts import find_alerts
from molvae.chem.molecules import parse
from molvae.chem.plausibility import Domain
from molvae.chem.properties import REPORTED, compute_or_nan, properties

LONGEST = 1_000  # characters of a SMILES


@dataclass(frozen=True)
class Described:
    """A molecule with what is known of it, ready to be shown; all of it is text."""

    smiles: str
    rows: list[tuple[str, str]]
    z: NDArray[np.float32] | None = None


def read_list(text: str) -> list[tuple[str, str]]:
    """Pasted text -> SMILES and names, one molecule a line.

    The SMILES ends at the first space, comma or semicolon; what follows is the name. A first line
    that begins with the word "smiles" is a header.
    """
    found: list[tuple[str, str]] = []
    for line in text.splitlines():
        smiles, *rest = re.split(r"[\s,;]+", line.strip(), maxsplit=1)
        if smiles and not (not found and smiles.lower() == "smiles"):
            found.append((smiles, rest[0].strip() if rest else ""))
    return found


@lru_cache(20_000)
def measure(smiles: str) -> dict[str, float]:
    """SMILES -> its reported properties, none where it is invalid."""
    mol = parse(smiles) if len(smiles) <= LONGEST else None
    if mol is None:
        return {}
    return {name: compute_or_nan(properties[name].function, mol) for name in REPORTED}


def describe(smiles: str, domain: Domain | None) -> list[tuple[str, str]]:
    """SMILES -> names and values of its properties, its plausibility and its alerts."""
    mol = parse(smiles) if len(smiles) <= LONGEST else None
    if mol is None:
        return [("", "not a valid molecule")]
    rows = [(name, f"{value:.3g}") for name, value in measure(smiles).items()]
    if domain is not None:
        rows.append(("plausibility", f"{domain.find_plausibility(mol):.2f}"))
    alerts = find_alerts(mol)
    return [*rows, ("alerts", "; ".join(alerts) or "none")]


def picture_address(smiles: str, lost: list[int] | None = None) -> str:
    """SMILES -> the address of its drawing; `lost` are atoms to highlight."""
    marked = f"&lost={','.join(map(str, lost))}" if lost else ""
    return f"/molecule.svg?smiles={quote(smiles, safe='')}{marked}"
