"""One grammar for a quantity, wherever a user names one.

`[-]NAME` is an objective, the left side of a constraint, a part of a goals file or a property to
learn. (The axis of a picture follows a gradient, so there NAME is one that the model predicts.)
NAME is

QED  pmo:jnk3  TPSA          a registered objective or property, or an RDKit descriptor
similarity(CCO)              Tanimoto similarity to a molecule: Morgan fingerprints of radius 2
scores:polar                 package.module:function, called with an RDKit molecule
cmd:./dock.sh {smiles}       a program that prints a number
predicted:pIC50              what the model of the search predicts
model:my.csv:pIC50           what a table of measurements suggests (`molvae.oracles.measurements`);
lower(model:my.csv:pIC50)    and less or plus its standard deviation (lower, upper), or the
P(model:my.csv:pIC50>7)      probability of a measurement above a value, or below (<)
plausibility  known_rings    whether the model's training data has the molecule's parts
dock:DRD2                    a docking score (`molvae.oracles.docking`)
goals.json                   several quantities combined (`molvae.oracles.goals`)

An objective with a leading minus is minimised. Where numbers are compared, added or learned, the
minus is the one of arithmetic.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from molvae.base.errors import MolvaeError, MolvaeWarning
from molvae.base.registry import UnknownNameError, unknown_name
from molvae.chem.fingerprints import Similarity
from molvae.chem.properties import Property, properties
from molvae.oracles.docking import DOCK, Docking, DockingTask
from molvae.oracles.extras import External
from molvae.oracles.goals import Goals
from molvae.oracles.measurements import Learned, learn_measurements, names_measurements
from molvae.oracles.objectives import Objective, Quantity, dock, find_registered, objectives
from molvae.oracles.predictions import OF_DOMAIN, OfDomain, Prediction, Predicts
from molvae.oracles.programs import Command

Given: TypeAlias = str | Property | Objective

PROGRAM, PREDICTED = "cmd:", "predicted:"
# names of columns of potencies that are better the smaller they are; negative logarithms are not
POTENCY = re.compile(
    r"^(?!.*(?:-log|neg)).*(?:(?<!p)(?:[AEIX]C|GI)50|(?<![A-Za-z])(?:K[di]|MIC)(?![A-Za-z]))"
)


def as_objective(given: Given) -> Objective:
    """Text of a quantity in the grammar above, or function of a molecule -> `Objective`.

    Raises:
        MolvaeError: the name is unknown, its module fails to import, the file is not valid, the
            object is not callable, or it needs a package that is not installed.

    Warns:
        MolvaeWarning: a column such as IC50 is maximised, though less of it is better.
    """
    if isinstance(given, Objective):
        return given
    if isinstance(given, str):
        minus, name = split_sign(given)
        found = _look_up(name)
        for part in (found, *found.components):
            if isinstance(part.function, External):
                part.function.check()
        if minus:
            return replace(found, maximise=False)
        _question_direction(found)
        return found
    return _wrap(getattr(given, "__name__", type(given).__name__), given)


def look_up_quantity(text: str) -> Quantity:
    """Text of a quantity in the grammar above -> a function of a molecule, with its sign.

    Raises:
        UnknownNameError: there is no quantity of that name.
        MolvaeError: it cannot be used, as in `as_objective`.
    """
    minus, name = split_sign(text)
    return Quantity(_look_up(name), minus)


def find_quantity(text: str) -> Quantity | None:
    """Like `look_up_quantity`, but None if there is no quantity of that name."""
    try:
        return look_up_quantity(text)
    except UnknownNameError:
        return None


def split_sign(text: str) -> tuple[bool, str]:
    """Text of a quantity -> whether it has a leading minus, and the name behind it."""
    text = text.strip()
    return text.startswith("-"), text.removeprefix("-")


def runs_code(text: str) -> bool:
    """Text of a quantity -> whether it stands for code of somebody's.

    A name in a file that came from elsewhere must not be resolved if it does. Goals count, since
    they may name programs. A table of measurements does not: it is read, as the file of leads and
    the data set that a run folder names are, and nothing of it is executed or sent anywhere.
    """
    _, name = split_sign(text)
    if find_registered(name) is not None or name.startswith((PREDICTED, DOCK, "similarity(")):
        return False
    if names_measurements(name):
        return False
    return ":" in name or name.endswith(".json")


def use_model(model: Predicts, quantities: Sequence[Objective]) -> None:
    """Give a model to each quantity and component that needs one, such as `predicted:NAME`.

    Raises:
        MolvaeError: the model does not know one of them.
    """
    for part in _iter_parts(quantities):
        if isinstance(part.function, Prediction | OfDomain):
            part.function.use(model)


def report_learned(quantities: Iterable[Objective]) -> list[str]:
    """Quantities -> lines on each table that they or their components are learned from.

    How good the predictions are comes first; then what was read.
    """
    functions = [part.function for part in _iter_parts(quantities)]
    tables = dict.fromkeys(f.regression for f in functions if isinstance(f, Learned))
    return [line for table in tables for line in table.report]


def _iter_parts(quantities: Iterable[Objective]) -> Iterator[Objective]:
    for one in quantities:
        yield from (one, *one.components)


def keep_poses(objective: Objective, folder: Path) -> Objective:
    """Objective and a folder -> the same, which keeps the poses of its best docked molecules there.

    One that docks nothing is returned as it is.
    """
    function = objective.function
    if isinstance(function, Docking):
        return replace(objective, function=replace(function, poses=folder))
    if isinstance(function, DockingTask):
        docked = tuple(replace(part, poses=folder) for part in function.parts)
        return replace(objective, function=replace(function, parts=docked))
    if isinstance(function, Goals):
        for i, part in enumerate(function.parts):
            kept = replace(part.quantity, objective=keep_poses(part.quantity.objective, folder))
            function.parts[i] = replace(part, quantity=kept)
    return objective


def _question_direction(objective: Objective) -> None:
    """Warn where a potency is maximised that is the better the smaller it is."""
    function, column = objective.function, ""
    if isinstance(function, Learned) and not function.is_probability:
        column = function.regression.column
    elif isinstance(function, Prediction):
        column = function.name
    if objective.maximise and POTENCY.search(column):
        warnings.warn(
            f"{objective.name} is maximised, and a small {column} means a potent molecule: to "
            f"minimise it write -{objective.name}; negative logarithms (pIC50) suit a regression "
            "better",
            MolvaeWarning,
            stacklevel=3,
        )


def _look_up(name: str) -> Objective:
    """Name, without a sign -> objective."""
    if not name.endswith(".json"):
        return _look_up_single(name)
    goals = Goals.read(name, _look_up_part)
    parts = tuple(part.quantity.objective for part in goals.parts)
    return Objective(f"{Path(name).stem}-{goals.digest}", goals, components=parts)


def _look_up_part(text: str) -> Quantity:
    """Text of a quantity in a goals file -> the quantity."""
    if text.endswith(".json"):
        raise MolvaeError(f"{text!r} is a goals file too: list its quantities instead")
    minus, name = split_sign(text)
    return Quantity(_look_up_single(name), minus)


def _look_up_single(name: str) -> Objective:
    if (found := find_registered(name)) is not None:
        return found
    if target := re.fullmatch(r"similarity\((.+)\)", name):
        return Objective(name, Similarity(target[1]))
    if name.startswith(PROGRAM):
        return Objective(name, Command.parse(name.removeprefix(PROGRAM)))
    if name.startswith(DOCK):
        return dock(name)
    if name.startswith(PREDICTED):
        return _predicted(name.removeprefix(PREDICTED))
    if names_measurements(name):
        return _learned(name)
    if name in OF_DOMAIN:
        measure, text = OF_DOMAIN[name]
        return Objective(name, OfDomain(name, measure), description=text)
    if ":" not in name:
        known = dict.fromkeys([*objectives, *properties, *OF_DOMAIN])
        raise unknown_name("objective", name, known)
    try:
        function: object = objectives.look_up(name)
    except MolvaeError:
        raise
    except (Exception, SystemExit) as error:  # importing a user's module may raise anything
        reason = f"{type(error).__name__}: {error}"
        raise MolvaeError(f"importing the objective {name!r} failed: {reason}") from error
    return function if isinstance(function, Objective) else _wrap(name, function)


def _predicted(name: str) -> Objective:
    text = f"as the model predicts {name}"
    return _like(name, Objective(f"{PREDICTED}{name}", Prediction(name), description=text))


def _learned(name: str) -> Objective:
    function = learn_measurements(name)
    found = Objective(function.name, function, description=function.regression.report[0])
    return found if function.is_probability else _like(function.regression.column, found)


def _like(name: str, predicted: Objective) -> Objective:
    """What predicts a property -> the same with its direction and unit, if it is registered."""
    own = find_registered(name)
    return predicted if own is None else replace(predicted, maximise=own.maximise, unit=own.unit)


def _wrap(name: str, function: object) -> Objective:
    if not callable(function):
        raise MolvaeError(f"the objective {name!r} is {function!r}, not a function of a molecule")
    return Objective(name, function)
