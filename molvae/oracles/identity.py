"""What identifies a score: the files that compute it.

A docking score is the work of a program, of the script that an interpreter runs, of the modules
that the script imports and of the parameter files on its command line. Edit one of them, and the
same molecule gets another number. So all of them are found here, without running anything.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import os
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from importlib.machinery import PathFinder
from itertools import accumulate
from pathlib import Path
from types import ModuleType

from molvae.chem.properties import Property
from molvae.oracles.programs import PLACE, Command

INSTALLED = ("site-packages", "dist-packages")
READABLE = 1_000_000  # bytes; larger files are data, not scripts that import something


def find_function_files(function: Property) -> list[Path] | None:
    """Function of a module -> its file and the user's modules that it needs.

    None for what is not defined by a file alone: a lambda, a closure, an object, a function that
    was typed into an interactive session. Installed packages are not included.
    """
    if not inspect.isfunction(function) or not function.__qualname__.isidentifier():
        return None
    own = Path(function.__code__.co_filename)
    if not own.is_file():
        return None
    module = _locate(function.__module__, sys.path, sys.modules)
    return _trace([own, *module], sys.path, sys.modules)


def find_command_files(command: Command) -> list[Path]:
    """Command -> its program, each of its words that is a file, and what Python files import."""
    program = command.file
    others = list(filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)))
    here = [os.getcwd(), *others]
    files, found = [] if program is None else [Path(program)], list[Path]()
    runs_python = program is not None and Path(program).name.startswith("python")
    for before, word in zip(command.words, command.words[1:], strict=False):
        if PLACE not in word:
            files += [Path(text) for text in (word, word.partition("=")[2]) if _is_file(text)]
        if runs_python and before == "-m":
            modules = _locate(f"{word}.__main__", here, {})
            found += _trace(modules, here, {})
        if runs_python and before == "-c":
            found += _trace(list(_find_imports(word, Path(), here, {})), here, {})
    for file in files:  # Python looks beside a script for what it imports
        found += _trace([file], [str(file.parent), *others], {})
    return list(dict.fromkeys(found))


def hash_files(paths: Sequence[Path]) -> dict[str, str]:
    """Files -> SHA-256 of each by its path, which is relative where the file is below this folder.

    Raises:
        OSError: a file cannot be read.
    """
    here, hashes = Path.cwd(), dict[str, str]()
    for path in paths:
        whole = here / path
        name = whole.relative_to(here) if whole.is_relative_to(here) else whole
        with open(path, "rb") as file:
            hashes[str(name)] = hashlib.file_digest(file, "sha256").hexdigest()
    return hashes


def combine_hashes(hashes: Mapping[str, str]) -> str:
    """Hashes by path -> one that does not depend on where the files are."""
    different = sorted(set(hashes.values()))
    if len(different) == 1:
        return different[0]
    return hashlib.sha256("\n".join(different).encode()).hexdigest()


def _trace(
    files: list[Path], folders: Sequence[str], loaded: Mapping[str, ModuleType]
) -> list[Path]:
    """Files -> the same and the user's modules that they import, directly or through others."""
    found: dict[Path, None] = {}
    left = list(files)
    while left:
        path = left.pop(0)
        if path not in found:
            found[path] = None
            if path.stat().st_size < READABLE and _is_users(path):
                left += _find_imports(path.read_bytes(), path, folders, loaded)
    return list(found)


def _find_imports(
    source: str | bytes, path: Path, folders: Sequence[str], loaded: Mapping[str, ModuleType]
) -> Iterator[Path]:
    """Python source -> the files of the user's modules that it imports; none from other text."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _locate(alias.name, folders, loaded)
        elif isinstance(node, ast.ImportFrom):
            parts = [node.module] if node.module else []
            names = [".".join([*parts, alias.name]) for alias in node.names]
            for name in [*parts, *names]:
                if node.level:
                    yield from _locate(name, [str(path.absolute().parents[node.level - 1])], {})
                else:
                    yield from _locate(name, folders, loaded)


def _locate(name: str, folders: Sequence[str], loaded: Mapping[str, ModuleType]) -> list[Path]:
    """Name of a module -> its file and those of its packages, as far as they are the user's."""
    found: list[Path] = []
    path: Sequence[str] | None = folders
    for prefix in accumulate(name.split("."), "{}.{}".format):
        known = loaded.get(prefix)
        spec = PathFinder.find_spec(prefix, path) if known is None else known.__spec__
        if spec is None or prefix == "molvae":
            break
        if spec.has_location and spec.origin is not None:
            if not _is_users(Path(spec.origin)):
                break
            found.append(Path(spec.origin))
        path = spec.submodule_search_locations
        if path is None:
            break
    return found


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # too long for a name, or with a null byte
        return False


def _is_users(path: Path) -> bool:
    """Whether a file is the user's own: not of Python, and not of an installed package."""
    whole = path.absolute()
    stdlib = Path(sysconfig.get_path("stdlib"))
    return not (whole.is_relative_to(stdlib) or set(INSTALLED) & set(whole.parts))
