"""Goals: sums and desirabilities of real molecules, and what is told about a wrong file."""

import json
from pathlib import Path

import pytest
from rdkit import Chem

from molvae.base.errors import MolvaeError
from molvae.chem.properties import logp, qed, sas
from molvae.oracles.evaluation import Effort
from molvae.oracles.given import as_objective
from molvae.oracles.goals import Goals
from molvae.oracles.objectives import drug
from molvae.oracles.oracle import Oracle

ASPIRIN = Chem.MolFromSmiles("CC(=O)Oc1ccccc1C(=O)O")  # QED 0.550, SAS 1.58, logP 1.31
ETHANOL = Chem.MolFromSmiles("CCO")


def goals(tmp_path: Path, text: object) -> Goals:
    path = tmp_path / "goals.json"
    path.write_text(text if isinstance(text, str) else json.dumps(text))
    found = as_objective(str(path)).function
    assert isinstance(found, Goals)
    return found


def test_a_sum_is_the_weighted_sum(tmp_path: Path) -> None:
    assert goals(tmp_path, {"sum": {"QED": 5, "SAS": -1}})(ASPIRIN) == drug(ASPIRIN)
    assert goals(tmp_path, {"sum": {"MolWt": 2}})(ETHANOL) == pytest.approx(2 * 46.069)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"logP": {"worst": 0, "best": 2}}, logp(ASPIRIN) / 2),
        ({"logP": {"worst": 2, "best": 0}}, 1 - logp(ASPIRIN) / 2),
        ({"logP": {"worst": 0, "best": 1}}, 1.0),
        ({"logP": {"worst": 2, "best": 3}}, 0.0),
        ({"logP": {"between": [1, 2], "margin": 1}}, 1.0),
        ({"logP": {"between": [2, 3], "margin": 1}}, logp(ASPIRIN) - 1),
        ({"logP": {"between": [0, 1], "margin": 1}}, 2 - logp(ASPIRIN)),
        ({"similarity(OC(=O)c1ccccc1OC(C)=O)": {"worst": 0, "best": 1}}, 1.0),
    ],
)
def test_a_desirability_is_linear_between_its_ends(
    tmp_path: Path, entry: dict[str, object], expected: float
) -> None:
    assert goals(tmp_path, {"desirability": entry})(ASPIRIN) == pytest.approx(expected)


def test_desirabilities_are_joined_by_the_weighted_geometric_mean(tmp_path: Path) -> None:
    entries = {"QED": {"worst": 0, "best": 1, "weight": 3}, "SAS": {"worst": 10, "best": 0}}
    found = goals(tmp_path, {"desirability": entries})(ASPIRIN)
    assert found == pytest.approx((qed(ASPIRIN) ** 3 * (1 - sas(ASPIRIN) / 10)) ** 0.25)
    entries["logP"] = {"worst": 5, "best": 6}  # what is worthless in one thing is worthless
    assert goals(tmp_path, {"desirability": entries})(ASPIRIN) == 0.0


def test_a_file_is_an_objective_that_other_processes_understand(tmp_path: Path) -> None:
    goals(tmp_path, {"sum": {"QED": 5, "SAS": -1}})
    oracle = Oracle(str(tmp_path / "goals.json"), 3, effort=Effort(seconds=60))
    assert oracle(["CCO"])[0] == drug(ETHANOL)
    before = oracle.labels
    goals(tmp_path, {"sum": {"QED": 4}})
    assert as_objective(str(tmp_path / "goals.json")).label != before[0]  # a run would notice


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "goals.json: Expecting"),
        ([], '{"sum": {...}}'),
        ({}, '{"sum": {...}}'),
        ({"mean": {"QED": 1}}, "'mean' is not"),
        ({"sum": {}}, "has no quantities"),
        ({"sum": {"QED": "much"}}, "'QED' needs numbers, not 'much'"),
        ({"sum": {"QDE": 1}}, "unknown objective 'QDE': did you mean 'QED'"),
        ({"desirability": {"QED": 1}}, "'QED' needs {"),
        ({"desirability": {"QED": {"worst": 1}}}, "'QED' needs {"),
        ({"desirability": {"QED": {"worst": 1, "best": 1}}}, "differ"),
        ({"desirability": {"QED": {"worst": 0, "best": 1, "weight": 0}}}, "weight above 0"),
        ({"desirability": {"QED": {"between": [1], "margin": 1}}}, "[low, high]"),
        ({"desirability": {"QED": {"between": [2, 1], "margin": 1}}}, "in increasing order"),
        ({"desirability": {"QED": {"between": [1, 2], "margin": 0}}}, "margin above 0"),
    ],
)
def test_a_wrong_file_is_told(tmp_path: Path, text: object, message: str) -> None:
    with pytest.raises(MolvaeError) as error:
        goals(tmp_path, text)
    assert message in str(error.value)
    assert "goals.json" in str(error.value)


def test_a_missing_file_is_told() -> None:
    with pytest.raises(MolvaeError, match=r"nowhere\.json"):
        as_objective("nowhere.json")
