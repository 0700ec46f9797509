"""Files that are written whole or not at all, and folders that remember what they were made with.

A command that runs for hours writes into a folder. After a full disk, Ctrl-C or kill -9, rerunning
it must resume with the same settings, and another command must not write there. So the folder holds
a file of settings, which is written first, by one atomic rename, and read first.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from molvae.base.errors import MolvaeError

LOCK = ".lock"


def write_file(path: str | Path, content: bytes | str) -> None:
    """Put `content` into the file `path`, replacing it; a write that fails leaves `path` as it was.

    Missing folders are made.

    Raises:
        OSError: the folder cannot be made or written, or the disk is full.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")  # no other machine's either
    try:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)
        partial.replace(path)
    except OSError as error:  # name the file that the user knows
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def lock_folder(path: Path) -> Iterator[None]:
    """Keep other processes from writing into a folder, which is made where it is missing.

    Within a `with` block of its own, a thread may take the lock again. It ends with the process,
    however that ends; the empty file `.lock` is left.

    Raises:
        MolvaeError: another process, or another thread, holds it.
        OSError: the folder cannot be made or written.
    """
    path.mkdir(parents=True, exist_ok=True)
    lock = FileLock(str(path.resolve() / LOCK), timeout=0, is_singleton=True)
    try:
        lock.acquire()
    except Timeout:
        raise MolvaeError(
            f"{path}: another process is writing there: wait until it has ended, or choose "
            "another folder"
        ) from None
    try:
        yield
    finally:
        lock.release()


def read_json_object(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file that molvae wrote.

    Raises:
        MolvaeError: it is not there, or damaged.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise MolvaeError(f"{path}: no such file") from error
    except (OSError, ValueError, RecursionError) as error:
        raise MolvaeError(f"{path} is damaged ({error}): mend or remove it") from error
    if not isinstance(values, dict):
        raise MolvaeError(f"{path} is damaged (no JSON object): mend or remove it")
    return values


class RunFolder:
    """A folder that one command, or all shards of one, write into; it holds their settings.

    Settings are JSON values by name. Two ways to use it: a run that a user resumes by hand calls
    `begin`, or `resume` with what may change; shards that share a folder all call `agree`.
    """

    def __init__(self, path: Path, settings_file: str = "config.json") -> None:
        self.path = path
        self.settings_path = path / settings_file

    @property
    def begun(self) -> bool:
        """Whether there are settings in it."""
        return self.settings_path.exists()

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Store the settings of a new run; the folder is made where it is missing.

        Raises:
            MolvaeError: the folder holds a run already.
            OSError: the folder cannot be written, or the disk is full.
        """
        self.refuse_begun()
        self.save(settings)

    def refuse_begun(self) -> None:
        """Refuse a folder that holds a run already.

        Raises:
            MolvaeError: it does.
        """
        if self.begun:
            raise MolvaeError(f"{self.path} holds a run already: add --resume, or another --out")

    def save(self, settings: Mapping[str, Any]) -> None:
        """Store the settings, replacing earlier ones whole or not at all.

        Raises:
            OSError: the folder cannot be written, or the disk is full.
        """
        write_file(self.settings_path, json.dumps(dict(settings), indent=1) + "\n")

    def load(self) -> dict[str, Any]:
        """Return the stored settings.

        Raises:
            MolvaeError: there are none, or the file is damaged.
        """
        if not self.begun:
            raise MolvaeError(f"{self.path} holds no run to resume")
        return read_json_object(self.settings_path)

    def resume(
        self,
        given: Mapping[str, Any],
        *,
        may_change: Collection[str],
        required: Collection[str] = (),
    ) -> dict[str, Any]:
        """Return the settings of the run, with those of `given` that may change.

        Args:
            given: settings that the user states again.
            may_change: names whose value may be another one than the stored one.
            required: names that every run of this kind has; a file without them is damaged.

        Raises:
            MolvaeError: no run here, a damaged file, or a given value that differs from the
                stored one and may not change.
        """
        stored = self.load()
        if missing := [name for name in required if name not in stored]:
            raise MolvaeError(f"{self.settings_path} is damaged: it lacks {', '.join(missing)}")
        for name, value in given.items():
            was = stored.get(name)
            if name not in may_change and json.loads(json.dumps(value)) != was:
                flag = name.replace("_", "-")
                shown = "the default" if name not in stored else was
                raise MolvaeError(f"--{flag} cannot change on resume (this run has {shown})")
        return stored | dict(given)

    def agree(self, settings: Mapping[str, Any]) -> None:
        """Store the settings where there are none yet, and compare with them where there are.

        Raises:
            MolvaeError: others are there, or the file is damaged.
            OSError: the folder cannot be written, or the disk is full.
        """
        if not self.begun:
            self.save(settings)
        stored, mine = read_json_object(self.settings_path), json.loads(json.dumps(dict(settings)))
        for key in stored | mine:
            if stored.get(key) != mine.get(key):
                was, now = json.dumps(stored.get(key)), json.dumps(mine.get(key))
                raise MolvaeError(
                    f"{self.path}: {key} was {was} when the folder was made, and is {now} now: "
                    "choose another --out"
                )
