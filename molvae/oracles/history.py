"""The history of a search: one SQLite file that holds each evaluation as soon as it is known."""

from __future__ import annotations

import json
import math
import os
import platform
import sqlite3
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molvae.base.errors import MolvaeError

_APPLICATION_ID = 0x6D6F6C77  # "molw", to recognise our files
_SCHEMA = f"""
PRAGMA application_id = {_APPLICATION_ID};
CREATE TABLE runs (run INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE settings (
    run INTEGER NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (run, name));
CREATE TABLE evaluations (
    run INTEGER NOT NULL, number INTEGER NOT NULL, iteration INTEGER NOT NULL, smiles TEXT NOT NULL,
    y REAL, several TEXT, error TEXT, seconds REAL NOT NULL, z BLOB, objective TEXT,
    known INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (run, number), UNIQUE (smiles, run));
CREATE TABLE iterations (
    run INTEGER NOT NULL, iteration INTEGER NOT NULL, decoded INTEGER NOT NULL,
    valid INTEGER NOT NULL, candidates INTEGER NOT NULL, seconds REAL NOT NULL,
    bred INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (run, iteration));
"""
# since the first version; a claim says which process is evaluating a molecule for which run
_CLAIMS = """CREATE TABLE IF NOT EXISTS claims (
    smiles TEXT NOT NULL, objective TEXT NOT NULL, run INTEGER NOT NULL, host TEXT NOT NULL,
    process INTEGER NOT NULL, started TEXT NOT NULL, time REAL NOT NULL,
    PRIMARY KEY (smiles, objective))"""
# what a user says while the search runs; the search fills in the round that heeds it first
_STEERING = """CREATE TABLE IF NOT EXISTS steering (
    run INTEGER NOT NULL, number INTEGER NOT NULL, kind TEXT NOT NULL, text TEXT NOT NULL,
    iteration INTEGER, PRIMARY KEY (run, number))"""
# columns that files of earlier versions lack; each is 0 there
LATER = {"evaluations": "known", "iterations": "bred"}
_RECORD = "number, iteration, smiles, y, several, error, seconds, z, known"
STEERED = "number, kind, text, iteration"
_ITERATION = "iteration, decoded, valid, candidates, seconds, bred"
_PATIENCE = 60.0  # seconds to wait for another process to finish writing
_FOREIGN = 3_600.0  # seconds after which a claim of another machine, which may have died, is void
_ROUNDS = 2**31  # more than any search has

STOPPED = "stopped"  # the setting that says why a finished run has ended
RUN = "run"  # the name of a run that has its file to itself
COLUMNS = ("number", "iteration", "smiles", "y", "error", "seconds", "known")
"""The columns of a table of evaluations, beside those of several objectives."""

_DAMAGE = ("not a database", "malformed", "no such", "buffer size", "supplied", "decode")


@dataclass(frozen=True)
class Record:
    """One evaluated molecule.

    `values` are the M maximised objectives. Where one of them failed, it is NaN and `error` holds
    the reason. `known` says that the values were there before the run, measured or computed
    elsewhere, and cost none of its budget.
    """

    number: int
    iteration: int
    smiles: str
    values: tuple[float, ...]
    error: str | None
    seconds: float
    z: NDArray[np.float32] | None  # (D,), posterior mean of the re-encoded molecule
    known: bool = False

    @property
    def y(self) -> float:
        """The objective; with several objectives their sum, NaN where one of them failed."""
        return sum(self.values)


@dataclass(frozen=True)
class Iteration:
    """Statistics of one search round, excluding the evaluation of its candidates.

    `decoded` latent points yielded `valid` admissible molecules. `candidates` were chosen for the
    oracle, among them `bred` that were made by crossing and changing molecules, not by decoding.
    `seconds` excludes oracle calls.
    """

    iteration: int
    decoded: int
    valid: int
    candidates: int
    seconds: float
    bred: int = 0


SAID = {
    "pin": "evaluate next",
    "ban": "never evaluate",
    "like": "more like this",
    "unlike": "no more like this",
    "add": "constraint",
}
"""What a user may say while a search runs (`molvae.loop.steering`), in words."""


@dataclass(frozen=True)
class Steer:
    """What a user said while the search ran, and the round that heeded it first, if one has."""

    number: int
    kind: str
    text: str
    iteration: int | None

    def __str__(self) -> str:
        return f"{SAID.get(self.kind, self.kind)} {self.text}"


class History:
    """The evaluations of one run in order, stored in a file, or in memory if the path is None.

    A file can hold several runs, written by several processes at once. Each run sees only its own
    evaluations, except that `score` looks in all of them, and `claim` keeps two of them from
    evaluating the same molecule.

    >>> history = History()
    >>> history.add("CCO", -0.0014, seconds=0.1).number
    0
    >>> "CCO" in history, len(history)
    (True, 1)
    """

    def __init__(self, path: str | Path | None = None, run: str = RUN) -> None:
        """Open or create the file, and the run of that name in it.

        Raises:
            MolvaeError: the file is damaged, locked, not writable or not a history.
        """
        self.path = None if path is None else Path(path)
        self._name, self._claimed = run, set[tuple[str, str]]()
        self.where = "in memory" if path is None else str(path)
        """The file, for messages."""
        with self._explained():
            self._db = sqlite3.connect(
                ":memory:" if path is None else path,
                isolation_level=None,
                timeout=_PATIENCE,
                check_same_thread=False,  # garbage is collected, and so closed, in any thread
            )
            # also of a history that is damaged, or that nobody closes, such as the default one
            weakref.finalize(self, self._db.close)
            self._open()
            self._db.execute("INSERT OR IGNORE INTO runs (name) VALUES (?)", (run,))
            find = "SELECT run FROM runs WHERE name = ?"
            (self._run,) = self._db.execute(find, (run,)).fetchone()
            rows = self._rows("evaluations", _RECORD)
            self._records = [_read_record(i, row) for i, row in enumerate(rows)]
            if len({r.z.size for r in self._records if r.z is not None}) > 1:
                raise _DamageError("its latent points have different dimensions")
        self._by_smiles = {record.smiles: record for record in self._records}
        self._known = sum(record.known for record in self._records)

    def _open(self) -> None:
        self._db.execute("PRAGMA synchronous = FULL")  # records survive a power cut
        self._db.execute("BEGIN IMMEDIATE")  # another process may open the file too
        if not self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            for statement in _SCHEMA.split(";"):
                self._db.execute(statement)
        self._db.execute(_CLAIMS)
        self._db.execute(_STEERING)
        for table, column in LATER.items():
            if lacks(self._db, table, column):
                add = f"ALTER TABLE {table} ADD COLUMN {column} INTEGER NOT NULL DEFAULT 0"
                self._db.execute(add)
        self._db.execute("COMMIT")
        (application,) = self._db.execute("PRAGMA application_id").fetchone()
        if application != _APPLICATION_ID:
            raise MolvaeError(
                f"{self.where} is a database, but not a history written by this version of molvae"
            )

    def _rows(self, table: str, columns: str) -> list[Any]:
        """Table and columns -> this run's rows, ordered by the first column."""
        query = f"SELECT {columns} FROM {table} WHERE run = ? ORDER BY {columns.partition(',')[0]}"
        return self._db.execute(query, (self._run,)).fetchall()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, ValueError, TypeError, RecursionError, OverflowError) as error:
            raise MolvaeError(f"history {self.where}: {_reason(error)}") from error

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """All that is written inside the `with` block is stored together, or nothing is."""
        with self._explained():
            if self._db.in_transaction:  # inside another block
                yield
                return
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")

    def __len__(self) -> int:
        return len(self._records)

    @property
    def spent(self) -> int:
        """The number of evaluations made in this run: all records but those known before it."""
        return len(self._records) - self._known

    def __contains__(self, smiles: str) -> bool:
        return smiles in self._by_smiles

    def __getitem__(self, smiles: str) -> Record:
        """Canonical SMILES -> its record; KeyError if it was never evaluated."""
        return self._by_smiles[smiles]

    def records(self, before: int | None = None) -> list[Record]:
        """Return all records in order, or those of the iterations below `before`.

        The latter are sorted by iteration and SMILES, so that their order does not depend on which
        evaluation finished first.
        """
        if before is None:
            return list(self._records)
        past = (r for r in self._records if r.iteration < before)
        return sorted(past, key=lambda r: (r.iteration, r.smiles))

    def add(
        self,
        smiles: str,
        y: float | Sequence[float],
        *,
        seconds: float,
        iteration: int = -1,
        error: str | None = None,
        z: NDArray[Any] | None = None,
        objective: str | None = None,
        known: bool = False,
    ) -> Record:
        """Store one evaluation and return its record; it is on disk when this returns.

        Args:
            smiles: canonical SMILES, not stored before.
            y: the maximised value, NaN where the objective failed; or those of M objectives.
            seconds: how long the evaluation took.
            iteration: the round of the search; -1 for an evaluation outside of one.
            error: why it failed.
            z: its latent point (D,), stored as float32.
            objective: fingerprint of what was evaluated, as `score` takes it; None where no other
                run can reuse the value.
            known: whether the value was known before the run.

        Raises:
            MolvaeError: the molecule is already stored, or the file cannot be written.
        """
        if smiles in self:
            raise MolvaeError(f"history {self.where}: {smiles} is already stored")
        if error is not None:
            error = error.encode(errors="replace").decode()  # lone surrogates cannot be stored
        latent = None if z is None else np.asarray(z, dtype="<f4").ravel()
        values = tuple(map(float, y)) if isinstance(y, Sequence) else (float(y),)
        n = len(self._records)
        record = Record(n, iteration, smiles, values, error, seconds, latent, known)
        stored_y = None if np.isnan(record.y) else record.y
        several = json.dumps(values) if len(values) > 1 else None
        blob = None if latent is None else latent.tobytes()
        row = (n, iteration, smiles, stored_y, several, error, seconds, blob, known)
        with self.at_once():
            self._db.execute(
                f"INSERT INTO evaluations (run, {_RECORD}, objective) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (self._run, *row, objective),
            )
            if claimed := (smiles, objective) in self._claimed:
                self._delete_claim(smiles, str(objective))
        if claimed:
            self._claimed.remove((smiles, str(objective)))
        self._records.append(record)
        self._by_smiles[smiles] = record
        self._known += known
        return record

    def score(self, smiles: str, objective: str) -> tuple[float, ...] | None:
        """Canonical SMILES and objective key -> the values from any run in the file, or None.

        Failed evaluations are ignored.
        """
        with self._explained():
            row = self._db.execute(
                "SELECT y, several FROM evaluations "
                "WHERE smiles = ? AND objective = ? AND error IS NULL",
                (smiles, objective),
            ).fetchone()
            return None if row is None else _read_values(*row)

    @property
    def shared(self) -> bool:
        """Whether the file may hold other runs than this one."""
        if self.path is None or self._name != RUN:
            return self.path is not None
        with self._explained():
            (runs,) = self._db.execute("SELECT count(*) FROM runs").fetchone()
        return bool(runs > 1)

    def claim(self, smiles: str, objective: str) -> bool:
        """Reserve an evaluation for this run -> whether it may be made now.

        It may not where another run of the file is about it, or has just finished it; then `score`
        has the value sooner or later, or the claim becomes free: because that evaluation failed, or
        its process has died. A claim ends with `add` or `release`.

        Args:
            smiles: canonical SMILES.
            objective: fingerprint of what is evaluated, as `score` takes it.
        """
        if not self.shared:
            return True
        with self.at_once():
            if self.score(smiles, objective) is not None:
                return False
            holder = self._db.execute(
                "SELECT run, host, process, started, time FROM claims "
                "WHERE smiles = ? AND objective = ?",
                (smiles, objective),
            ).fetchone()
            if holder is not None and holder[0] != self._run and _is_alive(*holder[1:]):
                return False
            process = os.getpid()
            self._db.execute(
                "INSERT OR REPLACE INTO claims VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    *(smiles, objective, self._run),
                    *(platform.node(), process, _find_start(process), time.time()),
                ),
            )
        self._claimed.add((smiles, objective))
        return True

    def release(self) -> None:
        """Give back the claims whose evaluations were not made."""
        if self._claimed:
            with self.at_once():
                for claim in self._claimed:
                    self._delete_claim(*claim)
            self._claimed.clear()

    def _delete_claim(self, smiles: str, objective: str) -> None:
        self._db.execute(
            "DELETE FROM claims WHERE smiles = ? AND objective = ? AND run = ?",
            (smiles, objective, self._run),
        )

    def add_iteration(self, iteration: Iteration) -> None:
        """Store what a round proposed, replacing an earlier record of the same round."""
        with self._explained():
            self._db.execute(
                f"INSERT OR REPLACE INTO iterations (run, {_ITERATION}) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (self._run, *vars(iteration).values()),
            )

    def iterations(self) -> list[Iteration]:
        """Return the statistics of all rounds in order."""
        with self._explained():
            rows = self._rows("iterations", _ITERATION)
            return [_read_iteration(row) for row in rows]

    def steer(self, kind: str, text: str) -> None:
        """Store what the user wants of the rounds to come; see `molvae.loop.steering`."""
        with self.at_once():
            self._db.execute(
                "INSERT INTO steering SELECT ?, count(*), ?, ?, NULL FROM steering WHERE run = ?",
                (self._run, kind, text, self._run),
            )

    @property
    def wishes(self) -> list[Steer]:
        """All that the user has said so far, in order."""
        with self._explained():
            return list(map(read_steer, self._rows("steering", STEERED)))

    def steering(self, k: int) -> list[Steer]:
        """Return what round k heeds, in order: what rounds before it did, and what is new."""
        with self._explained():
            find = "SELECT 1 FROM steering WHERE run = ? AND iteration IS NULL"
            if self._db.execute(find, (self._run,)).fetchone():
                self._db.execute(
                    "UPDATE steering SET iteration = ? WHERE run = ? AND iteration IS NULL",
                    (k, self._run),
                )
            rows = self._rows("steering", STEERED)
            return [one for one in map(read_steer, rows) if one.iteration in range(k + 1)]

    @property
    def next_iteration(self) -> int:
        """The first round whose candidates have not all been evaluated."""
        rounds = self.iterations()
        if not rounds:
            return 0
        done = sum(record.iteration == rounds[-1].iteration for record in self._records)
        return rounds[-1].iteration + (done >= rounds[-1].candidates)

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of the run; empty until they are first saved."""
        with self._explained():
            rows = self._rows("settings", "name, value")
            return {name: _read_json(value) for name, value in rows}

    def save_settings(self, settings: Mapping[str, Any]) -> None:
        """Store settings (JSON values), replacing earlier values of the same names."""
        rows = [(self._run, name, json.dumps(value)) for name, value in settings.items()]
        with self.at_once():
            self._db.executemany("INSERT OR REPLACE INTO settings VALUES (?, ?, ?)", rows)

    def close(self) -> None:
        """Give back what is claimed, and close the file."""
        try:
            self.release()
        finally:
            self._db.close()

    def __enter__(self) -> History:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _DamageError(ValueError):
    """What is in the file cannot have been written by molvae."""


def _read_record(position: int, row: tuple[Any, ...]) -> Record:
    """Row of the file, and how many lie before it -> the record.

    Raises:
        _DamageError: the row cannot have been written by molvae.
    """
    number, iteration, smiles, y, several, error, seconds, blob, known = row
    where = f"evaluation {position}"
    if number != position:
        raise _DamageError(f"{where} is missing")
    if type(iteration) is not int or not -1 <= iteration < _ROUNDS:
        raise _DamageError(f"{where} has {iteration!r} as its round")
    if not isinstance(smiles, str) or not isinstance(error, str | None):
        raise _DamageError(f"{where} has {smiles!r} as its SMILES and {error!r} as its error")
    if not isinstance(seconds, float | int) or not math.isfinite(seconds):
        raise _DamageError(f"{where} took {seconds!r} seconds")
    z = None
    if blob is not None:
        if not isinstance(blob, bytes) or len(blob) % 4:
            raise _DamageError(f"{where} has a latent point that is cut off")
        z = np.frombuffer(blob, dtype="<f4")
        if not np.isfinite(z).all():
            raise _DamageError(f"{where} has a latent point that is not finite")
    if known not in (0, 1):
        raise _DamageError(f"{where} has {known!r} where it says whether its value was known")
    values = _read_values(y, several)
    return Record(number, iteration, smiles, values, error, seconds, z, bool(known))


def _read_iteration(row: tuple[Any, ...]) -> Iteration:
    iteration, decoded, valid, candidates, seconds, bred = row
    counts = iteration, decoded, valid, candidates, bred
    if not all(type(count) is int and 0 <= count < _ROUNDS for count in counts):
        raise _DamageError(f"a round has the figures {', '.join(map(repr, counts))}")
    if not isinstance(seconds, float | int) or not math.isfinite(seconds):
        raise _DamageError(f"round {iteration} took {seconds!r} seconds")
    return Iteration(iteration, decoded, valid, candidates, seconds, bred)


def lacks(db: sqlite3.Connection, table: str, column: str) -> bool:
    """Whether a table, such as one of an earlier version, is there and has no such column."""
    columns = {row[1] for row in db.execute(f"PRAGMA table_info({table})")}
    return "run" in columns and column not in columns


def read_steer(row: tuple[Any, ...]) -> Steer:
    """Row of the file -> what the user said.

    Raises:
        ValueError: the row cannot have been written by molvae.
    """
    number, kind, text, iteration = row
    sound = isinstance(kind, str) and isinstance(text, str) and isinstance(iteration, int | None)
    if not sound or type(number) is not int:
        raise _DamageError(f"steering {number!r:.20} is {kind!r:.40} {text!r:.40}")
    return Steer(number, kind, text, iteration)


def _read_values(y: object, several: object) -> tuple[float, ...]:
    """One value, or the JSON list of several -> the values, NaN for those that failed."""
    found = (math.nan if y is None else y,) if several is None else _read_json(several)
    if not isinstance(found, tuple | list) or not all(
        isinstance(value, float | int) and not math.isinf(value) for value in found
    ):
        raise _DamageError(f"{found!r:.60} is no value of an objective")
    return tuple(map(float, found))


def _read_json(text: object) -> Any:
    try:
        return json.loads(text)  # type: ignore[arg-type]
    except (ValueError, TypeError, RecursionError) as error:
        raise _DamageError(f"{text!r:.60} cannot be read") from error


def _is_alive(host: str, process: int, started: str, claimed: float) -> bool:
    """Whether the process that claimed an evaluation is still there, as far as can be known."""
    if host != platform.node() or os.name != "posix":
        return time.time() - claimed < _FOREIGN
    return started == _find_start(process) != ""


def _find_start(process: int) -> str:
    """Process of this machine -> what tells it from a later one of its number, "" if dead."""
    try:
        status = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return "" if status[0] in "ZX" else status[19]  # clock ticks since the machine started
    except OSError:
        if Path("/proc/self/stat").exists():
            return ""
    try:  # not Linux
        os.kill(process, 0)
    except ProcessLookupError:
        return ""
    except OSError:
        pass  # another user's
    return "alive"


def _reason(error: Exception) -> str:
    text = str(error)
    if isinstance(error, _DamageError) or any(sign in text for sign in _DAMAGE):
        return f"the file is damaged or not a molvae history ({text})"
    if "full" in text:
        return "the disk is full; all evaluations before this one are saved"
    if "UNIQUE" in text:
        return "another process is continuing the same run"
    return text
