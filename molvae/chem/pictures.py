"""Drawings of molecules: a grid as a PNG or SVG image, bytes that a notebook shows."""

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
FITTING, MORE_PIXELS, LARGEST_CELL = 22, 7, 420  # atoms that fit; pixels for each further one
HIGHLIGHT = (1.0, 0.92, 0.55)
MARK = (0.95, 0.70, 0.62)


class Picture(bytes):
    """The contents of an image file, PNG or SVG, which Jupyter shows as a picture."""

    def __repr__(self) -> str:
        kind = "PNG" if self._repr_png_() is not None else "SVG"
        return f"<Picture: {kind} of {len(self):,} bytes>"

    def _repr_png_(self) -> bytes | None:
        return bytes(self) if self.startswith(b"\x89PNG") else None

    def _repr_svg_(self) -> str | None:
        return self.decode() if self._repr_png_() is None else None


def draw_molecules(
    smiles: Sequence[str],
    legends: Sequence[str] | None = None,
    columns: int = 5,
    picture: PictureFormat = "png",
    highlighted: Collection[int] | Mapping[int, Collection[int]] = (),
    marked: Mapping[int, tuple[list[int], list[int]]] | None = None,
) -> Picture:
    """SMILES -> a grid of drawn molecules, filled row by row, as PNG or SVG bytes.

    A string that is not a valid molecule is drawn as the word "invalid". Cells grow with the
    largest molecule, so that 40 atoms are as legible as 20.

    Args:
        smiles: the molecules to draw, at least one.
        legends: a caption below each molecule; None for no captions.
        columns: number of cells per row.
        picture: "png" or "svg".
        highlighted: indices of the molecules to highlight with a coloured background; where they
            are keys, the atoms to highlight in each, in the order in which its SMILES has them.
        marked: index of a molecule -> atoms and bonds of it to mark in another colour.

    Returns:
        The contents of the image file, which Jupyter shows as a picture.
    """
    rows = math.ceil(len(smiles) / columns)
    canvas = rdMolDraw2D.MolDraw2DCairo if picture == "png" else rdMolDraw2D.MolDraw2DSVG
    mols = [_drawable(s) for s in smiles]
    atoms_drawn = max(mol.GetNumAtoms() for mol in mols)
    cell = min(CELL + MORE_PIXELS * max(atoms_drawn - FITTING, 0), LARGEST_CELL)
    drawing = canvas(columns * cell, rows * cell, cell, cell)
    options: Any = drawing.drawOptions()  # RDKit's type stubs are wrong about the setters
    options.setHighlightColour(HIGHLIGHT)
    options.legendFontSize = 15
    options.fixedBondLength = 28  # do not scale small molecules up to fill the cell
    options.fixedFontSize = 12
    options.bondLineWidth = 1.5
    options.highlightBondWidthMultiplier = 12
    atoms: list[Collection[int]] = [range(0)] * len(mols)
    for i in highlighted:
        some = highlighted[i] if isinstance(highlighted, Mapping) else None
        atoms[i] = range(mols[i].GetNumAtoms()) if some is None else some
    bonds: list[list[int]] = [_list_bonds(mol, some) for mol, some in zip(mols, atoms, strict=True)]
    colours: list[tuple[dict[int, Any], dict[int, Any]]] = [({}, {}) for _ in mols]
    for i, (own_atoms, own_bonds) in (marked or {}).items():
        atoms[i], bonds[i] = own_atoms, own_bonds
        colours[i] = dict.fromkeys(own_atoms, MARK), dict.fromkeys(own_bonds, MARK)
    with silence_rdkit():
        drawing.DrawMolecules(
            mols,
            legends=list(legends) if legends is not None else [""] * len(mols),
            highlightAtoms=[list(each) for each in atoms],
            highlightBonds=bonds,
            highlightAtomColors=[of_atoms for of_atoms, _ in colours],
            highlightBondColors=[of_bonds for _, of_bonds in colours],
        )
    drawing.FinishDrawing()
    content = drawing.GetDrawingText()
    return Picture(content if isinstance(content, bytes) else content.encode())


def _list_bonds(mol: Chem.Mol, atoms: Collection[int]) -> list[int]:
    """Molecule and some of its atoms -> the bonds between these."""
    return [
        b.GetIdx()
        for b in mol.GetBonds()
        if b.GetBeginAtomIdx() in atoms and b.GetEndAtomIdx() in atoms
    ]


def _drawable(smiles: str) -> Chem.Mol:
    """SMILES -> molecule with 2D coordinates; an invalid SMILES -> one atom labelled "invalid"."""
    mol = parse(smiles)
    if mol is None:
        mol = Chem.MolFromSmiles("*")
        mol.GetAtomWithIdx(0).SetProp("_displayLabel", "invalid")
    rdDepictor.Compute2DCoords(mol)
    return mol
