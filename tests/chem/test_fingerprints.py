import numpy as np
import pytest
from rdkit import Chem

from molvae.base.errors import MolvaeError
from molvae.chem.fingerprints import ELEMENTS, MoleculeFeatures, tanimoto_similarities
from molvae.chem.molecules import parse


def test_features_name_the_molecule_that_has_none() -> None:
    features = MoleculeFeatures()
    assert len(features(["CCO", "c1ccccc1"])) == 2
    with pytest.raises(MolvaeError, match=r"'C1CC' is not a valid SMILES"):
        features(["CCO", "C1CC"])
    assert len(features([])) == 0


def test_similarity_is_one_for_itself_and_nan_for_nonsense() -> None:
    same, other, nothing = tanimoto_similarities(["OCC", "CCN", "C1CC"], "CCO")
    assert same == 1.0
    assert 0 < other < 1
    assert nothing != nothing


def diol(carbons: int) -> str:
    return "O" + "C" * carbons + "O"


def test_fragments_reach_two_bonds_far() -> None:
    features = MoleculeFeatures()
    # from 8 on, more of the same fragment add no bit; a third bond would tell these chains apart
    twelve, longer, fewer = features([diol(12), diol(14), diol(10)])["parts"]
    assert (twelve == longer).all()
    assert (twelve != fewer).any()
    # two bonds tell the middle of C5 from that of C4, not from that of C6 or C7
    similar = tanimoto_similarities([diol(4), diol(6), diol(7)], diol(5))
    assert similar[0] < 1
    assert similar[1:] == [1, 1]


def test_features_count_fragments_and_similarity_does_not() -> None:
    features = MoleculeFeatures()
    few, more, many = features([diol(8), diol(9), diol(11)])["parts"]
    assert (few != many).any()
    bits = [np.unpackbits(found).sum() for found in (few, more, many)]
    assert bits[0] <= bits[1] <= bits[2]
    assert bits[0] < bits[2]
    assert tanimoto_similarities([diol(8), diol(11)], diol(9)) == [1, 1]


def test_features_of_the_latest_molecules_alone_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[str] = []

    def follow(smiles: str) -> Chem.Mol | None:
        parsed.append(smiles)
        return parse(smiles)

    monkeypatch.setattr("molvae.chem.fingerprints.KEPT", 2)
    monkeypatch.setattr("molvae.chem.fingerprints.parse_cached", follow)
    features = MoleculeFeatures()
    first = features(["CCO", "CCN", "CCO"])
    assert parsed == ["CCO", "CCN"]
    features(["CCO", "CCC"])  # in place of CCN
    assert (features(["CCO", "CCN"]) == first[:2]).all()
    assert parsed == ["CCO", "CCN", "CCC", "CCN"]


def test_features_have_the_atoms_of_each_element() -> None:
    numbers = MoleculeFeatures()(["OCCS(=O)(=O)N", "ClCC(Br)F", "C[N+](C)(C)C"])["numbers"]
    atoms = numbers[:, -len(ELEMENTS) :].astype(int)
    expected = [
        {"H": 7, "C": 2, "N": 1, "O": 3, "S": 1},
        {"H": 3, "C": 2, "F": 1, "Cl": 1, "Br": 1},
        {"H": 12, "C": 4, "N": 1},
    ]
    for found, counts in zip(atoms, expected, strict=True):
        assert dict(zip(ELEMENTS, found, strict=True)) == dict.fromkeys(ELEMENTS, 0) | counts
