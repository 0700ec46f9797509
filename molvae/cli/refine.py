"""`molvae refine`: train a model to write valid molecules at more of its latent points."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from molvae.cli import options
from molvae.cli.watch import Watch

if TYPE_CHECKING:
    from molvae.model import MolVAE

MEASURED = 1_000  # samples, and held-out molecules, before and after


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `molvae refine`."""
    options.add_afterwards(parser, molecules=1_000_000, epochs=1.0)
    parser.add_argument(
        "--recombine",
        type=int,
        default=0,
        metavar="N",
        help="learn also N new molecules made of parts of those in the data",
    )
    parser.add_argument(
        "--weight",
        type=float,
        default=1.0,
        help="of what the model writes itself, against the data: validity is bought with "
        "reconstruction",
    )


def run(args: argparse.Namespace) -> int:
    """Refine, save, and say what it bought; return the exit code."""
    from molvae.refining import REFINING, refine

    model, train, held_out = options.model_and_data(args)
    before = _figures(model, held_out)
    minutes = getattr(args, "minutes", None)
    config = replace(REFINING, epochs=args.epochs, minutes=minutes, seed=args.seed)
    with Watch() as watch:
        refine(model, train, held_out[:MEASURED], args.weight, config, watch)
    if watch.signal:
        print(f"stopped; {args.out} is as it was", file=sys.stderr)
        return 128 + watch.signal
    model.save(args.out)
    print(f"before: {before}\nafter:  {_figures(model, held_out)}\nmodel: {args.out}")
    return 0


def _figures(model: MolVAE, held_out: list[str]) -> str:
    from molvae.chem.molecules import canonical

    known = [s for s in held_out[:MEASURED] if model.encodable(s)]
    exact = model.evaluate(known)["exact_reconstruction"] if known else float("nan")
    valid = sum(canonical(s) is not None for s in model.sample(MEASURED)) / MEASURED
    return f"{valid:.1%} of {MEASURED:,} samples valid, {exact:.1%} of held-out molecules exact"
