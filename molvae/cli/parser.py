"""The parser of the command line: help in colours with examples, errors with suggestions."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Iterable, Sequence
from typing import NoReturn

from rich_argparse import RawDescriptionRichHelpFormatter


class HelpFormatter(RawDescriptionRichHelpFormatter):
    """Help in colours on a terminal; examples keep their lines."""

    text_markup = help_markup = False  # SMILES have brackets


class DefaultsHelpFormatter(argparse.ArgumentDefaultsHelpFormatter, HelpFormatter):
    """The same, with the default of every option."""


class Parser(argparse.ArgumentParser):
    """A parser whose errors about unknown options come from the verb and suggest what is near."""

    def set_examples(self, examples: Iterable[str]) -> None:
        """Show commands at the end of the help."""
        self.epilog = "\n".join(["examples:", *(f"  {example}" for example in examples)])

    def error(self, message: str) -> NoReturn:
        """Exit with one line; the usage of a verb has twenty, which would hide it."""
        self.exit(2, f"{self.prog}: {message} (see '{self.prog} --help')\n")

    def refuse_unknown(self, words: Sequence[str]) -> NoReturn:
        """Exit with a usage error for words that no option takes, with the nearest option."""
        options = [name for name in self._option_string_actions if name.startswith("--")]
        hints = []
        for word in (word.partition("=")[0] for word in words if word.startswith("--")):
            hints += [f"{word}: {suggest(word, options)}"] if suggest(word, options) else []
        text = f"unknown {'option' if words[0].startswith('-') else 'argument'} {' '.join(words)}"
        self.error("; ".join([text, *hints]))


def suggest(word: str, known: Iterable[str]) -> str:
    """A mistyped word and the known ones -> "did you mean ...?", or nothing if none is near."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"did you mean {close[0]}?" if close else ""
