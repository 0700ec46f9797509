"""Find out which parts make a good molecule model: one training per configuration, one row each.

Each configuration changes one thing of the base, and all train equally long with the same seed. All
are scored on held-out molecules and on samples of the prior. For the base and the other KL weights,
other priors are then fitted and their samples scored, too.

A trained model is stored in --out as NAME.safetensors, its row as NAME.json, its priors as
NAME-priors.csv. Rerun the command to resume; to repeat a row, delete its files and its folder.
Training uses as many threads as torch finds, so compare rows of one idle machine only.

    python pipelines/model_study/model_study.py  # 30 minutes a configuration
    python pipelines/model_study/model_study.py --only base kl-0.02  # these two; prints all rows
    python pipelines/model_study/model_study.py --score zinc  # no training: that model's figures
    python pipelines/model_study/model_study.py --priors zinc  # nor here: other priors for it
    python pipelines/model_study/model_study.py --quick  # seconds
"""

from __future__ import annotations

import argparse
import inspect
import json
import sys
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from molvae import MolVAE
from molvae.base.errors import MolvaeError
from molvae.base.files import write_file
from molvae.chem.datasets import DataSet, load
from molvae.chem.property_tables import load_properties
from molvae.chem.recombine import recombine
from molvae.latent.training import FitConfig
from molvae.latent.vae import VAEConfig

sys.path.insert(0, str(Path(__file__).parents[1]))  # pipelines/, which holds shared/

from shared.model_scores import PRIORS, Reference, score, score_priors

# fields of FitConfig and VAEConfig, arguments of MolVAE.fit, and `recombine`, the number of new
# molecules to train on; written out, since a row has to mean the same when a default of the package
# changes, as the hidden sizes have by this study
BASE: dict[str, Any] = {
    "tokenizer": "pairs",
    "properties": ["logP", "SAS", "QED"],
    "encoder": "gru",
    "posterior": "isotropic",
    "latent": 64,
    "encoder_hidden": 512,
    "decoder_hidden": 512,
    "kl_weight": 0.08,
    "optimizer": "muon",
    "dropout": 0.0,
    "blur": 0.5,
}
# what differs from it
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "base": {},
    "kl-0.02": {"kl_weight": 0.02},
    "kl-0.04": {"kl_weight": 0.04},
    "kl-0.16": {"kl_weight": 0.16},
    "tokenizer-char": {"tokenizer": "char"},
    "tokenizer-atom": {"tokenizer": "atom"},
    "tokenizer-selfies": {"tokenizer": "selfies"},
    "tokenizer-selfies-pairs": {"tokenizer": "selfies-pairs"},
    "optimizer-adam": {"optimizer": "adam"},
    "posterior-diagonal": {"posterior": "diagonal"},
    "properties-none": {"properties": []},
    "encoder-conv": {"encoder": "conv"},
    "latent-32": {"latent": 32},
    "latent-128": {"latent": 128},
    "dropout-0.2": {"dropout": 0.2},
    "random-smiles": {"random_smiles": 4},
    "recombine": {"recombine": 500_000},
    "blur-0": {"blur": 0.0},
    "hidden-256": {"encoder_hidden": 256, "decoder_hidden": 256},
    "hidden-1024": {"encoder_hidden": 1024, "decoder_hidden": 1024},
}
WITH_PRIORS = ("base", "kl-0.02", "kl-0.04", "kl-0.16")
QUICK = ("base", "kl-0.02")
# with SELFIES every sample is a molecule, even of a model that has learned nothing
QUICK_SETTINGS = {"latent": 8, "encoder_hidden": 32, "decoder_hidden": 32, "tokenizer": "selfies"}


def main() -> None:
    """Train and score what is missing; print the tables, write them as CSV and the figure."""
    args = arguments()
    data = load(args.data, progress=True)
    if args.quick:
        data = DataSet(data.name, data.smiles[:300], 0, f"{data.key}-quick")
    reference = Reference.of(data, args.seed, fcd=not args.quick)
    if args.score:
        rows = {name: figures(MolVAE.load(name), data, reference, args) for name in args.score}
        print(shown(pd.DataFrame(rows)))
        return
    if args.priors:
        print(shown(priors_of(MolVAE.load(args.priors), data, reference, args)))
        return
    for name in args.only:
        model = trained(name, data, args)
        row, priors = args.out / f"{name}.json", args.out / f"{name}-priors.csv"
        if not row.is_file():
            print(f"{name}: scoring", flush=True)
            write_file(row, json.dumps(figures(model, data, reference, args)))
        if name in WITH_PRIORS and not priors.is_file():
            print(f"{name}: fitting priors", flush=True)
            write_file(priors, priors_of(model, data, reference, args).to_csv())
    report(args.out)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    known = list(CONFIGURATIONS)
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=known, default=known)
    parser.add_argument(
        "--score", nargs="+", metavar="MODEL", help="score these on the data, and train none"
    )
    parser.add_argument("--priors", metavar="MODEL", help="fit priors to this one, and train none")
    parser.add_argument("--data", default="zinc", help="data set name, FILE or FILE:COLUMN")
    parser.add_argument("--minutes", type=float, default=30.0, help="of each training")
    parser.add_argument("--molecules", type=int, default=1_000, help="held-out ones to score on")
    parser.add_argument("--samples", type=int, default=10_000, help="strings from each prior")
    parser.add_argument(
        "--beam", type=int, default=1, help="as of molvae decode: validities are greedy with 1"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/model-study"))
    parser.add_argument("--quick", action="store_true", help="two tiny models, few molecules")
    args = parser.parse_args()
    if args.quick:
        args.only, args.minutes, args.molecules, args.samples = list(QUICK), 0.02, 15, 30
    return args


def trained(name: str, data: DataSet, args: argparse.Namespace) -> MolVAE:
    """The model of a configuration: as it was stored, or trained now and stored."""
    path = args.out / f"{name}.safetensors"
    if not path.is_file():
        settings = {"minutes": args.minutes, "seed": args.seed, **BASE, **CONFIGURATIONS[name]}
        model = newly_trained(name, settings, data, args)
        model.save(path)
    return MolVAE.load(path)  # also a new one: what is scored are the weights of the file


def newly_trained(
    name: str, settings: dict[str, Any], data: DataSet, args: argparse.Namespace
) -> MolVAE:
    """Train the model of a configuration."""
    names = settings.pop("properties")
    more = recombine(data, settings.get("recombine", 0), args.seed, progress=True)
    tables = [load_properties(d, names, progress=True) for d in (data, more) if names]
    settings["properties"] = pd.concat(tables) if tables else None
    if args.quick:
        settings |= QUICK_SETTINGS
    print(f"{name}: training for {args.minutes:g} minutes", flush=True)
    parts = [*data.split("train"), *more.smiles], data.split("validation")
    return MolVAE.fit(*parts, **fit_arguments(settings), data=data.name, folder=args.out / name)


def fit_arguments(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by name -> arguments of `MolVAE.fit`, which come before fields of the same name."""
    own = set(inspect.signature(MolVAE.fit).parameters)
    fit, shape = ({f.name for f in fields(kind)} - own for kind in (FitConfig, VAEConfig))
    return {
        "config": FitConfig(**{k: v for k, v in settings.items() if k in fit}),
        "shape": {k: v for k, v in settings.items() if k in shape},
        **{k: v for k, v in settings.items() if k not in fit | shape | {"recombine"}},
    }


def figures(
    model: MolVAE, data: DataSet, reference: Reference, args: argparse.Namespace
) -> dict[str, float]:
    """The row of a model: its training and its scores."""
    training = model.summary.training
    return {
        "minutes": training.seconds / 60,
        "molecules_per_second": training.examples / training.seconds,
        **score(model, data, reference, args.molecules, args.samples, args.seed, args.beam),
    }


def priors_of(
    model: MolVAE, data: DataSet, reference: Reference, args: argparse.Namespace
) -> pd.DataFrame:
    """What a model samples under its own prior, and under others fitted to it."""
    names = PRIORS[:2] if args.quick else PRIORS
    return score_priors(model, data, reference, names, args.samples, args.seed, args.beam)


def shown(table: pd.DataFrame) -> str:
    """A table as text."""
    return table.to_string(float_format="{:.3f}".format, na_rep="-", line_width=110)


def report(folder: Path) -> None:
    """Print all rows that the folder holds, and write them and the figure there."""
    rows = {name: folder / f"{name}.json" for name in CONFIGURATIONS}
    found = {name: json.loads(path.read_text()) for name, path in rows.items() if path.is_file()}
    table = pd.DataFrame.from_dict(found, orient="index").rename_axis("configuration")
    write_file(folder / "model_study.csv", table.to_csv())
    print(f"\n{shown(table)}")
    files = {name: folder / f"{name}-priors.csv" for name in table.index}
    parts = {
        name: pd.read_csv(path, index_col="prior") for name, path in files.items() if path.is_file()
    }
    if parts:
        priors = pd.concat(parts, names=["configuration"])
        write_file(folder / "priors.csv", priors.to_csv())
        print("\npriors fitted to the trained models; log p(z) of held-out samples, nats")
        print(shown(priors))
        trade_off(table, priors).savefig(folder / "priors.png", dpi=150)
    print(f"\ntables and figures: {folder}")


def trade_off(table: pd.DataFrame, priors: pd.DataFrame) -> Figure:
    """Exact reconstruction against validity of samples: a line a prior, along the KL weights."""
    figure = Figure(figsize=(7, 4.8), layout="constrained")
    axes = figure.subplots()
    flat = priors.reset_index()
    flat["x"] = flat["configuration"].map(table["exact_reconstruction"])
    flat["kl_weight"] = [
        {**BASE, **CONFIGURATIONS[name]}["kl_weight"] for name in flat["configuration"]
    ]
    for prior, line in flat.groupby("prior", sort=False):
        line = line.sort_values("kl_weight")
        axes.plot(line["x"], line["validity"], "o-", label=prior)
    weights = flat.drop_duplicates("kl_weight")
    top = axes.secondary_xaxis("top")
    top.set_xticks(weights["x"].to_list(), [f"{weight:g}" for weight in weights["kl_weight"]])
    top.set_xlabel("KL weight")
    axes.set(
        xlabel="exact reconstruction of held-out molecules (share)",
        ylabel="valid samples of the prior (share)",
        ylim=(0, 1.03),
    )
    axes.legend(title="prior", fontsize=8)
    axes.grid(alpha=0.3)
    return figure


if __name__ == "__main__":
    try:
        main()
    except MolvaeError as error:
        raise SystemExit(f"error: {error}") from None
