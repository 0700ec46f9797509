"""What a text of the page may stand for: nothing that runs a program or reads a file."""

from __future__ import annotations

import re

from molvae.base.errors import MolvaeError
from molvae.base.registry import unknown_name
from molvae.chem.properties import properties
from molvae.oracles.constraints import COMPARISON, KINDS, Constraint, parse_constraint
from molvae.oracles.given import PREDICTED, split_sign
from molvae.oracles.objectives import find_registered, objectives
from molvae.oracles.predictions import OF_DOMAIN

LONGEST = 500  # characters
FLAG = "--allow-programs"


def list_names() -> list[str]:
    """Names of objectives and properties; RDKit's descriptors may be named, too."""
    return list(dict.fromkeys([*properties, *objectives]))


def check_quantity(text: str, allowed: bool = False) -> str:
    """Text of a quantity -> the same.

    Only what is known to be harmless passes: names of objectives, properties and descriptors,
    similarities, and what the model predicts. Nothing is looked up that could import or open
    anything.

    Args:
        text: as in `molvae.oracles.given`.
        allowed: whether programs, functions and files may be named.

    Raises:
        MolvaeError: it may not be named here.
    """
    text = text.strip()
    name = split_sign(text)[1]
    if len(text) > LONGEST:
        raise MolvaeError(f"a quantity may have {LONGEST} characters here")
    known = find_registered(name) is not None or name in OF_DOMAIN
    if allowed or known or name.startswith((PREDICTED, "similarity(")):
        return text
    if not re.search(r"[:/\\.]", name):
        raise unknown_name("quantity", f"{name:.80}", list_names())
    raise MolvaeError(
        f"{text!r:.80} is not a registered name; programs, functions and files may be named here "
        f"if the studio was started with {FLAG}"
    )


def check_constraint(text: str, allowed: bool = False) -> Constraint:
    """Text of a constraint -> the constraint; arguments and errors as in `check_quantity`."""
    text = text.strip()
    if len(text) > LONGEST:
        raise MolvaeError(f"a constraint may have {LONGEST} characters here")
    parts = COMPARISON.fullmatch(text)
    if parts is not None and not text.startswith(KINDS):
        check_quantity(parts[1], allowed)
    return parse_constraint(text)
