"""The user's own measurements on the command line: an objective from them, and known values."""

import json
import sys
from pathlib import Path

import pandas as pd
import pytest
from rdkit import Chem

from measured import BOILING, TWELVE, write_table
from molvae.chem.properties import logp, sas
from molvae.cli import main
from molvae.oracles.history import History

MEAN = "model:bp.csv:bp"


@pytest.fixture
def folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_model_file: str, zinc: list[str]
) -> Path:
    """A working folder with a model, molecules, boiling points, and measurements of leads."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "model.safetensors").symlink_to(small_model_file)
    (tmp_path / "data.smi").write_text("\n".join(zinc[:400]))
    write_table(tmp_path / "bp.csv", BOILING)
    numbers = {name: f"{value(name):.2f}".replace(".", ",") for name in list(BOILING)[:20]}
    numbers["CCCCCC"] = ""
    rows = "".join(f"{name};{number};\n" for name, number in numbers.items())
    (tmp_path / "leads.csv").write_text(f"Smiles;mine;empty\n{rows}")
    return tmp_path


def value(smiles: str) -> float:
    return round(10 + logp(Chem.MolFromSmiles(smiles)), 2)


def optimize(*words: str, model: str = "model.safetensors") -> int:
    common = ["--model", model, "--data", "data.smi", "--plausibility", "off"]
    return main(["optimize", "--out", "run", *common, *words])


def test_a_search_on_measurements_says_how_good_they_are_and_where_it_guesses(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--objective", MEAN, f"-P({MEAN}>150)", "--constraint", f"lower({MEAN})>0"]
    assert optimize(*words, "--budget", "35", "--jobs", "2") == 0
    out, err = capsys.readouterr()
    assert f"{MEAN}: error in leave-one-out: RMSE " in err
    assert err.count("bp.csv: read 26 molecules") == 1
    assert out.startswith(f"maximise {MEAN}, minimise P({MEAN}>150) with ehvi")
    best = pd.read_csv(folder / "run" / "best.csv")
    assert (best[MEAN] - best[f"{MEAN} deviation"]).min() > 0
    far = (best[f"{MEAN} nearest"] < 0.3).sum()
    assert f"{far} of these {len(best)} molecules are less than 0.3 similar" in err
    # the run folder names a table, which is data: nothing has to be said again
    assert main(["optimize", "--resume", "--out", "run", "--budget", "40"]) == 0
    capsys.readouterr()
    write_table(folder / "bp.csv", BOILING | {"CCCO": 97.3})
    assert main(["optimize", "--resume", "--out", "run", "--budget", "45"]) == 1
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("molvae ")]
    assert len(said) == 1
    assert said[0].startswith("molvae optimize: bp.csv has changed since this run began")
    (folder / "bp.csv").unlink()
    assert main(["optimize", "--resume", "--out", "run", "--budget", "45"]) == 1
    assert capsys.readouterr().err == "molvae optimize: bp.csv: no such file\n"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (TWELVE | {"CCCCC": 36100}, "36100 of CCCCC is far from the other values"),
        (dict.fromkeys(TWELVE, 5.0), "all 12 values of 'bp' are 5: there is nothing to learn"),
    ],
)
def test_twelve_measurements_with_one_outlier_work_and_equal_ones_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], values: dict[str, float], said: str
) -> None:
    write_table(folder / "twelve.csv", values)
    refused = "nothing" in said
    code = optimize("--objective", "model:twelve.csv:bp", "--budget", "32")
    err = capsys.readouterr().err
    assert code == refused
    assert said in err
    if refused:
        assert err.count("\n") == 1
    assert (folder / "run").exists() != refused


def test_known_values_are_free_and_marked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--start", "leads.csv:Smiles", "--values", "mine", "--objective", "logP"]
    assert optimize(*words, "--budget", "12", "--batch", "10", model="qm9") == 0
    out, err = capsys.readouterr()
    assert "19 molecules of --start have known values: they cost nothing of the budget" in err
    assert "12 evaluations (0 failed) beside 19 known values" in out
    leads = pd.read_csv(folder / "run" / "start.csv")
    assert leads["parent"][leads["mine"].isna()].tolist() == ["CCCCCC"]
    with History(folder / "run" / "history.sqlite") as history:
        known = {record.smiles: record.y for record in history.records() if record.known}
        first = [record.smiles for record in history.records(before=1) if not record.known]
    measured = leads.dropna(subset="mine")
    assert known == {row["parent"]: value(row["smiles"]) for _, row in measured.iterrows()}
    assert "CCCCCC" in first  # it is evaluated as a lead
    assert len(first) == 10  # and the rest of the round is chosen by the surrogate
    best = pd.read_csv(folder / "run" / "best.csv")
    for _, row in best.iterrows():
        computed = logp(Chem.MolFromSmiles(row["smiles"]))
        assert row["logP"] == pytest.approx(known[row["smiles"]] if row["known"] else computed)
    assert set(best["known"]) == {True, False}
    resume = ["optimize", "--resume", "--out", "run", "--budget"]
    assert main([*resume, "14"]) == 0
    assert "14 evaluations (0 failed) beside 19 known values" in capsys.readouterr().out
    assert main([*resume, "16", "--values", "empty"]) == 1
    assert "--values cannot change on resume" in capsys.readouterr().err
    table = (folder / "leads.csv").read_text()
    (folder / "leads.csv").write_text(table.replace(",", ",1", 1))
    assert main([*resume, "16"]) == 1
    assert "was begun with known values = " in capsys.readouterr().err


def test_known_values_have_the_users_sign_for_each_of_several_objectives(
    folder: Path, zinc: list[str]
) -> None:
    mols = {name: Chem.MolFromSmiles(name) for name in zinc[:15]}
    scores = pd.DataFrame({"smiles": zinc[:15], "dock": range(-30, -15)})
    scores["sas"] = [sas(mol) for mol in mols.values()]
    scores.loc[4, "sas"] = None
    scores.to_csv(folder / "scores.csv", index=False)
    (folder / "dock.sh").write_text('#!/bin/sh\necho "-${#1}.25"\n')
    (folder / "dock.sh").chmod(0o755)
    words = ["--start", "scores.csv", "--values", "dock", "SAS", "--budget", "12"]
    assert optimize(*words, "--objective", "-cmd:./dock.sh {smiles}", "SAS") == 0
    best = pd.read_csv(folder / "run" / "best.csv")
    known = best[best["known"]].merge(scores, on="smiles")
    assert len(known) == best["known"].sum() > 0
    assert known["cmd:./dock.sh {smiles}"].tolist() == known["dock"].tolist()
    assert known["SAS"].tolist() == pytest.approx(known["sas"].tolist())
    with History(folder / "run" / "history.sqlite") as history:
        assert zinc[4] in history
        assert not history[zinc[4]].known  # with one value of two it is evaluated


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--values", "mine"], "--values names columns of the file of --start"),
        (["--start", "leads.csv", "--values", "pIC50"], "leads.csv: no column 'pIC50'; columns: "),
        (
            ["--start", "leads.csv", "--values", "empty"],
            "leads.csv: the column 'empty' contains no",
        ),
        (["--start", "leads.csv", "--values", "Smiles"], "the column 'Smiles' contains no numbers"),
        (
            ["--start", "leads.csv", "--values", "mine", "--objective", "logP", "SAS"],
            "--values needs a column for each objective, in the same order: mine for logP, SAS",
        ),
        (["--start", "leads.csv", "--values", "mine", "empty"], "--values needs a column for each"),
        (["--start", "data.smi", "--values", "mine"], "data.smi: no column 'mine'; columns: none"),
    ],
)
def test_what_cannot_be_known_values_is_refused_in_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert optimize(*words, "--budget", "12") == 1
    err = capsys.readouterr().err
    assert err.splitlines()[-1].startswith("molvae optimize: ")
    assert message in err.splitlines()[-1]
    assert not (folder / "run").exists()


def test_a_run_folder_of_an_earlier_version_knows_no_values(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert optimize("--budget", "32", "--objective", "logP") == 0
    config = folder / "run" / "config.json"
    settings = json.loads(config.read_text())
    del settings["values"]
    config.write_text(json.dumps(settings))
    resume = ["optimize", "--resume", "--out", "run", "--budget", "34"]
    assert main([*resume, "--values", "mine"]) == 1
    assert "--values cannot change on resume" in capsys.readouterr().err
    assert main(resume) == 0
