"""Files that a verb writes and another one reads: whole or not at all, and only data inside.

A table of latents is a .npz (arrays `smiles`, `z`) or a .csv (columns smiles, z0, z1, ...).
"""

from __future__ import annotations

import io
import os
import re
import zipfile
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
import pandas as pd

from molvae.errors import MolvaeError

Latents = npt.NDArray[np.float32]


def write(path: str | Path, content: bytes | str) -> None:
    """Put `content` into the file `path`, replacing it; a write that fails leaves `path` as it was.

    Missing folders are made.

    Raises:
        OSError: the folder cannot be made or written, or the disk is full.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)
        partial.replace(path)
    except OSError as error:  # name the file that the user knows
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        partial.unlink(missing_ok=True)


def latents_csv(smiles: list[str], z: Latents) -> str:
    """SMILES and their latents (n, D) -> CSV text that reads back as the same float32 numbers."""
    table = pd.DataFrame(z, columns=[f"z{i}" for i in range(z.shape[1])])
    table.insert(0, "smiles", smiles)
    return table.to_csv(index=False, float_format="%.9g", lineterminator="\n")


def latents_npz(smiles: list[str], z: Latents) -> bytes:
    """SMILES and their latents (n, D) -> an .npz file with the plain arrays `smiles` and `z`."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, smiles=np.array(smiles, dtype=np.str_), z=z)
    return buffer.getvalue()


def read_latents(source: str | Path | IO[str]) -> Latents:
    """An .npz or CSV of latents (path, or open CSV text) -> z, (n, D) float32.

    Raises:
        MolvaeError: no such file, not a table of latents, or a value that is not a finite number.
    """
    name = str(source) if isinstance(source, str | Path) else "standard input"
    try:
        if isinstance(source, str | Path) and Path(source).suffix == ".npz":
            with np.load(source, allow_pickle=False) as arrays:
                z = np.asarray(arrays["z"], dtype=np.float32)
        else:
            table = pd.read_csv(source)
            found = (re.fullmatch(r"z(\d+)", str(name)) for name in table.columns)
            axes = sorted(int(match[1]) for match in found if match)
            z = table[[f"z{axis}" for axis in axes]].to_numpy(dtype=np.float32)
    except FileNotFoundError as error:
        raise MolvaeError(f"{name}: no such file") from error
    except (KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise MolvaeError(f"{name}: not a table of latents (.npz or .csv): {error}") from error
    if z.ndim != 2 or z.shape[1] == 0:
        raise MolvaeError(f"{name}: no latents in it (an array z, or columns z0, z1, ...)")
    if not np.isfinite(z).all():
        row = int(np.flatnonzero(~np.isfinite(z).all(axis=1))[0]) + 1
        raise MolvaeError(f"{name}: row {row} has a latent that is not a finite number")
    return z
