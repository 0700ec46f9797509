"""The command line.

Each verb is a module in `molvae.cli.verbs` with two functions: `add_arguments(parser)`, and
`run(args)`, which returns an exit code or None for 0. The first line of the module's docstring is
the verb's help text. Heavy libraries such as torch and RDKit are imported inside functions, so that
`molvae --help` stays instant.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import molvae.cli.verbs as verbs
from molvae.base.errors import MolvaeError, MolvaeWarning
from molvae.cli.options import shield_minus_names

# verbs of the other face, which is loaded by name when it is asked for
ELSEWHERE = {"studio": "molvae.studio.verb"}
FIRST = ("train", "fit-prior", "report", "optimize", "benchmark", "sample", "encode", "decode")


def find_verbs() -> dict[str, str]:
    """Return verb -> the first line of its docstring, in the order shown in the help."""
    found = {
        module.name.replace("_", "-"): module.name
        for module in pkgutil.iter_modules(verbs.__path__)
    }
    order = dict.fromkeys([*(name for name in FIRST if name in found), *found, *ELSEWHERE])
    return {name: (_module(name).__doc__ or "").partition("\n")[0].rstrip(".") for name in order}


def main(argv: Sequence[str] | None = None) -> int:
    """Command-line words -> exit code: 0 success, 1 error, 2 usage error, 130 Ctrl-C."""
    words = [*(sys.argv[1:] if argv is None else argv)]  # `list` is a verb here
    parser = argparse.ArgumentParser(
        prog="molvae",
        description="Learn a continuous map of molecules and search it.",
        epilog="Run 'molvae VERB --help' for the options of a verb.",
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    subparsers = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs")
    chosen = next((word for word in words if not word.startswith("-")), None)
    for name, summary in find_verbs().items():
        verb = subparsers.add_parser(
            name,
            help=summary[0].lower() + summary[1:],
            description=summary + ".",
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )
        if name == chosen:
            _module(name).add_arguments(verb)
    args = parser.parse_args(shield_minus_names(words))
    if args.version:
        from importlib.metadata import version

        print(f"molvae {version('molvae')}")
        return 0
    if args.verb is None:
        parser.print_help()
        return 2
    with _warnings_in_one_line(args.verb):
        try:
            return _module(args.verb).run(args) or 0
        except (MolvaeError, OSError) as error:
            print(f"molvae {args.verb}: {_one_line(error)}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print(f"molvae {args.verb}: interrupted", file=sys.stderr)
            return 130


@contextmanager
def _warnings_in_one_line(verb: str) -> Iterator[None]:
    """Print each MolvaeWarning as one line inside a `with` block."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", MolvaeWarning)
        show = warnings.showwarning

        def show_in_one_line(message: Any, category: type[Warning], *where: Any) -> None:
            if issubclass(category, MolvaeWarning):
                print(f"molvae {verb}: {message}", file=sys.stderr)
            else:
                show(message, category, *where)

        warnings.showwarning = show_in_one_line  # type: ignore[assignment]
        yield


def _module(verb: str) -> Any:
    return importlib.import_module(
        ELSEWHERE.get(verb, f"molvae.cli.verbs.{verb.replace('-', '_')}")
    )


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower() + (f": {error.filename}" if error.filename else "")
    return " ".join(str(error).split())
