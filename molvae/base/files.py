"""Writing files: whole or not at all, and settings that all who share a folder agree on."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

from molvae.base.errors import MolvaeError


def write(path: str | Path, content: bytes | str) -> None:
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


def agree(path: Path, values: dict[str, Any]) -> None:
    """Write values that all who share a folder must agree on, where they are not there yet.

    Raises:
        MolvaeError: others are there.
    """
    if not path.exists():
        write(path, json.dumps(values, indent=1))
    there, mine = json.loads(path.read_text()), json.loads(json.dumps(values))
    for key in there | mine:
        if there.get(key) != mine.get(key):
            was, now = json.dumps(there.get(key)), json.dumps(mine.get(key))
            raise MolvaeError(
                f"{path.parent}: {key} was {was} when the folder was made, and is {now} now: "
                "choose another --out"
            )
