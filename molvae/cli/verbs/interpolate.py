"""Interpolate between two molecules, or walk along the gradient of a property."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from molvae.cli import options

if TYPE_CHECKING:
    import pandas as pd


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `molvae interpolate`."""
    parser.add_argument("start", metavar="A", help="SMILES of the first molecule")
    parser.add_argument("end", metavar="B", nargs="?", help="SMILES of the last molecule")
    parser.add_argument(
        "--along",
        metavar="PROPERTY",
        default=argparse.SUPPRESS,
        help="instead of B: follow the gradient of a predicted property upwards, such as QED, or "
        "downwards with a minus sign, as in --along=-SAS",
    )
    parser.add_argument(
        "--distance", type=float, default=6.0, help="length of the --along walk in latent space"
    )
    options.add_model(parser)
    parser.add_argument(
        "--steps", type=options.whole_number, default=9, help="number of points, both ends included"
    )
    parser.add_argument(
        "--out", default=argparse.SUPPRESS, help="also write the result to a .png, .svg or .csv"
    )


def run(args: argparse.Namespace) -> None:
    """Print the path as a table, and write it as a table or picture if `--out` is given."""
    from molvae.base.errors import MolvaeError
    from molvae.base.files import write_file
    from molvae.model.exploration import interpolate, walk_along_property
    from molvae.model.molvae import MolVAE

    out = getattr(args, "out", "")
    kind = options.suffix(out, ".png", ".svg", ".csv") if out else ""
    along = getattr(args, "along", None)
    if (args.end is None) == (along is None):
        raise MolvaeError("give either a second SMILES or --along PROPERTY")
    model = MolVAE.load(args.model)
    if along is None:
        table = interpolate(model, args.start, args.end, args.steps)
    else:
        table = walk_along_property(model, args.start, along, args.distance, args.steps)
    shown = table.assign(valid=table["valid"].map({True: "yes", False: "no"}))
    options.emit(shown.to_string(index=False, float_format="%.2f", na_rep="-") + "\n")
    if kind == ".csv":
        options.emit(table.to_csv(index=False, lineterminator="\n"), out)
    elif kind:
        write_file(out, _picture(table, out))


def _picture(table: pd.DataFrame, out: str) -> bytes:
    from molvae.chem.pictures import draw_molecules

    if "t" in table:
        legends = [f"t = {t:.2f}" for t in table["t"]]
        ends = [0, len(table) - 1]
    else:
        legends = [f"distance {d:.1f}" for d in table["distance"]]
        ends = [0]
    columns = min(len(table), 5)
    return draw_molecules(
        list(table["smiles"]), legends, columns, options.picture_format(out), highlighted=ends
    )
