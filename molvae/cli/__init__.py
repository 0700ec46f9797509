"""The command line. One verb is one module here with `add_arguments(parser)` and
`run(args)`, which returns an exit code, or None for 0.

A verb's module is imported only when that verb is asked for, so `molvae --help` stays instant;
a module imports torch, RDKit and the like inside its functions for the same reason.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import Any

from molvae.base.errors import MolvaeError

VERBS = {
    "train": "learn a latent space from a data set",
    "fit-prior": "fit a prior to the latent points of molecules",
    "report": "measure a model: statistics table, reconstruction, validity",
    "optimize": "search the latent space for better molecules",
    "benchmark": "search on all tasks of a suite, beside published results",
    "sample": "new molecules from the prior",
    "encode": "SMILES to latent points",
    "decode": "latent points to SMILES",
    "interpolate": "molecules on the line between two molecules",
    "neighbors": "what the surroundings of a molecule decode to, as a picture",
    "list": "every name that an option accepts",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code (0 done, 1 error, 2 usage, 130 Ctrl-C)."""
    words = [*(sys.argv[1:] if argv is None else argv)]  # `list` is a verb here
    parser = argparse.ArgumentParser(
        prog="molvae",
        description="Learn a continuous map of molecules and search it.",
        epilog="'molvae VERB --help' explains one verb.",
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs")
    chosen = next((word for word in words if not word.startswith("-")), None)
    for name, summary in VERBS.items():
        verb = verbs.add_parser(
            name,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )
        if name == chosen:
            _module(name).add_arguments(verb)
    args = parser.parse_args(words)
    if args.version:
        from importlib.metadata import version

        print(f"molvae {version('molvae')}")
        return 0
    if args.verb is None:
        parser.print_help()
        return 2
    try:
        return _module(args.verb).run(args) or 0
    except (MolvaeError, OSError) as error:
        print(f"molvae {args.verb}: {_one_line(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"molvae {args.verb}: interrupted", file=sys.stderr)
        return 130


def _module(verb: str) -> Any:
    return importlib.import_module(f"molvae.cli.verbs.{verb.replace('-', '_')}")


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower() + (f": {error.filename}" if error.filename else "")
    return " ".join(str(error).split())
