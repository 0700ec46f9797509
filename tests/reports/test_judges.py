"""ChEMBL's checker tells molecules that one can make from absurd ones."""

import pytest

from molvae.reports.judges import find_known_to_chembl, has_judge

MADE = ["CC(=O)Oc1ccccc1C(=O)O", "CC(=O)Nc1ccc(O)cc1", "CN1CCC[C@H]1c1cccnc1"]
ABSURD = ["C1SSC2SSC12", "c1ccccc1C=C=C=CN(Cl)Br", "C1=CC2=C1C1=C2C=C1"]


def test_drugs_are_known_to_chembl_and_absurdities_are_not() -> None:
    if not has_judge():
        pytest.skip("needs the extra judge")
    assert find_known_to_chembl([*MADE, *ABSURD]) == [True] * 3 + [False] * 3
