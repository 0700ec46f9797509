"""Reading a history while another process writes it.

A search commits an evaluation at a time. A reader that opened the file as `History` does would
write to it, and one that kept a transaction open would make the search wait. So this one looks at
the file's time first, opens it for reading only, takes what is new in one short query, and closes
it.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

from molvae.base.errors import MolvaeError
from molvae.oracles.history import (
    _APPLICATION_ID,
    _ITERATION,
    _RECORD,
    LATER,
    RUN,
    STEERED,
    Iteration,
    Record,
    Steer,
    _read_iteration,
    _read_json,
    _read_record,
    _reason,
    lacks,
    read_steer,
)

PATIENCE = 2.0  # seconds to wait for a commit of the writer


class HistoryReader:
    """The evaluations of one run as far as they are known; `read` takes in what is new."""

    def __init__(self, path: str | Path, run: str = RUN) -> None:
        """Name the file, which need not exist yet, and the run in it."""
        self.path, self.run = Path(path), run
        self._clear()

    def _clear(self) -> None:
        self.records: list[Record] = []
        self.iterations: list[Iteration] = []
        self.settings: dict[str, Any] = {}
        self.wishes: list[Steer] = []
        self._seen: tuple[int, int, int] | None = None

    def read(self) -> bool:
        """Take in what was written since the last call; return whether there was anything.

        Raises:
            MolvaeError: the file is damaged or not a history. What was read before remains.
        """
        try:
            status = self.path.stat()
        except OSError:
            return False
        seen = status.st_ino, status.st_mtime_ns, status.st_size
        if seen == self._seen or not status.st_size:
            return False
        try:
            self._take()
        except sqlite3.Error as error:
            if "locked" in str(error):
                return False  # the writer is busy: the next call reads it
            raise MolvaeError(f"history {self.path}: {_reason(error)}") from error
        except (ValueError, TypeError, RecursionError, OverflowError) as error:
            raise MolvaeError(f"history {self.path}: {_reason(error)}") from error
        self._seen = seen
        return True

    def _take(self) -> None:
        with closing(_open(self.path)) as db:
            (application,) = db.execute("PRAGMA application_id").fetchone()
            if application != _APPLICATION_ID:
                raise MolvaeError(f"{self.path} is a database, but not a history of molvae")
            db.execute("BEGIN")  # all queries see the same state
            names = dict(db.execute("SELECT name, run FROM runs"))
            if self.run not in names:
                return
            run = names[self.run]
            count = "SELECT count(*) FROM evaluations WHERE run = ?"
            if db.execute(count, (run,)).fetchone()[0] < len(self.records):
                self._clear()  # another run has taken the place of this one
            wanted = {"evaluations": _RECORD, "iterations": _ITERATION}
            for table, column in LATER.items():
                if lacks(db, table, column):
                    wanted[table] = wanted[table].replace(column, "0")
            rows = db.execute(
                f"SELECT {wanted['evaluations']} FROM evaluations WHERE run = ? AND number >= ? "
                "ORDER BY number",
                (run, len(self.records)),
            ).fetchall()
            rounds = db.execute(
                f"SELECT {wanted['iterations']} FROM iterations WHERE run = ? ORDER BY iteration",
                (run,),
            ).fetchall()
            tables = "SELECT 1 FROM sqlite_master WHERE name = 'steering'"
            steered: list[Any] = []
            if db.execute(tables).fetchone():
                query = f"SELECT {STEERED} FROM steering WHERE run = ? ORDER BY number"
                steered = db.execute(query, (run,)).fetchall()
            stored = db.execute("SELECT name, value FROM settings WHERE run = ?", (run,)).fetchall()
        settings = {name: _read_json(value) for name, value in stored}
        iterations = [_read_iteration(row) for row in rounds]
        first = len(self.records)
        new = [_read_record(first + i, row) for i, row in enumerate(rows)]
        self.wishes = [read_steer(row) for row in steered]
        self.settings, self.iterations = settings, iterations
        self.records += new


def list_runs(path: str | Path) -> list[str]:
    """History file -> the names of the runs in it.

    Raises:
        MolvaeError: the file is damaged or not a history.
    """
    try:
        with closing(_open(Path(path))) as db:
            return [name for (name,) in db.execute("SELECT name FROM runs ORDER BY run")]
    except sqlite3.Error as error:
        raise MolvaeError(f"history {path}: {_reason(error)}") from error


def find_writers(path: Path) -> list[int] | None:
    """File -> the other processes that have it open; None where that cannot be known."""
    if not Path("/proc/self/fd").exists():
        return None
    return sorted(set(_iter_holders(os.path.realpath(path))) - {os.getpid()})


def _iter_holders(path: str) -> Iterator[int]:
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                if any(os.readlink(link) == path for link in (folder / "fd").iterdir()):
                    yield int(folder.name)
            except OSError:
                pass  # it has ended, or is another user's


def _open(path: Path) -> sqlite3.Connection:
    address = f"file:{quote(str(path.absolute()))}?mode=ro"
    return sqlite3.connect(address, uri=True, isolation_level=None, timeout=PATIENCE)
