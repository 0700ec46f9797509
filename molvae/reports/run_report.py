"""Run report: tables and pictures of the best molecules of a search."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from molvae.base.errors import MolvaeError
from molvae.base.files import write_file
from molvae.chem.molecules import parse
from molvae.chem.pictures import draw_molecules
from molvae.chem.properties import REPORTED, properties
from molvae.loop.result import Result

LISTED, DRAWN = 100, 20  # rows of best.csv for one objective, molecules in best.png
PALE, STRONG = "#b0b8c4", "#2a7fb8"


def write_run_report(result: Result, folder: Path) -> pd.DataFrame:
    """Result of a search -> table of its best molecules, best first.

    Writes best.csv, best.png and trace.png to `folder`. For several objectives, the best molecules
    are the Pareto front, which is also plotted in front.png.

    Raises:
        MolvaeError: no evaluation succeeded.
    """
    several = len(result.labels) > 1
    best = _add_properties(result.best(len(result.records) if several else LISTED), result.labels)
    if best.empty:
        raise MolvaeError("no evaluation succeeded")
    write_file(folder / "best.csv", best.to_csv(index=False, lineterminator="\n"))
    drawn = best.head(DRAWN)
    legends = [
        "  ".join(f"{row[label]:.3f}" for label in result.labels)
        + f"  SAS {row['SAS']:.2f}  QED {row['QED']:.2f}"
        for row in drawn.to_dict("records")
    ]
    write_file(folder / "best.png", draw_molecules(drawn["smiles"].tolist(), legends))
    write_file(folder / "trace.png", _render_png(_plot_trace(result)))
    if several:
        write_file(folder / "front.png", _render_png(_plot_front(result, best)))
    return best


def _add_properties(best: pd.DataFrame, labels: tuple[str, ...]) -> pd.DataFrame:
    """Best molecules -> objectives, SMILES, properties, evaluation number and iteration."""
    values = ["y"] if len(labels) == 1 else list(labels)
    table = best[[*values, "smiles"]].rename(columns={"y": labels[0]})
    mols = [parse(smiles) for smiles in table["smiles"]]
    for name in REPORTED:
        if name not in labels:
            function = properties[name].function
            table[name] = [function(mol) for mol in mols if mol is not None]
    table["heavy_atoms"] = table["heavy_atoms"].astype(int)
    return table.join(best[["number", "iteration"]])


def _plot_trace(result: Result) -> Figure:
    """Plot all evaluations and the incumbent value, or the hypervolume of several objectives."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    if len(result.labels) == 1:
        axes.plot(result.table["y"], ".", color=PALE, label="evaluated molecule")
    name = "best so far" if len(result.labels) == 1 else "hypervolume"
    axes.plot(result.trace, color=STRONG, drawstyle="steps-post", label=name)
    axes.set(xlabel="evaluations", ylabel=", ".join(result.labels))
    axes.legend(loc="lower right")
    return figure


def _plot_front(result: Result, best: pd.DataFrame) -> Figure:
    """Plot all evaluations and the Pareto front: the first objective against each other one."""
    x, *others = result.labels
    figure = Figure(figsize=(5 * len(others), 4), layout="constrained")
    for axes, y in zip(figure.subplots(1, len(others), squeeze=False)[0], others, strict=True):
        axes.plot(result.table[x], result.table[y], ".", color=PALE, label="evaluated molecule")
        axes.plot(best[x], best[y], "o", color=STRONG, label="Pareto front")
        axes.set(xlabel=x, ylabel=y)
        axes.legend(loc="lower left")
    return figure


def _render_png(figure: Figure) -> bytes:
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    return picture.getvalue()
