"""Train a model on a data set."""

from __future__ import annotations

import argparse
import contextlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molvae.base.errors import MolvaeError
from molvae.base.files import RunFolder
from molvae.cli import options
from molvae.cli.parser import HelpFormatter
from molvae.cli.watch import Watch, is_worker

if TYPE_CHECKING:
    from molvae.latent.training import State
    from molvae.model.training import PreparedTraining

# options that set fields of FitConfig or VAEConfig: (flag, type, help)
FIT_OPTIONS = [
    ("epochs", float, "passes over the data; 20 without --minutes"),
    ("minutes", float, "train for this long; with --epochs, until the first of the two"),
    ("batch", int, "molecules per gradient step"),
    ("learning-rate", float, "peak learning rate"),
    ("kl-weight", float, "final weight of the KL term"),
    ("kl-warmup", float, "fraction of the training over which the KL weight grows"),
    ("patience", int, "validations without improvement before early stopping"),
    ("validate-every", int, "steps between validations, at most an epoch"),
    ("seed", int, "random seed of weights, batches and noise"),
    ("checkpoint-minutes", float, "minutes between checkpoints"),
    ("optimizer", str, "muon or adam"),
    ("precision", str, "auto, or a Lightning Fabric precision such as 32-true"),
    ("devices", int, "devices per node: GPUs if available"),
    ("nodes", int, "number of machines"),
]
SHAPE_OPTIONS = [
    ("latent", int, "dimension of the latent space"),
    ("encoder", str, "see 'molvae list encoders'"),
    ("encoder-hidden", int, "width of the encoder"),
    ("decoder", str, "see 'molvae list decoders'"),
    ("decoder-hidden", int, "width of the decoder"),
    ("posterior", str, "see 'molvae list posteriors'"),
    ("prior", str, "see 'molvae list priors'"),
    ("dropout", float, "share of the decoder's input tokens masked in training"),
]
SETTINGS: dict[str, Any] = {  # may be given as options, stored in config.json
    **dict.fromkeys(("data", "tokenizer", "start", "transfer"), str),
    **dict.fromkeys(("limit", "random_smiles", "recombine"), int),
    **{name.replace("-", "_"): kind for name, kind, _ in (*FIT_OPTIONS, *SHAPE_OPTIONS)},
    "properties": list[str],
    "blur": float,
    "standardize": bool,
}
PROPERTIES = ["logP", "SAS", "QED"]

# settings that may change on resume
ON_RESUME = ("epochs", "minutes", "patience", "kl_weight", "checkpoint_minutes", "devices", "nodes")

EXAMPLES = (
    "molvae train --data zinc",
    "molvae train --data mine.csv:SMILES --fine-tune drugs --minutes 10 --out runs/mine",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `molvae train`, with the defaults of the config classes."""
    from molvae.latent.training import FitConfig
    from molvae.latent.vae import VAEConfig
    from molvae.model.training import BLUR, SHAPE

    parser.formatter_class = HelpFormatter
    parser.add_argument("--data", help="data set name, FILE or FILE:COLUMN (default: zinc)")
    parser.add_argument("--out", type=Path, help="run folder (default: runs/train-DATA)")
    parser.add_argument("--tokenizer", help="see 'molvae list tokenizers' (default: atom-pairs)")
    parser.add_argument(
        "--fine-tune",
        dest="start",
        metavar="MODEL",
        help="fine-tune this model instead of training a new one",
    )
    parser.add_argument("--start", help=argparse.SUPPRESS)  # the name in version 0.1
    parser.add_argument(
        "--transfer",
        metavar="MODEL",
        help="begin with the weights of this model where they fit; tokens are learned from the "
        "data if its own do not suffice, and --latent may be larger than the model's",
    )
    parser.add_argument(
        "--properties",
        nargs="*",
        type=options.quantity,
        metavar="NAME",
        help="properties to predict from latent points: columns of the data, or "
        f"{options.QUANTITY}; give no name for none (default: logP SAS QED)",
    )
    parser.add_argument(
        "--random-smiles",
        type=int,
        metavar="N",
        help="train the encoder on N random SMILES of each molecule instead of the canonical one; "
        "the decoder still writes canonical SMILES",
    )
    parser.add_argument(
        "--recombine",
        type=int,
        metavar="N",
        help="also train on N new molecules recombined from fragments of the data",
    )
    parser.add_argument(
        "--blur",
        type=float,
        help="fraction of molecules decoded in training from a z blurred towards the prior "
        f"(default: {BLUR}, or that of the model in --fine-tune)",
    )
    parser.add_argument(
        "--standardize",
        action=argparse.BooleanOptionalAction,
        help="train on the parents of the molecules (largest fragment, neutral, without isotopes "
        "and atom maps), and encode parents later (default: no, or as the model in --fine-tune)",
    )
    parser.add_argument("--limit", type=int, help="use only the first LIMIT molecules")
    parser.add_argument("--resume", action="store_true", help="resume the training in --out")
    options.add_config(parser)
    options.add_json(parser)
    for group, defaults in ((FIT_OPTIONS, FitConfig()), (SHAPE_OPTIONS, VAEConfig(**SHAPE))):
        for name, kind, text in group:
            default = getattr(defaults, name.replace("-", "_"))
            shown = "" if default is None else f" (default: {default})"
            parser.add_argument(f"--{name}", type=kind, help=f"{text}{shown}")


def run(args: argparse.Namespace) -> int:
    """Train and save the model, plot the learning curve; return the exit code."""
    folder = run_folder(args)
    settings = resolve_settings(args, folder)
    with contextlib.ExitStack() as stack:
        if args.resume:
            stack.enter_context(_lock(folder))
        prepared, parts = prepare(settings, folder)
        stack.enter_context(_lock(folder))
        if not is_worker():
            if not args.resume:
                folder.refuse_begun()  # by another process, while this one prepared its data
            folder.save(settings)  # after everything that can fail before training
        return _train(prepared, parts, folder, settings, args)


def _train(
    prepared: PreparedTraining,
    parts: list[list[str]],
    folder: RunFolder,
    settings: dict[str, Any],
    args: argparse.Namespace,
) -> int:
    """Prepared training -> its files in the run folder; return the exit code."""
    from molvae.chem.plausibility import fit_domain
    from molvae.latent.fit import METRICS
    from molvae.model.molvae import MolVAE
    from molvae.reports.plots import plot_learning_curve

    with Watch() as watch:
        try:
            state = prepared.job.run(folder.path, watch)
        except MolvaeError:
            if watch.step == 0 and not args.resume:  # no step was taken, now or earlier
                _remove_unbegun(folder)
            raise
    if is_worker():
        return 0
    plot_learning_curve(folder.path / METRICS, folder.path / "learning_curve.png")
    if watch.signal:
        again = f"stopped; resume with: molvae train --resume --out {folder.path}"
        raise options.Stopped(again, watch.signal)
    model = MolVAE(*prepared.finish(state))
    model.domain = fit_domain(parts[0], parts[1], progress=options.progress())
    if model.domain is None and "start" in settings:
        model.domain = MolVAE.load(settings["start"]).domain
    model.save(folder.path / "model.safetensors")
    print(
        f"{_describe_result(state, settings.get('start'))}\n"
        f"model: {folder.path / 'model.safetensors'}\n"
        f"next: molvae report {folder.path / 'model.safetensors'}"
    )
    found = {
        "model": str(folder.path / "model.safetensors"),
        "steps": state.step,
        "best_step": state.best_step,
        "validation_loss": state.best_loss,
        "validation_loss_before": state.start_loss,
        "held_out_molecules": state.validated,
    }
    options.answer(args, found)
    return 0


def _describe_result(state: State, start: str | None) -> str:
    """Final state and the model that was fine-tuned, if any -> one line on held-out molecules."""
    held_out = f"{state.validated:,} held-out molecules"
    if state.best_step == 0:
        found = "the untrained model, which" if start is None else f"{start}, whose weights"
        verb = "is" if start is None else "are"
        return (
            f"nothing better was found on {held_out} than {found} {verb} saved: validation loss "
            f"{_with_error(state.best_loss, state.best_error)} nats per molecule"
        )
    before = ""
    if state.start_loss is not None:
        before = f", {_with_error(state.start_loss, state.start_error)} before training"
    return (
        f"best validation loss {_with_error(state.best_loss, state.best_error)} nats per molecule "
        f"at step {state.best_step:,}{before} ({held_out})"
    )


def _with_error(value: float, error: float | None) -> str:
    """Mean and its standard error -> text."""
    return f"{value:.3f}" if error is None else f"{value:.3f} ± {error:.3f}"


def _lock(folder: RunFolder) -> contextlib.AbstractContextManager[None]:
    """Keep other trainings out of the folder; the extra processes of one share its lock."""
    from molvae.base.files import lock_folder

    return contextlib.nullcontext() if is_worker() else lock_folder(folder.path)


def _remove_unbegun(folder: RunFolder) -> None:
    """Remove the files of a training that failed before its first step, and the empty folder."""
    from molvae.base.files import LOCK
    from molvae.latent.fit import METRICS

    for path in (folder.settings_path, folder.path / METRICS, folder.path / LOCK):
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # the folder is not empty
        folder.path.rmdir()


def run_folder(args: argparse.Namespace) -> RunFolder:
    """Parsed options -> run folder: `--out`, or one named after the data."""
    name = Path(args.data or "zinc").name.partition(".")[0]
    return RunFolder(args.out or Path("runs") / f"train-{name}")


def resolve_settings(args: argparse.Namespace, folder: RunFolder) -> dict[str, Any]:
    """Options and run folder -> effective settings; options override those of a resumed run.

    Raises:
        MolvaeError: the folder already holds a run, holds none to resume, or one whose settings
            conflict with the options.
    """
    from molvae.model.training import DEFAULT_TOKENIZER

    stated = {k: getattr(args, k) for k in sorted(SETTINGS) if getattr(args, k) is not None}
    given = options.read_config(args.config, SETTINGS) | stated
    if "start" in given and "tokenizer" in stated:
        raise MolvaeError("--tokenizer conflicts with --fine-tune: the model keeps its tokenizer")
    if "start" in given and "transfer" in given:
        raise MolvaeError("give --fine-tune to train a model on, or --transfer to begin a new one")
    if args.resume:
        settings = folder.resume(given, may_change=ON_RESUME, required=["data"])
        for limit, other in (("epochs", "minutes"), ("minutes", "epochs")):
            if limit in given and other not in given:  # the length that is asked for now is meant
                settings.pop(other, None)
        settings.setdefault("tokenizer", "pairs")  # the default of versions that did not store it
        return settings
    if not is_worker():
        folder.refuse_begun()
    return {"data": "zinc", "tokenizer": DEFAULT_TOKENIZER, **given}


def prepare(
    settings: dict[str, Any], folder: RunFolder
) -> tuple[PreparedTraining, list[list[str]]]:
    """Settings (keyed by option name) and run folder -> a training that is ready to run.

    Also returned are the molecules of the data themselves, for training and for validation,
    without those that were recombined from them.

    Raises:
        MolvaeError: see `MolVAE.fit` and `molvae.chem.datasets.load`.
    """
    import pandas as pd

    from molvae.chem.datasets import load
    from molvae.chem.property_tables import load_properties
    from molvae.chem.recombine import recombine
    from molvae.model.molvae import MolVAE
    from molvae.model.training import choose_config, hold_out, prepare_training
    from molvae.oracles.given import find_quantity, report_learned

    talks = not is_worker()
    progress = talks and options.progress()
    start, transfer = (
        MolVAE.load(settings[name]).parts if name in settings else None
        for name in ("start", "transfer")
    )
    parents = settings.get("standardize", start is not None and start.summary.standardized)
    data = load(settings["data"], progress, standardize=parents)
    parts = list(hold_out(data.split("train"), data.split("validation")))
    if limit := settings.get("limit"):
        parts = [parts[0][:limit], parts[1][: max(1, limit // 10)]]
        data = replace(data, smiles=[*parts[0], *parts[1]], key=f"{data.key}-first{limit}")
    if talks:
        print(
            f"{data.description or data.name}\n{len(parts[0]):,} molecules for training, "
            f"{len(parts[1]):,} for validation; writing to {folder.path}"
        )
    own = [list(part) for part in parts]
    options.import_from_here()
    names = settings.get("properties", PROPERTIES)
    found = {name: find_quantity(name) for name in names}
    functions = {name: quantity for name, quantity in found.items() if quantity is not None}
    for line in report_learned(quantity.objective for quantity in functions.values()):
        options.note(line)
    known = load_properties(data, names, functions, progress) if names else None
    if number := settings.get("recombine"):
        more = recombine(data, number, settings.get("seed", 0), progress=progress)
        parts[0] = [*parts[0], *more.smiles]
        if talks:
            print(f"{len(more.smiles):,} recombined molecules added to the training data")
        if known is not None:
            computed = list(functions)  # measured values are unknown for new molecules
            known = pd.concat([known, load_properties(more, computed, functions, progress)])
    fit_names, shape_names = _names(FIT_OPTIONS), _names(SHAPE_OPTIONS)
    given = {k: v for k, v in settings.items() if k in fit_names}
    config = choose_config(given, len(parts[0]), start and start.summary)
    prepared = prepare_training(
        parts[0],
        parts[1],
        tokenizer=settings["tokenizer"],
        shape={k: v for k, v in settings.items() if k in shape_names},
        start=start,
        transfer=transfer,
        properties=known,
        random_smiles=settings.get("random_smiles", 0),
        blur=settings.get("blur"),
        config=config,
        data=data.name,
        standardized=data.standardized,
        progress=progress,
    )
    if talks and config.epochs is not None and "epochs" not in given:
        print(
            f"{len(prepared.data.smiles):,} molecules are few to fine-tune on: at most "
            f"{config.epochs:g} epochs (--epochs), with learning rate {config.learning_rate:g} and "
            f"KL weight {config.kl_weight:g}"
        )
    return prepared, own


def _names(group: list[tuple[str, type, str]]) -> set[str]:
    return {name.replace("-", "_") for name, _, _ in group}
