"""Objectives: one pure function per property, molecule -> float. Everything is maximised.

A property that is to be minimised says so where it is registered; the oracle turns its sign, and
nothing else does. A function of the user's own, `package.module:function`, takes an RDKit molecule
like those below and is maximised.
"""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, TypeAlias

import rdkit
from rdkit.Chem import Descriptors, Mol
from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator
from rdkit.DataStructs import TanimotoSimilarity

from molvae.base.errors import MolvaeError
from molvae.base.registry import Registry
from molvae.chem.molecules import parse
from molvae.chem.properties import PROPERTIES, Property, cycle, logp, qed, sas
from molvae.oracles.programs import Command
from molvae.oracles.suites import SUITES


@dataclass(frozen=True)
class Objective:
    """A property with its direction: `label` is what is maximised, "logP" or "-SAS"."""

    name: str
    function: Property
    maximise: bool = True
    description: str = ""

    @property
    def label(self) -> str:
        """The name of the maximised quantity."""
        return self.name if self.maximise else f"-{self.name}"

    @property
    def version(self) -> str | None:
        """What its values depend on beside the molecule: RDKit and molvae, or the user's own file.

        None where that cannot be told.
        """
        if self.function is _not_computed:
            return None
        # the package as a whole, so that moving a file changes no stored score's identity
        if str(getattr(self.function, "__module__", "")).partition(".")[0] == "molvae":
            file = self.function.file if isinstance(self.function, Command) else None
            own = f"molvae {metadata.version('molvae')}, RDKit {rdkit.__version__}"
            return own if file is None else _digest(file)
        named = inspect.isfunction(self.function) and self.function.__qualname__.isidentifier()
        file = inspect.getsourcefile(self.function) if named else None
        return None if file is None else _digest(file)  # others may be different under one name

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process looks a registered one up by its name."""
        if self.name in objectives and objectives[self.name] is self:
            return as_objective, (self.name,)
        return Objective, (self.name, self.function, self.maximise, self.description)


objectives: Registry[Objective] = Registry("objective")


def objective(name: str, *, maximise: bool = True) -> Callable[[Property], Property]:
    """Return a decorator that registers a property function, described by its first line."""

    def store(function: Property) -> Property:
        description = (function.__doc__ or "").strip().partition("\n")[0]
        objectives.register(name)(Objective(name, function, maximise, description))
        return function

    return store


Given: TypeAlias = str | Property | Objective


def as_objective(given: Given) -> Objective:
    """What a user may name as an objective, or a function of a molecule -> `Objective`.

    A name is a registered one, `package.module:function`, `cmd:program {smiles}`, or a JSON file of
    `molvae.oracles.goals`.

    Raises:
        MolvaeError: the name is unknown, its module fails to import, the file is not understood, or
            it cannot be called.
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


def measured_objective(name: str, *, maximise: bool = True) -> Objective:
    """A quantity that no function computes: its values are told (`molvae.Search`)."""
    return Objective(name, _not_computed, maximise, "measured elsewhere")


def _not_computed(mol: Mol) -> float:
    raise RuntimeError("this quantity is measured elsewhere, and has to be told")


def _digest(file: str) -> str:
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()


def _look_up(name: str) -> Objective | Property:
    if name.startswith("cmd:"):
        return Command.parse(name.removeprefix("cmd:"))
    if name.endswith(".json"):
        from molvae.oracles.goals import Goals  # which is made of objectives

        goals = Goals.read(name)
        return Objective(f"{Path(name).stem}-{goals.digest}", goals)
    try:
        return objectives.look_up(name)
    except MolvaeError:
        raise
    except Exception as error:  # a user's module may fail in any way while it is imported
        reason = f"{type(error).__name__}: {error}"
        raise MolvaeError(f"importing the objective {name!r} failed: {reason}") from error


objective("logP")(logp)
objective("QED")(qed)
objective("SAS", maximise=False)(sas)


@objective("plogp_raw")
def plogp_raw(mol: Mol) -> float:
    """Penalised logP: logP - SAS - cycle (Gómez-Bombarelli et al. 2018)."""
    return logp(mol) - sas(mol) - cycle(mol)


@objective("plogp_zinc")
def plogp_zinc(mol: Mol) -> float:
    """Penalised logP, each term standardised on ZINC250k (Kusner et al. 2017)."""
    return (
        (logp(mol) - 2.45777691) / 1.43341767
        + (3.05352042 - sas(mol)) / 0.83460587
        + (0.04861121 - cycle(mol)) / 0.28746695
    )


@objective("drug")
def drug(mol: Mol) -> float:
    """5 * QED - SAS: drug-like and easy to make; the ceiling is near 3.7."""
    return 5 * qed(mol) - sas(mol)


for _suite, _tasks in SUITES.items():
    for _name, _task in _tasks.items():
        _entry = Objective(f"{_suite}:{_name}", _task, description=_task.description)
        objectives.register(_entry.name)(_entry)


def look_up_quantity(name: str) -> Property:
    """A property, an objective, one of RDKit's descriptors, or similarity(SMILES) -> its function.

    The latter is the Tanimoto similarity of Morgan fingerprints (radius 2, 2,048 bits).

    Raises:
        MolvaeError: there is no such thing.
    """
    target = re.fullmatch(r"similarity\((.+)\)", name)
    if target is not None:
        return _similarity(target[1])
    if name in PROPERTIES:
        return PROPERTIES[name]
    if name in objectives:
        return objectives[name].function
    descriptors: dict[str, Property] = dict(Descriptors.descList)
    if name not in descriptors:
        raise MolvaeError(f"{name!r} is no property, no objective and none of RDKit's descriptors")
    return descriptors[name]


def _similarity(smiles: str) -> Property:
    target = parse(smiles)
    if target is None:
        raise MolvaeError(f"{smiles!r} is not a valid SMILES")
    generator = GetMorganGenerator(radius=2, fpSize=2_048)
    reference = generator.GetFingerprint(target)
    return lambda mol: float(TanimotoSimilarity(generator.GetFingerprint(mol), reference))
