"""Options that several verbs share, and where a verb's output goes."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from molvae.errors import MolvaeError

if TYPE_CHECKING:
    from molvae.chem.pictures import PictureFormat

STDOUT = "-"


def whole_number(text: str) -> int:
    """An option's text -> a whole number from 1; argparse turns the error into a usage message."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def seed_number(text: str) -> int:
    """An option's text -> a seed, 0 to 2^31 - 1."""
    if not text.isdecimal() or int(text) >= 2**31:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to 2147483647")
    return int(text)


def add_model(parser: argparse.ArgumentParser) -> None:
    """Declare `--model`."""
    parser.add_argument("--model", default="zinc", help="shipped model, or a .safetensors file")


def add_seed(parser: argparse.ArgumentParser) -> None:
    """Declare `--seed`."""
    parser.add_argument("--seed", type=seed_number, default=0, help="same seed, same result")


def progress() -> bool:
    """Tell whether somebody watches: progress bars belong on a terminal, not in a log file."""
    return sys.stderr.isatty()


def suffix(path: str, *known: str) -> str:
    """A file name -> its suffix, which must be one of `known`.

    Raises:
        MolvaeError: another suffix, or none.
    """
    found = Path(path).suffix.lower()
    if found not in known:
        raise MolvaeError(f"{path}: the name must end in {' or '.join(known)}")
    return found


def picture_format(path: str) -> PictureFormat:
    """A file name that ends in .png or .svg -> the format of the picture.

    Raises:
        MolvaeError: another suffix, or none.
    """
    return "svg" if suffix(path, ".png", ".svg") == ".svg" else "png"


def emit(text: str, out: str = STDOUT) -> None:
    """Write `text` to the file `out`, or to standard output where `out` is "-".

    Raises:
        OSError: the file cannot be written.
    """
    from molvae.files import write

    if out != STDOUT:
        write(out, text)
        return
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def note(text: str) -> None:
    """Tell the user something that is not part of the output."""
    print(text, file=sys.stderr)
