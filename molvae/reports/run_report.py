"""What a search found, as tables and pictures."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from molvae.base.errors import MolvaeError
from molvae.base.files import write_file
from molvae.chem.molecules import parse
from molvae.chem.pictures import draw_molecules
from molvae.chem.properties import PROPERTIES
from molvae.loop.optimization import Result

KEPT, DRAWN = 100, 20  # best molecules in best.csv, of one objective, and in best.png
PALE, STRONG = "#b0b8c4", "#2a7fb8"


def write_run_report(result: Result, folder: Path) -> pd.DataFrame:
    """Write best.csv, best.png and trace.png into the run's folder; returns the best, best first.

    Of several objectives the best are the whole front, and front.png shows it.

    Raises:
        MolvaeError: no evaluation succeeded.
    """
    several = len(result.labels) > 1
    best = _with_properties(result.best(len(result.records) if several else KEPT), result.labels)
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
    write_file(folder / "trace.png", _png(_trace(result)))
    if several:
        write_file(folder / "front.png", _png(_front(result, best)))
    return best


def _with_properties(best: pd.DataFrame, labels: tuple[str, ...]) -> pd.DataFrame:
    """Columns: the objectives first, then SMILES, the other properties, where it was found."""
    values = ["y"] if len(labels) == 1 else list(labels)
    table = best[[*values, "smiles"]].rename(columns={"y": labels[0]})
    mols = [parse(smiles) for smiles in table["smiles"]]
    for name, function in PROPERTIES.items():
        if name not in labels:
            table[name] = [function(mol) for mol in mols if mol is not None]
    table["heavy_atoms"] = table["heavy_atoms"].astype(int)
    return table.join(best[["number", "iteration"]])


def _trace(result: Result) -> Figure:
    """Every evaluation and the best so far, or the hypervolume, over the number of evaluations."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    if len(result.labels) == 1:
        axes.plot(result.table["y"], ".", color=PALE, label="evaluated molecule")
    name = "best so far" if len(result.labels) == 1 else "hypervolume of the front"
    axes.plot(result.trace, color=STRONG, drawstyle="steps-post", label=name)
    axes.set(xlabel="evaluations", ylabel=", ".join(result.labels))
    axes.legend(loc="lower right")
    return figure


def _front(result: Result, best: pd.DataFrame) -> Figure:
    """Every evaluation and the front, a panel for each pair of objectives with the first."""
    x, *others = result.labels
    figure = Figure(figsize=(5 * len(others), 4), layout="constrained")
    for axes, y in zip(figure.subplots(1, len(others), squeeze=False)[0], others, strict=True):
        axes.plot(result.table[x], result.table[y], ".", color=PALE, label="evaluated molecule")
        axes.plot(best[x], best[y], "o", color=STRONG, label="not dominated")
        axes.set(xlabel=x, ylabel=y)
        axes.legend(loc="lower left")
    return figure


def _png(figure: Figure) -> bytes:
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    return picture.getvalue()
