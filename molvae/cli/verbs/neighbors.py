"""Draw the molecules around a molecule in latent space."""

from __future__ import annotations

import argparse

from molvae.cli import options

EXAMPLES = (
    "molvae neighbors 'CC(=O)Nc1ccc(O)cc1'",
    "molvae neighbors 'CC(=O)Nc1ccc(O)cc1' --along -SAS --out around.svg",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `molvae neighbors`."""
    parser.add_argument("smiles", metavar="SMILES", help="molecule at the centre")
    options.add_model(parser)
    options.add_standardize(parser)
    parser.add_argument(
        "--radius", type=float, default=6.0, help="latent distance from the centre to the edge"
    )
    parser.add_argument(
        "--grid", type=options.whole_number, default=7, help="points per side (odd)"
    )
    parser.add_argument(
        "--along",
        metavar="PROPERTY",
        type=options.quantity,
        default=argparse.SUPPRESS,
        help="property that the model predicts, such as QED: it increases to the right, or "
        "decreases with a minus, as in --along -SAS",
    )
    options.add_seed(parser)
    parser.add_argument("--out", default="neighbors.png", help="output file, .png or .svg")
    options.add_overwrite(parser)


def run(args: argparse.Namespace) -> None:
    """Draw the neighbourhood and report how many points are valid and distinct."""
    from molvae.base.files import write_file
    from molvae.chem.molecules import canonicalize
    from molvae.chem.pictures import draw_molecules
    from molvae.model.exploration import decode_plane, read_axis
    from molvae.model.molvae import MolVAE

    picture = options.picture_format(args.out)
    options.refuse_existing(args, args.out)
    model = MolVAE.load(args.model, standardize=args.standardize)
    smiles = options.read_molecule(model, args.smiles)
    along = getattr(args, "along", None)
    axis = None if along is None else read_axis(model, along)
    table = decode_plane(
        model,
        smiles,
        radius=args.radius,
        grid=args.grid,
        seed=args.seed,
        along=along,
    )
    given = canonicalize(smiles)
    forms = [canonicalize(s) for s in table["smiles"]]
    middle = len(forms) // 2
    same = [i for i, form in enumerate(forms) if form == given]
    legends = [f"distance {d:.1f}" for d in table["distance"]]
    for i in same:
        legends[i] += ": same molecule"
    legends[middle] = "input molecule"
    cells = list(table["smiles"])
    cells[middle] = smiles
    if axis is not None:
        rows = zip(legends, axis.measure(model, cells), strict=True)
        legends = [axis.write_legend(text, value) for text, value in rows]
    content = draw_molecules(cells, legends, args.grid, picture, highlighted={middle, *same})
    write_file(args.out, content)
    back = "to itself" if middle in same else f"to {table['smiles'][middle]}"
    different = len({form for form in forms if form is not None})
    print(f"{args.out}: {len(forms)} points, {table['valid'].sum()} valid, {different} distinct")
    if axis is not None:
        print(f"to the right the predicted {axis.name} {'rises' if axis.rises else 'falls'}")
        print(f"the {axis.value} below a molecule is its own, {axis.how}")
    print(f"{smiles} decodes {back}; {len(same)} points decode to it (highlighted)")
