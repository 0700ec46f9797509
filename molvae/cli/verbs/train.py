"""Learn a latent space from a data set."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from molvae.cli.watch import Watch, is_worker

# options that set a field of FitConfig or VAEConfig: (flag, type, help)
FIT_OPTIONS = [
    ("epochs", float, "passes over the data"),
    ("minutes", float, "train for this long instead of --epochs"),
    ("batch", int, "molecules a gradient step"),
    ("learning-rate", float, "peak learning rate"),
    ("kl-weight", float, "final weight of the KL term"),
    ("kl-warmup", float, "share of the training over which that weight grows"),
    ("patience", int, "validations without improvement before stopping early"),
    ("validate-every", int, "steps between validations"),
    ("seed", int, "of weights, batches and noise"),
    ("checkpoint-minutes", float, "minutes between checkpoints"),
    ("optimizer", str, "muon or adam"),
    ("precision", str, "auto, or one of Lightning Fabric's, such as 32-true"),
    ("devices", int, "processors in each node: GPUs where there are any"),
    ("nodes", int, "machines"),
]
SHAPE_OPTIONS = [
    ("latent", int, "latent dimensions"),
    ("encoder", str, "see 'molvae list encoders'"),
    ("encoder-hidden", int, "width of the encoder"),
    ("decoder", str, "see 'molvae list decoders'"),
    ("decoder-hidden", int, "width of the decoder"),
    ("posterior", str, "see 'molvae list posteriors'"),
    ("prior", str, "see 'molvae list priors'"),
    ("dropout", float, "share of the decoder's input tokens hidden in training"),
    ("blur", float, "share of molecules decoded from a point moved towards the prior in training"),
]
PROPERTIES = ["logP", "SAS", "QED"]

# what may change on resume
ON_RESUME = ("epochs", "minutes", "patience", "kl_weight", "checkpoint_minutes", "devices", "nodes")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `molvae train`; the defaults are those of the config classes."""
    from molvae.latent.training import FitConfig
    from molvae.latent.vae import VAEConfig
    from molvae.model.training import SHAPE

    parser.formatter_class = argparse.HelpFormatter
    parser.add_argument("--data", help="data set name, FILE or FILE:COLUMN (default: zinc)")
    parser.add_argument("--out", type=Path, help="run folder (default: runs/train-DATA)")
    parser.add_argument("--tokenizer", help="see 'molvae list tokenizers' (default: pairs)")
    parser.add_argument(
        "--start", metavar="MODEL", help="fine-tune this model instead of starting from nothing"
    )
    parser.add_argument(
        "--properties",
        nargs="*",
        metavar="NAME",
        help="what is predicted from latent points: logP, SAS, QED, heavy_atoms or columns of the "
        "data; none without a name (default: logP SAS QED)",
    )
    parser.add_argument(
        "--random-smiles",
        type=int,
        metavar="N",
        help="let the encoder read N SMILES of each molecule, its atoms in random order, instead "
        "of the canonical one that the decoder writes",
    )
    parser.add_argument(
        "--recombine",
        type=int,
        metavar="N",
        help="train also on N new molecules made of parts of those in the data",
    )
    parser.add_argument("--limit", type=int, help="use only the first molecules of the data")
    parser.add_argument("--resume", action="store_true", help="continue the training in --out")
    for options, defaults in ((FIT_OPTIONS, FitConfig()), (SHAPE_OPTIONS, VAEConfig(**SHAPE))):
        for name, kind, text in options:
            default = getattr(defaults, name.replace("-", "_"))
            parser.add_argument(f"--{name}", type=kind, help=f"{text} (default: {default})")


def run(args: argparse.Namespace) -> int:
    """Train, save the model, draw the learning curve; return the exit code."""
    import pandas as pd

    from molvae.chem.datasets import load
    from molvae.chem.properties import PROPERTIES as COMPUTED
    from molvae.chem.property_tables import load_properties
    from molvae.chem.recombine import recombine
    from molvae.latent.fit import METRICS
    from molvae.latent.training import FitConfig
    from molvae.model.molvae import MolVAE
    from molvae.reports.plots import plot_learning_curve

    folder = args.out or Path("runs") / f"train-{Path(args.data or 'zinc').name.partition('.')[0]}"
    options = _options(args, folder)
    data = load(options.pop("data"), progress=not is_worker())
    parts = [data.split("train"), data.split("validation")]
    if limit := options.pop("limit", None):
        parts = [parts[0][:limit], parts[1][: max(1, limit // 10)]]
        data = replace(data, smiles=[*parts[0], *parts[1]], key=f"{data.key}-first{limit}")
    if not is_worker():
        print(
            f"{data.name}: {len(data.smiles):,} molecules ({data.rejected:,} rows left out), "
            f"{len(parts[0]):,} to train on, {len(parts[1]):,} to validate on; writing to {folder}"
        )
    names = options.pop("properties", PROPERTIES)
    known = load_properties(data, names, progress=not is_worker()) if names else None
    if number := options.pop("recombine", 0):
        more = recombine(data, number, options.get("seed", 0), progress=not is_worker())
        parts[0] = [*parts[0], *more.smiles]
        if not is_worker():
            print(f"{len(more.smiles):,} new molecules made of parts of those to train on")
        if known is not None:
            computed = [n for n in names if n in COMPUTED]  # measured ones are not known of them
            known = pd.concat([known, load_properties(more, computed, progress=not is_worker())])
    fit_names = _names(FIT_OPTIONS)
    start = options.pop("start", None)
    with Watch() as watch:
        model = MolVAE.fit(
            *parts,
            tokenizer=options.pop("tokenizer", "pairs"),
            shape={k: v for k, v in options.items() if k not in fit_names},
            start=None if start is None else MolVAE.load(start),
            random_smiles=options.pop("random_smiles", 0),
            properties=known,
            config=FitConfig(**{k: v for k, v in options.items() if k in fit_names}),
            folder=folder,
            observe=watch,
            progress=not is_worker(),
        )
    if is_worker():
        return 0
    plot_learning_curve(folder / METRICS, folder / "learning_curve.png")
    if watch.signal:
        print(f"stopped; continue with: molvae train --resume --out {folder}", file=sys.stderr)
        return 128 + watch.signal
    model.summary["data"] = data.name
    model.save(folder / "model.safetensors")
    best = model.summary["training"]
    print(
        f"best validation loss {best['best_loss']:.3f} nats per molecule at step "
        f"{best['best_step']:,}\nmodel: {folder / 'model.safetensors'}\n"
        f"next: molvae report {folder / 'model.safetensors'}"
    )
    return 0


def _names(options: list[tuple[str, type, str]]) -> set[str]:
    return {name.replace("-", "_") for name, _, _ in options}


def _options(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The options in force: those given, over those that a resumed training was started with."""
    from molvae.base.errors import MolvaeError
    from molvae.latent.fit import METRICS

    keys = {"data", "tokenizer", "limit", "start", "properties", "random_smiles", "recombine"}
    keys |= _names(FIT_OPTIONS) | _names(SHAPE_OPTIONS)
    given = {k: getattr(args, k) for k in sorted(keys) if getattr(args, k) is not None}
    if args.start and "tokenizer" in given:
        raise MolvaeError("--tokenizer is that of the model in --start")
    path = folder / "config.json"
    if args.resume:
        if not path.is_file():
            raise MolvaeError(f"{folder} holds no training to resume")
        stored = json.loads(path.read_text())
        for key in sorted(set(given).difference(ON_RESUME)):
            if given[key] != stored.get(key):
                raise MolvaeError(
                    f"--{key.replace('_', '-')} cannot change on resume "
                    f"(this training has {stored.get(key, 'the default')})"
                )
        given = stored | given
    elif (folder / METRICS).exists() and not is_worker():
        raise MolvaeError(f"{folder} holds a training already: add --resume, or another --out")
    given.setdefault("data", "zinc")
    if not is_worker():
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(given, indent=1))
    return given
