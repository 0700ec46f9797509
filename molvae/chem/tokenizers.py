"""Tokenizers: SMILES strings <-> token ids, by character, atom, learned fragment or SELFIES."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, pairwise

import numpy as np
import selfies
from numpy.typing import NDArray

from molvae.base.errors import MolvaeError
from molvae.base.parallel import map_parallel
from molvae.base.registry import Registry

PAD, BOS, EOS = 0, 1, 2  # ids of padding, begin and end; vocabulary ids follow
SPECIAL = 3


@dataclass(frozen=True)
class Scheme:
    """How a tokenizer splits a SMILES string into symbols and joins them again."""

    split: Callable[[str], list[str]]
    join: Callable[[Sequence[str]], str]
    description: str
    merges: int = 0
    """Number of multi-symbol tokens to learn for the vocabulary."""


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


tokenizers.register("char")(Scheme(list, "".join, "one token per SMILES character"))
tokenizers.register("atom")(
    Scheme(
        _ATOMS.findall,
        "".join,
        "SMILES, with Cl, Br, bracket atoms and %nn ring bonds as one token",
    )
)
tokenizers.register("pairs")(
    Scheme(list, "".join, "frequent runs of SMILES characters, such as C(=O)N", merges=200)
)
tokenizers.register("selfies")(
    Scheme(_split_selfies, _join_selfies, "SELFIES symbols: every sequence is a molecule")
)
tokenizers.register("selfies-pairs")(
    Scheme(_split_selfies, _join_selfies, "frequent runs of SELFIES symbols", merges=150)
)

FIRST_LETTER = 0xF0000  # start of a Unicode private-use area
LEARN_FROM = 10_000  # number of strings that runs of symbols are learned from


class Tokenizer:
    """A vocabulary, and the conversion between SMILES strings and token ids.

    Id 0 is padding, 1 is begin and 2 is end; the vocabulary follows in order.

    >>> t = Tokenizer.fit("atom", ["CCl", "c1ccccc1"])
    >>> t.decode(t.encode(["ClCC"]))
    ['ClCC']
    """

    def __init__(self, name: str, vocabulary: Sequence[str]) -> None:
        self.name = name
        self.vocabulary = list(vocabulary)
        self._scheme = tokenizers.look_up(name)
        longest_first = sorted(self.vocabulary, key=len, reverse=True)
        self._runs = re.compile("|".join([*map(re.escape, longest_first), "."]), re.DOTALL)
        self._ids = {symbol: i + SPECIAL for i, symbol in enumerate(self.vocabulary)}

    @classmethod
    def fit(cls, name: str, smiles: Iterable[str], progress: bool = False) -> Tokenizer:
        """Tokenizer name and SMILES -> a tokenizer whose vocabulary covers them.

        The vocabulary holds all symbols in `smiles`, then the learned runs of symbols. SMILES that
        cannot be split (a few molecules, for SELFIES) are skipped.
        """
        scheme, all_of_them = tokenizers.look_up(name), list(smiles)
        symbols = map_parallel(partial(_symbols, scheme), all_of_them, "vocabulary", progress)
        some = all_of_them[:: max(1, len(all_of_them) // LEARN_FROM)] if scheme.merges else []
        runs = learn_runs(_splits(scheme, some), scheme.merges)
        return cls(name, sorted(set(symbols)) + runs)

    def __len__(self) -> int:
        """Return the number of ids, including the three special ones."""
        return len(self.vocabulary) + SPECIAL

    def split(self, smiles: str) -> list[str]:
        """SMILES string -> its tokens, whether or not they are in the vocabulary.

        Runs of symbols are matched from left to right, longest first.
        """
        symbols = self._scheme.split(smiles)
        return self._runs.findall("".join(symbols)) if self._scheme.merges else symbols

    def ids(self, smiles: str) -> list[int]:
        """SMILES string -> ids of its tokens, without begin and end.

        Raises:
            MolvaeError: a token is not in the vocabulary.
        """
        try:
            return [self._ids[symbol] for symbol in self.split(smiles)]
        except KeyError as error:
            raise MolvaeError(
                f"{smiles!r} has the token {error.args[0]!r}, which is not in the vocabulary of "
                f"this {self.name} tokenizer ({len(self.vocabulary)} tokens)"
            ) from None

    def encode(self, smiles: Sequence[str]) -> NDArray[np.integer]:
        """SMILES strings -> ids (B, L): begin, tokens, end, padding; L fits the longest string.

        The dtype is uint8 if it can hold every id, else int32, to keep whole data sets small.

        Raises:
            MolvaeError: a token is not in the vocabulary.
        """
        return self.pad([self.ids(s) for s in smiles])

    def pad(self, rows: Sequence[Sequence[int]]) -> NDArray[np.integer]:
        """Token ids, one list per string -> padded ids (B, L), as from `encode`."""
        table = np.full(
            (len(rows), max(map(len, rows), default=0) + 2),
            PAD,
            dtype=np.uint8 if len(self) < 256 else np.int32,
        )
        for row, line in zip(rows, table, strict=True):
            line[: len(row) + 2] = [BOS, *row, EOS]
        return table

    def decode(self, ids: NDArray[np.integer]) -> list[str]:
        """Ids (B, L) -> SMILES strings, each up to its end token, not necessarily valid."""
        return [self._scheme.join(self._symbols(row)) for row in ids.tolist()]

    def _symbols(self, row: list[int]) -> list[str]:
        row = row[: row.index(EOS)] if EOS in row else row
        return [self.vocabulary[i - SPECIAL] for i in row if i >= SPECIAL]


def _splits(scheme: Scheme, smiles: list[str]) -> list[list[str]]:
    """SMILES -> their symbols, one list for each SMILES that can be split."""
    rows = []
    for s in smiles:
        with contextlib.suppress(MolvaeError):
            rows.append(scheme.split(s))
    return rows


def _symbols(scheme: Scheme, smiles: list[str]) -> list[str]:
    """SMILES -> the set of symbols that occur in them."""
    return list(set(chain.from_iterable(_splits(scheme, smiles))))


def learn_runs(rows: Sequence[Sequence[str]], merges: int) -> list[str]:
    """Lists of symbols -> up to `merges` runs of symbols, learned by byte-pair encoding.

    Merges the most frequent adjacent pair, again and again (Sennrich et al. 2016; applied to SMILES
    by Li & Fourches 2021). Returns fewer runs if there are not enough pairs.
    """
    names: dict[str, str] = {}  # each symbol and run, by its private-use character
    letters: dict[str, str] = {}
    for symbol in chain.from_iterable(rows):
        if symbol not in letters:
            letters[symbol] = chr(FIRST_LETTER + len(letters))
            names[letters[symbol]] = symbol
    text = "\n".join("".join(letters[s] for s in row) for row in rows)
    runs: list[str] = []
    while len(runs) < merges:
        pairs = Counter(pairwise(text))
        counts = [(n, a, b) for (a, b), n in pairs.items() if "\n" not in (a, b)]
        if not counts:
            break
        _, a, b = max(counts)
        letter = chr(FIRST_LETTER + len(names))
        names[letter] = names[a] + names[b]
        text = text.replace(a + b, letter)
        if names[letter] not in runs:  # different pairs can merge into the same run
            runs.append(names[letter])
    return runs
