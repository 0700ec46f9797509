import random

import pytest
from rdkit import Chem

from molvae.chem.prefixes import read_prefix


def test_a_beginning_of_a_molecule_has_no_fault_wherever_it_is_cut(zinc: list[str]) -> None:
    rng = random.Random(0)
    for smiles in [*zinc[:400], "C%12CCC%12", "CN(=O)=O", "[13CH3]C(C)(C)/C=C\\C", "C.[Cl-]"]:
        cut = rng.randint(1, len(smiles))
        for text in (smiles[:cut], smiles):
            read = read_prefix(text)
            assert read.fault is None, text
            assert text.startswith(read.whole)
        mol = Chem.MolFromSmiles(smiles, sanitize=False)
        assert read.atoms == mol.GetNumAtoms()
        assert read.whole == smiles


@pytest.mark.parametrize(
    ("text", "whole", "atoms"),
    [
        ("c1ccc(cc1)C(", "c1ccc(cc1)C(", 7),
        ("CC(=", "CC(=", 2),
        ("C1CC(C2", "C1CC(C2", 4),
        ("CN[C@", "CN", 2),
        ("[", "", 0),
        ("C%1", "C", 1),
        ("CCB", "CCB", 3),
    ],
)
def test_whole_atoms_are_counted(text: str, whole: str, atoms: int) -> None:
    assert read_prefix(text) == (whole, atoms, None)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "is empty"),
        ("  ", "has ' '"),
        ("CC Cl", "has ' '"),
        ("CÄ", "has 'Ä'"),
        ("CC*", "has '*'"),
        ("C]", "has ']'"),
        ("(", "does not begin with an atom"),
        ("=C", "not the beginning of a valid SMILES"),
        ("1CC", "not the beginning of a valid SMILES"),
        ("C()C", "not the beginning of a valid SMILES"),
        ("C11", "not the beginning of a valid SMILES"),
        ("C(C))", "closes a parenthesis"),
        ("CC(C)(C)(C)C", "too many bonds"),
        ("FC(F)(F)FC", "too many bonds"),
    ],
)
def test_what_no_smiles_begins_with_has_a_fault(text: str, fault: str) -> None:
    assert fault in (read_prefix(text).fault or "")
