"""What a search found, as tables and pictures."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd

from molvae.chem.molecules import parse
from molvae.chem.objectives import PROPERTIES, Objective
from molvae.chem.pictures import molecule_grid
from molvae.errors import MolvaeError
from molvae.files import write
from molvae.loop import Result

KEPT, DRAWN = 100, 20  # best molecules in best.csv, in best.png


def kept(result: Result, objective: Objective, folder: Path) -> pd.DataFrame:
    """Write best.csv, best.png and trace.png into the run's folder; returns the best, best first.

    Raises:
        MolvaeError: no evaluation succeeded.
    """
    best = _with_properties(result.best(KEPT), objective)
    if best.empty:
        raise MolvaeError("no evaluation succeeded")
    write(folder / "best.csv", best.to_csv(index=False, lineterminator="\n"))
    drawn = best.head(DRAWN)
    legends = [
        f"{row[objective.label]:.3f}  SAS {row['SAS']:.2f}  QED {row['QED']:.2f}"
        for row in drawn.to_dict("records")
    ]
    write(folder / "best.png", molecule_grid(drawn["smiles"].tolist(), legends))
    write(folder / "trace.png", _trace(result, objective))
    return best


def _with_properties(best: pd.DataFrame, objective: Objective) -> pd.DataFrame:
    """Columns: the objective first, then SMILES, the other properties, where it was found."""
    table = best[["y", "smiles"]].rename(columns={"y": objective.label})
    mols = [parse(smiles) for smiles in table["smiles"]]
    for name, function in PROPERTIES.items():
        if name != objective.label:
            table[name] = [function(mol) for mol in mols if mol is not None]
    table["heavy_atoms"] = table["heavy_atoms"].astype(int)
    return table.join(best[["number", "iteration"]])


def _trace(result: Result, objective: Objective) -> bytes:
    """Draw every evaluation and the best so far, over the number of evaluations, as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(result.table["y"], ".", color="#b0b8c4", label="evaluated molecule")
    axes.plot(result.trace, color="#2a7fb8", drawstyle="steps-post", label="best so far")
    axes.set(xlabel="evaluations", ylabel=objective.label)
    axes.legend(loc="lower right")
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    return picture.getvalue()
