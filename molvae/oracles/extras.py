"""Objectives that optional packages compute: docking, quantum chemistry.

They are listed everywhere like the others, and their packages are imported only when a molecule is
evaluated. Whoever lacks them is told what to install, before a search begins.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from importlib.metadata import PackageNotFoundError, version
from typing import ClassVar

from rdkit.Chem import Mol

from molvae.base.errors import MolvaeError


class External(ABC):
    """A function of a molecule that the packages of an extra compute; slow, unlike molvae's own.

    Attributes:
        extra: the extra of molvae that installs the packages, such as "docking".
        packages: their names on PyPI.
    """

    extra: ClassVar[str]
    packages: ClassVar[tuple[str, ...]]

    @abstractmethod
    def __call__(self, mol: Mol) -> float:
        """Molecule -> the value; an exception says why there is none."""

    def check(self) -> None:
        """Refuse to begin where it cannot be computed.

        Raises:
            MolvaeError: a package is missing, or what else is.
        """
        _ = self.sources

    @property
    def sources(self) -> dict[str, str]:
        """What computes the values, beside molvae and RDKit: versions by package.

        Raises:
            MolvaeError: a package is missing.
        """
        found = dict[str, str]()
        for package in self.packages:
            try:
                found[package] = version(package)
            except PackageNotFoundError:
                raise MolvaeError(
                    f"the package {package} is missing: pip install 'molvae[{self.extra}]'"
                ) from None
        return found
