"""SAS with a shared table is SAS."""

from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Contrib.SA_Score import sascorer

from molvae.chem.fragment_scores import FragmentScores, prepare_sas
from molvae.chem.properties import sas

ODD = ["[Xe]", "C", "[U]C#[Si]", "B1OB2OB1OB(O2)C", "C1CC2(C1)CCC1(CC2)CC1", "[2H]C([2H])Cl"]


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MOLVAE_CACHE", str(tmp_path))
    prepare_sas.cache_clear()
    monkeypatch.setattr(sascorer, "_fscores", None)
    return tmp_path


def test_sas_is_that_of_rdkit(zinc: list[str]) -> None:
    mols = [Chem.MolFromSmiles(s) for s in (*zinc[:300], *ODD)]
    own = [sas(mol) for mol in mols]
    sascorer.readFragmentScores()
    assert own == [sascorer.calculateScore(mol) for mol in mols]
    prepare_sas.cache_clear()


def test_a_damaged_table_is_read_anew(own_cache: Path) -> None:
    mol = Chem.MolFromSmiles("CC(=O)Oc1ccccc1C(=O)O")
    value = sas(mol)
    (path,) = own_cache.glob("fragment-scores-*.npy")
    whole = path.read_bytes()
    for damaged in (b"", whole[:5000]):
        path.write_bytes(damaged)
        prepare_sas.cache_clear()
        assert sas(mol) == value
        assert path.read_bytes() == whole
    assert isinstance(sascorer._fscores, FragmentScores)


def test_a_fragment_is_found_at_either_end_and_not_beyond() -> None:
    scores = FragmentScores(np.array([[2.0, 5.0, 9.0], [0.2, 0.5, 0.9]]))
    assert [scores.get(i, -4) for i in (1, 2, 5, 6, 9, 10)] == [-4, 0.2, 0.5, -4, 0.9, -4]
