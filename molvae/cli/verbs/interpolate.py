"""Interpolate between two molecules, or walk along the gradient of a property."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from molvae.cli import options

if TYPE_CHECKING:
    import pandas as pd

    from molvae.model.exploration import Axis

EXAMPLES = (
    "molvae interpolate CCO CCN --out way.png",
    "molvae interpolate 'CC(=O)Nc1ccc(O)cc1' --along QED",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `molvae interpolate`."""
    parser.add_argument("start", metavar="A", help="SMILES of the first molecule")
    parser.add_argument("end", metavar="B", nargs="?", help="SMILES of the last molecule")
    parser.add_argument(
        "--along",
        metavar="PROPERTY",
        type=options.quantity,
        default=argparse.SUPPRESS,
        help="instead of B: follow the gradient of a property that the model predicts, such as "
        "QED, upwards, or downwards with a minus, as in --along -SAS",
    )
    parser.add_argument(
        "--distance", type=float, default=6.0, help="length of the --along walk in latent space"
    )
    options.add_model(parser)
    options.add_standardize(parser)
    parser.add_argument(
        "--steps", type=options.whole_number, default=9, help="number of points, both ends included"
    )
    parser.add_argument(
        "--out", default=argparse.SUPPRESS, help="also write the result to a .png, .svg or .csv"
    )
    options.add_overwrite(parser)


def run(args: argparse.Namespace) -> None:
    """Print the path as a table, and write it as a table or picture if `--out` is given."""
    from molvae.base.errors import MolvaeError
    from molvae.base.files import write_file
    from molvae.model.exploration import interpolate, read_axis, walk_along_property
    from molvae.model.molvae import MolVAE

    out = getattr(args, "out", "")
    kind = options.suffix(out, ".png", ".svg", ".csv") if out else ""
    if out:
        options.refuse_existing(args, out)
    along: str | None = getattr(args, "along", None)
    if (args.end is None) == (along is None):
        raise MolvaeError("give either a second SMILES or --along PROPERTY")
    model = MolVAE.load(args.model, standardize=args.standardize)
    axis = None if along is None else read_axis(model, along)
    start = options.read_molecule(model, args.start)
    if axis is None or along is None:
        table = interpolate(model, start, options.read_molecule(model, args.end), args.steps)
    else:
        table = walk_along_property(model, start, along, args.distance, args.steps)
        options.note(
            f"distance is along the gradient of the predicted {axis.name}, "
            f"{'upwards' if axis.rises else 'downwards'}; {axis.value} is the decoded molecule's "
            f"own, {axis.how}; {axis.at_point} is predicted at the point"
        )
    shown = table.assign(valid=table["valid"].map({True: "yes", False: "no"}))
    options.emit(shown.to_string(index=False, float_format="%.2f", na_rep="-") + "\n")
    if kind == ".csv":
        options.emit(table.to_csv(index=False, lineterminator="\n"), out)
    elif kind:
        write_file(out, _picture(table, axis, out))


def _picture(table: pd.DataFrame, axis: Axis | None, out: str) -> bytes:
    from molvae.chem.pictures import draw_molecules

    if axis is None:
        legends = [f"t = {t:.2f}" for t in table["t"]]
        ends = [0, len(table) - 1]
    else:
        rows = zip(table["distance"], table[axis.value], strict=True)
        legends = [axis.write_legend(f"distance {d:.1f}", value) for d, value in rows]
        ends = [0]
    columns = min(len(table), 5)
    return draw_molecules(
        list(table["smiles"]), legends, columns, options.picture_format(out), highlighted=ends
    )
