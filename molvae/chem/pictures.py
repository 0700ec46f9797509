"""Drawings of molecules: a grid as a PNG or SVG image, returned as bytes."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, TypeAlias

from rdkit import Chem
from rdkit.Chem import rdDepictor
from rdkit.Chem.Draw import rdMolDraw2D

from molvae.chem.molecules import parse, silence_rdkit

PictureFormat: TypeAlias = Literal["png", "svg"]

CELL = 220  # pixels along one side of a molecule's cell
HIGHLIGHT = (1.0, 0.92, 0.55)
MARK = (0.95, 0.70, 0.62)


def draw_molecules(
    smiles: Sequence[str],
    legends: Sequence[str] | None = None,
    columns: int = 5,
    picture: PictureFormat = "png",
    highlighted: Collection[int] = (),
    marked: Mapping[int, tuple[list[int], list[int]]] | None = None,
) -> bytes:
    """SMILES -> a grid of drawn molecules, filled row by row, as PNG or SVG bytes.

    A string that is not a valid molecule is drawn as the word "invalid".

    Args:
        smiles: the molecules to draw, at least one.
        legends: a caption below each molecule; None for no captions.
        columns: number of cells per row.
        picture: "png" or "svg".
        highlighted: indices of the molecules to highlight with a coloured background.
        marked: index of a molecule -> atoms and bonds of it to mark in another colour.

    Returns:
        The contents of the image file.
    """
    rows = math.ceil(len(smiles) / columns)
    canvas = rdMolDraw2D.MolDraw2DCairo if picture == "png" else rdMolDraw2D.MolDraw2DSVG
    drawing = canvas(columns * CELL, rows * CELL, CELL, CELL)
    options: Any = drawing.drawOptions()  # RDKit's type stubs are wrong about the setters
    options.setHighlightColour(HIGHLIGHT)
    options.legendFontSize = 15
    options.fixedBondLength = 28  # do not scale small molecules up to fill the cell
    options.fixedFontSize = 12
    options.bondLineWidth = 1.5
    options.highlightBondWidthMultiplier = 12
    mols = [_drawable(s) for s in smiles]
    whole = [mol if i in highlighted else Chem.Mol() for i, mol in enumerate(mols)]
    atoms: list[Sequence[int]] = [range(mol.GetNumAtoms()) for mol in whole]
    bonds: list[Sequence[int]] = [range(mol.GetNumBonds()) for mol in whole]
    colours: list[tuple[dict[int, Any], dict[int, Any]]] = [({}, {}) for _ in mols]
    for i, (own_atoms, own_bonds) in (marked or {}).items():
        atoms[i], bonds[i] = own_atoms, own_bonds
        colours[i] = dict.fromkeys(own_atoms, MARK), dict.fromkeys(own_bonds, MARK)
    with silence_rdkit():
        drawing.DrawMolecules(
            mols,
            legends=list(legends) if legends is not None else [""] * len(mols),
            highlightAtoms=[list(each) for each in atoms],
            highlightBonds=[list(each) for each in bonds],
            highlightAtomColors=[of_atoms for of_atoms, _ in colours],
            highlightBondColors=[of_bonds for _, of_bonds in colours],
        )
    drawing.FinishDrawing()
    content = drawing.GetDrawingText()
    return content if isinstance(content, bytes) else content.encode()


def _drawable(smiles: str) -> Chem.Mol:
    """SMILES -> molecule with 2D coordinates; an invalid SMILES -> one atom labelled "invalid"."""
    mol = parse(smiles)
    if mol is None:
        mol = Chem.MolFromSmiles("*")
        mol.GetAtomWithIdx(0).SetProp("_displayLabel", "invalid")
    rdDepictor.Compute2DCoords(mol)
    return mol
