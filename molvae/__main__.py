"""`python -m molvae`, and the command `molvae`."""

import gc
import sys

from molvae.cli import main


def run() -> None:
    """Run the command line and leave with its exit code."""
    code = main()
    gc.freeze()  # so that Python does not look for cycles among all that is thrown away now
    sys.exit(code)


if __name__ == "__main__":
    run()
