"""One grammar for a quantity: objectives, constraints, goals and learned properties agree on it."""

import json
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rdkit import Chem
from rdkit.Chem.Descriptors import TPSA

from chains import START, Chains
from molvae.base.errors import MolvaeError
from molvae.chem.datasets import load
from molvae.chem.properties import logp, molecule_property, properties, qed, sas
from molvae.chem.property_tables import load_properties
from molvae.loop.config import OptimizeConfig
from molvae.loop.optimization import optimize
from molvae.model.molvae import MolVAE
from molvae.oracles.constraints import parse_constraint
from molvae.oracles.evaluation import Effort
from molvae.oracles.given import as_objective, find_quantity, look_up_quantity
from molvae.oracles.goals import Goals
from molvae.oracles.history import History
from molvae.oracles.oracle import Oracle
from molvae.oracles.transport import pack_objectives, unpack_objectives

ASPIRIN = Chem.MolFromSmiles("CC(=O)Oc1ccccc1C(=O)O")
ETHANOL = Chem.MolFromSmiles("CCO")


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a docking program (minus the letters of the SMILES) and a function."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "dock.sh").write_text('#!/bin/sh\necho x >> calls\necho "-${#1}"\n')
    (tmp_path / "dock.sh").chmod(0o755)
    (tmp_path / "given_lab.py").write_text("def atoms(mol): return mol.GetNumAtoms()\n")
    yield tmp_path
    sys.modules.pop("given_lab", None)


DOCK = "cmd:./dock.sh {smiles}"
# text of a quantity -> its value for aspirin
QUANTITIES = {
    "logP": logp(ASPIRIN),
    "TPSA": TPSA(ASPIRIN),
    "drug": 5 * qed(ASPIRIN) - sas(ASPIRIN),
    "similarity(CC(=O)Oc1ccccc1C(=O)O)": 1.0,
    "given_lab:atoms": 13.0,
    DOCK: -21.0,
}


@pytest.mark.parametrize("sign", ["", "-"])
@pytest.mark.parametrize("name", QUANTITIES)
def test_a_quantity_is_the_same_wherever_it_is_named(lab: Path, name: str, sign: str) -> None:
    text, value = f"{sign}{name}", QUANTITIES[name] * (-1 if sign else 1)
    oracle = Oracle(text, 5)
    assert oracle(["OC(=O)c1ccccc1OC(C)=O"])[0] == pytest.approx(value)
    assert oracle.objectives[0].restore_sign(oracle.history.records()[0].y) == pytest.approx(
        QUANTITIES[name]
    )
    assert oracle.labels == [text]
    assert parse_constraint(f"{text}<{value + 0.1:.3f}").met(ASPIRIN)
    assert not parse_constraint(f"{text} < {value - 0.1:.3f}").met(ASPIRIN)
    (lab / "goals.json").write_text(json.dumps({"sum": {text: 2}}))
    assert as_objective("goals.json").function(ASPIRIN) == pytest.approx(2 * value)
    entry = {"worst": value - 1, "best": value + 3}
    (lab / "goals.json").write_text(json.dumps({"desirability": {text: entry}}))
    assert as_objective("goals.json").function(ASPIRIN) == pytest.approx(0.25)
    assert parse_constraint("goals.json>0.2").met(ASPIRIN)
    (lab / "mine.smi").write_text("CC(=O)Oc1ccccc1C(=O)O\n")
    learned = load_properties(load("mine.smi"), [text], {text: look_up_quantity(text)})
    assert learned[text].tolist() == [pytest.approx(value)]


def test_a_minus_minimises_and_survives_another_process(lab: Path) -> None:
    for text in ("-logP", "-TPSA", "-SAS", "SAS", "-heavy_atoms", "-given_lab:atoms", f"-{DOCK}"):
        entry = as_objective(text)
        there = pickle.loads(pickle.dumps(entry))  # noqa: S301 (our own bytes)
        for one in (entry, there):
            assert not one.maximise
            assert one.label == f"-{one.name}" == f"-{text.removeprefix('-')}"
        assert there.function(ETHANOL) == entry.function(ETHANOL)
    here = Oracle("-logP", 5, effort=Effort(seconds=60))
    assert here(["CCCCCC"])[0] == pytest.approx(-logp(Chem.MolFromSmiles("CCCCCC")))


@pytest.mark.parametrize("text", ["--logP", "-", "", "-logp", "predict:QED", "-nowhere:thing"])
def test_what_is_no_quantity_is_told(text: str) -> None:
    assert find_quantity(text) is None
    with pytest.raises(MolvaeError, match=r"unknown objective|cannot import"):
        as_objective(text)


def test_a_history_of_the_maximised_is_not_continued_by_the_minimised() -> None:
    history = History()
    config = OptimizeConfig(initial=12, batch=6, pool=64)
    optimize(Chains(), Oracle("logP", 12, history), start=START, config=config)
    with pytest.raises(MolvaeError, match="begun with objective = 'logP', not '-logP'"):
        optimize(Chains(), Oracle("-logP", 20, history), start=START, config=config)


def test_scores_are_told_apart_by_sign_and_by_every_part_of_a_goals_file(lab: Path) -> None:
    assert Oracle("logP", 5).version != Oracle("-logP", 5).version
    ours = as_objective("QED").version
    (lab / "goals.json").write_text('{"sum": {"QED": 5, "SAS": -1}}')
    assert as_objective("goals.json").version == ours
    (lab / "goals.json").write_text(json.dumps({"sum": {"QED": 5, DOCK: -1}}))
    before = as_objective("goals.json").version
    assert before != ours
    (lab / "dock.sh").write_text("#!/bin/sh\necho 1\n")
    assert as_objective("goals.json").version != before
    (lab / "goals.json").write_text('{"sum": {"QED": 5, "predicted:QED": 1}}')
    assert as_objective("goals.json").version is None  # of a model that is not known yet
    assert as_objective("predicted:QED").version is None


def test_the_unit_of_a_property_is_shown() -> None:
    molecule_property("band", maximise=False, unit="eV")(lambda mol: 5.0)
    try:
        assert as_objective("band").title == as_objective("-band").title == "band (eV)"
        assert as_objective("predicted:band").title == "predicted:band (eV)"
        assert not as_objective("predicted:band").maximise  # as the property itself
        (there,) = unpack_objectives(pack_objectives([as_objective("band")]))
        assert there.unit == "eV"
    finally:
        del properties._entries["band"]
    assert as_objective("TPSA").title == "TPSA (Å²)"
    assert as_objective("QED").title == "QED"


def test_what_the_model_predicts_is_an_objective_a_constraint_and_a_goal(
    small_model: MolVAE, zinc: list[str], tmp_path: Path
) -> None:
    (tmp_path / "goals.json").write_text('{"sum": {"predicted:logP": 1, "-predicted:SAS": 1}}')
    oracle = Oracle(
        ["predicted:QED", str(tmp_path / "goals.json"), "predicted:SAS"],
        20,
        constraints=["predicted:logP<3"],
        effort=Effort(jobs=2),
    )
    config = OptimizeConfig(initial=15, batch=5, pool=64)
    result = optimize(small_model, oracle, start=zinc[:300], config=config)
    smiles = result.table["smiles"].tolist()
    z = np.concatenate([small_model.encode_means([text]) for text in smiles])
    there = small_model.predict_properties(z).astype(float)
    found = result.table.set_axis(["number", "round", "smiles", *"abc", "error", "seconds"], axis=1)
    np.testing.assert_allclose(found["a"], there["QED"], atol=1e-4)
    np.testing.assert_allclose(found["b"], there["logP"] - there["SAS"], atol=1e-4)
    np.testing.assert_allclose(found["c"], -there["SAS"], atol=1e-4)
    assert (there["logP"] < 3).all()
    with pytest.raises(MolvaeError, match="does not predict 'gap': choose from logP, SAS, QED"):
        optimize(small_model, Oracle("predicted:gap", 20), start=zinc[:300])
    with pytest.raises(MolvaeError, match="does not predict 'gap'"):
        optimize(small_model, Oracle("QED", 20, constraints=["predicted:gap>1"]), start=zinc[:300])


def test_a_prediction_of_what_cannot_be_encoded_is_a_failure(small_model: MolVAE) -> None:
    salt = "[Na+].[Cl-]"
    known = small_model.predict_molecules(["CCO", salt, "nonsense"])
    assert known.notna().all(axis=1).tolist() == [True, False, False]
    assert small_model.predict_molecules([]).columns.tolist() == ["logP", "SAS", "QED"]
    alone = as_objective("predicted:QED").function
    with pytest.raises(MolvaeError, match="needs the model of a search"):
        alone(ETHANOL)


def test_a_constraint_that_cannot_be_computed_is_not_met(lab: Path) -> None:
    (lab / "dock.sh").write_text("#!/bin/sh\nexit 3\n")
    assert not parse_constraint(f"{DOCK}<1e9").met(ETHANOL)
    assert not parse_constraint(f"-{DOCK}<1e9").met(ETHANOL)


def test_a_minus_that_contradicts_worst_and_best_is_told(lab: Path) -> None:
    (lab / "goals.json").write_text(
        json.dumps({"desirability": {f"-{DOCK}": {"worst": -5, "best": -9}}})
    )
    with pytest.raises(MolvaeError, match="leave out the minus"):
        as_objective("goals.json")
    (lab / "other.json").write_text('{"sum": {"goals.json": 1}}')
    with pytest.raises(MolvaeError, match=r"other\.json: 'goals.json' is a goals file too"):
        as_objective("other.json")


@pytest.mark.parametrize("recorded", [True, False])
def test_the_report_of_goals_calls_no_program_again(lab: Path, recorded: bool) -> None:
    dock = f"cmd:{lab}/dock.sh {{smiles}}"  # the processes may have another working folder
    (lab / "dock.sh").write_text(f'#!/bin/sh\necho x >> {lab}/calls\necho "-${{#1}}"\n')
    entries = {dock: {"worst": 0, "best": -20}, "QED": {"worst": 0, "best": 1}}
    (lab / "goals.json").write_text(json.dumps({"desirability": entries}))
    oracle = Oracle("goals.json", 5, effort=Effort(jobs=2 if recorded else 1))
    goals = oracle.objectives[0].function
    assert isinstance(goals, Goals)
    goals.record = lab / "values.jsonl" if recorded else None
    oracle(["CCO", "CCCC"])
    if recorded:
        with goals.record.open("a") as file:  # as a killed process leaves it
            file.write('{"smiles": "CC')
    called = (lab / "calls").read_text()
    mols = [Chem.MolFromSmiles(smiles) for smiles in ("OCC", "CCCC", "CCCCC")]
    table = pd.DataFrame(goals.measure(mols), columns=["dock", "QED"])
    assert table["dock"].tolist()[:2] == [-3, -4]
    assert np.isnan(table["dock"][2])  # not of this run, and not docked for the report
    assert table["QED"].tolist() == [qed(mol) for mol in mols]
    assert (lab / "calls").read_text() == called
    assert goals.parts[0].desirability(-3) == pytest.approx(0.15)


def test_properties_that_fail_are_nan_and_broken_ones_are_told(lab: Path) -> None:
    (lab / "given_lab.py").write_text(
        "def odd(mol):\n    if mol.GetNumAtoms() % 2: raise OSError('no licence')\n    return 1.0\n"
    )
    (lab / "two.smi").write_text("CCO\nCCCC\n")
    table = load_properties(load("two.smi"), ["odd"], {"odd": look_up_quantity("given_lab:odd")})
    assert table["odd"].isna().tolist() == [True, False]
    (lab / "one.smi").write_text("CCO\n")
    with pytest.raises(MolvaeError, match="'odd' could not be computed for any molecule"):
        load_properties(load("one.smi"), ["odd"], {"odd": look_up_quantity("given_lab:odd")})
