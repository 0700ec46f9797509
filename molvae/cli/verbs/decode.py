"""Decode latent points to SMILES."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from molvae.cli import options

EXAMPLES = (
    "molvae decode points.npz --out molecules.csv",
    "molvae encode CCO | molvae decode -",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `molvae decode`."""
    parser.add_argument(
        "latents",
        help="output of 'molvae encode': .npz, .csv or a folder of Parquet; - reads CSV from stdin",
    )
    options.add_model(parser)
    options.add_beam(parser)
    parser.add_argument(
        "--out",
        default="-",
        help=".csv, or a FOLDER of Parquet files, with columns smiles and valid and one row per "
        "input row; - prints CSV",
    )
    options.add_overwrite(parser)
    options.add_stream(parser)


def run(args: argparse.Namespace) -> None:
    """Decode every latent point and report how many strings are valid."""
    import pandas as pd

    from molvae.chem.molecules import canonicalize
    from molvae.library import bulk
    from molvae.library.latents import read_latents
    from molvae.model.molvae import MolVAE

    source = sys.stdin if args.latents == "-" else args.latents
    if options.is_folder(args.out):
        with options.engine(args):
            config = options.stream_config(args)
            tally = bulk.decode(source, args.model, Path(args.out), config, beam=args.beam)
        options.note(f"{tally.rows} points decoded: {tally.good} valid")
        return
    options.refuse_stream(args)
    if args.out != "-":
        options.suffix(args.out, ".csv")
    options.refuse_existing(args, args.out)
    z = read_latents(source)
    strings = bulk.decode_rows(MolVAE.load(args.model), z, args.beam, options.progress())
    valid = [s is not None and canonicalize(s) is not None for s in strings]
    table = pd.DataFrame({"smiles": strings, "valid": valid})
    options.emit(table.to_csv(index=False, lineterminator="\n"), args.out)
    options.note(f"{len(strings)} points decoded: {sum(valid)} valid")
