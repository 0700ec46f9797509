"""Look at molecules on a map, and watch and steer a search, in the browser.

The page is served on this machine alone, at an address with a secret that is printed. RUN is a run
folder of `molvae optimize`, a folder of such, or a history file; a run that is still being written
is followed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

EXAMPLES = (
    "molvae studio",
    "molvae studio runs/my-run",
    "molvae studio lab.sqlite --model zinc",
    "molvae studio runs/* --port 8000 --no-browser",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `molvae studio`."""
    parser.add_argument("run", nargs="*", type=Path, metavar="RUN", help="what to show")
    parser.add_argument("--model", help="of a history file, which does not name it")
    parser.add_argument("--port", type=int, default=0, help="of the address; 0 for a free one")
    parser.add_argument(
        "--no-browser", action="store_true", help="print the address without opening it"
    )
    parser.add_argument(
        "--allow-programs",
        action="store_true",
        help="let the page start programs and functions and read files that it names: whoever can "
        "use the page can then run anything as you",
    )


def run(args: argparse.Namespace) -> None:
    """Serve the page until Ctrl-C."""
    from molvae.studio.start import serve

    serve(
        args.run,
        model=args.model,
        port=args.port,
        browser=not args.no_browser,
        allow_programs=args.allow_programs,
    )
