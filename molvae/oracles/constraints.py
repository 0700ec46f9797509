"""Constraints: conditions that a molecule must meet to be evaluated.

SAS<4  heavy_atoms<=38  charge=0    any quantity that `molvae.oracles.given` knows, such as a
similarity(CCO)>=0.4                property, a descriptor, a similarity to a molecule, a program
predicted:pIC50>6                   or what the model predicts
has:c1ccncc1  lacks:[N+](=O)[O-]    a substructure that must, or must not, be there (SMARTS)
keeps:*c1ccc(*)cc1                  a fragment, with further atoms at its attachment points only
alerts:PAINS  alerts:BRENK          none of the structural alerts of an RDKit catalogue
alerts:none                         no alert of PAINS, BRENK and NIH
plausibility>=0.5  rings:known      parts, or ring systems, that the model's training data has
"""

from __future__ import annotations

import operator
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rdkit import Chem
from rdkit.Chem import Mol

from molvae.base.errors import MolvaeError, MolvaeWarning
from molvae.chem.alerts import CATALOGUES, find_alerts
from molvae.chem.fragments import read_fragment
from molvae.chem.molecules import silence_rdkit
from molvae.chem.properties import compute_or_nan, properties
from molvae.oracles.extras import External
from molvae.oracles.given import look_up_quantity, runs_code
from molvae.oracles.objectives import PACKAGES, Objective, Quantity
from molvae.oracles.objectives import objectives as registered

COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
    "=": operator.eq,
}
COMPARISON = re.compile(r"(.+?)\s*(<=|>=|<|>|=)\s*([^<>=]+)")
KINDS = ("has:", "lacks:", "keeps:", "alerts:", "rings:")


@dataclass(frozen=True)
class Constraint:
    """A condition: its text, a check of a molecule, and the quantity that it bounds, if any."""

    text: str
    met: Callable[[Mol], bool]
    quantity: Quantity | None = None

    @property
    def sources(self) -> dict[str, str] | None:
        """Hashes of the user's files that compute the quantity, by path; None if not known."""
        found = {} if self.quantity is None else self.quantity.objective.sources
        return found and {name: text for name, text in found.items() if name not in PACKAGES}


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
    if colon and kind == "keeps":
        fragment = read_fragment(rest)
        return Constraint(text, lambda mol: fragment.find(mol) is not None)
    if text.strip() == "rings:known":
        known_rings = look_up_quantity("known_rings")
        return Constraint(text, lambda mol: known_rings(mol) == 1, known_rings)
    if colon and kind == "alerts":
        if rest == "none":
            return Constraint(text, lambda mol: not find_alerts(mol))
        if rest not in CATALOGUES:
            known = ", ".join(["none", *CATALOGUES])
            raise MolvaeError(f"constraint {text!r}: unknown catalogue {rest!r}; known: {known}")
        return Constraint(text, lambda mol: not find_alerts(mol, [rest]))
    parts = COMPARISON.fullmatch(text.strip())
    try:
        name, sign, number = parts.groups() if parts else ("", "", "")
        limit = float(number)
    except ValueError:
        raise MolvaeError(
            f"constraint {text!r} is not valid; examples: 'SAS<4', "
            "'similarity(CCO)>=0.4', 'has:c1ccncc1', 'lacks:[N+](=O)[O-]' or 'alerts:PAINS'"
        ) from None
    try:
        quantity, compare = look_up_quantity(name), COMPARISONS[sign]
    except MolvaeError as error:
        raise MolvaeError(f"constraint {text!r}: {error}") from None
    return Constraint(text, lambda mol: compare(compute_or_nan(quantity, mol), limit), quantity)


def constraint_runs_code(text: str) -> bool:
    """Text of a condition -> whether checking it would run a program or a function of somebody's.

    Nothing is resolved or imported.
    """
    parts = COMPARISON.fullmatch(text.strip())
    return parts is not None and not text.startswith(KINDS) and runs_code(parts[1])


def refuse_paid(constraint: Constraint, objectives: Sequence[Objective]) -> None:
    """Refuse a constraint on an objective of the search, which would evaluate it uncounted.

    A property of the molecule that costs nothing may be both.

    Raises:
        MolvaeError: it is one.

    Warns:
        MolvaeWarning: the constraint runs code of the user's, or docking and the like, which is not
            counted.
    """
    if constraint.quantity is None or constraint.quantity.objective.name in properties:
        return
    one = constraint.quantity.objective
    if one.function in [other.function for other in objectives] and (
        not one.is_ours or one.name in registered
    ):
        raise MolvaeError(
            f"constraint {constraint.text!r}: {one.name} is an objective, and its evaluations for "
            "a constraint would not be counted: make it a second objective, or register it with "
            "molecule_property if it costs nothing"
        )
    if not one.is_ours:
        what = one.name if isinstance(one.function, External) else "your code"
        warnings.warn(
            f"constraint {constraint.text!r} runs {what} for every molecule that is decoded, "
            "outside the budget",
            MolvaeWarning,
            stacklevel=3,
        )
