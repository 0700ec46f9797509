"""Objectives on their way to another process, which need not import the user's script.

What a module defines is sent by its name. What a script, a notebook or an interactive session
defines is sent by value, so that the other process does not run the script again.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from joblib.externals.loky.backend.reduction import dumps, loads
from rdkit.Chem.rdMolDescriptors import CalcTPSA

from molvae.base.errors import MolvaeError
from molvae.oracles.objectives import Objective

_Compiled = type(CalcTPSA)  # RDKit's functions in C++, which pickle does not know


def _reduce_compiled(function: Any) -> tuple[Any, ...]:
    return _find, (function.__module__, function.__name__)


def _find(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)


def pack_objectives(objectives: Sequence[Objective]) -> bytes:
    """Objectives -> bytes for `unpack_objectives` in another process.

    Raises:
        MolvaeError: one of them cannot be sent.
    """
    try:
        return bytes(dumps(tuple(objectives), reducers={_Compiled: _reduce_compiled}))
    except Exception as error:  # an object of the user's may raise anything
        names = ", ".join(objective.name for objective in objectives)
        raise MolvaeError(
            f"the objective {names} cannot be sent to another process "
            f"({type(error).__name__}: {error}): define it in a module of its own and import it, "
            "or evaluate with one job and without a time limit"
        ) from error


def unpack_objectives(packed: bytes) -> tuple[Objective, ...]:
    """What `pack_objectives` made -> the objectives.

    Raises:
        MolvaeError: a module that they need cannot be imported here.
    """
    try:
        found: tuple[Objective, ...] = loads(packed)
    except Exception as error:
        raise MolvaeError(
            "the objective cannot be loaded in another process "
            f"({type(error).__name__}: {error}): it must be importable there"
        ) from error
    return found
