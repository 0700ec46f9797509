"""Fit a new prior to the latent points of molecules."""

from __future__ import annotations

import argparse
import sys

from molvae.cli import options
from molvae.cli.watch import Watch


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `molvae fit-prior`."""
    parser.add_argument("model", metavar="MODEL", help="shipped model, or a .safetensors file")
    parser.add_argument("--prior", default="flow-matching", help="see 'molvae list priors'")
    options.add_data(parser)
    parser.add_argument(
        "--molecules",
        type=options.whole_number,
        default=50_000,
        help="at most, to fit to",
    )
    parser.add_argument("--epochs", type=float, default=20.0, help="passes over the latent points")
    parser.add_argument(
        "--minutes",
        type=float,
        default=argparse.SUPPRESS,
        help="fit for this many minutes instead of --epochs",
    )
    options.add_seed(parser)
    parser.add_argument(
        "--out", default=argparse.SUPPRESS, help="output file (default: MODEL itself)"
    )


def run(args: argparse.Namespace) -> int:
    """Fit and save the prior, report its held-out likelihood; return the exit code."""
    from molvae.base.errors import MolvaeError
    from molvae.latent.training import FitConfig
    from molvae.model.molvae import MolVAE
    from molvae.model.storage import list_shipped_models

    out = getattr(args, "out", args.model)
    if out in list_shipped_models():
        raise MolvaeError(f"{out} is a shipped model: give an output file with --out")
    options.suffix(out, ".safetensors")
    model = MolVAE.load(args.model)
    data = options.load_data(options.data_of(args, model))
    train, held_out = data.split("train"), data.split("validation")
    with Watch() as watch:
        fitted = model.fit_prior(
            args.prior,
            train[: args.molecules],
            held_out[: max(1, args.molecules // 10)],
            config=FitConfig(
                epochs=args.epochs,
                minutes=getattr(args, "minutes", None),
                batch=512,
                learning_rate=1e-3,
                seed=args.seed,
            ),
            observe=watch,
            progress=options.progress(),
        )
    if watch.signal:
        print(f"stopped; {out} is unchanged", file=sys.stderr)
        return 128 + watch.signal
    model.save(out)
    print(
        f"log p(z) of held-out molecules: {fitted.after:.2f} nats under the new prior "
        f"{args.prior!r}, {fitted.before:.2f} under the previous one\nmodel: {out}"
    )
    return 0
