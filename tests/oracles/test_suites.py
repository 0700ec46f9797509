"""Every task of GuacaMol and PMO, against values that the reference implementations returned."""

import json
import math
from pathlib import Path

import pytest
from rdkit import Chem

from molvae.base.errors import MolvaeError
from molvae.oracles.given import as_objective
from molvae.oracles.objectives import objectives
from molvae.oracles.suites import SUITES

# GuacaMol's tasks by the package guacamol 0.5.5; QED and the C7H8N2O2 isomers by PMO's definitions;
# the classifiers by the models that Therapeutics Data Commons distributes
GOLDEN = json.loads((Path(__file__).parent / "suites_golden.json").read_text())
CLASSIFIERS = ("drd2", "gsk3b", "jnk3")
TASKS = [(suite, name) for suite in SUITES for name in SUITES[suite]]


@pytest.mark.parametrize(("suite", "name"), TASKS)
def test_a_task_has_the_reference_values(suite: str, name: str) -> None:
    score = as_objective(f"{suite}:{name}").function
    found = [score(Chem.MolFromSmiles(smiles)) for smiles in GOLDEN["smiles"]]
    assert found == pytest.approx(GOLDEN[name], abs=1e-4 if name in CLASSIFIERS else 1e-6)


def test_the_suites_are_those_that_were_published() -> None:
    assert {name: len(tasks) for name, tasks in SUITES.items()} == {"guacamol": 20, "pmo": 23}
    assert all(f"{suite}:{name}" in objectives for suite, name in TASKS)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifiers_give_probabilities_to_any_molecule(name: str) -> None:
    score = SUITES["pmo"][name]
    for smiles in ("C", "[Na+].[Cl-]", "c1ccccc1" * 20, "C" * 300):
        assert 0 <= score(Chem.MolFromSmiles(smiles)) <= 1, smiles


def test_what_is_sought_scores_best() -> None:
    for name, smiles in {
        "celecoxib_rediscovery": "Cc1ccc(cc1)-c1cc(nn1-c1ccc(cc1)S(N)(=O)=O)C(F)(F)F",
        "isomers_c7h8n2o2": "Cc1ccc([N+](=O)[O-])cc1N",
        "albuterol_similarity": "CC(C)(C)NCC(O)c1ccc(O)c(CO)c1",
    }.items():
        assert SUITES["pmo"][name](Chem.MolFromSmiles(smiles)) == pytest.approx(1), name


def test_a_mean_of_scores_is_zero_where_one_is_zero() -> None:
    no_biphenyl = Chem.MolFromSmiles("NC(CC(=O)N1CCn2c(nnc2C(F)(F)F)C1)Cc1cc(F)c(F)cc1F")
    assert SUITES["pmo"]["valsartan_smarts"](no_biphenyl) == 0
    assert math.isclose(SUITES["pmo"]["deco_hop"](Chem.MolFromSmiles("C")), 0.5)


def test_an_unknown_task_names_the_nearest() -> None:
    with pytest.raises(MolvaeError, match="did you mean 'pmo:drd2'"):
        as_objective("pmo:drd1")
