import math
import re
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rdkit import Chem

from chains import Chains
from molvae.base.errors import MolvaeError, MolvaeWarning
from molvae.loop.ask_tell import Search
from molvae.oracles.given import as_objective
from molvae.oracles.history import History
from molvae.oracles.objectives import Objective, measured_objective, objectives
from molvae.oracles.oracle import GIVE_UP_AFTER, BudgetError, Oracle
from molvae.oracles.transport import pack_objectives, unpack_objectives

MOLECULES = ["CCO", "c1ccccc1", "CC(=O)O", "CCN", "C1CCCCC1"]


class Counting:
    """A user's objective that counts its calls, and fails where told to."""

    def __init__(self, answer=lambda mol: float(mol.GetNumAtoms())):
        self.calls, self.answer = 0, answer

    def __call__(self, mol):
        self.calls += 1
        return self.answer(mol)


def test_values_and_failures() -> None:
    oracle = Oracle("logP", budget=5)
    y = oracle(["CCO", "", "C1CC", "not a molecule", "c1ccccc1"])
    assert y.dtype == np.float64
    assert y[[0, 4]] == pytest.approx([-0.0014, 1.6866])
    assert np.isnan(y[1:4]).all()
    assert oracle.remaining == 3


def test_repeats_and_other_spellings_are_paid_once() -> None:
    count = Counting()
    oracle = Oracle(count, budget=2)
    y = oracle(["OCC", "CCO", "C(C)O"])
    assert (y == 3).all()
    oracle(["CCO"])
    assert (count.calls, oracle.remaining) == (1, 1)


def test_budget_is_checked_before_anything_is_evaluated() -> None:
    count = Counting()
    oracle = Oracle(count, budget=2)
    with pytest.raises(BudgetError, match="3 new molecules, but only 2 of 2"):
        oracle(["C", "CC", "CCC"])
    assert count.calls == 0
    oracle(["C", "CC", "C", "garbage"])
    with pytest.raises(BudgetError):
        oracle(["CCC"])
    assert oracle(["CC", "nonsense"])[0] == 2  # what is known stays free


@given(st.lists(st.sampled_from([*MOLECULES, "OCC", "", "x", "C("]), max_size=12))
@settings(max_examples=40)
def test_budget_counts_unique_canonical_molecules(smiles: list[str]) -> None:
    count = Counting()
    oracle = Oracle(count, budget=20)
    y = oracle(smiles)
    unique = {oracle.admissible(s) for s in smiles} - {None}
    assert y.shape == (len(smiles),)
    assert count.calls == len(unique) == 20 - oracle.remaining


@given(st.text(max_size=30))
@settings(max_examples=60)
def test_any_string_is_answered(text: str) -> None:
    assert Oracle("logP", budget=1)([text]).shape == (1,)


def test_a_molecule_whose_canonical_form_is_no_smiles_is_not_evaluated() -> None:
    assert math.isnan(Oracle("logP", budget=1)(["OC=c1=C\\nccn1"])[0])  # RDKit: OC=c1cnccn1


@pytest.mark.parametrize("returned", [math.nan, math.inf, None, "3.2", [1, 2], object()])
def test_what_is_no_number_is_a_failure(returned: object) -> None:
    oracle = Oracle(lambda mol: returned if mol.GetNumAtoms() > 2 else 1.0, budget=5)
    y = oracle(["C", "CCO"])
    assert y[0] == 1
    assert math.isnan(y[1])
    assert "returned" in oracle.history["CCO"].error


def test_numpy_and_torch_scalars_are_numbers() -> None:
    torch = pytest.importorskip("torch")
    for number in (np.float32(2), np.array(2), torch.tensor(2.0), 2, True + 1):
        assert Oracle(lambda mol, n=number: n, budget=1)(["C"])[0] == 2


def test_a_failed_molecule_is_kept_with_its_error_and_not_paid_twice() -> None:
    def fails(mol):
        if mol.GetNumAtoms() > 2:
            raise RuntimeError("no licence")
        return 1.0

    count = Counting(fails)
    oracle = Oracle(count, budget=5)
    oracle(["C", "CCO"])
    assert math.isnan(oracle(["CCO"])[0])
    assert (count.calls, oracle.remaining) == (2, 3)
    assert oracle.history["CCO"].error == "RuntimeError: no licence"


def test_an_objective_that_always_fails_stops_the_run_and_quotes_itself() -> None:
    def fails(mol):
        raise RuntimeError("no licence")

    count = Counting(fails)
    oracle = Oracle(count, budget=100)
    with pytest.raises(MolvaeError, match="RuntimeError: no licence"):
        oracle(["C" * (i + 1) for i in range(50)])
    assert count.calls == len(oracle.history) == GIVE_UP_AFTER


def test_ctrl_c_goes_through_and_loses_nothing(tmp_path) -> None:
    def interrupted(mol):
        if mol.GetNumAtoms() == 3:
            raise KeyboardInterrupt
        return 1.0

    with History(tmp_path / "h.sqlite") as history, pytest.raises(KeyboardInterrupt):
        Oracle(interrupted, 5, history)(["C", "CC", "CCC", "CCCC"])
    with History(tmp_path / "h.sqlite") as history:
        assert [record.smiles for record in history.records()] == ["C", "CC"]


def test_a_minimised_property_changes_its_sign_here() -> None:
    oracle = Oracle("SAS", budget=1)
    assert oracle(["CCO"])[0] < 0
    assert oracle(["CCO"])[0] == oracle.history["CCO"].y


@pytest.mark.parametrize("passed", ["CCO", [None], ["CCO", math.nan], [Chem.MolFromSmiles("CCO")]])
def test_what_is_no_list_of_smiles_is_refused_before_anything_is_paid(passed: object) -> None:
    oracle = Oracle("logP", budget=5)
    with pytest.raises(MolvaeError, match=r"pass a list|is not a text") as error:
        oracle(passed)
    assert "\n" not in str(error.value)
    assert oracle.remaining == 5
    for what in ("start", "leads"):
        with pytest.raises(MolvaeError, match=f"{what}: .*(pass a list|is not a text)"):
            Search(Chains(), oracle, **{what: passed})


def test_equal_names_are_numbered_and_those_of_columns_too() -> None:
    def seconds(mol: Chem.Mol) -> float:
        return 1.0

    oracle = Oracle([lambda mol: 1.0, lambda mol: 2.0, "SAS", seconds, "SAS"], 5)
    assert oracle.labels == ["<lambda> 1", "<lambda> 2", "-SAS 1", "seconds 1", "-SAS 2"]
    assert Oracle([seconds], 5).labels == ["seconds 1"]
    assert Oracle(["SAS", "logP"], 5).labels == ["-SAS", "logP"]
    sent = unpack_objectives(pack_objectives(oracle.objectives))
    assert [objective.name for objective in sent] == [o.name for o in oracle.objectives]


@pytest.mark.parametrize("value", [1.1e30, -1e155, sys.float_info.max, 10**400])
def test_a_magnitude_that_no_surrogate_bears_is_a_failure(value: float) -> None:
    oracle = Oracle(lambda mol: value, budget=5)
    assert math.isnan(oracle(["CCO"])[0])
    assert re.search(r"beyond 1e\+30|too large", oracle.history["CCO"].error)
    oracle.tell("CCN", float(value) if value < 1e300 else sys.float_info.max)
    assert math.isnan(oracle.history["CCN"].y)
    assert Oracle(lambda mol: -1e30, budget=5)(["CCO"]) == -1e30


@pytest.mark.parametrize("constraint", ["pmo:jnk3>0.5", "my_assay<3"])
def test_a_constraint_does_not_call_what_is_paid_for(
    constraint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = Counting()
    monkeypatch.setitem(objectives._entries, "my_assay", Objective("my_assay", count))
    with pytest.raises(MolvaeError, match="would not be counted"):
        Oracle(["pmo:jnk3", "my_assay"], budget=5, constraints=[constraint])
    with pytest.warns(MolvaeWarning, match="'my_assay<3' runs your code .* outside the budget"):
        Oracle("QED", budget=5, constraints=["my_assay<3"])
    assert count.calls == 0
    # properties of a molecule and tasks that are not searched for cost nothing
    Oracle("QED", budget=5, constraints=["QED>0.3", "pmo:jnk3>0.5", "MolWt<500"])


def test_molecules_out_of_size_are_free() -> None:
    oracle = Oracle("logP", budget=3, heavy_atoms=(2, 3))
    y = oracle(["C", "CC", "CCO", "CCCC"])
    assert np.isnan(y[[0, 3]]).all()
    assert [record.smiles for record in oracle.history.records()] == ["CC", "CCO"]


def test_wrong_arguments_are_told() -> None:
    with pytest.raises(MolvaeError, match="at least 1"):
        Oracle("logP", budget=0)
    with pytest.raises(MolvaeError, match="between 9 and 3"):
        Oracle("logP", budget=1, heavy_atoms=(9, 3))
    with pytest.raises(MolvaeError, match="unknown objective"):
        Oracle("logq", budget=1)
    with pytest.raises(MolvaeError, match="at least one objective"):
        Oracle([], budget=1)
    with pytest.raises(MolvaeError, match="constraints: pass a list, not the text 'SAS<4'"):
        Oracle("logP", budget=1, constraints="SAS<4")


@pytest.mark.parametrize("name", [name for name, one in objectives.items() if one.is_ours])
def test_every_objective_is_finite_on_druglike_molecules(name: str) -> None:
    smiles = [
        "CC(=O)Oc1ccccc1C(=O)O",
        "Cn1cnc2c1c(=O)n(C)c(=O)n2C",
        "CC(C)Cc1ccc(C(C)C(=O)O)cc1",
        "CN1CCC[C@H]1c1cccnc1",
        "O=C(O)c1ccccc1O",
    ]
    oracle = Oracle(name, budget=len(smiles))
    assert np.isfinite(oracle(smiles)).all()
    assert math.isnan(oracle(["C1CC"])[0])


def test_another_run_of_the_same_file_pays_for_no_molecule_again_but_counts_it(tmp_path) -> None:
    calls = tmp_path / "calls"
    calls.touch()
    module = tmp_path / "costly_lab.py"
    module.write_text(
        f"def assay(mol):\n    with open({str(calls)!r}, 'a') as file:\n"
        "        file.write('x')\n    return -float(mol.GetNumAtoms())\n"
    )
    sys.path.insert(0, str(tmp_path))
    try:
        with History(tmp_path / "shared.sqlite", "one") as history:
            one = Oracle("costly_lab:assay", 3, history)(["CCO", "CCCO"])
        with History(tmp_path / "shared.sqlite", "two") as history:
            oracle = Oracle("costly_lab:assay", 3, history)
            two = oracle(["OCC", "CCCO", "CCCCO"])
            assert two[:2].tolist() == one.tolist() == [-3.0, -4.0]
            assert oracle.remaining == 0
            assert len(calls.read_text()) == 3
        module.write_text(module.read_text() + "\n# another version\n")
        with History(tmp_path / "shared.sqlite", "three") as history:
            Oracle("costly_lab:assay", 3, history)(["CCO"])
            assert len(calls.read_text()) == 4
    finally:
        sys.path.remove(str(tmp_path))


def test_scores_of_a_minimised_property_keep_their_sign(tmp_path) -> None:
    values = []
    for run in ("one", "two"):
        with History(tmp_path / "shared.sqlite", run) as history:
            values += Oracle("SAS", 3, history)(["CCO"]).tolist()
            assert (history["CCO"].seconds == 0) == (run == "two")
    assert values[0] == values[1] < 0


def test_what_may_differ_under_one_name_is_not_shared() -> None:
    assert as_objective("QED").version is not None
    for objective in (lambda mol: 1.0, measured_objective("activity"), math.sqrt, Counting()):
        assert as_objective(objective).version is None
