"""Fragments with attachment points, and the SMILES that end at one of them.

A decoder that writes from left to right can only continue what is written. To continue benzamide at
the para position, its SMILES has to end there. `NC(=O)c1ccc(*)cc1` does not, but written from
another atom on, `c1cc(C(N)=O)ccc1*` does, and what is before the `*` can be given to the decoder.
There are many such SMILES, one for each first atom and order of branches.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, NamedTuple

from rdkit import Chem
from rdkit.Chem import BondType

from molvae.base.errors import MolvaeError
from molvae.chem.molecules import MAX_SMILES_LENGTH, silence_rdkit

POINT = "point"  # property of a dummy atom: which attachment point it is, 0 for the first
TRIES = 200  # random SMILES that are written to find those that end at an attachment point
_HYDROGENS = {BondType.SINGLE: 1, BondType.DOUBLE: 2, BondType.TRIPLE: 3}
_NOT_TO_KEEP: Any = Chem.RemoveHsParameters()  # RDKit's type stubs are wrong about the setters
_NOT_TO_KEEP.removeDefiningBondStereo = True


class Opening(NamedTuple):
    """An attachment point of a written molecule: a place for a bond to a further atom."""

    point: int
    atom: int
    """Index in the order in which the atoms are written."""
    bond: BondType


class Beginning(NamedTuple):
    """A fragment as the beginning of a SMILES string, up to one of its attachment points."""

    text: str
    later: tuple[Opening, ...]
    """The attachment points that are still free."""


@dataclass(frozen=True)
class Fragment:
    """What a molecule has to contain.

    Attributes:
        mol: its atoms, with a dummy atom at each attachment point.
        points: number of attachment points that were given; 0 if any atom may be one.
        patterns: what a molecule that contains it has to match.
    """

    mol: Chem.Mol
    points: int
    patterns: tuple[Chem.Mol, ...]

    def find(self, mol: Chem.Mol) -> tuple[int, ...] | None:
        """Molecule -> its atoms that are the fragment, None if it does not contain it.

        Where attachment points were given, a molecule that has further atoms elsewhere does not
        contain the fragment.
        """
        found = [mol.GetSubstructMatch(each, useChirality=True) for each in self.patterns]
        if not all(found):
            return None
        dummies = {a.GetIdx() for a in self.mol.GetAtoms() if a.GetAtomicNum() == 0}
        return tuple(atom for i, atom in enumerate(found[0]) if i not in dummies)

    def open(self) -> list[Chem.Mol]:
        """Return the molecules to begin with, with a dummy atom at each attachment point.

        There is one if attachment points were given. If not, there is one for each atom, of those
        that are equivalent, that can take a further bond.
        """
        if self.points:
            return [self.mol]
        ranks = Chem.CanonicalRankAtoms(self.mol, breakTies=False)
        atoms = {rank: i for i, rank in reversed(list(enumerate(ranks)))}
        opened = (open_points(self.mol, [Opening(0, i, BondType.SINGLE)]) for i in atoms.values())
        return [mol for mol in opened if mol is not None]


def read_fragment(text: str) -> Fragment:
    """SMILES or SMARTS -> the fragment.

    Attachment points are dummy atoms with one bond, `*` or `[*:1]`; their numbers are the order in
    which they are decorated. A SMARTS has to say which element each of its atoms is.

    >>> mol = Chem.MolFromSmiles("Cc1ccccc1")
    >>> read_fragment("c1ccccc1*").find(mol), read_fragment("*c1ccc(*)cc1").find(mol)
    ((2, 3, 4, 5, 6, 1), None)

    Raises:
        MolvaeError: it is no fragment that can be written as a SMILES.
    """
    shown = repr(text if len(text) <= 80 else f"{text[:60]}...")
    if not text.strip() or not text.isascii() or len(text) > MAX_SMILES_LENGTH:
        raise MolvaeError(f"{shown} is neither a SMILES nor a SMARTS")
    with silence_rdkit():
        mol, smarts = Chem.MolFromSmiles(text), None
        if mol is None:
            smarts = Chem.MolFromSmarts(text)
            if smarts is None:
                raise MolvaeError(f"{shown} is neither a SMILES nor a SMARTS")
            mol = _write_out(smarts)
    if mol is None or (smarts is not None and not _query(mol, False).HasSubstructMatch(smarts)):
        raise MolvaeError(
            f"{shown} is a pattern that no single fragment stands for: give one as SMILES, with * "
            "at its attachment points"
        )
    if len(Chem.GetMolFrags(mol)) > 1:
        raise MolvaeError(f"{shown} consists of several fragments: give one")
    dummies = [atom for atom in mol.GetAtoms() if atom.GetAtomicNum() == 0]
    if any(a.GetDegree() != 1 or a.GetNeighbors()[0].GetAtomicNum() == 0 for a in dummies):
        raise MolvaeError(f"{shown} has an attachment point (*) that is not at the end of a bond")
    dummies.sort(key=lambda a: (a.GetAtomMapNum() or a.GetIsotope(), a.GetIdx()))
    for point, atom in enumerate(dummies):
        atom.SetIntProp(POINT, point)
    for atom in mol.GetAtoms():
        atom.SetAtomMapNum(0)
        if atom.GetAtomicNum() == 0:
            atom.SetIsotope(0)
    patterns = [_query(mol, strict=bool(dummies))]
    if smarts is not None:
        patterns.append(smarts)
    return Fragment(mol, len(dummies), tuple(patterns))


def _write_out(smarts: Chem.Mol) -> Chem.Mol | None:
    """SMARTS -> the molecule of its elements and bonds, None if it leaves them open."""
    mol = Chem.RWMol()
    for atom in smarts.GetAtoms():
        if atom.GetAtomicNum() == 0 and atom.DescribeQuery().split()[0] != "AtomNull":
            return None
        new = Chem.Atom(atom.GetAtomicNum())
        new.SetAtomMapNum(atom.GetAtomMapNum())
        new.SetIsAromatic(any(b.GetIsAromatic() for b in atom.GetBonds()))
        mol.AddAtom(new)
    for bond in smarts.GetBonds():
        mol.AddBond(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx(), bond.GetBondType())
    try:
        Chem.SanitizeMol(mol)
    except (Chem.MolSanitizeException, ValueError):
        return None
    return mol.GetMol()


def _query(mol: Chem.Mol, strict: bool) -> Chem.Mol:
    """Molecule -> a query whose dummy atoms are any atom; if strict, with no further bonds."""
    how: Any = Chem.AdjustQueryParameters.NoAdjustments()
    how.makeDummiesQueries = True
    how.adjustDegree = strict
    how.adjustDegreeFlags = Chem.ADJUST_IGNOREDUMMIES
    return Chem.AdjustQueryProperties(mol, how)


def write_beginnings(mol: Chem.Mol, point: int, number: int) -> list[Beginning]:
    """Molecule with dummy atoms -> up to `number` SMILES of it that end at one of its points.

    The other attachment points are filled with hydrogen. Canonical SMILES with different first
    atoms come first, then ones of atoms in random order, from a fixed seed. Of some ring systems
    none of these ends at the point; then branches and ring bonds are taken in random order, too.

    Args:
        mol: as from `Fragment.open` or `open_points`.
        point: the attachment point.
        number: of SMILES, at most.
    """
    closed = _close(mol, point)
    size = closed.GetNumAtoms()
    rng = random.Random(0)
    found: dict[str, Beginning] = {}
    for i in range(size + TRIES):
        if len(found) == number:
            break
        if i < size:
            written = Chem.Mol(closed)
            text = Chem.MolToSmiles(written, rootedAtAtom=i)
        else:
            written = Chem.RenumberAtoms(closed, rng.sample(range(size), size))
            text = Chem.MolToSmiles(written, canonical=False)
        if not text.endswith("*") or text in found:
            continue
        order = list(written.GetPropsAsDict(True, True)["_smilesAtomOutputOrder"])
        later = [
            Opening(int(name.removeprefix(POINT)), order.index(atom.GetIdx()), bond)
            for atom in written.GetAtoms()
            for name, bond in _openings(atom)
        ]
        found[text] = Beginning(text[:-1], tuple(sorted(later)))
    return list(found.values()) or _write_in_any_order(closed, number)


def _write_in_any_order(closed: Chem.Mol, number: int) -> list[Beginning]:
    """Molecule with one dummy atom -> up to `number` SMILES that end at it, from a fixed seed."""
    found: dict[str, Beginning] = {}
    (dummy,) = (atom.GetIdx() for atom in closed.GetAtoms() if atom.GetAtomicNum() == 0)
    for text in Chem.MolToRandomSmilesVect(closed, TRIES, randomSeed=1):
        if len(found) == number:
            break
        if not text.endswith("*") or text in found:
            continue
        written = Chem.MolFromSmiles(text)
        last = written.GetNumAtoms() - 1
        places = written.GetSubstructMatches(closed, uniquify=False, useChirality=True)
        place = next((p for p in places if p[dummy] == last), None)
        if place is not None:
            later = [
                Opening(int(name.removeprefix(POINT)), place[atom.GetIdx()], bond)
                for atom in closed.GetAtoms()
                for name, bond in _openings(atom)
            ]
            found[text] = Beginning(text[:-1], tuple(sorted(later)))
    return list(found.values())


def _close(mol: Chem.Mol, point: int) -> Chem.Mol:
    """Molecule with dummy atoms -> hydrogen in place of those that are not at `point`.

    The atoms beside them keep the points as properties.
    """
    edit = Chem.RWMol(mol)
    for atom in edit.GetAtoms():
        if atom.GetAtomicNum() == 0 and atom.GetIntProp(POINT) != point:
            (bond,) = atom.GetBonds()
            (anchor,) = atom.GetNeighbors()
            name = f"{POINT}{atom.GetIntProp(POINT)}"
            anchor.SetIntProp(name, _HYDROGENS.get(bond.GetBondType(), 1))
            atom.SetAtomicNum(1)
    with silence_rdkit():
        return Chem.RemoveHs(edit.GetMol(), _NOT_TO_KEEP)


def _openings(atom: Chem.Atom) -> list[tuple[str, BondType]]:
    bonds = {count: bond for bond, count in _HYDROGENS.items()}
    names = [n for n in atom.GetPropNames() if n.startswith(POINT) and n != POINT]
    return [(name, bonds[atom.GetIntProp(name)]) for name in names]


def open_points(mol: Chem.Mol, openings: list[Opening] | tuple[Opening, ...]) -> Chem.Mol | None:
    """Molecule and attachment points -> the molecule with a dummy atom at each.

    A dummy atom takes the place of a hydrogen atom, or of as many as its bond needs. None is
    returned if an atom does not have them.
    """
    edit = Chem.RWMol(Chem.AddHs(mol))
    spare: list[int] = []
    for point, at, bond in openings:
        free = [a.GetIdx() for a in edit.GetAtomWithIdx(at).GetNeighbors() if a.GetAtomicNum() == 1]
        free = [a for a in free if a not in spare]
        if len(free) < _HYDROGENS[bond]:
            return None
        dummy, *rest = free[: _HYDROGENS[bond]]
        edit.GetAtomWithIdx(dummy).SetAtomicNum(0)
        edit.GetAtomWithIdx(dummy).SetIntProp(POINT, point)
        edit.GetBondBetweenAtoms(at, dummy).SetBondType(bond)
        spare += rest
    for atom in sorted(spare, reverse=True):
        edit.RemoveAtom(atom)
    with silence_rdkit():
        return Chem.RemoveHs(edit.GetMol(), _NOT_TO_KEEP)
