"""Complete the beginning of a SMILES, or grow a fragment."""

from __future__ import annotations

import argparse

from molvae.cli import options

EXAMPLES = (
    "molvae complete 'c1ccc(cc1)C('",
    "molvae complete --keep 'O=C(N*)c1ccnc(*)c1' --out decorated.svg",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `molvae complete`."""
    parser.add_argument(
        "prefix", metavar="PREFIX", nargs="?", help="beginning of a SMILES, such as 'c1ccc(cc1)C('"
    )
    parser.add_argument(
        "--keep",
        metavar="FRAGMENT",
        default=argparse.SUPPRESS,
        help="instead of PREFIX: SMILES or SMARTS of what each molecule contains; it gets "
        "substituents at its attachment points alone, as in '*c1ccc(*)cc1', or at one atom if it "
        "has none",
    )
    parser.add_argument(
        "--near",
        metavar="SMILES",
        default=argparse.SUPPRESS,
        help="draw latent points around this molecule in place of the prior",
    )
    parser.add_argument(
        "--radius", type=float, default=6.0, help="typical latent distance from the --near molecule"
    )
    options.add_model(parser, "zinc")
    options.add_standardize(parser)
    parser.add_argument(
        "-n",
        "--number",
        type=options.whole_number,
        default=20,
        help="number of molecules, the most frequent of at least 500 draws",
    )
    parser.add_argument(
        "--temperature",
        type=float,
        default=1.0,
        help="of the tokens that are added: at 1 they are draws of the model's distribution, at 0 "
        "each is the likeliest",
    )
    options.add_seed(parser)
    parser.add_argument(
        "--out", default=argparse.SUPPRESS, help="also write the result to a .png, .svg or .csv"
    )
    options.add_overwrite(parser)


def run(args: argparse.Namespace) -> None:
    """Print the molecules as a table, and write them as a table or picture if `--out` is given."""
    from molvae.base.errors import MolvaeError
    from molvae.base.files import write_file
    from molvae.chem.pictures import draw_molecules
    from molvae.model.completion import complete, grow
    from molvae.model.molvae import MolVAE

    out = getattr(args, "out", "")
    kind = options.suffix(out, ".png", ".svg", ".csv") if out else ""
    if out:
        options.refuse_existing(args, out)
    keep: str | None = getattr(args, "keep", None)
    near: str | None = getattr(args, "near", None)
    if (args.prefix is None) == (keep is None):
        raise MolvaeError("give either the beginning of a SMILES or --keep FRAGMENT")
    model = MolVAE.load(args.model, standardize=args.standardize)
    draw = {
        "near": None if near is None else options.read_molecule(model, near),
        "radius": args.radius,
        "temperature": args.temperature,
        "seed": args.seed,
    }
    given = args.prefix if keep is None else keep
    found = (complete if keep is None else grow)(model, given, args.number, **draw)
    if not found.distinct:
        what = "begin with" if keep is None else "grow from"
        raise MolvaeError(f"none of {found.drawn} strings that {what} {given!r} is such a molecule")
    table = found.table
    shown = table.drop(columns=["written", "given"])
    options.emit(shown.to_string(index=False, float_format="%.2f", na_rep="-") + "\n")
    options.note(
        f"{found.drawn} strings drawn: {found.valid} valid, {found.distinct} different; log p of "
        f"{'the beginning' if keep is None else 'the fragment'} {found.log_evidence:.1f}"
    )
    if kind == ".csv":
        atoms = table["given"].map(lambda atoms: " ".join(map(str, atoms)))
        options.emit(table.assign(given=atoms).to_csv(index=False, lineterminator="\n"), out)
    elif kind:
        rows = zip(table["count"], table["log_p"], strict=True)
        legends = [f"{count} x, log p {log_p:.1f}" for count, log_p in rows]
        highlighted = dict(enumerate(table["given"]))
        columns = min(len(table), 5)
        picture = options.picture_format(out)
        content = draw_molecules(list(table["written"]), legends, columns, picture, highlighted)
        write_file(out, content)
