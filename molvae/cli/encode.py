"""`molvae encode`: SMILES in, latent points out."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from molvae.cli import options

if TYPE_CHECKING:
    from molvae.model import MolVAE

FILE_SUFFIXES = (".smi", ".txt", ".gz", ".csv", ".parquet")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `molvae encode`."""
    parser.add_argument(
        "smiles", nargs="+", metavar="SMILES", help="SMILES, a FILE or FILE:COLUMN, - for stdin"
    )
    options.add_model(parser)
    parser.add_argument("--out", default="-", help=".npz or .csv; - prints CSV")


def run(args: argparse.Namespace) -> None:
    """Encode every row that can be encoded, name the others, store or print the latents."""
    from molvae.errors import MolvaeError
    from molvae.files import latents_csv, latents_npz, write
    from molvae.model import MolVAE

    kind = ".csv" if args.out == "-" else options.suffix(args.out, ".npz", ".csv")
    rows = [_first_word(smiles) for given in args.smiles for smiles in _read(given)]
    model = MolVAE.load(args.model)
    usable = []
    for number, smiles in enumerate(rows, start=1):
        if model.encodable(smiles):
            usable.append(smiles)
        else:
            options.note(f"row {number} left out: {_reason(model, smiles)}")
    if not usable:
        raise MolvaeError(f"none of the {len(rows)} rows can be encoded")
    z = model.encode(usable, progress=options.progress()).numpy()
    if kind == ".npz":
        write(args.out, latents_npz(usable, z))
    else:
        options.emit(latents_csv(usable, z), args.out)
    if args.out != "-" or len(usable) < len(rows):
        options.note(f"{len(usable)} of {len(rows)} rows encoded")


def _read(given: str) -> list[str]:
    from molvae.chem.datasets import read_smiles

    if given == "-":
        return sys.stdin.buffer.read().decode(errors="replace").splitlines()
    name = given.rpartition(":")[0]
    is_file = os.path.isfile(given) or os.path.isfile(name) or given.endswith(FILE_SUFFIXES)
    return read_smiles(given) if is_file else [given]


def _first_word(text: str) -> str:
    """A line -> its SMILES; what follows a blank is the molecule's name."""
    return text.split(maxsplit=1)[0] if text.strip() else ""


def _reason(model: MolVAE, smiles: str) -> str:
    from molvae.errors import MolvaeError

    if not smiles:
        return "it is empty"
    try:
        model.encode([smiles])
    except MolvaeError as error:
        return str(error)
    return "the model cannot encode it"
