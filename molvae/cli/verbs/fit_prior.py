"""Fit a new prior to the latent points of molecules."""

from __future__ import annotations

import argparse

from molvae.cli import options
from molvae.cli.watch import Watch

EXAMPLES = (
    "molvae fit-prior zinc --prior flow-matching",
    "molvae fit-prior runs/mine/model.safetensors --data mine.csv:SMILES --minutes 5",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `molvae fit-prior`."""
    options.add_subject(parser)
    parser.add_argument("--prior", default="flow-matching", help="see 'molvae list priors'")
    options.add_data(parser)
    parser.add_argument(
        "--molecules",
        type=options.whole_number,
        default=50_000,
        help="at most, to fit to",
    )
    parser.add_argument("--epochs", type=float, default=20.0, help="passes over the latent points")
    options.add_fit(parser, "PRIOR")


def run(args: argparse.Namespace) -> int:
    """Fit the prior, save it if held-out molecules are likelier under it; return the exit code.

    Raises:
        MolvaeError: the output file exists, or the new prior is worse than the previous one.
    """
    from molvae.latent.training import FitConfig
    from molvae.model.molvae import MolVAE
    from molvae.model.training import hold_out

    name = options.subject_of(args)
    out: str = getattr(args, "out", None) or _name_beside(name, args.prior)
    options.suffix(out, ".safetensors")
    options.refuse_existing(args, out)
    model = MolVAE.load(name)
    source = options.data_of(getattr(args, "data", None), name, model)
    data = options.load_data(source, model.standardizes)
    train, held_out = hold_out(data.split("train"), data.split("validation"))
    with Watch() as watch:
        fitted = model.fit_prior(
            args.prior,
            options.draw(train, args.molecules, args.seed),
            options.draw(held_out, max(1, args.molecules // 10), args.seed),
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
    found = (
        f"log p(z) of held-out molecules: {fitted.after:.2f} nats under the new prior "
        f"{args.prior!r}, {fitted.before:.2f} under the previous one"
    )
    return options.save_fit(model, out, found, fitted.after >= fitted.before, watch.signal)


def _name_beside(model: str, prior: str) -> str:
    """Model file, or name of a shipped model, and prior -> the name of the output file.

    That of a shipped model is in the working folder.
    """
    name = prior.rpartition(":")[2]  # of one that reads package.module:attribute
    return f"{model.removesuffix('.safetensors')}-{name}.safetensors"
