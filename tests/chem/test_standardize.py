"""Parents: what a chemist means by a molecule that is written as a salt, an ion or a label."""

import pytest

from molvae.base.errors import MolvaeError
from molvae.chem.standardize import standardize


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
    ],
)
def test_a_parent_and_what_was_done(smiles: str, parent: str, changes: tuple[str, ...]) -> None:
    assert standardize(smiles) == (parent, changes)
    assert standardize(parent) == (parent, ())


@pytest.mark.parametrize("smiles", ["", "C1CC", "[H][H]", "*C"])
def test_what_is_no_molecule_has_no_parent(smiles: str) -> None:
    with pytest.raises(MolvaeError, match=r"is empty|not a valid|no heavy atom|dummy atom"):
        standardize(smiles)
