"""On-disk cache of tables that are slow to compute, keyed by a name and the RDKit version."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import platformdirs
import rdkit


def load_or_compute(name: str, compute: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """Return the cached table `name`, computing and storing it if it is missing or damaged."""
    folder = _find_folder()
    if folder is None:
        return compute()
    path = folder / f"{name}-rdkit{rdkit.__version__}.parquet"
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError):
        pass
    table = compute()
    partial = path.with_suffix(f".{os.getpid()}.part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        table.to_parquet(partial)
        partial.replace(path)
    except OSError:  # on a full or read-only disk the result is returned uncached
        with contextlib.suppress(OSError):
            partial.unlink()
    return table


def _find_folder() -> Path | None:
    if given := os.environ.get("MOLVAE_CACHE"):
        return Path(given)
    if os.environ.get("HOME") == "":  # the folder would be at the root of the disk
        return None
    return Path(platformdirs.user_cache_dir("molvae"))
