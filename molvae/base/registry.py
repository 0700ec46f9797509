"""Name -> thing: every choice that a user makes by name is looked up here."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Generic, TypeVar

from molvae.base.errors import MolvaeError

T = TypeVar("T")


class UnknownNameError(MolvaeError, KeyError):
    """A name that is neither registered nor an importable ``package.module:attribute``."""

    __str__ = MolvaeError.__str__  # a KeyError shows its message in quotes


class Registry(Mapping[str, T], Generic[T]):
    """A mapping of named entries that is filled by decorator and explains a wrong name.

    As a mapping it holds what was registered, and nothing else. `look_up` also imports.

    >>> colours = Registry("colour")
    >>> colours.register("red")("#f00")
    '#f00'
    >>> colours["red"], list(colours), colours.get("blue")
    ('#f00', ['red'], None)
    """

    def __init__(self, kind: str, check: Callable[[str, T], None] | None = None) -> None:
        """Make an empty registry.

        Args:
            kind: what an entry is, for messages: "decoder".
            check: called with a name and what is to be registered under it, or was imported for
                it; raises what is wrong with it.
        """
        self.kind, self._check = kind, check
        self._entries: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that stores its argument under `name`; a taken name is an error."""
        if name in self._entries:
            raise ValueError(f"the {self.kind} {name!r} is registered already")

        def store(entry: T) -> T:
            self.check(name, entry)
            self._entries[name] = entry
            return entry

        return store

    def check(self, name: str, entry: T) -> None:
        """Refuse an entry that does not fit.

        Raises:
            MolvaeError: what is wrong with it.
        """
        if self._check is not None:
            self._check(name, entry)

    def __getitem__(self, name: str) -> T:
        """Return the entry registered as `name`.

        Raises:
            UnknownNameError: there is none; the nearest name and all known ones are in the message.
        """
        if name not in self._entries:
            raise unknown_name(self.kind, name, self._entries)
        return self._entries[name]

    def look_up(self, name: str) -> T:
        """Return the entry called `name`, or import it where it reads ``package.module:attribute``.

        Raises:
            UnknownNameError: neither a registered name nor something that can be imported.
        """
        if name in self._entries or ":" not in name or self._resembles_an_entry(name):
            return self[name]
        module, _, attribute = name.partition(":")
        try:
            entry: T = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError, ValueError) as error:
            raise UnknownNameError(f"cannot import the {self.kind} {name!r}: {error}") from error
        self.check(name, entry)
        return entry

    def look_up_loaded(self, name: str) -> T:
        """Like `look_up`, for a name that stands in a file: no module is imported for it.

        Raises:
            UnknownNameError: not registered, and not in a module that has been imported already.
        """
        module = name.partition(":")[0]
        if name not in self._entries and ":" in name and module not in sys.modules:
            raise UnknownNameError(
                f"the {self.kind} {name!r} is not part of molvae: import {module} first, if you "
                "trust it"
            )
        return self.look_up(name)

    def _resembles_an_entry(self, name: str) -> bool:
        """Whether an entry has the same words before the colon."""
        return any(known.startswith(name.partition(":")[0] + ":") for known in self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def unknown_name(kind: str, name: str, known: Collection[str]) -> UnknownNameError:
    """Make the error for a name that is not among the known ones, with the nearest of them."""
    lowered = {entry.lower(): entry for entry in reversed(list(known))}
    close = difflib.get_close_matches(name.lower(), lowered, n=1)
    hint = f"did you mean {lowered[close[0]]!r}? " if close else ""
    shortened = dict.fromkeys(re.sub(":.*", ":…", entry) for entry in known)
    return UnknownNameError(f"unknown {kind} {name!r}: {hint}known are {', '.join(shortened)}")


def import_modules(package: str) -> None:
    """Import every module of a package, so that what they register is there.

    A new part is then one new file: no list of modules has to name it.
    """
    path = importlib.import_module(package).__path__
    for module in pkgutil.iter_modules(path):
        importlib.import_module(f"{package}.{module.name}")
