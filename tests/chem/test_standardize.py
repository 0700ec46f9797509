"""Parents: what a chemist means by a molecule that is written as a salt, an ion or a label."""

import pytest

from molvae.base.errors import MolvaeError
from molvae.chem.molecules import canonicalize
from molvae.chem.standardize import Standard, standardize


@pytest.mark.parametrize(
    ("smiles", "parent", "changes"),
    [
        ("OCC", "CCO", ()),
        ("CC(=O)[O-].[Na+]", "CC(=O)O", ("largest fragment", "neutralised")),
        ("C[C@H](N)C(=O)O.Cl", "C[C@H](N)C(=O)O", ("largest fragment",)),
        ("[NH3+]CC(=O)[O-]", "NCC(=O)O", ("neutralised",)),
        ("C[N+](C)(C)CCO", "C[N+](C)(C)CCO", ()),  # no proton to take away
        ("O=[N+]([O-])c1ccccc1", "O=[N+]([O-])c1ccccc1", ()),
        ("[2H]C([2H])([2H])O", "CO", ("isotopes dropped",)),
        ("[11CH3:2][OH:1]", "CO", ("isotopes dropped", "atom maps dropped")),
        ("C/C=C/[18F]", "C/C=C/F", ("isotopes dropped",)),
        ("F[P-](F)(F)(F)(F)F", "F[P-](F)(F)(F)(F)F", ()),  # no proton makes it a molecule
        ("C[N+]([2H])(C)C", "CN(C)C", ("isotopes dropped", "neutralised")),
    ],
)
def test_a_parent_and_what_was_done(smiles: str, parent: str, changes: tuple[str, ...]) -> None:
    assert standardize(smiles) == (parent, changes)
    assert standardize(parent) == (parent, ())


@pytest.mark.parametrize("smiles", ["", "C1CC", "[H][H]", "*C", "CCO\0"])
def test_what_is_no_molecule_has_no_parent(smiles: str) -> None:
    with pytest.raises(MolvaeError, match=r"is empty|not a valid|no heavy atom|dummy atom"):
        standardize(smiles)


@pytest.mark.parametrize(
    "smiles",
    [
        "F[P-](F)(F)(F)(F)F",
        "F[B-](F)(F)F",
        "F[Sb-](F)(F)(F)(F)F",
        "Cl[Al-](Cl)(Cl)Cl",
        "C[n+]1ccccc1.F[P-](F)(F)(F)(F)F",
        "[O-]Cl(=O)(=O)=O",
        "[C-]#[O+]",
        "C#[C-]",
        "[O-2]",
        "[Fe+2].[Cl-].[Cl-]",
        "c1cc[se]c1",
        "[NH2-]",
        "[Na]",
        "C[N+](C)(C)[O-]",
        "CN=[N+]=[N-]",
        "[2H][2H]",
        "N->B",
    ],
)
def test_an_odd_ion_has_a_parent_that_is_its_own_or_none(smiles: str) -> None:
    try:
        parent = standardize(smiles).smiles
    except MolvaeError:
        return
    assert standardize(parent) == Standard(parent, ())
    assert canonicalize(parent) == parent
