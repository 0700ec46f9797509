"""Objectives: one pure function per property, molecule -> float. Everything is maximised.

A property that is to be minimised says so where it is registered; the oracle turns its sign, and
nothing else does. A function of the user's own, `package.module:function`, takes an RDKit molecule
like those below and is maximised.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from rdkit.Chem import QED, Mol
from rdkit.Chem.rdMolDescriptors import CalcCrippenDescriptors
from rdkit.Contrib.SA_Score import sascorer

from molvae.chem.external import Command
from molvae.chem.suites import SUITES
from molvae.errors import MolvaeError
from molvae.registry import Registry

Property: TypeAlias = Callable[[Mol], float]


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
    """A registered name, `package.module:function`, `cmd:program {smiles}` or a function of a
    molecule -> `Objective`.

    Raises:
        MolvaeError: the name is unknown, its module fails to import, or it cannot be called.
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


def measured(name: str, *, maximise: bool = True) -> Objective:
    """A quantity that no function computes: its values are told (`molvae.Search`)."""
    return Objective(name, _not_computed, maximise, "measured elsewhere")


def _not_computed(mol: Mol) -> float:
    raise RuntimeError("this quantity is measured elsewhere, and has to be told")


def _look_up(name: str) -> Objective | Property:
    if name.startswith("cmd:"):
        return Command.parse(name.removeprefix("cmd:"))
    try:
        return objectives[name]
    except MolvaeError:
        raise
    except Exception as error:  # a user's module may fail in any way while it is imported
        reason = f"{type(error).__name__}: {error}"
        raise MolvaeError(f"importing the objective {name!r} failed: {reason}") from error


@objective("logP")
def logp(mol: Mol) -> float:
    """Octanol-water partition coefficient, log10 (Wildman & Crippen 1999)."""
    return float(CalcCrippenDescriptors(mol)[0])


@objective("QED")
def qed(mol: Mol) -> float:
    """Quantitative estimate of drug-likeness, 0 to 1 (Bickerton et al. 2012)."""
    return float(QED.qed(mol))  # type: ignore[no-untyped-call]


@objective("SAS", maximise=False)
def sas(mol: Mol) -> float:
    """Synthetic accessibility, 1 easy to 10 hard, minimised (Ertl & Schuffenhauer 2009)."""
    return float(sascorer.calculateScore(mol))


def cycle(mol: Mol) -> float:
    """Atoms by which the longest ring (RDKit's ring information) exceeds six, at least 0."""
    longest = max((len(ring) for ring in mol.GetRingInfo().AtomRings()), default=0)
    return float(max(0, longest - 6))


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


def heavy_atoms(mol: Mol) -> float:
    """Number of atoms other than hydrogen."""
    return float(mol.GetNumHeavyAtoms())


PROPERTIES: dict[str, Property] = {
    "logP": logp,
    "SAS": sas,
    "QED": qed,
    "heavy_atoms": heavy_atoms,
}
