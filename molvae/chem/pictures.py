"""Pictures of molecules (a grid, PNG or SVG) and of their properties (three distributions).

Pictures are returned as bytes; who asked for one decides where it is stored.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any, Literal, TypeAlias

from rdkit import Chem
from rdkit.Chem import rdDepictor
from rdkit.Chem.Draw import rdMolDraw2D

from molvae.chem.molecules import parse, silence_rdkit

PictureFormat: TypeAlias = Literal["png", "svg"]

CELL = 220  # pixels along one side of a molecule's cell
HIGHLIGHT = (1.0, 0.92, 0.55)


def draw_molecules(
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
    with silence_rdkit():
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
