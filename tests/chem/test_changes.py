"""Which atoms of a molecule did not come back."""

from rdkit import Chem

from molvae.chem.changes import find_lost


def test_what_is_lost_is_what_the_other_molecule_lacks() -> None:
    aspirin = "CC(=O)Oc1ccccc1C(=O)O"
    lost = find_lost(aspirin, "CC(=O)Oc1ccccc1")
    mol = Chem.MolFromSmiles(aspirin)
    assert sorted(mol.GetAtomWithIdx(i).GetSymbol() for i in lost) == ["C", "O", "O"]
    assert find_lost(aspirin, aspirin) == []


def test_an_invalid_string_has_lost_everything() -> None:
    assert find_lost("CCO", "C(C") == [0, 1, 2]
    assert find_lost("C(C", "CCO") == []
