"""Encode SMILES to latent points."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from molvae.cli import options

FILE_SUFFIXES = (".smi", ".txt", ".gz", ".csv", ".parquet")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `molvae encode`."""
    parser.add_argument(
        "smiles",
        nargs="+",
        metavar="SMILES",
        help="SMILES strings; FILE or FILE:COLUMN (.smi, .txt, .csv, optionally .gz; .parquet or a "
        "folder of Parquet files); - reads stdin",
    )
    options.add_model(parser)
    parser.add_argument(
        "--out",
        default="-",
        help=".npz or .csv with the rows that can be encoded; a FOLDER of Parquet (columns smiles, "
        "z0, z1, ..., reason) with all rows, where those that cannot have null latents and a "
        "reason; - prints CSV",
    )
    parser.add_argument(
        "--properties",
        action="store_true",
        help="add the predicted properties, as columns before the latents",
    )
    parser.add_argument(
        "--refine",
        type=options.count,
        default=8,
        metavar="STEPS",
        help="refine posterior means that do not decode greedily to their molecule by at most this "
        "many gradient steps (%(default)s); 0 keeps the means and is several times as fast",
    )
    options.add_overwrite(parser)
    options.add_stream(parser)


def run(args: argparse.Namespace) -> None:
    """Encode the rows, report those that fail, and write or print the latents."""
    if options.is_folder(args.out):
        _stream(args)
        return
    from molvae.base.errors import MolvaeError
    from molvae.base.files import write_file
    from molvae.library.bulk import predict_properties, try_tokenize
    from molvae.library.latents import format_latents_csv, format_latents_npz
    from molvae.model.molvae import MolVAE

    options.refuse_stream(args)
    kind = ".csv" if args.out == "-" else options.suffix(args.out, ".npz", ".csv")
    options.refuse_existing(args, args.out)
    rows = [smiles for given in args.smiles for smiles in _read(given)]
    model = MolVAE.load(args.model)
    usable, found = [], []
    for number, smiles in enumerate(rows, start=1):
        ids, reason = try_tokenize(model, smiles)
        if ids is None:
            options.note(f"row {number} skipped: {reason}")
        else:
            usable.append(smiles)
            found.append(ids)
    if not usable:
        raise MolvaeError(f"none of the {len(rows)} rows can be encoded")
    z = model.encode_ids(found, options.progress(), args.refine).numpy()
    y = predict_properties(model, z) if args.properties else None
    if kind == ".npz":
        write_file(args.out, format_latents_npz(usable, z, y))
    else:
        options.emit(format_latents_csv(usable, z, y), args.out)
    if args.out != "-" or len(usable) < len(rows):
        options.note(f"{len(usable)} of {len(rows)} rows encoded")


def _stream(args: argparse.Namespace) -> None:
    from molvae.base.errors import MolvaeError
    from molvae.library.bulk import encode

    config = options.stream_config(args)
    inputs, totals = zip(*map(_describe, args.smiles), strict=True)
    total = None if None in totals else sum(totals)
    rows = chain.from_iterable(map(_read, args.smiles))
    with options.engine(args):
        tally = encode(
            rows,
            args.model,
            Path(args.out),
            config,
            origin=list(inputs),
            total=total,
            properties=args.properties,
            refine=args.refine,
        )
    if tally.good == 0 and config.shard == (1, 1):
        raise MolvaeError(f"none of the {tally.rows} rows can be encoded")
    why = "" if tally.good == tally.rows else "; see the column `reason` for the others"
    options.note(f"{tally.good} of {tally.rows} rows encoded{why}")


def _describe(given: str) -> tuple[object, int | None]:
    """Argument -> an identifier of its content, and its number of rows if known."""
    from molvae.library.latents import count_parquet_rows, identify_input

    path = _path(given)
    if path is None:
        return given, None if given == "-" else 1
    return [identify_input(path), given[len(path) :]], count_parquet_rows(path)


def _path(given: str) -> str | None:
    """Argument -> the file or folder it names, or None for SMILES and stdin."""
    file = given.rpartition(":")[0]
    for path in (given, file):
        if os.path.isfile(path) or (os.path.isdir(path) and any(Path(path).glob("*.parquet"))):
            return path
    return given if given.endswith(FILE_SUFFIXES) or file.endswith(FILE_SUFFIXES) else None


def _read(given: str) -> Iterator[str]:
    """Argument -> its SMILES, row by row, without molecule names."""
    from molvae.chem.datasets import iter_smiles
    from molvae.library.latents import list_parquet_files

    path = _path(given)
    if given == "-":
        sys.stdin.reconfigure(encoding="utf-8", errors="replace")  # type: ignore[union-attr]
        rows = iter_smiles(sys.stdin)
    elif path is None:
        rows = iter([given])
    elif os.path.isdir(path):
        parts = list_parquet_files(path)
        rows = chain.from_iterable(iter_smiles(f"{part}{given[len(path) :]}") for part in parts)
    else:
        rows = iter_smiles(given)
    for row in rows:
        yield row.split(maxsplit=1)[0] if row.strip() else ""
