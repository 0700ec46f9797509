"""`molvae decode`: latent points in, SMILES out."""

from __future__ import annotations

import argparse
import sys

from molvae.cli import options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `molvae decode`."""
    parser.add_argument("latents", help="what 'molvae encode' wrote: .npz or .csv; - for stdin")
    options.add_model(parser)
    parser.add_argument("--out", default="-", help=".csv; - prints it")


def run(args: argparse.Namespace) -> None:
    """Decode every latent point and say how many strings are valid."""
    import pandas as pd

    from molvae.chem.molecules import canonical
    from molvae.files import read_latents
    from molvae.model import MolVAE

    if args.out != "-":
        options.suffix(args.out, ".csv")
    z = read_latents(sys.stdin if args.latents == "-" else args.latents)
    strings = MolVAE.load(args.model).decode(z, progress=options.progress())
    valid = [canonical(s) is not None for s in strings]
    table = pd.DataFrame({"smiles": strings, "valid": valid})
    options.emit(table.to_csv(index=False, lineterminator="\n"), args.out)
    options.note(f"{len(strings)} points decoded: {sum(valid)} valid")
