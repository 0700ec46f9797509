"""Objectives that are programs: a command line with {smiles} in it -> the number it prints."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from dataclasses import dataclass

from rdkit.Chem import Mol, MolToSmiles

from molvae.base.errors import MolvaeError

PLACE = "{smiles}"


@dataclass(frozen=True)
class Command:
    """A program run once per molecule, without a shell; its last line of output is the value."""

    words: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Command:
        """A command line as one would type it -> the command.

        Raises:
            MolvaeError: quotes that do not close, no {smiles}, or no such program.
        """
        try:
            words = shlex.split(text)
        except ValueError as error:
            raise MolvaeError(f"the command {text!r} cannot be read: {error}") from error
        if not any(PLACE in word for word in words[1:]):
            raise MolvaeError(f"the command {text!r} has no {PLACE}, where the molecule goes")
        if shutil.which(words[0]) is None:
            raise MolvaeError(f"there is no program {words[0]!r} that could be run")
        return cls(tuple(words))

    @property
    def file(self) -> str | None:
        """Where the program is."""
        return shutil.which(self.words[0])

    def __call__(self, mol: Mol) -> float:
        """A molecule -> the number that is printed.

        Raises:
            RuntimeError: an exit code other than 0.
            ValueError: no number in the last line.
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
