"""Tables of latent points that one command writes and another reads; they hold only data.

An .npz file holds the arrays `smiles` and `z`; .csv and Parquet have the columns smiles, z0, z1,
... Folders of Parquet parts are written by `molvae.library.stream`. No file is ever left
half-written, and nothing in a file is executed.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.parquet as pq

from molvae.base.errors import MolvaeError
from molvae.base.files import read_json_object
from molvae.chem.files import PARQUET_SUFFIXES

Latents = npt.NDArray[np.float32]
LATENT_ROWS = 2_000  # read at a time
SETTINGS, TOTAL = "_settings.json", "_total.json"  # beside the parts; readers of Parquet skip "_"
FINISH = "rerun the command that wrote it to resume; all shards write into one folder"


def format_latents_csv(smiles: list[str], z: Latents, columns: pd.DataFrame | None = None) -> str:
    """SMILES and latents (n, D) -> CSV text that round-trips float32 exactly.

    `columns`, such as names or predicted properties, come before the latents.
    """
    parts = [pd.DataFrame({"smiles": smiles})]
    parts += [] if columns is None else [columns]
    parts += [pd.DataFrame(z, columns=[f"z{i}" for i in range(z.shape[1])])]
    return pd.concat(parts, axis=1).to_csv(index=False, float_format="%.9g", lineterminator="\n")


def format_latents_npz(smiles: list[str], z: Latents, columns: pd.DataFrame | None = None) -> bytes:
    """SMILES and latents (n, D) -> content of an .npz file with arrays `smiles` and `z`.

    Each of `columns`, such as names or predicted properties, becomes another array.
    """
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {"smiles": np.array(smiles, dtype=np.str_), "z": z}
    for name, column in {} if columns is None else columns.items():
        array = column.to_numpy()
        arrays[str(name)] = array.astype(np.str_) if array.dtype == object else array
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def read_latents(source: str | Path | IO[str]) -> Latents:
    """File, folder of parts or open CSV stream -> latents (n, D) float32.

    Raises:
        MolvaeError: as in `iter_latents`.
    """
    return np.concatenate(list(iter_latents(source, LATENT_ROWS)))


def iter_latents(source: str | Path | IO[str], size: int) -> Iterator[Latents]:
    """File, folder of parts or open CSV stream -> latent arrays (size, D) float32.

    The last array may be shorter. Tables are streamed, except .npz files, which are read whole. A
    Parquet row with null latents, which `molvae encode` writes for a string that it cannot encode,
    becomes a row of NaN.

    Raises:
        MolvaeError: the file does not exist or is not a table of latents, a value is not a finite
            number, or the folder is incomplete.
    """
    name = str(source) if isinstance(source, str | Path) else "standard input"
    row = 0
    held: Latents | None = None
    try:
        for z, gaps_allowed in _tables(source):
            if z.ndim != 2 or z.shape[1] == 0:
                raise MolvaeError(f"{name}: contains no latents (array z, or columns z0, z1, ...)")
            _check_finite(z, gaps_allowed, name, row)
            row += len(z)
            held = z if held is None else np.concatenate([held, z])
            while len(held) > size:
                yield held[:size]
                held = held[size:]
    except FileNotFoundError as error:
        raise MolvaeError(f"{name}: no such file") from error
    except (KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise MolvaeError(f"{name}: not a table of latents: {error}") from error
    if held is None:
        raise MolvaeError(f"{name}: contains no latents")
    yield held


def _tables(source: str | Path | IO[str]) -> Iterator[tuple[Latents, bool]]:
    """Source -> pieces of its latents, and whether rows may have null latents."""
    if not isinstance(source, str | Path):
        yield from _csv_tables(source)
    elif Path(source).suffix.lower() == ".npz":
        with np.load(source, allow_pickle=False) as arrays:
            yield np.asarray(arrays["z"], dtype=np.float32), False
    elif Path(source).is_dir() or Path(source).suffix.lower() in PARQUET_SUFFIXES:
        for path in list_parquet_files(source):
            with pq.ParquetFile(path, pre_buffer=False) as file:
                columns = _latent_columns(file.schema_arrow.names)
                for batch in file.iter_batches(LATENT_ROWS, columns=columns):
                    z = [batch[column].to_numpy(zero_copy_only=False) for column in columns]
                    yield np.array(z, dtype=np.float32).reshape(len(columns), len(batch)).T, True
    else:
        yield from _csv_tables(source)


def _csv_tables(source: str | Path | IO[str]) -> Iterator[tuple[Latents, bool]]:
    with pd.read_csv(source, chunksize=LATENT_ROWS) as tables:
        for table in tables:
            columns = _latent_columns([str(name) for name in table.columns])
            yield table[columns].to_numpy(dtype=np.float32), False


def _latent_columns(names: list[str]) -> list[str]:
    found = (re.fullmatch(r"z(\d+)", name) for name in names)
    return [f"z{axis}" for axis in sorted(int(match[1]) for match in found if match)]


def _check_finite(z: Latents, gaps_allowed: bool, name: str, before: int) -> None:
    wrong = ~np.isfinite(z).all(axis=1)
    if gaps_allowed:
        wrong &= ~np.isnan(z).all(axis=1)
    if wrong.any():
        row = before + int(np.flatnonzero(wrong)[0]) + 1
        raise MolvaeError(f"{name}: row {row} has a latent that is not a finite number")


def part_name(part: int) -> str:
    """Chunk number, from 0 -> file name of its part."""
    return f"part-{part:05d}.parquet"


def list_parquet_files(source: str | Path) -> list[Path]:
    """Parquet file, or folder of them -> list of files in row order.

    Raises:
        MolvaeError: the folder holds no Parquet files, or parts of a stream are missing.
    """
    folder = Path(source)
    if not folder.is_dir():
        return [folder]
    if not (folder / SETTINGS).exists():
        files = sorted(folder.glob("*.parquet"))
        if not files:
            raise MolvaeError(f"{folder}: contains no Parquet files")
        return files
    here = {path.name for path in folder.glob("part-*.parquet")}
    if not (folder / TOTAL).exists():
        raise MolvaeError(f"{folder}: unfinished, {len(here)} parts so far: {FINISH}")
    parts = read_json_object(folder / TOTAL).get("parts")
    if not isinstance(parts, int):
        raise MolvaeError(f"{folder / TOTAL} is damaged: repair or remove it")
    names = [part_name(part) for part in range(parts)]
    if missing := sum(name not in here for name in names):
        raise MolvaeError(f"{folder}: {missing} of {parts} parts are missing: {FINISH}")
    return [folder / name for name in names]


def count_parquet_rows(source: str | Path) -> int | None:
    """Parquet file, or folder of them -> number of rows; None for other kinds of files.

    Raises:
        MolvaeError: as in `list_parquet_files`.
    """
    if not Path(source).is_dir() and Path(source).suffix.lower() not in PARQUET_SUFFIXES:
        return None
    return sum(int(pq.read_metadata(path).num_rows) for path in list_parquet_files(source))


def identify_input(source: str | Path) -> dict[str, str | int]:
    """File, or folder of Parquet files -> its name and size, which identify the input.

    Raises:
        MolvaeError: the file does not exist.
        OSError: the file cannot be accessed.
    """
    path = Path(source)
    if not path.exists():
        raise MolvaeError(f"{path}: no such file")
    size = sum(file.stat().st_size for file in list_parquet_files(path))
    return {"name": path.name, "bytes": size}
