"""Evaluate a model: property statistics, reconstruction, validity."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from molvae.cli import options

if TYPE_CHECKING:
    from molvae.reports.model_report import Report

GREEDY = "greedy decoding"
DISTANCES = "rank correlation of latent and Tanimoto distance"
NEAREST = "R2 of the mean of the five nearest held-out molecules"
MEANS = "greedy decoding from posterior means"
ENCODER = "the same without the learned steps of the posterior"
REFINED = "the same after gradient steps on log p(x|z)"

EXAMPLES = (
    "molvae report zinc",
    "molvae report runs/mine/model.safetensors --samples 10000",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `molvae report`."""
    options.add_subject(parser, "zinc")
    options.add_data(parser)
    parser.add_argument(
        "--molecules",
        type=options.whole_number,
        default=5_000,
        help="at most, from each of the data set, the GA and the test split",
    )
    parser.add_argument(
        "--samples", type=options.whole_number, default=5_000, help="strings sampled from the model"
    )
    options.add_seed(parser)
    parser.add_argument(
        "--out",
        default="runs/report-{model}",
        help="folder for the results; {model} is the name of the model, for a file with its folder",
    )
    options.add_overwrite(parser)
    options.add_json(parser)


def run(args: argparse.Namespace) -> None:
    """Evaluate the model, print the results, write report.json, report.html and properties.png."""
    import json

    from molvae.base.files import write_file
    from molvae.model.molvae import MolVAE
    from molvae.reports.model_page import write_model_page
    from molvae.reports.model_report import ReportConfig, measure_model
    from molvae.reports.plots import plot_property_distributions

    name = options.subject_of(args)
    folder = Path(args.out.replace("{model}", _name(name)))
    files = folder / "report.json", folder / "properties.png", folder / "report.html"
    options.refuse_existing(args, *files)
    model = MolVAE.load(name)
    source = options.data_of(getattr(args, "data", None), name, model)
    watched = options.progress()
    data = options.load_data(source)
    config = ReportConfig(args.molecules, args.samples, args.seed)
    report = measure_model(model, data, config, progress=watched)
    figures = {"model": name, **report.to_json()}
    write_file(files[0], json.dumps(figures, indent=2, allow_nan=False) + "\n")
    write_file(files[1], plot_property_distributions(report.sets))
    settings = {
        "model": name,
        "data": source,
        **{key: getattr(args, key) for key in ("molecules", "samples", "seed", "out")},
    }
    write_file(files[2], write_model_page(model, data, report, list_figures(report), settings))
    print(f"{name} on {data.name} (seed {args.seed}, {report.seconds:.0f} s), mean (sd)\n")
    print(report.table.to_string(index=False))
    rows = list_figures(report)
    print("\n" + "\n".join(f"{name:<21}{value:>8}  {base}" for name, value, base in rows))
    if len(report.curve):
        curve = report.curve.to_string(index=False, float_format="%.3f")
        print(f"\ngreedy decoding at a distance from posterior means\n{curve}")
    rings = report.rings.T.to_string(float_format="%.3f")
    print(f"\nshare of molecules with rings of a size\n{rings}")
    groups = report.groups.to_string(float_format="%.3f")
    print(f"\nfunctional groups whose share differs most\n{groups}")
    print(f"\n{', '.join(map(str, files))}")
    options.answer(args, figures)


def _name(model: str) -> str:
    """Shipped model or file -> its name; most files are called `model` and lie in a run folder."""
    path = Path(model)
    return path.stem if path.name == model else f"{path.resolve().parent.name}-{path.stem}"


def _percent(share: float) -> str:
    """Share, NaN where nothing could be counted -> its text."""
    from molvae.reports.values import MISSING

    return MISSING if math.isnan(share) else f"{share:.1%}"


def list_figures(report: Report) -> list[tuple[str, str, str]]:
    """Report -> the name, the value and the meaning of each figure, as they are printed."""
    found, held_out = report.samples, report.held_out
    rows = [
        ("validity", f"{found.validity:.1%}", f"of {found.drawn} strings sampled from the prior"),
        ("uniqueness", _percent(found.uniqueness), f"of {found.valid} valid strings"),
        ("novelty", _percent(found.novelty), f"of {found.unique} unique, not in training data"),
        ("validity, greedy", f"{report.validity_greedy:.1%}", GREEDY),
    ]
    if held_out:
        where = f"of {held_out['molecules']:.0f} held-out molecules"
        encoder = f"{held_out['exact_reconstruction_encoder']:.1%}"
        alone = [("exact, encoder", encoder, ENCODER)] if held_out["learned_steps"] else []
        rows += [
            ("exact, means", f"{held_out['exact_reconstruction_means']:.1%}", f"{where}: {MEANS}"),
            *alone,
            ("exact, refined", f"{held_out['exact_reconstruction_greedy']:.1%}", REFINED),
            ("exact, beam", f"{held_out['exact_reconstruction']:.1%}", "refined, and beam search"),
            ("token accuracy", f"{held_out['token_accuracy']:.2%}", "teacher-forced"),
            ("local validity", f"{held_out['local_validity']:.1%}", "with noise of 0.5 sd"),
            ("local, greedy", f"{held_out['local_validity_greedy']:.1%}", GREEDY),
            ("midpoint validity", f"{held_out['midpoint_validity']:.1%}", "midpoints of pairs"),
            ("midpoint, greedy", f"{held_out['midpoint_validity_greedy']:.1%}", GREEDY),
        ]
        rows += [
            (
                f"{key.removeprefix('r2_')} R2",
                f"{held_out[f'{key}_means']:.3f}",
                f"predicted at posterior means; {value:.3f} at refined points",
            )
            for key, value in held_out.items()
            if key.startswith("r2_") and not key.endswith("_means")
        ]
        rows += [
            ("distances", f"{held_out['distance_correlation']:.2f}", DISTANCES),
            ("drift", f"{held_out['drift']:.2f}", "sd per dimension, decoded and encoded again"),
        ]
        rows += [
            (f"{key.removeprefix('neighbors_r2_')} of near", f"{value:.3f}", NEAREST)
            for key, value in held_out.items()
            if key.startswith("neighbors_r2_")
        ]
        rows += [
            (name, f"{held_out[key]:.2f}", "nats per molecule")
            for name, key in (
                ("reconstruction", "reconstruction_nats"),
                ("KL", "kl_nats"),
                ("ELBO", "elbo_nats"),
            )
        ]
    if report.plausible:
        rest = f"of the samples; {report.plausible['held out']:.1%} of held-out molecules"
        rows.append(("plausible", _percent(report.plausible["samples"]), rest))
    alike = report.likeness
    real = f"of samples; {alike['internal_diversity_data']:.3f} of held-out molecules"
    if not math.isnan(alike["internal_diversity"]):
        rows.append(("diversity", f"{alike['internal_diversity']:.3f}", f"mean distance {real}"))
    if not math.isnan(alike["fcd"]):
        rest = f"to held-out molecules; training data has {alike['fcd_data']:.2f}"
        rows.append(("FCD", f"{alike['fcd']:.2f}", rest))
    if report.not_encodable or not held_out:
        rows.append(("not encodable", str(report.not_encodable), "test molecules skipped"))
    return rows
