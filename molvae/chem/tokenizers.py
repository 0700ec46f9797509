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
from rdkit import Chem

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
    boundary: str = ""
    """Regular expression for what must follow a token, so that none ends inside a symbol."""
    cuts_atoms: bool = False
    """Whether a symbol can be part of an atom, such as the B of Br."""
    spells_smiles: bool = True
    """Whether the symbols of a string, one after the other, are its SMILES."""


tokenizers: Registry[Scheme] = Registry("tokenizer")

_ATOMS = re.compile(r"\[[^\]]*\]|Br|Cl|%\([0-9]+\)|%[0-9]{2}|.", re.DOTALL)
_ATOM = re.compile(
    r"\[(?P<isotope>[0-9]*)(?P<element>[A-Z][a-z]?|[a-z][a-z]?)[^\]]*?(?P<charge>[+-][0-9]*)?\]"
    r"|(?P<plain>Br|Cl|[BCNOPSFIbcnops])"
)


def _split_selfies(smiles: str) -> list[str]:
    try:
        return list(selfies.split_selfies(selfies.encoder(smiles)))
    except selfies.EncoderError as error:
        reason = str(error).strip().split("\n")[0]
        raise MolvaeError(f"{smiles!r} cannot be written as SELFIES: {reason}") from None


def _join_selfies(symbols: Sequence[str]) -> str:
    return str(selfies.decoder("".join(symbols)))


tokenizers.register("char")(
    Scheme(list, "".join, "one token per SMILES character", cuts_atoms=True)
)
tokenizers.register("atom")(
    Scheme(
        _ATOMS.findall,
        "".join,
        "SMILES, with Cl, Br, bracket atoms and %nn ring bonds as one token",
    )
)
tokenizers.register("pairs")(
    Scheme(
        list,
        "".join,
        "frequent runs of SMILES characters, as in earlier models",
        merges=200,
        cuts_atoms=True,
    )
)
tokenizers.register("atom-pairs")(
    Scheme(
        _ATOMS.findall,
        "".join,
        "frequent runs of SMILES atoms, such as C(=O)N",
        merges=200,
        boundary="(?![lr])",  # of Cl and Br
    )
)
tokenizers.register("selfies")(
    Scheme(
        _split_selfies,
        _join_selfies,
        "SELFIES symbols: every sequence is a molecule",
        spells_smiles=False,
    )
)
tokenizers.register("selfies-pairs")(
    Scheme(
        _split_selfies,
        _join_selfies,
        "frequent runs of SELFIES symbols",
        merges=150,
        spells_smiles=False,
    )
)

_TABLE = Chem.GetPeriodicTable()
_ELEMENTS = {_TABLE.GetElementSymbol(z): _TABLE.GetElementName(z).lower() for z in range(1, 119)}
FIRST_LETTER = 0xF0000  # start of a Unicode private-use area
LEARN_FROM = 10_000  # number of strings that runs of symbols are learned from


class Tokenizer:
    """A vocabulary, and the conversion between SMILES strings and token ids.

    Id 0 is padding, 1 is begin and 2 is end; the vocabulary follows in order. A molecule with an
    atom that the data did not have is refused, even if the symbols can spell it: a tokenizer that
    knows Br by its characters must not read boron.

    >>> t = Tokenizer.fit("atom", ["CCl", "c1ccccc1"])
    >>> t.decode(t.encode(["ClCC"]))
    ['ClCC']
    """

    def __init__(
        self, name: str, vocabulary: Sequence[str], atoms: Iterable[str] | None = None
    ) -> None:
        """Make a tokenizer from a stored vocabulary; `fit` learns one.

        Args:
            name: a name from `molvae list tokenizers`.
            vocabulary: the tokens, in the order of their ids.
            atoms: the atoms of the data, as from `list_atoms`, for a tokenizer whose symbols can
                be part of an atom; None does not check them.
        """
        self.name = name
        self.atoms = None if atoms is None else frozenset(atoms)
        self.vocabulary = list(vocabulary)
        self._scheme = tokenizers.look_up(name)
        longest_first = sorted(self.vocabulary, key=len, reverse=True)
        runs = "|".join(map(re.escape, longest_first)) or "(?!)"
        self._runs = re.compile(f"(?:{runs}){self._scheme.boundary}|.", re.DOTALL)
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
        atoms = None
        if scheme.cuts_atoms:
            atoms = map_parallel(_list_all_atoms, all_of_them, "atoms", progress)
        return cls(name, sorted(set(symbols)) + runs, atoms)

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
            MolvaeError: it has an atom or a token that the data did not have.
        """
        self.check_atoms(smiles)
        try:
            return [self._ids[symbol] for symbol in self.split(smiles)]
        except KeyError:
            unknown = (t for t in self._scheme.split(smiles) if t not in self._ids)
            raise _refuse(smiles, next(unknown, smiles)) from None

    def check_atoms(self, smiles: str) -> None:
        """Check that the data had the atoms of a SMILES string, or of the beginning of one.

        Raises:
            MolvaeError: it has an atom that the data did not have, or several fragments.
        """
        if "." in smiles and "." not in self._ids:
            raise _refuse(smiles, ".")
        if self.atoms is not None and (new := list_atoms(smiles) - self.atoms):
            raise _refuse(smiles, min(new))

    @property
    def spells_smiles(self) -> bool:
        """Whether its tokens, one after the other, are a SMILES string."""
        return self._scheme.spells_smiles

    def knows_atom(self, atom: str) -> bool:
        """Kind of atom without brackets, such as "B" -> whether the data had it."""
        return atom in (self._ids if self.atoms is None else self.atoms)

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


def list_atoms(smiles: str) -> set[str]:
    """SMILES -> its kinds of atoms: isotope, element (lower case if aromatic) and charge.

    >>> sorted(list_atoms("[18F]c1cc[nH+]cc1"))
    ['18F', 'c', 'n+']
    """
    return {
        atom["plain"] or f"{atom['isotope']}{atom['element']}{atom['charge'] or ''}"
        for atom in _ATOM.finditer(smiles)
    }


def _list_all_atoms(smiles: list[str]) -> list[str]:
    return sorted(set().union(*map(list_atoms, smiles)))


def _refuse(smiles: str, unknown: str) -> MolvaeError:
    """SMILES and what is unknown in it, an atom or a token -> an error that says so."""
    shown = repr(smiles if len(smiles) <= 80 else f"{smiles[:60]}...")
    if unknown == ".":
        return MolvaeError(
            f"{shown} consists of several fragments, as a salt does, and this model has seen only "
            "single molecules: give the parent molecule alone"
        )
    element = re.fullmatch(r"\[?([0-9]*)([A-Z][a-z]?|[a-z][a-z]?)([^a-z].*|)", unknown)
    symbol = element[2].capitalize() if element else ""
    if element and symbol in _ELEMENTS:
        isotope = f"the isotope {element[1]} of " if element[1] else ""
        kind = (
            f"{isotope}{_ELEMENTS[symbol]} as {unknown}" if unknown != symbol else _ELEMENTS[symbol]
        )
        return MolvaeError(f"{shown} contains {kind}, which this model has not seen in training")
    if re.fullmatch(r"%?\(?[0-9]+\)?", unknown):
        return MolvaeError(
            f"{shown} has more rings open at once than the molecules that this model has seen "
            f"(ring bond {unknown})"
        )
    return MolvaeError(f"{shown} has the token {unknown!r}, which this model has not seen")


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
