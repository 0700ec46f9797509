"""Plots of trainings and of property distributions."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from molvae.chem.pictures import DPI, PictureFormat
from molvae.chem.properties import STATISTICS


def plot_learning_curve(metrics: Path, path: Path) -> None:
    """Plot metrics.csv of a training: reconstruction and KL, nats per molecule, over the steps.

    With fewer than two rows there is no curve, and no file is written.
    """
    table = pd.read_csv(metrics)
    if len(table) < 2:
        return
    figure = Figure(figsize=(9, 4), layout="constrained")
    for axes, name in zip(figure.subplots(1, 2), ("reconstruction_nats", "kl_nats"), strict=True):
        trained = table.dropna(subset=[name])
        axes.plot(trained["step"], trained[name], label="training")
        held_out = table.dropna(subset=[f"validation_{name}"])
        axes.plot(held_out["step"], held_out[f"validation_{name}"], "o-", label="validation")
        label = f"{name.partition('_')[0]} (nats per molecule)"
        axes.set(xlabel="step", ylabel=label, ylim=(0, None))
        axes.legend()
    figure.savefig(path, dpi=DPI)


COLOURS = ("#4c566a", "#d08770", "#2a7fb8", "#7b9e59")


def plot_property_distributions(
    sets: dict[str, pd.DataFrame], picture: PictureFormat = "png"
) -> bytes:
    """Plot the distributions of logP, SAS and QED in named sets of molecules.

    Args:
        sets: legend label -> table with the columns logP, SAS, QED; missing values are ignored.
        picture: "png" or "svg".

    Returns:
        The content of the picture file.
    """
    buffer = io.BytesIO()
    draw_property_distributions(sets).savefig(buffer, format=picture, dpi=DPI)
    return buffer.getvalue()


def draw_property_distributions(sets: dict[str, pd.DataFrame]) -> Figure:
    """Named sets of molecules, as in `plot_property_distributions` -> the figure.

    The histograms have area 1 and share their bins, so that sets of different sizes can be
    compared.
    """
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(1, len(STATISTICS))
    for axes, name in zip(grid, STATISTICS, strict=True):
        columns = {label: frame[name].dropna() for label, frame in sets.items()}
        _histograms(axes, columns)
        axes.set_xlabel(name)
        axes.set_yticks([])
        axes.spines[["left", "top", "right"]].set_visible(False)
    handles = [Line2D([], [], color=_colour(i)) for i in range(len(sets))]
    labels = [f"{label} ({len(frame)} molecules)" for label, frame in sets.items()]
    figure.legend(handles, labels, loc="outside upper center", ncols=len(sets), frameon=False)
    return figure


def _histograms(axes: Axes, columns: dict[str, pd.Series[float]]) -> None:
    """Draw a step histogram of each column, without the outer 0.2 % on each side."""
    everything = pd.concat(list(columns.values()))
    if everything.nunique() < 2:
        return
    low, high = float(everything.quantile(0.002)), float(everything.quantile(0.998))
    for i, values in enumerate(columns.values()):
        inside = values[values.between(low, high)]
        if len(inside):
            heights, edges = np.histogram(inside, bins=35, range=(low, high), density=True)
            axes.stairs(heights, edges, linewidth=1.8, color=_colour(i))


def _colour(i: int) -> str:
    return COLOURS[i % len(COLOURS)]
