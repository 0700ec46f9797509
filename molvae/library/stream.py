"""Streams larger than memory: chunks of rows -> a function of a chunk -> parts in Parquet.

Chunk i of the input becomes the file part-<i>.parquet, whichever shard or process makes it, so all
shards of a job array write into one folder. A part is written whole or not at all, and a part that
exists is not made again: rerun a stopped command to resume. Each part stores a digest of its rows,
and a changed input is refused.

The work runs through joblib. To use Dask or another backend, call
`with joblib.parallel_config(backend="dask"):`; every worker must see the folder.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from molvae.base.errors import MolvaeError
from molvae.base.files import RunFolder, write_file
from molvae.base.parallel import parallel_unordered
from molvae.library.latents import SETTINGS, TOTAL, part_name

# (chunk number, rows) -> the part, and how many rows succeeded. It is pickled, so it must
# be a top-level function or a `functools.partial` of one.
Work = Callable[[int, Any], tuple[pa.Table, int]]


@dataclass(frozen=True)
class StreamConfig:
    """How a stream is split and run.

    Attributes:
        chunk: rows per part.
        shard: (i, n): this run writes every n-th part, starting with the i-th (counted from 1).
        jobs: processes; None for joblib's setting (1, or that of `joblib.parallel_config`).
        progress: show a progress bar on standard error.
    """

    chunk: int = 10_000
    shard: tuple[int, int] = (1, 1)
    jobs: int | None = None
    progress: bool = False

    def makes(self, part: int) -> bool:
        """Part number -> whether it belongs to this shard."""
        return part % self.shard[1] == self.shard[0] - 1

    def share(self, total: int) -> int:
        """Number of input rows -> number of rows in this shard."""
        starts = range((self.shard[0] - 1) * self.chunk, total, self.shard[1] * self.chunk)
        return sum(min(self.chunk, total - start) for start in starts)


class Tally(NamedTuple):
    """Number of rows, and how many succeeded: were encoded, or decoded to valid SMILES."""

    rows: int
    good: int

    def plus(self, other: Tally) -> Tally:
        """Add two tallies."""
        return Tally(self.rows + other.rows, self.good + other.good)


def run(
    chunks: Iterable[Any],
    work: Work,
    folder: Path,
    settings: dict[str, Any],
    config: StreamConfig = StreamConfig(),
    total: int | None = None,
) -> Tally:
    """Chunks of rows -> the Parquet parts of this shard, and their tally.

    About two chunks a process are in memory.

    Args:
        chunks: sequences of what str() tells apart, or arrays.
        work: makes a part of a chunk, in a process of its own.
        folder: of the parts.
        settings: JSON values, what the parts depend on apart from their rows. They are stored in
            the folder, and other settings are refused there.
        config: size of chunks, shard and progress.
        total: number of rows, where it is known, for the progress bar.

    Raises:
        MolvaeError: the folder holds other files or was written with other settings or from other
            rows; the input cannot be read; a process died.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _claim(folder, settings)
    _sweep(folder, config)
    done = Tally(0, 0)
    share = None if total is None else config.share(total)
    with tqdm(total=share, unit="mol", desc=folder.name, disable=not config.progress) as bar:
        reading = _Reading(chunks, folder, config, bar)
        try:
            for tally in parallel_unordered(config.jobs)(
                joblib.delayed(_make)(work, *task) for task in reading.tasks()
            ):
                done = done.plus(tally)
                bar.update(tally.rows)
        except BrokenExecutor as error:
            raise MolvaeError(
                "a process died, perhaps out of memory: rerun the command to resume"
            ) from error
    if reading.failure is not None:
        raise reading.failure
    RunFolder(folder, TOTAL).agree({"parts": reading.parts, "rows": reading.rows})
    return done.plus(reading.found)


@dataclass
class _Reading:
    """One pass over the input, which yields the parts still to be written."""

    chunks: Iterable[Any]
    folder: Path
    config: StreamConfig
    bar: tqdm[Any]
    parts: int = 0
    rows: int = 0
    found: Tally = field(default_factory=lambda: Tally(0, 0))  # in parts from earlier runs
    failure: Exception | None = None

    def tasks(self) -> Iterator[tuple[Path, int, Any, str]]:
        """Yield path, number, rows and digest of each part still to be written."""
        try:
            for chunk in self.chunks:
                part, self.parts, self.rows = self.parts, self.parts + 1, self.rows + len(chunk)
                if not self.config.makes(part):
                    continue
                path, digest = self.folder / part_name(part), _digest(chunk)
                tally = _read_tally(path, digest)
                if tally is None:
                    yield path, part, chunk, digest
                else:
                    self._skip(tally)
        except Exception as error:  # raised in joblib's reading thread, it would be lost
            self.failure = error

    def _skip(self, tally: Tally) -> None:
        self.found = self.found.plus(tally)
        if not self.bar.disable:
            self.bar.initial += tally.rows  # so that they do not count in the rate
            self.bar.update(tally.rows)


def _make(work: Work, path: Path, part: int, chunk: Any, digest: str) -> Tally:
    table, good = work(part, chunk)
    facts = {"molvae": json.dumps({"rows": digest, "good": good})}
    buffer = pa.BufferOutputStream()
    # nearly all values are distinct, so dictionary encoding would only cost
    pq.write_table(table.replace_schema_metadata(facts), buffer, use_dictionary=False)
    write_file(path, buffer.getvalue().to_pybytes())
    return Tally(len(chunk), good)


def _read_tally(path: Path, digest: str) -> Tally | None:
    """Part file and digest of its rows -> its tally, or None if missing or incomplete.

    Raises:
        MolvaeError: the part was written from other rows.
    """
    try:
        footer = pq.read_metadata(path)
        facts = json.loads(footer.metadata[b"molvae"])
    except (OSError, ValueError, KeyError, TypeError):  # missing, truncated, or not ours
        return None
    if facts["rows"] != digest:
        raise MolvaeError(
            f"{path}: was written from other rows, so the input has changed: choose another --out"
        )
    return Tally(footer.num_rows, facts["good"])


def _digest(chunk: Any) -> str:
    rows = chunk.tobytes() if isinstance(chunk, np.ndarray) else "\n".join(map(str, chunk)).encode()
    return hashlib.blake2b(rows, digest_size=16).hexdigest()


def _claim(folder: Path, settings: dict[str, Any]) -> None:
    """Store the settings in a new folder; refuse one with other settings or other files."""
    names = [path.name for path in folder.iterdir() if not path.name.startswith(".")]
    if names and SETTINGS not in names:
        raise MolvaeError(f"{folder}: contains other files: choose another --out")
    RunFolder(folder, SETTINGS).agree(settings)


def _sweep(folder: Path, config: StreamConfig) -> None:
    """Remove half-written files left by a killed run of this shard."""
    for path in folder.glob(".part-*.part"):
        number = re.match(r"\.part-(\d+)\.parquet\.", path.name)
        if number and config.makes(int(number[1])):
            path.unlink(missing_ok=True)
