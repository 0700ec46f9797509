"""Pictures of molecules (a grid, PNG or SVG) and of their properties (three distributions).

Pictures are returned as bytes; who asked for one decides where it is stored.
"""

from __future__ import annotations

import io
import math
from collections.abc import Collection, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from rdkit import Chem
from rdkit.Chem import rdDepictor
from rdkit.Chem.Draw import rdMolDraw2D

from molvae.chem.metrics import STATISTICS
from molvae.chem.molecules import parse, quiet

PictureFormat: TypeAlias = Literal["png", "svg"]

CELL = 220  # pixels along one side of a molecule's cell
HIGHLIGHT = (1.0, 0.92, 0.55)
COLOURS = ("#4c566a", "#d08770", "#2a7fb8", "#7b9e59")


def molecule_grid(
    smiles: Sequence[str],
    legends: Sequence[str] | None = None,
    columns: int = 5,
    picture: PictureFormat = "png",
    highlighted: Collection[int] = (),
) -> bytes:
    """Strings -> a grid of drawn molecules, row by row, as a PNG or SVG file.

    A string that is no molecule becomes a cell that reads "invalid".

    Args:
        smiles: what to draw; at least one.
        legends: a line below each molecule.
        columns: cells in a row.
        picture: "png" or "svg".
        highlighted: indices of cells whose molecule gets a coloured background.

    Returns:
        The content of the picture file.
    """
    rows = math.ceil(len(smiles) / columns)
    canvas = rdMolDraw2D.MolDraw2DCairo if picture == "png" else rdMolDraw2D.MolDraw2DSVG
    drawing = canvas(columns * CELL, rows * CELL, CELL, CELL)
    options: Any = drawing.drawOptions()  # RDKit's own stubs are wrong about its setters
    options.setHighlightColour(HIGHLIGHT)
    options.legendFontSize = 15
    options.fixedBondLength = 28  # small molecules are not blown up to fill their cell
    options.fixedFontSize = 12
    options.bondLineWidth = 1.5
    options.highlightBondWidthMultiplier = 12
    mols = [_drawable(s) for s in smiles]
    atoms = [range(mol.GetNumAtoms() if i in highlighted else 0) for i, mol in enumerate(mols)]
    bonds = [range(mol.GetNumBonds() if i in highlighted else 0) for i, mol in enumerate(mols)]
    with quiet():
        drawing.DrawMolecules(
            mols,
            legends=list(legends) if legends is not None else [""] * len(mols),
            highlightAtoms=[list(each) for each in atoms],
            highlightBonds=[list(each) for each in bonds],
        )
    drawing.FinishDrawing()
    content = drawing.GetDrawingText()
    return content if isinstance(content, bytes) else content.encode()


def _drawable(smiles: str) -> Chem.Mol:
    """String -> molecule with coordinates, or the word "invalid" in place of an atom."""
    mol = parse(smiles)
    if mol is None:
        mol = Chem.MolFromSmiles("*")
        mol.GetAtomWithIdx(0).SetProp("_displayLabel", "invalid")
    rdDepictor.Compute2DCoords(mol)
    return mol


def property_distributions(sets: dict[str, pd.DataFrame], picture: PictureFormat = "png") -> bytes:
    """Named sets of molecules -> one picture, the distribution of logP, SAS and QED in each set.

    Args:
        sets: name in the legend -> frame with the columns logP, SAS, QED; missing values are
            left out.
        picture: "png" or "svg".

    Returns:
        The content of the picture file. Each curve is a histogram with area 1, all of one
        property on the same bins, so sets of different size can be compared.
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
    buffer = io.BytesIO()
    figure.savefig(buffer, format=picture, dpi=150)
    return buffer.getvalue()


def _histograms(axes: Axes, columns: dict[str, pd.Series[float]]) -> None:
    """Draw a stepped histogram of each column; the outermost 0.2 % on each side are cut off."""
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
