"""Encode SMILES to latent points."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from molvae.cli import options

LISTED = 5  # molecules that do not decode to themselves, named in the terminal

EXAMPLES = (
    "molvae encode 'CC(=O)Oc1ccccc1C(=O)O' --properties",
    "molvae encode leads.csv:SMILES --out points.npz",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `molvae encode`."""
    parser.add_argument(
        "smiles",
        nargs="+",
        metavar="SMILES",
        help="SMILES strings; FILE or FILE:COLUMN (.smi, .txt, CSV, TSV, SDF, compressed or not; "
        "Parquet or a folder of Parquet files); - reads stdin",
    )
    options.add_model(parser)
    options.add_standardize(parser)
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
        default=32,
        metavar="STEPS",
        help="refine posterior means that do not decode greedily to their molecule by at most this "
        "many gradient steps (%(default)s); 0 keeps the means and is several times as fast",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="mark the molecules that decode to themselves, in a column round_trip; always done "
        "with --refine above 0, unless --out is a FOLDER",
    )
    options.add_overwrite(parser)
    options.add_stream(parser)


def run(args: argparse.Namespace) -> None:
    """Encode the rows, report those that fail, and write or print the latents."""
    if options.is_folder(args.out):
        _stream(args)
        return
    import pandas as pd

    from molvae.base.errors import MolvaeError
    from molvae.base.files import write_file
    from molvae.library.bulk import predict_properties, read_row
    from molvae.library.latents import format_latents_csv, format_latents_npz
    from molvae.model.molvae import MolVAE

    options.refuse_stream(args)
    kind = ".csv" if args.out == "-" else options.suffix(args.out, ".npz", ".csv")
    options.refuse_existing(args, args.out)
    inputs = [_open(given) for given in args.smiles]
    rows = [row for given in inputs for row in given.read()]
    model = MolVAE.load(args.model, standardize=args.standardize)
    usable, names, found, numbers, parents = [], [], [], [], []
    for number, row in enumerate(rows, start=1):
        smiles, _, name = row.partition(" ")
        read = read_row(model, smiles)
        if read.ids is None:
            options.note(f"row {number}{name and f' ({name})'} skipped: {read.reason}")
        else:
            usable.append(smiles)
            names.append(name)
            found.append(read.ids)
            numbers.append(number)
            parents.append((read.parent, read.changes))
    if not usable:
        raise MolvaeError(f"none of the {len(rows)} rows can be encoded")
    points, moved = model.encode_and_measure(found, options.progress(), args.refine)
    z = points.numpy()
    columns = pd.DataFrame(index=range(len(usable)))
    if any(given.named for given in inputs):
        columns["name"] = names
    if model.standardizes:
        columns[["parent", "changes"]] = parents
    if checked := args.check or args.refine > 0:
        columns["round_trip"] = model.check_round_trip(found, z, options.progress())
    if args.properties:
        columns = columns.join(predict_properties(model, z))
    if kind == ".npz":
        write_file(args.out, format_latents_npz(usable, z, columns))
    else:
        options.emit(format_latents_csv(usable, z, columns), args.out)
    if args.out != "-" or len(usable) < len(rows):
        options.note(f"{len(usable)} of {len(rows)} rows encoded")
    if changed := sum(bool(changes) for _, changes in parents):
        options.note(f"{changed} rows were changed to their parents (columns parent, changes)")
    if refined := moved[moved > 0].tolist():
        head = ", where the property head was not trained" if args.properties else ""
        options.note(
            f"{len(refined)} of {len(usable)} posterior means were refined, by a distance of "
            f"{sum(refined) / len(refined):.2f} on average (--refine 0 keeps the means){head}"
        )
    if checked and not columns["round_trip"].all():
        lost = [i for i, back in enumerate(columns["round_trip"]) if not back]
        shown = ", ".join(f"row {numbers[i]} ({names[i] or usable[i]})" for i in lost[:LISTED])
        more = f" and {len(lost) - LISTED} more" if len(lost) > LISTED else ""
        options.note(
            f"{len(lost)} of {len(usable)} molecules do not decode to themselves (column "
            f"round_trip): {shown}{more}"
        )


def _stream(args: argparse.Namespace) -> None:
    from molvae.base.errors import MolvaeError
    from molvae.library.bulk import encode

    config = options.stream_config(args)
    inputs = [_open(given) for given in args.smiles]
    totals = [given.rows for given in inputs]
    known = [rows for rows in totals if rows is not None]
    with options.engine(args):
        tally = encode(
            chain.from_iterable(given.read() for given in inputs),
            args.model,
            Path(args.out),
            config,
            origin=[given.origin for given in inputs],
            total=sum(known) if len(known) == len(totals) else None,
            properties=args.properties,
            refine=args.refine,
            names=any(given.named for given in inputs),
            check=args.check,
            standardize=args.standardize,
        )
    if tally.good == 0 and config.shard == (1, 1):
        raise MolvaeError(f"none of the {tally.rows} rows can be encoded")
    why = "" if tally.good == tally.rows else "; see the column `reason` for the others"
    options.note(f"{tally.good} of {tally.rows} rows encoded{why}")


class _Input(NamedTuple):
    """One argument: its rows of "SMILES name", and what identifies it."""

    read: Callable[[], Iterator[str]]
    named: bool
    origin: object
    rows: int | None


def _open(given: str) -> _Input:
    """SMILES, FILE, FILE:COLUMN, folder of Parquet files or "-" -> what to read.

    Raises:
        MolvaeError: as in `molvae.chem.files.open_molecules`.
    """
    from molvae.chem.files import iter_smiles_lines, names_a_file, open_molecules
    from molvae.library.latents import count_parquet_rows, identify_input, list_parquet_files

    if given == "-":
        sys.stdin.reconfigure(encoding="utf-8", errors="replace")  # type: ignore[union-attr]
        return _Input(lambda: map(_join, iter_smiles_lines(sys.stdin)), True, given, None)
    path, column = given, ""
    if ":" in given and not os.path.exists(given):
        path, _, column = given.rpartition(":")
    if os.path.isdir(path) and any(Path(path).glob("*.parquet")):
        parts = list_parquet_files(path)
        files = [open_molecules(f"{part}:{column}" if column else str(part)) for part in parts]
    elif os.path.isfile(path) or names_a_file(given):
        files = [open_molecules(given)]
    else:
        return _Input(lambda: iter([given]), " " in given, given, 1)
    options.note(f"{given}: {files[0].description}")
    origin = [identify_input(path), f":{column}" if column else ""]

    def read() -> Iterator[str]:
        return map(_join, chain.from_iterable(file.iter_rows() for file in files))

    named = any(file.names is not None for file in files)
    return _Input(read, named, origin, count_parquet_rows(path))


def _join(cells: Sequence[str]) -> str:
    return " ".join(cells).rstrip()
