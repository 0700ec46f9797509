"""What differs between a molecule and another one that was meant to be the same."""

from __future__ import annotations

from rdkit import Chem
from rdkit.Chem import rdFMCS

from molvae.chem.molecules import parse

SECONDS = 1  # after which the greatest common part found so far is used


def find_lost(given: str, back: str) -> list[int]:
    """Two SMILES -> the atoms of the first that are not in their greatest common part.

    All of them where the second is not valid, none where the first is not.
    """
    one, other = parse(given), parse(back)
    if one is None:
        return []
    if other is None:
        return list(range(one.GetNumAtoms()))
    common = rdFMCS.FindMCS([one, other], timeout=SECONDS, ringMatchesRingOnly=True)
    pattern = Chem.MolFromSmarts(common.smartsString) if common.smartsString else None
    match = () if pattern is None else one.GetSubstructMatch(pattern)
    return [i for i in range(one.GetNumAtoms()) if i not in match]
