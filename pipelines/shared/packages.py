"""Find data files inside packages from PyPI, which need not be importable."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

from molvae.base.errors import MolvaeError


def locate_file(package: str, name: str) -> Path:
    """Name of a package and of a file in it -> the file's path.

    Raises:
        MolvaeError: the package is missing, or has no such file.
    """
    for file in list_files(package):
        if file.name == name:
            return file
    raise MolvaeError(f"the package {package} has no file {name}: install the tested version")


def list_files(package: str) -> list[Path]:
    """Name of a package -> the paths of all its files.

    Raises:
        MolvaeError: the package is missing.
    """
    try:
        files = importlib.metadata.files(package)
    except importlib.metadata.PackageNotFoundError:
        raise MolvaeError(
            f"the package {package} is missing: pip install 'molvae[studies]'"
        ) from None
    return [Path(str(file.locate())) for file in files or []]
