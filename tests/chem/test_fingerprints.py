import pytest

from molvae.base.errors import MolvaeError
from molvae.chem.fingerprints import MoleculeFeatures, tanimoto_similarities


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
