"""Constraints: conditions that a molecule must meet to be evaluated.

SAS<4  heavy_atoms<=38  MolWt<500   a property, an objective or an RDKit descriptor
similarity(CCO)>=0.4                Tanimoto similarity of fingerprints to a molecule
has:c1ccncc1  lacks:[N+](=O)[O-]    a substructure that must, or must not, be there (SMARTS)
alerts:PAINS  alerts:BRENK          none of the structural alerts of an RDKit catalogue
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rdkit import Chem
from rdkit.Chem import FilterCatalog, Mol

from molvae.base.errors import MolvaeError
from molvae.chem.molecules import silence_rdkit
from molvae.chem.properties import properties
from molvae.oracles.objectives import Objective, find_objective, is_own, look_up_quantity
from molvae.oracles.objectives import objectives as registered

COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
CATALOGUES = FilterCatalog.FilterCatalogParams.FilterCatalogs.names


@dataclass(frozen=True)
class Constraint:
    """A condition: its text, a function that checks it, and the name of the quantity, if any."""

    text: str
    met: Callable[[Mol], bool]
    quantity: str | None = None


def parse_constraint(text: str) -> Constraint:
    """Text of a condition, in the syntax above -> the constraint.

    Raises:
        MolvaeError: the text is not a valid constraint.
    """
    kind, colon, rest = text.strip().partition(":")
    if colon and kind in ("has", "lacks"):
        with silence_rdkit():
            pattern = Chem.MolFromSmarts(rest)
        if pattern is None or not rest:
            raise MolvaeError(f"constraint {text!r}: {rest!r} is not a valid SMARTS pattern")
        wanted = kind == "has"
        return Constraint(text, lambda mol: mol.HasSubstructMatch(pattern) == wanted)
    if colon and kind == "alerts":
        if rest not in CATALOGUES:
            known = ", ".join(CATALOGUES)
            raise MolvaeError(f"constraint {text!r}: unknown catalogue {rest!r}; known: {known}")
        catalogue = FilterCatalog.FilterCatalog(CATALOGUES[rest])
        return Constraint(text, lambda mol: not catalogue.HasMatch(mol))
    if colon and kind == "cmd":
        raise MolvaeError(
            f"constraint {text!r}: runs of a program would not be counted: make it an objective"
        )
    parts = re.fullmatch(r"(.+?)\s*(<=|>=|<|>)\s*([^<>=]+)", text.strip())
    try:
        name, sign, number = parts.groups() if parts else ("", "", "")
        limit = float(number)
    except ValueError:
        raise MolvaeError(
            f"constraint {text!r} is not valid; examples: 'SAS<4', "
            "'similarity(CCO)>=0.4', 'has:c1ccncc1', 'lacks:[N+](=O)[O-]' or 'alerts:PAINS'"
        ) from None
    try:
        value, compare = look_up_quantity(name), COMPARISONS[sign]
    except MolvaeError as error:
        raise MolvaeError(f"constraint {text!r}: {error}") from None
    return Constraint(text, lambda mol: compare(value(mol), limit), name)


def refuse_paid(constraint: Constraint, objectives: Sequence[Objective]) -> None:
    """Refuse a constraint that would evaluate what a search pays for, outside its budget.

    That is a function that the user registered as an objective, and any of the objectives of the
    search, unless it is a property of the molecule that costs nothing.

    Raises:
        MolvaeError: it is one of these.
    """
    name = constraint.quantity
    found = None if name is None or name in properties else find_objective(name)
    if found is None:
        return
    searched = found.function in [objective.function for objective in objectives]
    if not is_own(found.function) or (searched and name in registered):
        raise MolvaeError(
            f"constraint {constraint.text!r}: {name} is an objective, and its evaluations for a "
            "constraint would not be counted: make it a second objective, or register it with "
            "molecule_property if it costs nothing"
        )
