"""Drawings of molecules: a grid as a PNG or SVG image, bytes that a notebook shows."""

from __future__ import annotations

import math
import struct
import threading
import zlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, TypeAlias

from rdkit import Chem
from rdkit.Chem import rdDepictor
from rdkit.Chem.Draw import rdMolDraw2D

from molvae.chem.molecules import parse, silence_rdkit

PictureFormat: TypeAlias = Literal["png", "svg"]

CELL = 220  # along one side of a molecule's cell, in units of 1/96 inch: the pixels of an SVG
FITTING, MORE, LARGEST_CELL = 22, 7, 420  # atoms that fit; units for each further one
DPI = 200  # pixels per inch of a PNG
KEPT = 200  # scaffolds and ring systems of an arrangement, the latest ones
HIGHLIGHT = (1.0, 0.92, 0.55)
MARK = (0.95, 0.70, 0.62)


class Picture(bytes):
    """The contents of an image file, PNG or SVG, which Jupyter shows as a picture."""

    def __repr__(self) -> str:
        kind = "PNG" if self._repr_png_() is not None else "SVG"
        return f"<Picture: {kind} of {len(self):,} bytes>"

    __str__ = __repr__

    def _repr_png_(self) -> tuple[bytes, dict[str, int]] | None:
        if not self.startswith(b"\x89PNG"):
            return None
        width, height = struct.unpack(">II", self[16:24])
        return bytes(self), {"width": width * 96 // DPI, "height": height * 96 // DPI}

    def _repr_svg_(self) -> str | None:
        return self.decode() if self._repr_png_() is None else None


def draw_molecules(
    smiles: Sequence[str],
    legends: Sequence[str] | None = None,
    columns: int = 5,
    picture: PictureFormat = "png",
    highlighted: Collection[int] | Mapping[int, Collection[int]] = (),
    marked: Mapping[int, tuple[list[int], list[int]]] | None = None,
    arrangement: Arrangement | None = None,
) -> Picture:
    """SMILES -> a grid of drawn molecules, filled row by row, as PNG or SVG bytes.

    A string that is not a valid molecule is drawn as the word "invalid". Cells grow with the
    largest molecule, so that 40 atoms are as legible as 20. A molecule that has the scaffold or a
    ring system of one before it is turned the way that one lies. A PNG has `DPI` pixels per inch.

    Args:
        smiles: the molecules to draw, at least one.
        legends: a caption below each molecule; None for no captions.
        columns: number of cells per row, at most.
        picture: "png" or "svg".
        highlighted: indices of the molecules to highlight with a coloured background; where they
            are keys, the atoms to highlight in each, in the order in which its SMILES has them.
        marked: index of a molecule -> atoms and bonds of it to mark in another colour.
        arrangement: of other drawings, whose scaffolds lie the same way in this one.

    Returns:
        The contents of the image file, which Jupyter shows as a picture.
    """
    columns = min(columns, len(smiles))
    rows = math.ceil(len(smiles) / columns)
    canvas = rdMolDraw2D.MolDraw2DCairo if picture == "png" else rdMolDraw2D.MolDraw2DSVG
    unit = DPI / 96 if picture == "png" else 1.0
    arrangement = arrangement or Arrangement()
    mols = [arrangement.lay_out(_drawable(s)) for s in smiles]
    atoms_drawn = max(mol.GetNumAtoms() for mol in mols)
    cell = round(unit * min(CELL + MORE * max(atoms_drawn - FITTING, 0), LARGEST_CELL))
    drawing = canvas(columns * cell, rows * cell, cell, cell)
    options: Any = drawing.drawOptions()  # RDKit's type stubs are wrong about the setters
    options.setHighlightColour(HIGHLIGHT)
    options.legendFontSize = round(15 * unit)
    options.fixedBondLength = 28 * unit  # do not scale small molecules up to fill the cell
    options.fixedFontSize = round(12 * unit)
    options.bondLineWidth = 1.5 * unit
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
    if isinstance(content, bytes):
        return Picture(_write_resolution(content))
    return Picture(content.encode())


def _write_resolution(png: bytes) -> bytes:
    """Insert `DPI` into a PNG: the chunk pHYs, in pixels per metre, behind the header."""
    per_metre = round(DPI / 0.0254)
    chunk = b"pHYs" + struct.pack(">IIB", per_metre, per_metre, 1)
    checked = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return png[:33] + checked + png[33:]  # 8 bytes of signature, 25 of the header


def _list_bonds(mol: Chem.Mol, atoms: Collection[int]) -> list[int]:
    """Molecule and some of its atoms -> the bonds between these."""
    return [
        b.GetIdx()
        for b in mol.GetBonds()
        if b.GetBeginAtomIdx() in atoms and b.GetEndAtomIdx() in atoms
    ]


def _drawable(smiles: str) -> Chem.Mol:
    """SMILES -> molecule; an invalid SMILES -> one atom labelled "invalid"."""
    mol = parse(smiles)
    if mol is None:
        mol = Chem.MolFromSmiles("*")
        mol.GetAtomWithIdx(0).SetProp("_displayLabel", "invalid")
    return mol


class Arrangement:
    """How scaffolds and ring systems lie: each molecule is turned the way those before it lie.

    A grid of molecules has one of its own. One that is kept turns drawings alike that are made one
    by one.
    """

    def __init__(self) -> None:
        """Begin with none: the first molecule lies as RDKit lays it."""
        self._parts: dict[str, Chem.Mol] = {}
        self._lock = threading.Lock()

    def lay_out(self, mol: Chem.Mol) -> Chem.Mol:
        """Give a molecule 2D coordinates; the largest known part that it has says how it lies."""
        with self._lock:
            for part in sorted(self._parts.values(), key=Chem.Mol.GetNumAtoms, reverse=True):
                if match := _find_whole(part, mol):
                    pairs = list(enumerate(match))
                    rdDepictor.GenerateDepictionMatching2DStructure(mol, part, pairs)
                    break
            else:
                rdDepictor.Compute2DCoords(mol)
            for part in _find_rings(mol):
                self._parts.setdefault(Chem.MolToSmiles(part), part)
            for oldest in list(self._parts)[:-KEPT]:
                del self._parts[oldest]
        return mol


def _find_whole(part: Chem.Mol, mol: Chem.Mol) -> tuple[int, ...] | None:
    """Part and molecule -> where the molecule has the part, its ring systems as a whole."""
    for match in mol.GetSubstructMatches(part):
        bonds = (bond for i in match for bond in mol.GetAtomWithIdx(i).GetBonds())
        if all({b.GetBeginAtomIdx(), b.GetEndAtomIdx()} <= {*match} for b in bonds if b.IsInRing()):
            return tuple(match)
    return None


def _find_rings(mol: Chem.Mol) -> list[Chem.Mol]:
    """Molecule with coordinates -> its scaffold and its ring systems, as they lie."""
    scaffold = Chem.MurckoDecompose(mol)
    rings = Chem.RWMol(scaffold)
    rings.BeginBatchEdit()
    for bond in scaffold.GetBonds():
        if not bond.IsInRing():
            rings.RemoveBond(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx())
    rings.CommitBatchEdit()
    parts = Chem.GetMolFrags(rings, asMols=True, sanitizeFrags=False)
    return [part for part in (scaffold, *parts) if part.GetNumAtoms() > 2]
