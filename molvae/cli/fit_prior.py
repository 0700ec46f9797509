"""`molvae fit-prior`: give a model a prior that is fitted to the latent points of molecules."""

from __future__ import annotations

import argparse
import sys

from molvae.cli import options
from molvae.cli.watch import Watch


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `molvae fit-prior`."""
    options.add_afterwards(parser, molecules=50_000, epochs=20.0)
    parser.add_argument("--prior", default="flow-matching", help="see 'molvae list priors'")


def run(args: argparse.Namespace) -> int:
    """Fit, save, and say what the new prior is worth; return the exit code."""
    from molvae.latent.training import FitConfig

    model, train, held_out = options.model_and_data(args)
    config = FitConfig(
        epochs=args.epochs,
        minutes=getattr(args, "minutes", None),
        batch=512,
        learning_rate=1e-3,
        seed=args.seed,
    )
    with Watch() as watch:
        fitted = model.fit_prior(args.prior, train, held_out, config, observe=watch)
    if watch.signal:
        print(f"stopped; {args.out} is as it was", file=sys.stderr)
        return 128 + watch.signal
    model.save(args.out)
    print(
        f"log p(z) of held-out molecules: {fitted.after:.2f} nats under the prior {args.prior!r}, "
        f"{fitted.before:.2f} under the one before\nmodel: {args.out}"
    )
    return 0
