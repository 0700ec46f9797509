"""report.html of a model: its card, with all figures, and pictures of what it does."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from molvae.chem.changes import find_lost
from molvae.chem.datasets import DataSet
from molvae.chem.molecules import canonicalize
from molvae.model.exploration import interpolate, sample_new_molecules
from molvae.model.molvae import MolVAE
from molvae.reports.html import (
    list_versions,
    write_code,
    write_command,
    write_document,
    write_facts,
    write_figure,
    write_grid,
    write_heading,
    write_table,
    write_text,
)
from molvae.reports.model_report import Report
from molvae.reports.plots import COLOURS, draw_property_distributions

DRAWN = 12  # molecules of each kind
STEPS = 7  # of an interpolation


def write_model_page(
    model: MolVAE,
    data: DataSet,
    report: Report,
    figures: Sequence[tuple[str, str, str]],
    settings: Mapping[str, Any],
) -> str:
    """Model and its report -> report.html.

    Args:
        model: the model.
        data: the data set that the report compares with.
        report: the measured figures.
        figures: name, value and meaning of each, as the command prints them.
        settings: the options of the command by name, `model` among them.
    """
    seed = report.config.seed
    options = {name: value for name, value in settings.items() if name != "model"}
    parts = [
        write_facts(_describe(model, data)),
        write_heading("Properties of molecules: mean (standard deviation)"),
        write_table(report.table),
        write_figure(
            draw_property_distributions(report.sets),
            "Distributions of the data, of offspring of a genetic algorithm, and of samples; each "
            "has area 1. logP is log10 of a ratio; SAS is from 1, easy to make, to 10; QED is from "
            "0 to 1.",
        ),
        write_heading("Figures"),
        write_table(pd.DataFrame(figures, columns=["figure", "value", "of what"])),
    ]
    samples, drawn = sample_new_molecules(model, DRAWN, seed)
    parts += [
        write_heading("Samples of the prior"),
        write_text(f"{len(samples)} different valid molecules of {drawn} strings, not chosen."),
        write_grid(samples, [[one] for one in samples]),
    ]
    # all are canonical, and RDKit would take seconds to find that
    known = model.can_encode if model.standardizes else model.can_encode_canonical
    chosen = [s for s in data.split("test") if known(s)]
    chosen = random.Random(seed).sample(chosen, min(DRAWN, len(chosen)))
    if chosen:
        parts += _write_reconstructions(model, chosen)
    if len(chosen) > 1:
        parts += _write_interpolation(model, chosen[0], chosen[1])
    if len(report.curve):
        caption = (
            "Greedy decoding at a distance from the posterior means of held-out molecules: share "
            "of valid strings, share that is the molecule itself, and mean Tanimoto similarity."
        )
        parts += [write_heading("Smoothness"), write_figure(_plot_curve(report.curve), caption)]
    command = write_command("report", options).replace(" report", f" report {settings['model']}", 1)
    parts += [
        write_heading("How to repeat it"),
        write_code(command),
        write_text(f"It took {report.seconds:.0f} s."),
        write_heading("Versions"),
        write_facts(list_versions()),
    ]
    return write_document(f"Model {settings['model']} on {data.name}", parts)


def _describe(model: MolVAE, data: DataSet) -> dict[str, object]:
    low, high = model.heavy_atoms
    return {
        "trained on": model.summary.data,
        "compared with": f"{data.name}, {len(data.smiles):,} molecules",
        "heavy atoms of its training molecules": f"{low} to {high}",
        "latent dimensions": model.latent,
        "weights": sum(one.numel() for one in model.vae.parameters()),
        "predicts": list(model.vae.config.properties) or "nothing",
        "encodes parents of salts": model.summary.standardized,
    }


def _write_reconstructions(model: MolVAE, chosen: list[str]) -> list[str]:
    back = [canonicalize(s) or s for s in model.decode(model.encode(chosen))]
    same = sum(one == other for one, other in zip(chosen, back, strict=True))
    pairs = list(zip(chosen, back, strict=True))
    smiles = [one for pair in pairs for one in pair]
    captions = [
        lines
        for one, other in pairs
        for lines in (
            ["held-out molecule", one],
            ["comes back unchanged" if one == other else "comes back as", other],
        )
    ]
    lost = {2 * i: find_lost(one, other) for i, (one, other) in enumerate(pairs) if one != other}
    return [
        write_heading("Reconstructions"),
        write_text(
            f"{same} of {len(chosen)} held-out molecules, not chosen, come back unchanged. What "
            "was lost is highlighted."
        ),
        write_grid(smiles, captions, highlighted=lost),
    ]


def _write_interpolation(model: MolVAE, start: str, end: str) -> list[str]:
    table = interpolate(model, start, end, STEPS)
    captions = [
        [
            f"t = {row['t']:.2f}",
            f"similarity to the start {row['similarity_start']:.2f}, to the end "
            f"{row['similarity_end']:.2f}",
        ]
        for row in table.to_dict("records")
    ]
    return [
        write_heading("Between two held-out molecules"),
        write_grid(table["smiles"].tolist(), captions),
    ]


def _plot_curve(curve: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.subplots()
    names = {"valid": "valid", "same": "the molecule itself", "similarity": "Tanimoto similarity"}
    for (column, label), colour, mark in zip(names.items(), COLOURS, "os^", strict=False):
        axes.plot(curve["radius"], curve[column], f"{mark}-", color=colour, label=label)
    axes.set(xlabel="distance (standard deviations of the prior)", ylabel="share", ylim=(0, 1.02))
    axes.legend()
    return figure
