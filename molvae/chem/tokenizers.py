"""Tokenizers: strings <-> token ids. SMILES by character or by atom, and SELFIES."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import selfies
from numpy.typing import NDArray

from molvae.errors import MolvaeError
from molvae.registry import Registry

PAD, BOS, EOS = 0, 1, 2  # ids of padding, begin and end; the symbols follow
SPECIAL = 3


@dataclass(frozen=True)
class Scheme:
    """How one kind of tokenizer cuts a SMILES string and puts it together again."""

    split: Callable[[str], list[str]]
    join: Callable[[Sequence[str]], str]
    description: str


tokenizers: Registry[Scheme] = Registry("tokenizer")

_ATOMS = re.compile(r"\[[^\]]*\]|Br|Cl|%\([0-9]+\)|%[0-9]{2}|.", re.DOTALL)


def _split_selfies(smiles: str) -> list[str]:
    try:
        return list(selfies.split_selfies(selfies.encoder(smiles)))
    except selfies.EncoderError as error:
        reason = str(error).strip().split("\n")[0]
        raise MolvaeError(f"{smiles!r} cannot be written as SELFIES: {reason}") from None


def _join_selfies(symbols: Sequence[str]) -> str:
    return str(selfies.decoder("".join(symbols)))


tokenizers.register("char")(Scheme(list, "".join, "one SMILES character a token"))
tokenizers.register("atom")(
    Scheme(_ATOMS.findall, "".join, "Cl, Br, bracket atoms and ring bonds %nn as one SMILES token")
)
tokenizers.register("selfies")(
    Scheme(_split_selfies, _join_selfies, "SELFIES symbols: every sequence is a molecule")
)


def writable(name: str, smiles: Sequence[str]) -> list[str]:
    """The strings that tokenizer `name` can split; only SELFIES refuses some."""
    if name != "selfies":
        return list(smiles)
    usable = []
    for s in smiles:
        try:
            tokenizers[name].split(s)
        except MolvaeError:
            continue
        usable.append(s)
    return usable


class Tokenizer:
    """A vocabulary and the two directions between SMILES strings and token ids.

    Ids are 0 for padding, 1 for begin, 2 for end, then the vocabulary in order.

    >>> t = Tokenizer.fit("atom", ["CCl", "c1ccccc1"])
    >>> t.decode(t.encode(["ClCC"]))
    ['ClCC']
    """

    def __init__(self, name: str, vocabulary: Sequence[str]) -> None:
        self.name = name
        self.vocabulary = list(vocabulary)
        self._scheme = tokenizers[name]
        self._ids = {symbol: i + SPECIAL for i, symbol in enumerate(self.vocabulary)}

    @classmethod
    def fit(cls, name: str, smiles: Iterable[str]) -> Tokenizer:
        """Build the vocabulary of tokenizer `name` from all symbols in `smiles`, sorted."""
        split = tokenizers[name].split
        return cls(name, sorted(set(chain.from_iterable(map(split, smiles)))))

    def __len__(self) -> int:
        """Return the number of ids, the three special ones included."""
        return len(self.vocabulary) + SPECIAL

    def split(self, smiles: str) -> list[str]:
        """Cut a SMILES string into symbols of this tokenizer, known to the vocabulary or not."""
        return self._scheme.split(smiles)

    def ids(self, smiles: str) -> list[int]:
        """SMILES string -> ids of its symbols, without begin and end.

        Raises:
            MolvaeError: the string has a symbol that the vocabulary lacks.
        """
        try:
            return [self._ids[symbol] for symbol in self.split(smiles)]
        except KeyError as error:
            raise MolvaeError(
                f"{smiles!r} has the token {error.args[0]!r}, which is not in the vocabulary of "
                f"this {self.name} tokenizer ({len(self.vocabulary)} tokens)"
            ) from None

    def encode(self, smiles: Sequence[str]) -> NDArray[np.integer]:
        """SMILES strings -> ids (B, L): begin, symbols, end, padding; L fits the longest.

        The type is the smallest that holds every id, so a whole data set stays small.

        Raises:
            MolvaeError: a string has a symbol that the vocabulary lacks.
        """
        rows = [self.ids(s) for s in smiles]
        table = np.full(
            (len(rows), max(map(len, rows), default=0) + 2),
            PAD,
            dtype=np.uint8 if len(self) < 256 else np.int32,
        )
        for row, line in zip(rows, table, strict=True):
            line[: len(row) + 2] = [BOS, *row, EOS]
        return table

    def decode(self, ids: NDArray[np.integer]) -> list[str]:
        """Ids (B, L) -> SMILES strings, each up to its end token; they need not be valid."""
        return [self._scheme.join(self._symbols(row)) for row in ids.tolist()]

    def _symbols(self, row: list[int]) -> list[str]:
        row = row[: row.index(EOS)] if EOS in row else row
        return [self.vocabulary[i - SPECIAL] for i in row if i >= SPECIAL]
