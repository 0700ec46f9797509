import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rdkit import Chem

from molvae.base.errors import MolvaeError
from molvae.loop.config import OptimizeConfig
from molvae.loop.optimization import optimize
from molvae.model.molvae import MolVAE
from molvae.oracles.constraints import parse_constraint
from molvae.oracles.objectives import objectives
from molvae.oracles.oracle import Oracle

ASPIRIN = "CC(=O)Oc1ccccc1C(=O)O"


@pytest.mark.parametrize(
    ("text", "met"),
    [
        ("SAS<4", True),
        ("SAS < 1.5", False),
        ("heavy_atoms<=13", True),
        ("heavy_atoms<13", False),
        ("heavy_atoms>=13", True),
        ("heavy_atoms>13", False),
        ("MolWt<180.2", True),
        ("NumHDonors>=2", False),
        ("logP>-1e1", True),
        ("pmo:qed>0.5", True),
        (f"similarity({ASPIRIN})>=1", True),
        ("similarity(CCO)>=0.4", False),
        ("similarity(OC(=O)c1ccccc1O)>=0.4", True),
        ("has:c1ccccc1", True),
        ("has:[#7]", False),
        ("lacks:[#7]", True),
        ("lacks:C(=O)O", False),
        ("alerts:PAINS", True),
        ("alerts:BRENK", False),  # a phenol ester
    ],
)
def test_aspirin_meets_or_does_not(text: str, met: bool) -> None:
    assert parse_constraint(text).met(Chem.MolFromSmiles(ASPIRIN)) is met


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SAS", "is not valid; examples:"),
        ("SAS<", "is not valid"),
        ("SAS<many", "is not valid"),
        ("SAS~4", "is not valid"),
        ("", "is not valid"),
        ("weight<500", "unknown objective 'weight'"),
        ("has:C1CC", "'C1CC' is not a valid SMARTS pattern"),
        ("lacks:", "'' is not a valid SMARTS pattern"),
        ("alerts:PAIN", "unknown catalogue 'PAIN'; known: none, PAINS_A"),
        ("similarity(C1CC)>=0.4", "'C1CC' is not a valid SMILES"),
    ],
)
def test_what_is_not_understood_is_told(text: str, message: str) -> None:
    with pytest.raises(MolvaeError) as error:
        parse_constraint(text)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@given(st.text(max_size=30))
def test_any_text_is_a_constraint_or_an_error(text: str) -> None:
    with contextlib.suppress(MolvaeError):
        assert parse_constraint(text).met(Chem.MolFromSmiles("CCO")) in (True, False)


@pytest.mark.parametrize("strategy", ["ei", "neighbourhood", "ga"])
def test_what_is_evaluated_meets_all_of_them(strategy: str, zinc: list[str]) -> None:
    texts = ["SAS<3", "has:c1ccccc1", "lacks:[F,Cl,Br,I]", "MolWt<=350"]
    oracle = Oracle("logP", 60, heavy_atoms=(8, 38), constraints=texts)
    config = OptimizeConfig(strategy, batch=10, initial=30)
    records = optimize(MolVAE.load("zinc"), oracle, start=zinc, config=config).records
    assert len(records) == 60
    for record in records:
        mol = Chem.MolFromSmiles(record.smiles)
        assert objectives["SAS"].function(mol) < 3
        assert mol.HasSubstructMatch(Chem.MolFromSmarts("c1ccccc1"))
        assert not mol.HasSubstructMatch(Chem.MolFromSmarts("[F,Cl,Br,I]"))
    assert oracle.admissible("CCCCCCCCCC") is None
