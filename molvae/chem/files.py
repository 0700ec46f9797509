"""Files of molecules: what a file holds, and its rows.

CSV with any usual delimiter, Parquet, SMILES files (.smi) and SDF can be read, all but Parquet also
compressed by gzip, bzip2 or xz. Rows are streamed, never loaded whole. A delimiter is chosen by
what it gives: the one under which the column of SMILES holds molecules. General detectors of
dialects take characters of SMILES, or of text in other columns, for delimiters.
"""

from __future__ import annotations

import bz2
import codecs
import contextlib
import csv
import gzip
import io
import lzma
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, BinaryIO, TextIO

import pyarrow as pa
import pyarrow.parquet as pq
from rdkit import Chem

from molvae.base.errors import MolvaeError
from molvae.chem.molecules import parse, silence_rdkit

CHUNK = 2_000  # rows of Parquet read at a time
SAMPLE = 1 << 16  # bytes that the format is recognised from
SAMPLE_ROWS = 50
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", " ": "blanks"}
TABLE_SUFFIXES = (".csv", ".tsv", ".tab")
SMILES_SUFFIXES = (".smi", ".smiles", ".ism", ".can", ".cxsmiles")
SDF_SUFFIXES = (".sdf", ".sd", ".mol")
PARQUET_SUFFIXES = (".parquet", ".pq")
SUFFIXES = {*TABLE_SUFFIXES, ".txt", *SMILES_SUFFIXES, *SDF_SUFFIXES, *PARQUET_SUFFIXES}
KNOWN = "CSV, TSV, Parquet, .smi, .txt and SDF, and these (not Parquet) as .gz, .bz2 or .xz"
COMPRESSED: dict[bytes, Any] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}
NAME_COLUMNS = re.compile(r"(.*[\W_])?(id|name|names|title|identifier|code)")

Cells = tuple[str, ...]


def _read_stray_bytes(error: UnicodeError) -> tuple[str, int]:
    """Codec error handler: bytes that are not UTF-8 are read as Windows-1252, as Excel writes."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    stray = error.object[error.start : error.end]
    return stray.decode("cp1252", errors="replace"), error.end


codecs.register_error("molvae-stray-bytes", _read_stray_bytes)


@dataclass(frozen=True)
class MoleculeFile:
    """A file of molecules whose format is known; nothing but its beginning has been read.

    Attributes:
        path: the file.
        columns: names of its columns, without blanks around them; empty if it has no header.
        smiles: the column of SMILES; empty if it has no header.
        names: the column of names, "" if they have no header, or None if there are none.
        description: what was taken as what, for the user.
        decimal_comma: whether "7,5" in a cell is a number.
    """

    path: Path
    columns: Sequence[str]
    smiles: str
    names: str | None
    description: str
    decimal_comma: bool
    _cells: Callable[[Sequence[str]], Iterator[Cells]]

    def iter_rows(self, columns: Sequence[str] = ()) -> Iterator[Cells]:
        """Column names -> (SMILES, name, *cells) of each row, as text; "" where a cell is empty.

        Raises:
            MolvaeError: there is no such column, no row, or the file cannot be read.
        """
        wanted = [find_column(self.columns, column, self.path) for column in columns]
        rows = 0
        with _readable(self.path):
            for smiles, *rest in self._cells(wanted):
                rows += 1
                yield (next(iter(smiles.split(maxsplit=1)), ""), *rest)
        if not rows:
            raise MolvaeError(f"{self.path}: has no rows")


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, ValueError, csv.Error, lzma.LZMAError, pa.ArrowException) as error:
        raise MolvaeError(f"{path}: cannot be read: {error}") from error


def open_molecules(source: str) -> MoleculeFile:
    """FILE or FILE:COLUMN -> the file, with its format recognised.

    The column of SMILES is the one asked for, else the one called "smiles", else the only one whose
    name contains "smiles"; capitals and blanks around names do not matter.

    Raises:
        MolvaeError: the file does not exist, is of no known format, or has no such column.
    """
    path, column = split_source(source)
    with _readable(path), _open_binary(path) as file:
        sample = file.read(SAMPLE)
        whole = not file.read(1)
    suffix = _suffix(path)
    if sample.startswith(b"PAR1") or suffix in PARQUET_SUFFIXES:
        return _open_parquet(path, column)
    if suffix in SDF_SUFFIXES:
        return _open_sdf(path, column)
    encoding = _find_encoding(sample, path)
    if not sample.strip():
        raise MolvaeError(f"{path}: is empty")
    if suffix in SUFFIXES:
        return _open_text(path, column, encoding, _decode(sample, encoding), whole)
    raise MolvaeError(f"{path}: unknown format {suffix or 'without a suffix'!r}; known: {KNOWN}")


def split_source(source: str) -> tuple[Path, str]:
    """FILE or FILE:COLUMN -> the path, and the column name or "".

    Raises:
        MolvaeError: the file does not exist.
    """
    path, column = Path(source), ""
    if not path.exists() and ":" in source:
        name, _, column = source.rpartition(":")
        path = Path(name)
    if path.is_dir():
        raise MolvaeError(f"{path}: is a folder, not a file of molecules")
    if not path.is_file():
        raise MolvaeError(f"{path}: no such file")
    return path, column


def names_a_file(text: str) -> bool:
    """Tell whether FILE or FILE:COLUMN is meant: it has a suffix that is known here."""
    return any(_suffix(Path(part)) in SUFFIXES for part in (text, text.rpartition(":")[0]))


def _suffix(path: Path) -> str:
    name = re.sub(r"\.(gz|bz2|xz)$", "", path.name.lower())
    return Path(name).suffix


def find_column(names: Sequence[str], column: str, path: Path) -> str:
    """Column names and the requested one ("" for the SMILES) -> the column as it is called.

    Raises:
        MolvaeError: there is no such column, or several might be meant.
    """
    found = match_column(names, column)
    if len(found) == 1:
        return found[0]
    if found:
        raise MolvaeError(f"{path}: several columns may be meant: {', '.join(found)} (FILE:COLUMN)")
    wanted = f"column {column!r}" if column else "column called smiles"
    there = ", ".join(names) or "none"
    raise MolvaeError(f"{path}: no {wanted}; columns: {there} (use FILE:COLUMN)")


def match_column(names: Sequence[str], column: str) -> list[str]:
    """Column names and the requested one ("" for the SMILES) -> the columns that may be meant."""
    if column and column in names:
        return [column]
    wanted = column.strip().lower() or "smiles"
    same = [name for name in names if name.lower() == wanted]
    if same or column:
        return same
    return [name for name in names if "smiles" in name.lower()]


def _find_names(columns: Sequence[str], smiles: str) -> str | None:
    """The first column that seems to hold names, or None."""
    others = (name for name in columns if name != smiles)
    return next((n for n in others if NAME_COLUMNS.fullmatch(n.lower()) or n.endswith("ID")), None)


def _describe(smiles: str, names: str | None, *how: str) -> str:
    parts = [f"SMILES from column {smiles!r}"] if smiles else []
    parts += [f"names from {names!r}"] if names else []
    return ", ".join([*parts, *(word for word in how if word)])


@contextmanager
def _open_binary(path: Path) -> Iterator[BinaryIO | IO[bytes]]:
    with path.open("rb") as file:
        start = file.read(6)
        file.seek(0)
        opener = next((o for magic, o in COMPRESSED.items() if start.startswith(magic)), None)
        if opener is None:
            yield file
        else:
            with opener(file) as unpacked:
                yield unpacked


def _find_encoding(sample: bytes, path: Path) -> str:
    """The first bytes of a text file -> its encoding.

    Raises:
        MolvaeError: it is no text.
    """
    for mark, encoding in (
        (codecs.BOM_UTF8, "utf-8-sig"),
        (codecs.BOM_UTF32_LE, "utf-32"),  # begins as the mark of UTF-16 does
        (codecs.BOM_UTF32_BE, "utf-32"),
        (codecs.BOM_UTF16_LE, "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16"),
    ):
        if sample.startswith(mark):
            return encoding
    if b"\0" not in sample:
        return "utf-8"
    for start, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):  # without a byte-order mark
        if not sample[start::2].strip(b"\0") and b"\0" not in sample[1 - start :: 2]:
            return encoding
    hint = "an Excel or zip file: save it as CSV" if sample.startswith(b"PK") else "not text"
    raise MolvaeError(f"{path}: is {hint}; known formats: {KNOWN}")


def _decode(sample: bytes, encoding: str) -> str:
    decoder = codecs.getincrementaldecoder(encoding)("molvae-stray-bytes")
    return decoder.decode(sample)  # tolerates a character that is cut at the end


@contextmanager
def _open_lines(path: Path, encoding: str) -> Iterator[TextIO]:
    with (
        _open_binary(path) as file,
        io.TextIOWrapper(file, encoding, errors="molvae-stray-bytes", newline="") as lines,
    ):
        yield lines


def _open_text(path: Path, column: str, encoding: str, sample: str, whole: bool) -> MoleculeFile:
    """A file of text -> a table if it has a header with a column of SMILES, else a SMILES file."""
    separator = re.match(r"sep=(.)\r?\n", sample, re.IGNORECASE)  # Excel's first line
    text = sample[separator.end() :] if separator else sample
    text = text if whole else text[: max(text.rfind("\n"), text.rfind("\r")) + 1]
    delimiters = [separator[1]] if separator else [*DELIMITERS]
    usable = [d for d in (_Dialect.make(text, one, column) for one in delimiters) if d.columns]
    found = [dialect for dialect in usable if dialect.matches]
    if not found and _suffix(path) not in TABLE_SUFFIXES:
        if column:
            raise MolvaeError(f"{path}: no column {column!r}: the file has no header that names it")
        return _open_smiles(path, encoding, text)
    if not usable:
        raise MolvaeError(f"{path}: cannot be read as a table: check its quotation marks")
    dialect = max(found or usable, key=lambda d: (d.valid, d.named))
    first = next(iter(dialect.columns), "")
    if not found and not column and any(map(parse, dialect.columns)):
        raise MolvaeError(
            f"{path}: the first row {first!r} seems to be a molecule: add a header, such as smiles,"
            " or call the file .smi"
        )
    smiles = find_column(dialect.columns, column, path)
    names = _find_names(dialect.columns, smiles)
    how = "" if dialect.delimiter == "," else f"{DELIMITERS.get(dialect.delimiter, 'cells')}"
    how = f"separated by {how}" if how else ""
    own = "" if encoding.startswith("utf-8") else encoding.upper()

    def cells(wanted: Sequence[str]) -> Iterator[Cells]:
        places = [dialect.place(name) for name in (smiles, names, *wanted)]
        with _open_lines(path, encoding) as lines:
            rows = dialect.read(lines, skip_first=separator is not None)
            for row in islice(rows, 1, None):  # without the header
                yield tuple(row[i].strip() if 0 <= i < len(row) else "" for i in places)

    return MoleculeFile(
        path,
        dialect.columns,
        smiles,
        names,
        _describe(smiles, names, how, own),
        dialect.delimiter != ",",
        cells,
    )


@dataclass(frozen=True)
class _Dialect:
    """A delimiter, and what the beginning of a table looks like under it."""

    delimiter: str
    columns: list[str]
    matches: list[str]  # columns that may be the one asked for
    valid: float  # share of its first cells that are molecules
    labelled: bool  # each row begins with a label that the header has no name for, as R writes

    @classmethod
    def make(cls, text: str, delimiter: str, column: str) -> _Dialect:
        """Text without a cut row at its end, delimiter and requested column -> the dialect."""
        rows: list[list[str]] = []
        with contextlib.suppress(csv.Error):  # the last row may be cut
            rows.extend(islice(_read_csv(io.StringIO(text, newline=""), delimiter), SAMPLE_ROWS))
        columns = [name.strip() for name in rows[0]] if rows else []
        matches = match_column(columns, column)
        if len(matches) != 1:
            return cls(delimiter, columns, matches, 0.0, False)
        at, body = columns.index(matches[0]), rows[1:]
        own = _share_valid(body, at)
        longer = bool(body) and all(len(row) == len(columns) + 1 for row in body)
        shifted = _share_valid(body, at + 1) if longer else 0.0
        return cls(delimiter, columns, matches, max(own, shifted), shifted > own)

    @property
    def named(self) -> int:
        """The number of columns with a name: a comma between blanks is none."""
        return sum(any(map(str.isalnum, name)) for name in self.columns)

    def place(self, name: str | None) -> int:
        """Column name -> its position in a row, -1 for None."""
        return -1 if name is None else self.columns.index(name) + self.labelled

    def read(self, lines: Iterable[str], skip_first: bool) -> Iterator[list[str]]:
        """Lines -> rows, the header first."""
        return _read_csv(islice(lines, int(skip_first), None), self.delimiter)


def _share_valid(rows: list[list[str]], at: int) -> float:
    cells = [row[at].split(maxsplit=1)[:1] if at < len(row) else [] for row in rows]
    valid = sum(parse(smiles) is not None for cell in cells for smiles in cell)
    return valid / max(1, len(cells))


def _read_csv(lines: Iterable[str], delimiter: str) -> Iterator[list[str]]:
    # strict: an open quotation mark is an error instead of a cell that swallows the rest
    reader = csv.reader(lines, delimiter=delimiter, strict=True, skipinitialspace=delimiter != "\t")
    return (row for row in reader if row)


def _open_smiles(path: Path, encoding: str, sample: str) -> MoleculeFile:
    def cells(wanted: Sequence[str]) -> Iterator[Cells]:
        with _open_lines(path, encoding) as lines:
            yield from iter_smiles_lines(lines)

    named = any(name for _, name in iter_smiles_lines(sample.splitlines()))
    how = "SMILES from the first word of each line" + (", names from the rest" if named else "")
    return MoleculeFile(path, [], "", "" if named else None, how, False, cells)


def iter_smiles_lines(lines: Iterable[str]) -> Iterator[Cells]:
    """Lines of a SMILES file -> (SMILES, name); blank lines are skipped.

    The name is the rest of the line, without an extension in bars as in CXSMILES.
    """
    for line in lines:
        words = line.lstrip("\ufeff").strip().split(maxsplit=1)  # stdin keeps its byte-order mark
        if words:
            rest = re.sub(r"^\|[^|]*\|\s*", "", words[1]) if len(words) > 1 else ""
            yield words[0], rest.partition("\t")[0]


def _open_parquet(path: Path, column: str) -> MoleculeFile:
    with _readable(path), pq.ParquetFile(path, pre_buffer=False) as file:
        raw = {name.strip(): name for name in file.schema_arrow.names}
    smiles = find_column(list(raw), column, path)
    names = _find_names(list(raw), smiles)

    def cells(wanted: Sequence[str]) -> Iterator[Cells]:
        shown = [name for name in (smiles, names, *wanted) if name is not None]
        own = list(dict.fromkeys(raw[name] for name in shown))
        with pq.ParquetFile(path, pre_buffer=False) as file:
            for batch in file.iter_batches(CHUNK, columns=own):
                table = {name: batch.column(name).to_pylist() for name in own}
                blank = [None] * len(batch)
                columns = [blank if n is None else table[raw[n]] for n in (smiles, names, *wanted)]
                for row in zip(*columns, strict=True):
                    yield tuple("" if value is None else str(value) for value in row)

    return MoleculeFile(path, list(raw), smiles, names, _describe(smiles, names), False, cells)


def _open_sdf(path: Path, column: str) -> MoleculeFile:
    if column:
        raise MolvaeError(f"{path}:{column}: the structures of an SDF are read, not a column")
    columns: dict[str, None] = {}
    with _readable(path):
        for mol in islice(_iter_sdf(path), SAMPLE_ROWS):
            columns |= dict.fromkeys(() if mol is None else mol.GetPropNames())

    def cells(wanted: Sequence[str]) -> Iterator[Cells]:
        for number, mol in enumerate(_iter_sdf(path), start=1):
            if mol is None:
                yield (f"(record-{number})", "", *("" for _ in wanted))
            else:
                rest = (mol.GetProp(n).strip() if mol.HasProp(n) else "" for n in wanted)
                name = mol.GetProp("_Name") if mol.HasProp("_Name") else ""
                yield (Chem.MolToSmiles(mol), name, *rest)

    how = "structures of an SDF, names from their title lines"
    return MoleculeFile(path, list(columns), "", "", how, False, cells)


def _iter_sdf(path: Path) -> Iterator[Chem.Mol | None]:
    with _open_binary(path) as file, silence_rdkit():
        yield from Chem.ForwardSDMolSupplier(file)
