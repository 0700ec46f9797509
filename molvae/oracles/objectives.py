"""Objectives: one pure function each, molecule -> float. Everything is maximised.

A property that is to be minimised says so where it is registered, or by a minus before its name;
the oracle turns its sign for the search, and `Objective.restore_sign` turns it back for the reader.
How a user names a quantity is the subject of `molvae.oracles.given`. To add an objective, write a
function here and register it.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import metadata
from typing import Any

import rdkit
from rdkit.Chem import Mol

from molvae.base.errors import MolvaeError
from molvae.base.registry import Registry
from molvae.chem.properties import (
    MoleculeProperty,
    Property,
    cycle,
    find_property,
    logp,
    properties,
    qed,
    sas,
)
from molvae.oracles.docking import DOCK, TARGETS, TASKS, parse_docking
from molvae.oracles.docking import UNIT as DOCKING_UNIT
from molvae.oracles.extras import External
from molvae.oracles.identity import (
    combine_hashes,
    find_command_files,
    find_function_files,
    hash_files,
)
from molvae.oracles.measurements import Learned
from molvae.oracles.predictions import Prediction
from molvae.oracles.programs import Command
from molvae.oracles.quantum import QUANTITIES
from molvae.oracles.suites import SUITES

PACKAGES = ("molvae", "RDKit")  # whose versions say what they compute


@dataclass(frozen=True)
class Objective:
    """A function of a molecule with a name and a direction.

    Attributes:
        name: what it is called in tables and messages.
        function: molecule -> value, with the user's sign.
        maximise: whether greater values are better.
        description: one line.
        unit: of the values, "" for a pure number.
        components: the quantities that the function is made of, such as those of a goals file.
    """

    name: str
    function: Property
    maximise: bool = True
    description: str = ""
    unit: str = ""
    components: tuple[Objective, ...] = ()

    @property
    def title(self) -> str:
        """The name with the unit, such as "TPSA (Å²)"."""
        return f"{self.name} ({self.unit})" if self.unit else self.name

    @property
    def is_ours(self) -> bool:
        """Whether molvae or RDKit computes it, fast and the same every time; no user's code."""
        module = str(getattr(self.function, "__module__", "")).partition(".")[0]
        foreign = isinstance(self.function, Command | External)
        return module in ("molvae", "rdkit") and not foreign

    def restore_sign(self, y: float) -> float:
        """Maximised value -> the value with the user's sign."""
        return y if self.maximise else -y

    @property
    def label(self) -> str:
        """The name of the maximised quantity, such as "logP" or "-SAS"."""
        return self.name if self.maximise else f"-{self.name}"

    @property
    def measured(self) -> bool:
        """Whether its values are told, not computed."""
        return self.function is _fail_uncomputed

    @property
    def sources(self) -> dict[str, str] | None:
        """What computes the values: versions of packages, or hashes of the user's files by path.

        None if it is not known.
        """
        if self.components:
            parts = [part.sources for part in self.components]
            known = [part for part in parts if part is not None]
            return dict(ChainMap(*known)) if len(known) == len(parts) else None
        if isinstance(self.function, Command):
            return hash_files(find_command_files(self.function))
        if self.measured or isinstance(self.function, Prediction):
            return None
        # the package version, not a file hash, so that moving code keeps stored scores valid
        ours = dict(zip(PACKAGES, (metadata.version("molvae"), rdkit.__version__), strict=True))
        if isinstance(self.function, Learned):
            return dict(self.function.regression.hashes) | ours
        if isinstance(self.function, External):
            return ours | self.function.sources
        if self.is_ours:
            return ours
        files = find_function_files(self.function)
        return None if files is None else hash_files(files)

    @property
    def version(self) -> str | None:
        """Fingerprint of the code that computes the values; None if it cannot be determined.

        The versions of molvae, RDKit and further packages, a hash of the user's files, or both.
        """
        if self.components:  # the version that they share, or all of them
            known = [part.version or "" for part in self.components]
            return "; ".join(dict.fromkeys(known)) if all(known) else None
        sources = self.sources
        if sources is None:
            return None
        if self.is_ours or isinstance(self.function, External):
            return ", ".join(f"{name} {version}" for name, version in sources.items())
        return combine_hashes(sources)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle a registered objective of molvae's by name."""
        found = find_registered(self.name)
        if self.is_ours and found is not None and found.function is self.function:
            return _recall, (self.name, self.maximise)
        return Objective, tuple(vars(self).values())


@dataclass(frozen=True)
class Quantity:
    """What "[-]NAME" stands for where numbers are compared or added: a value or its negative."""

    objective: Objective
    negative: bool = False

    def __call__(self, mol: Mol) -> float:
        """Molecule -> the value."""
        value = self.objective.function(mol)
        return -value if self.negative else value


objectives: Registry[Objective] = Registry("objective")


def objective(
    name: str, *, maximise: bool = True, unit: str = ""
) -> Callable[[Property], Property]:
    """Objective name -> a decorator that registers a function, described by its first line."""

    def store(function: Property) -> Property:
        description = (function.__doc__ or "").strip().partition("\n")[0]
        objectives.register(name)(Objective(name, function, maximise, description, unit))
        return function

    return store


def find_registered(name: str) -> Objective | None:
    """Name of an objective, a property or an RDKit descriptor -> the objective, None for others."""
    if name in objectives:
        return objectives[name]
    own = find_property(name)
    return None if own is None else _from_property(own)


def _from_property(own: MoleculeProperty) -> Objective:
    return Objective(own.name, own.function, own.maximise, own.description, own.unit)


def _recall(name: str, maximise: bool) -> Objective:
    """Unpickle a registered objective."""
    found = find_registered(name)
    if found is None:
        raise MolvaeError(f"the objective {name!r} is not registered in this process")
    return replace(found, maximise=maximise)


def measured_objective(name: str, *, maximise: bool = True) -> Objective:
    """Name and direction -> an objective whose values are passed to `molvae.Search.tell`."""
    return Objective(name, _fail_uncomputed, maximise, "measured elsewhere")


def _fail_uncomputed(mol: Mol) -> float:
    raise RuntimeError("this quantity is measured elsewhere: report its values with `tell`")


for _name in ("logP", "QED", "SAS"):
    objectives.register(_name)(_from_property(properties[_name]))


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
    """5 * QED - SAS: drug-like and easy to synthesise; at most about 3.7."""
    return 5 * qed(mol) - sas(mol)


for _suite, _tasks in SUITES.items():
    for _name, _task in _tasks.items():
        _entry = Objective(f"{_suite}:{_name}", _task, description=_task.description)
        objectives.register(_entry.name)(_entry)


def dock(text: str) -> Objective:
    """Name of docking, such as "dock:DRD2" -> the objective; errors as in `parse_docking`."""
    function = parse_docking(text.removeprefix(DOCK))
    return Objective(text, function, False, function.description, DOCKING_UNIT)


for _name in (*TARGETS, *TASKS):
    objectives.register(f"{DOCK}{_name}")(dock(f"{DOCK}{_name}"))

for _name, _quantity in QUANTITIES.items():
    _entry = Objective(_name, _quantity, True, _quantity.description, _quantity.unit)
    objectives.register(_name)(_entry)
