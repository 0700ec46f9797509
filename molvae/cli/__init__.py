"""The command line.

Each verb is a module in `molvae.cli.verbs` with two functions: `add_arguments(parser)`, and
`run(args)`, which returns an exit code or None for 0. The first line of the module's docstring is
the verb's help text, and `EXAMPLES` are commands that the help ends with. Heavy libraries such as
torch and RDKit are imported inside functions, so that `molvae --help` stays instant.
"""

from __future__ import annotations

import gc
import importlib
import os
import pkgutil
import sys
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from typing import Any

import molvae.cli.verbs as verbs
from molvae.base.errors import MolvaeError, MolvaeWarning
from molvae.cli.options import Stopped, shield_minus_names
from molvae.cli.parser import DefaultsHelpFormatter, HelpFormatter, Parser, suggest

# verbs of the other face, which is loaded by name when it is asked for
ELSEWHERE = {"studio": "molvae.studio.verb"}
COLLECT_AFTER = 50_000  # new objects; imports make so many that Python's 700 cost a quarter second
FIRST = (
    *("train", "fit-prior", "fit-posterior", "report", "optimize", "benchmark"),
    *("sample", "encode", "decode"),
)


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
    plain = (word for word in words if not word.startswith("-"))
    chosen = None if "--print-completion" in words else next(plain, None)
    found = find_verbs()
    parser, verb_parsers = build_parser(found, [chosen] if chosen in found else [])
    if chosen is not None and chosen not in found:
        hint = suggest(chosen, found) or f"known are {', '.join(found)}"
        parser.error(f"unknown verb {chosen!r}: {hint}")
    args, unknown = parser.parse_known_args(shield_minus_names(words))
    if unknown:
        verb_parsers.get(args.verb, parser).refuse_unknown(unknown)
    if args.version:
        from importlib.metadata import version

        print(f"molvae {version('molvae')}")
        return 0
    if args.print_completion:
        from shtab import complete

        print(complete(build_parser(found, set(found))[0], args.print_completion))
        return 0
    if args.verb is None:
        parser.print_help()
        return 2
    stderr, args.stdout = sys.stderr, sys.stdout
    with ExitStack() as stack:
        stack.callback(gc.set_threshold, *gc.get_threshold())
        gc.set_threshold(COLLECT_AFTER)
        stack.enter_context(_warnings_in_one_line(args.verb))
        notes = stack.enter_context(open(os.devnull, "w")) if args.quiet else stderr
        if getattr(args, "json", False):
            stack.enter_context(redirect_stdout(notes))
        stack.enter_context(redirect_stderr(notes))
        try:
            return _module(args.verb).run(args) or 0
        except (MolvaeError, OSError) as error:
            print(f"molvae {args.verb}: {_one_line(error)}", file=stderr)
            return 1
        except Stopped as stop:
            print(stop, file=stderr)
            return stop.code
        except KeyboardInterrupt:
            print(f"molvae {args.verb}: interrupted", file=stderr)
            return 130


def build_parser(
    found: Mapping[str, str], whole: Collection[str]
) -> tuple[Parser, dict[str, Parser]]:
    """Verbs with their help -> the parser, and that of each verb.

    Args:
        found: from `find_verbs`.
        whole: the verbs that need their options now; those of the others would import what they
            take their defaults from.
    """
    parser = Parser(
        prog="molvae",
        description="Learn a continuous map of molecules and search it.",
        epilog="Run 'molvae VERB --help' for the options of a verb.",
        formatter_class=HelpFormatter,
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    parser.add_argument(
        "--print-completion",
        choices=["bash", "zsh", "tcsh"],
        help="print a script for the completion of verbs and options in this shell, and exit",
    )
    subparsers = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs")
    verb_parsers = {}
    for name, summary in found.items():
        verb = verb_parsers[name] = subparsers.add_parser(
            name,
            help=summary[0].lower() + summary[1:],
            description=summary + ".",
            formatter_class=DefaultsHelpFormatter,
        )
        if name in whole:
            _module(name).add_arguments(verb)
            verb.add_argument(
                "--quiet", action="store_true", help="leave out notes and progress on stderr"
            )
            verb.set_examples(_module(name).EXAMPLES)
    return parser, verb_parsers


@contextmanager
def _warnings_in_one_line(verb: str) -> Iterator[None]:
    """Print each MolvaeWarning as one line inside a `with` block."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", MolvaeWarning)
        show, stderr = warnings.showwarning, sys.stderr

        def show_in_one_line(message: Any, category: type[Warning], *where: Any) -> None:
            if issubclass(category, MolvaeWarning):
                print(f"molvae {verb}: {message}", file=stderr)
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
