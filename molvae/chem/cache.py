"""On-disk cache of tables that are slow to compute, keyed by a name and the RDKit version."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import platformdirs
import rdkit
from numpy.typing import NDArray

T = TypeVar("T")


def load_or_compute(name: str, compute: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """Return the cached table `name`, computing and storing it if it is missing or damaged."""
    return _load_or_compute(f"{name}.parquet", pd.read_parquet, pd.DataFrame.to_parquet, compute)


def load_or_compute_array(name: str, compute: Callable[[], NDArray[Any]]) -> NDArray[Any]:
    """Like `load_or_compute`, for an array; it stays on disk, shared by all processes."""

    def read(path: Path) -> NDArray[Any]:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        return array

    def write(array: NDArray[Any], path: Path) -> None:
        with path.open("wb") as file:  # given a path, NumPy appends a suffix
            np.save(file, array, allow_pickle=False)

    return _load_or_compute(f"{name}.npy", read, write, compute)


def _load_or_compute(
    name: str, read: Callable[[Path], T], write: Callable[[T, Path], None], compute: Callable[[], T]
) -> T:
    folder = _find_folder()
    if folder is None:
        return compute()
    stem, dot, suffix = name.rpartition(".")
    path = folder / f"{stem}-rdkit{rdkit.__version__}{dot}{suffix}"
    try:
        return read(path)
    except (OSError, ValueError, EOFError):  # the last of an empty array
        pass
    result = compute()
    partial = path.with_suffix(f".{os.getpid()}.part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write(result, partial)
        partial.replace(path)
    except OSError:  # on a full or read-only disk the result is returned uncached
        with contextlib.suppress(OSError):
            partial.unlink()
    return result


def _find_folder() -> Path | None:
    if given := os.environ.get("MOLVAE_CACHE"):
        return Path(given)
    if os.environ.get("HOME") == "":  # the folder would be at the root of the disk
        return None
    return Path(platformdirs.user_cache_dir("molvae"))
