"""On-disk cache of tables that are slow to compute, keyed by a name and the RDKit version."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import platformdirs
import rdkit


def load_or_compute(name: str, compute: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """Return the cached table `name`, computing and storing it if it is missing or damaged."""
    folder = Path(os.environ.get("MOLVAE_CACHE") or platformdirs.user_cache_dir("molvae"))
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
        partial.unlink(missing_ok=True)
    return table
