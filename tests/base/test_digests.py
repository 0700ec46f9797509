"""Digests of many lines."""

import hashlib

import pytest

from molvae.base.digests import TOGETHER, digest_lines


@pytest.mark.parametrize("lines", [[], ["CCO"], ["CCO", "", "é"], [""] * (TOGETHER + 1)], ids=len)
def test_lines_have_the_digest_of_their_text(lines: list[str]) -> None:
    found = digest_lines(hashlib.sha256(), iter(lines))
    assert found.digest() == hashlib.sha256("\n".join(lines).encode()).digest()
