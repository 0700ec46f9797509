"""`molvae interpolate`: what lies on the line between two molecules."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from molvae.cli import options

if TYPE_CHECKING:
    import pandas as pd


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `molvae interpolate`."""
    parser.add_argument("start", metavar="A", help="SMILES at t = 0")
    parser.add_argument("end", metavar="B", help="SMILES at t = 1")
    options.add_model(parser)
    parser.add_argument(
        "--steps", type=options.whole_number, default=9, help="points on the line, ends included"
    )
    parser.add_argument(
        "--out", default=argparse.SUPPRESS, help="also store it: .png, .svg or .csv"
    )


def run(args: argparse.Namespace) -> None:
    """Print the table of the line, and store it as a table or a picture where asked to."""
    from molvae.explore import line
    from molvae.files import write
    from molvae.model import MolVAE

    out = getattr(args, "out", "")
    kind = options.suffix(out, ".png", ".svg", ".csv") if out else ""
    table = line(MolVAE.load(args.model), args.start, args.end, args.steps)
    shown = table.assign(valid=table["valid"].map({True: "yes", False: "no"}))
    options.emit(shown.to_string(index=False, float_format="%.2f", na_rep="-") + "\n")
    if kind == ".csv":
        options.emit(table.to_csv(index=False, lineterminator="\n"), out)
    elif kind:
        write(out, _picture(table, out))


def _picture(table: pd.DataFrame, out: str) -> bytes:
    from molvae.chem.pictures import molecule_grid

    legends = [f"t = {t:.2f}" for t in table["t"]]
    columns = min(len(table), 5)
    ends = (0, len(table) - 1)
    return molecule_grid(
        list(table["smiles"]), legends, columns, options.picture_format(out), highlighted=ends
    )
