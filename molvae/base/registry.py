"""Name -> thing: every choice that a user makes by name is looked up here."""

from __future__ import annotations

import difflib
import importlib
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Generic, TypeVar

from molvae.base.errors import MolvaeError

T = TypeVar("T")


class UnknownNameError(MolvaeError):
    """A name that is neither registered nor an importable ``package.module:attribute``."""


class Registry(Mapping[str, T], Generic[T]):
    """A dictionary of named entries that can be filled by decorator and explains a wrong name.

    >>> colours = Registry("colour")
    >>> colours.register("red")("#f00")
    '#f00'
    >>> colours["red"], list(colours)
    ('#f00', ['red'])
    """

    def __init__(self, kind: str, elsewhere: tuple[str, ...] = ()) -> None:
        """`elsewhere` are further names that a wrong one may stand for."""
        self.kind, self.elsewhere = kind, elsewhere
        self._entries: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that stores its argument under `name`; a taken name is an error."""
        if name in self._entries:
            raise ValueError(f"the {self.kind} {name!r} is registered already")

        def store(entry: T) -> T:
            self._entries[name] = entry
            return entry

        return store

    def __getitem__(self, name: str) -> T:
        """Return the entry called `name`, or import it where it reads ``package.module:attribute``.

        Raises:
            UnknownNameError: neither a registered name nor something that can be imported.
        """
        if name in self._entries:
            return self._entries[name]
        if ":" in name and not self._like_a_known_one(name):
            return self._imported(name)
        names = [*self._entries, *self.elsewhere]
        close = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        known = dict.fromkeys(re.sub(":.*", ":…", known) for known in names)
        raise UnknownNameError(f"unknown {self.kind} {name!r}: {hint}known are {', '.join(known)}")

    def without_import(self, name: str) -> T:
        """Return the entry called `name`, as it stands in a file: nothing is imported for it.

        Raises:
            UnknownNameError: not registered, and not in a module that has been imported already.
        """
        module = name.partition(":")[0]
        if ":" in name and module not in sys.modules:
            raise UnknownNameError(
                f"the {self.kind} {name!r} comes from elsewhere: import {module} first, if you "
                "trust it"
            )
        return self[name]

    def _like_a_known_one(self, name: str) -> bool:
        """Whether an entry has the same words before the colon."""
        return any(known.startswith(name.partition(":")[0] + ":") for known in self._entries)

    def _imported(self, name: str) -> T:
        module, _, attribute = name.partition(":")
        try:
            entry: T = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError, ValueError) as error:
            raise UnknownNameError(f"cannot import the {self.kind} {name!r}: {error}") from error
        return entry

    def __contains__(self, name: object) -> bool:
        """Whether `name` is registered; an importable ``package.module:attribute`` is not."""
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
