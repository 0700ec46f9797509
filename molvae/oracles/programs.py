"""Programs as objectives: a command line that contains {smiles} -> the number it prints."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from dataclasses import dataclass

from rdkit.Chem import Mol, MolToSmiles

from molvae.base.errors import MolvaeError

PLACE = "{smiles}"


def split_words(text: str, windows: bool = os.name == "nt") -> list[str]:
    """Command line -> its words, as a shell reads them; on Windows a backslash is only itself.

    Raises:
        ValueError: a quote is not closed.
    """
    lexer = shlex.shlex(text, posix=True, punctuation_chars=False)
    lexer.whitespace_split, lexer.commenters = True, ""
    if windows:
        lexer.escape = ""
    return list(lexer)


@dataclass(frozen=True)
class Command:
    """A program run once per molecule, without a shell; its last line of output is the value."""

    words: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Command:
        """Command line, as typed in a shell -> the command.

        Raises:
            MolvaeError: a quote is not closed, {smiles} is missing, or the program does not exist.
        """
        try:
            words = split_words(text)
        except ValueError as error:
            raise MolvaeError(f"the command {text!r} cannot be parsed: {error}") from error
        if not any(PLACE in word for word in words[1:]):
            raise MolvaeError(f"the command {text!r} has no placeholder {PLACE} for the molecule")
        if shutil.which(words[0]) is None:
            raise MolvaeError(f"there is no executable {words[0]!r}; check the name and the PATH")
        return cls(tuple(words))

    @property
    def file(self) -> str | None:
        """The path of the program."""
        return shutil.which(self.words[0])

    def __call__(self, mol: Mol) -> float:
        """Molecule -> the number that the program prints on its last line.

        Raises:
            RuntimeError: the exit code is not 0.
            ValueError: the last line is not a number.
        """
        smiles = MolToSmiles(mol)
        words = [word.replace(PLACE, smiles) for word in self.words]
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace"
        )
        if done.returncode:
            raise RuntimeError(f"exit code {done.returncode}: {_last_line(done.stderr)}")
        line = _last_line(done.stdout)
        try:
            return float(line)
        except ValueError:
            raise ValueError(f"printed {line!r}, not a number") from None


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1].strip()[:200] if lines else ""
