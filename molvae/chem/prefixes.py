"""The beginning of a SMILES string: whether there can be a molecule that is written so.

"c1ccc(cc1)C(" is not a SMILES, but it becomes one where its ring bonds and parentheses are closed.
So that is done here, with a dummy atom at the end of each open ring bond, and RDKit reads the rest.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from rdkit import Chem

from molvae.chem.molecules import silence_rdkit

_TAIL = re.compile(
    r"(?:\[[^\]]*|%[0-9]?|%\([0-9]*)\Z"
)  # the beginning of a bracket atom or ring bond
_PART = re.compile(
    r"(?P<atom>\[[^\]]+\]|Br|Cl|[BCNOPSFIbcnops])|(?P<ring>%\([0-9]+\)|%[0-9]{2}|[0-9])|[-=#$:/\\.()]"
)


class Prefix(NamedTuple):
    """The beginning of a SMILES string."""

    whole: str
    """Without a bracket atom or a ring bond that it ends in the middle of."""
    atoms: int
    """Number of atoms in it."""
    fault: str | None
    """Why no SMILES can begin like this, as the end of a sentence; None if one can."""


def read_prefix(text: str) -> Prefix:
    """Beginning of a SMILES string -> its whole atoms and bonds, and what is wrong with it.

    The check finds what is wrong already: a parenthesis that was not opened, an atom with too many
    bonds. It does not find a prefix that cannot be completed for another reason.

    >>> read_prefix("c1ccc(cc1)C(").atoms, read_prefix("CC(C)(C)(C)C").fault
    (7, 'has an atom with too many bonds')
    """
    tail = _TAIL.search(text)
    whole = text[: tail.start()] if tail else text
    if (wrong := _PART.sub("", whole)) or not text.strip():
        fault = f"has {wrong[0]!r}, which is not SMILES" if wrong else "is empty"
        return Prefix(whole, 0, fault)
    open_rings: dict[str, None] = {}
    depth = 0
    for part in _PART.finditer(whole):
        if ring := part["ring"]:
            number = ring.strip("%()")
            if number in open_rings:
                del open_rings[number]
            else:
                open_rings[number] = None
        depth += {"(": 1, ")": -1}.get(part[0], 0)
        if depth < 0:
            return Prefix(whole, 0, "closes a parenthesis that it does not open")
    closed = whole
    while closed and closed[-1] in "-=#$:/\\.(":
        depth -= closed[-1] == "("
        closed = closed[:-1]
    if not closed:
        return Prefix(whole, 0, None if not whole else "does not begin with an atom")
    closed += ")" * depth + "".join(f".*%({number})" for number in open_rings)
    with silence_rdkit():
        mol = Chem.MolFromSmiles(closed, sanitize=False)
        if mol is None:
            return Prefix(whole, 0, "is not the beginning of a valid SMILES")
        try:
            Chem.SanitizeMol(mol, Chem.SANITIZE_CLEANUP | Chem.SANITIZE_PROPERTIES)
        except Chem.MolSanitizeException:
            return Prefix(whole, 0, "has an atom with too many bonds")
    return Prefix(whole, mol.GetNumAtoms() - len(open_rings), None)
