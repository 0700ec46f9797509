"""Objectives: one pure function each, molecule -> float. Everything is maximised.

A property that is to be minimised says so where it is registered; the oracle turns its sign, and
nothing else does. Besides what is registered here, each property of a molecule
(`molvae.chem.properties`), each RDKit descriptor and the similarity to a molecule is a
quantity that can be searched for, constrained, weighed in goals and learned. To add an objective,
write a function here and register it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import rdkit
from rdkit.Chem import Descriptors, Mol

from molvae.base.errors import MolvaeError
from molvae.base.registry import Registry
from molvae.chem.fingerprints import Similarity
from molvae.chem.properties import Property, cycle, logp, properties, qed, sas
from molvae.oracles.identity import (
    combine_hashes,
    find_command_files,
    find_function_files,
    hash_files,
)
from molvae.oracles.programs import Command
from molvae.oracles.suites import SUITES


@dataclass(frozen=True)
class Objective:
    """A function of a molecule with a name and a direction."""

    name: str
    function: Property
    maximise: bool = True
    description: str = ""

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
        if isinstance(self.function, Command):
            return hash_files(find_command_files(self.function))
        if self.measured:
            return None
        if is_own(self.function):
            # the package version, not a file hash, so that moving code keeps stored scores valid
            return {"molvae": metadata.version("molvae"), "RDKit": rdkit.__version__}
        files = find_function_files(self.function)
        return None if files is None else hash_files(files)

    @property
    def version(self) -> str | None:
        """Fingerprint of the code that computes the values; None if it cannot be determined.

        Either the versions of molvae and RDKit, or a hash of the user's files.
        """
        sources = self.sources
        if sources is None:
            return None
        if is_own(self.function) and not isinstance(self.function, Command):
            return ", ".join(f"{name} {version}" for name, version in sources.items())
        return combine_hashes(sources)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle what molvae registers by name."""
        known = {**DESCRIPTORS, **{name: entry.function for name, entry in objectives.items()}}
        if known.get(self.name) is self.function and is_own(self.function):
            return find_objective, (self.name,)
        return Objective, (self.name, self.function, self.maximise, self.description)


objectives: Registry[Objective] = Registry("objective")


def objective(name: str, *, maximise: bool = True) -> Callable[[Property], Property]:
    """Objective name -> a decorator that registers a function, described by its first line."""

    def store(function: Property) -> Property:
        description = (function.__doc__ or "").strip().partition("\n")[0]
        objectives.register(name)(Objective(name, function, maximise, description))
        return function

    return store


def find_objective(name: str) -> Objective | None:
    """Name of a quantity -> the objective, or None if there is none of that name.

    That is, in this order: a registered objective, a property of a molecule, an RDKit
    descriptor, or similarity(SMILES), the Tanimoto similarity of Morgan fingerprints (radius 2,
    2,048 bits).

    Raises:
        MolvaeError: the SMILES in similarity(SMILES) is not valid.
    """
    if name in objectives:
        return objectives[name]
    if name in properties:
        own = properties[name]
        return Objective(name, own.function, own.maximise, own.description)
    if name in DESCRIPTORS:
        return Objective(name, DESCRIPTORS[name], description="an RDKit descriptor")
    target = re.fullmatch(r"similarity\((.+)\)", name)
    return None if target is None else Objective(name, Similarity(target[1]))


def look_up_quantity(name: str) -> Property:
    """Name of a quantity, as for `find_objective` -> its function.

    Raises:
        MolvaeError: there is no quantity of that name.
    """
    found = find_objective(name)
    if found is None:
        raise MolvaeError(f"{name!r} is not a property, an objective or an RDKit descriptor")
    return found.function


DESCRIPTORS: dict[str, Property] = dict(Descriptors.descList)


def measured_objective(name: str, *, maximise: bool = True) -> Objective:
    """Name and direction -> an objective whose values are passed to `molvae.Search.tell`."""
    return Objective(name, _fail_uncomputed, maximise, "measured elsewhere")


def _fail_uncomputed(mol: Mol) -> float:
    raise RuntimeError("this quantity is measured elsewhere: report its values with `tell`")


def is_own(function: Property) -> bool:
    """Whether a function is part of molvae or RDKit."""
    return str(getattr(function, "__module__", "")).partition(".")[0] in ("molvae", "rdkit")


for _name in ("logP", "QED", "SAS"):
    _own = properties[_name]
    objectives.register(_name)(Objective(_name, _own.function, _own.maximise, _own.description))


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
