"""Sample new molecules from the prior."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from molvae.cli import options

EXAMPLES = (
    "molvae sample -n 1000 --plausible --out molecules.smi",
    "molvae sample --model qm9 -n 20 --temperature 1",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `molvae sample`."""
    options.add_model(parser, "zinc")
    parser.add_argument(
        "-n", "--number", type=options.whole_number, default=100, help="number of strings"
    )
    parser.add_argument(
        "--valid", action="store_true", help="continue until -n different valid molecules are found"
    )
    parser.add_argument(
        "--plausible",
        action="store_true",
        help="as --valid, with molecules alone whose parts are common in the training data "
        "(plausibility of 0.5 or more, as in 'molvae optimize')",
    )
    parser.add_argument(
        "--temperature",
        type=float,
        default=0.0,
        help="0 decodes deterministically; above 0, tokens are sampled from softmax(logits / "
        "temperature)",
    )
    options.add_beam(parser)
    parser.add_argument(
        "--prior",
        choices=["own", "standard"],
        default="own",
        help="the model's own prior, or the standard normal it was trained with",
    )
    options.add_seed(parser)
    parser.add_argument(
        "--out",
        default="-",
        help=".csv; .smi, valid molecules only; a FOLDER of Parquet (columns smiles, valid), where "
        "the same seed gives other molecules; - prints CSV",
    )
    options.add_overwrite(parser)
    options.add_stream(parser)


def run(args: argparse.Namespace) -> None:
    """Sample from the model, write or print the strings, report how many are valid."""
    from molvae.base.errors import MolvaeError

    if not 0 <= args.temperature < float("inf"):
        raise MolvaeError(f"the temperature must be 0 or more, not {args.temperature}")
    if options.is_folder(args.out):
        _stream(args)
    else:
        options.refuse_stream(args)
        _collect(args)


def _stream(args: argparse.Namespace) -> None:
    from molvae.base.errors import MolvaeError
    from molvae.library.bulk import sample

    if args.valid or args.plausible:
        word = "--plausible" if args.plausible else "--valid"
        raise MolvaeError(f"{word} needs a file as --out; for a folder, filter its rows")
    config, folder = options.stream_config(args), Path(args.out)
    with options.engine(args):
        tally = sample(
            args.number, args.model, folder, config, seed=args.seed, **_decode_options(args)
        )
    options.note(f"{tally.rows} strings drawn: {tally.good} valid")


def _collect(args: argparse.Namespace) -> None:
    import pandas as pd

    from molvae.chem.molecules import canonicalize, parse
    from molvae.chem.plausibility import PASSING
    from molvae.model.exploration import sample_new_molecules
    from molvae.model.molvae import MolVAE

    kind = ".csv" if args.out == "-" else options.suffix(args.out, ".csv", ".smi")
    options.refuse_existing(args, args.out)
    model = MolVAE.load(args.model)
    draw = {"seed": args.seed, "progress": options.progress(), **_decode_options(args)}
    chosen = args.valid or args.plausible
    if chosen:
        least = PASSING if args.plausible else 0.0
        strings, drawn = sample_new_molecules(model, args.number, plausibility=least, **draw)
    else:
        strings, drawn = model.sample(args.number, **draw), args.number
    forms = [canonicalize(s) for s in strings]
    table = pd.DataFrame({"smiles": strings, "valid": [form is not None for form in forms]})
    if (domain := model.domain) is not None:
        mols = [None if form is None else parse(form) for form in forms]
        table["plausibility"] = [
            None if mol is None else round(domain.find_plausibility(mol), 3) for mol in mols
        ]
    if kind == ".smi":
        options.emit("".join(f"{s}\n" for s in table["smiles"][table["valid"]]), args.out)
    else:
        options.emit(table.to_csv(index=False, lineterminator="\n"), args.out)
    different = len({form for form in forms if form is not None})
    if chosen:
        kind_of = "plausible" if args.plausible else "valid"
        options.note(f"{drawn} strings drawn for {different} unique {kind_of} molecules")
        if different < args.number:
            options.note(f"stopped before {args.number}: the model yields too few new molecules")
    else:
        options.note(f"{drawn} strings drawn: {table['valid'].sum()} valid, {different} unique")


def _decode_options(args: argparse.Namespace) -> dict[str, Any]:
    """Parsed options -> keyword arguments of sampling functions."""
    standard = args.prior == "standard"
    return {"temperature": args.temperature, "beam": args.beam, "standard": standard}
