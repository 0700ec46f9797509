"""Fit learned steps that improve the posterior means of molecules."""

from __future__ import annotations

import argparse

from molvae.cli import options
from molvae.cli.watch import Watch

EXAMPLES = (
    "molvae fit-posterior zinc --minutes 10",
    "molvae fit-posterior runs/mine/model.safetensors --data mine.csv:SMILES --epochs 2",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `molvae fit-posterior`."""
    options.add_subject(parser)
    parser.add_argument(
        "--iterations",
        type=options.whole_number,
        default=2,
        help="steps; each makes encoding slower by a gradient through the decoder",
    )
    options.add_data(parser)
    parser.add_argument(
        "--molecules",
        type=options.whole_number,
        default=argparse.SUPPRESS,
        help="at most, to fit to (default: all)",
    )
    parser.add_argument("--epochs", type=float, default=1.0, help="passes over the molecules")
    options.add_fit(parser, "posterior")


def run(args: argparse.Namespace) -> int:
    """Fit the steps, save them if they serve held-out molecules; return the exit code.

    Raises:
        MolvaeError: the output file exists, the posterior is not one of independent Gaussians, or
            the new one is no better.
    """
    from molvae.chem.property_tables import compute_properties
    from molvae.latent.training import FitConfig
    from molvae.model.molvae import MolVAE
    from molvae.model.training import hold_out

    name = options.subject_of(args)
    out: str = getattr(args, "out", None) or (
        f"{name.removesuffix('.safetensors')}-posterior.safetensors"
    )
    options.suffix(out, ".safetensors")
    options.refuse_existing(args, out)
    model = MolVAE.load(name)
    source = options.data_of(getattr(args, "data", None), name, model)
    data = options.load_data(source, model.standardizes)
    train, held_out = hold_out(data.split("train"), data.split("validation"))
    train = options.draw(train, getattr(args, "molecules", len(train)), args.seed)
    names = model.vae.config.properties
    table = None
    if names:
        table = compute_properties(data, options.progress())
        table = table.set_axis(data.smiles).reindex(columns=list(names))  # NaN if measured
    kl_weight = model.summary.fit.kl_weight
    minutes: float | None = getattr(args, "minutes", None)
    with Watch() as watch:
        fitted = model.fit_posterior(
            args.iterations,
            train,
            held_out,
            properties=table,
            config=FitConfig(
                epochs=None if minutes else args.epochs,
                minutes=minutes,
                batch=256,
                learning_rate=2e-3,
                kl_weight=kl_weight,
                kl_warmup=0.0,
                seed=args.seed,
            ),
            observe=watch,
            progress=options.progress(),
        )
    found = (
        f"ELBO of held-out molecules, KL weight {kl_weight:g}: {fitted.after:.2f} nats with "
        f"{args.iterations} learned steps, {fitted.before:.2f} with the previous posterior"
    )
    return options.save_fit(model, out, found, fitted.after >= fitted.before, watch.signal)
