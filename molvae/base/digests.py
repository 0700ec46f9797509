"""Digests of many lines, without a copy of them all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar


class Digest(Protocol):
    """What `hashlib` makes."""

    def update(self, content: bytes, /) -> None:
        """Take further content in."""
        ...


D = TypeVar("D", bound=Digest)


def digest_lines(digest: D, lines: Iterable[str]) -> D:
    """Take lines in as if they were joined by newlines; returns the same digest."""
    before = ""
    for line in lines:
        digest.update(f"{before}{line}".encode())
        before = "\n"
    return digest
