"""Resolving what a user passes as an objective: a name, program, goals file or function."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

from molvae.base.errors import MolvaeError
from molvae.base.registry import unknown_name
from molvae.chem.properties import Property, properties
from molvae.oracles.goals import Goals
from molvae.oracles.objectives import Objective, find_objective, objectives
from molvae.oracles.programs import Command

Given: TypeAlias = str | Property | Objective


def as_objective(given: Given) -> Objective:
    """Name of an objective, or function of a molecule -> `Objective`.

    A name is one that `molvae.oracles.objectives.find_objective` accepts,
    `package.module:function`, `cmd:program {smiles}`, or a JSON file as described in
    `molvae.oracles.goals`.

    Raises:
        MolvaeError: the name is unknown, its module fails to import, the file is not valid, or the
            object is not callable.
    """
    if isinstance(given, Objective):
        return given
    if isinstance(given, str):
        found = _look_up(given)
        if isinstance(found, Objective):
            return found
        name, function = given, found
    else:
        name, function = getattr(given, "__name__", type(given).__name__), given
    if not callable(function):
        raise MolvaeError(f"the objective {name!r} is {function!r}, not a function of a molecule")
    return Objective(name, function)


def runs_code(name: str) -> bool:
    """Name of an objective, as for `as_objective` -> whether it stands for code of somebody's.

    A name in a file that came from elsewhere must not be resolved if it does. Goals count, since
    they may name other quantities.
    """
    return find_objective(name) is None and (":" in name or name.endswith(".json"))


def _look_up(name: str) -> Objective | Property:
    if name.startswith("cmd:"):
        return Command.parse(name.removeprefix("cmd:"))
    if name.endswith(".json"):
        goals = Goals.read(name)
        return Objective(f"{Path(name).stem}-{goals.digest}", goals)
    if (found := find_objective(name)) is not None:
        return found
    if ":" not in name:
        raise unknown_name("objective", name, dict.fromkeys([*objectives, *properties]))
    try:
        return objectives.look_up(name)
    except MolvaeError:
        raise
    except (Exception, SystemExit) as error:  # importing a user's module may raise anything
        reason = f"{type(error).__name__}: {error}"
        raise MolvaeError(f"importing the objective {name!r} failed: {reason}") from error
