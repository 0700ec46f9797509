"""A judge of molecules that no search runs under: what ChEMBL knows (extra `judge`).

A filter that a search runs under says nothing about its answers. This package knows nothing of the
model's training data, and is asked at the end alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

LIKELY = 0.05  # least score of the rarest bond, the package's default


def has_judge() -> bool:
    """Whether the extra `judge` is installed."""
    return find_spec("chembl_gen_check") is not None


def find_known_to_chembl(smiles: Sequence[str]) -> list[bool]:
    """SMILES (n) -> whether ChEMBL has their ring systems, and none of their bonds is odd there.

    By chembl-gen-check: its filter of ring systems, and its LACAN score of bonds above 0.05.
    """
    from chembl_gen_check import Checker

    checker, found = Checker(), []
    for one in smiles:
        checker.load_smiles(one)
        found.append(bool(checker.check_ring_systems()) and checker.check_lacan(t=LIKELY) > 0)
    return found
