"""Objectives that are minimised, joined and explained on the command line."""

import json
import sys
from pathlib import Path

import pandas as pd
import pytest
from rdkit import Chem

from molvae.chem.properties import DESCRIPTORS, logp, qed
from molvae.cli import main
from molvae.loop.result import Result
from molvae.model.molvae import MolVAE
from molvae.oracles.given import as_objective
from molvae.oracles.history import History, Record
from molvae.reports.run_report import plot_front, plot_trace


@pytest.fixture
def folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_model_file: str, zinc: list[str]
) -> Path:
    """A working folder with a docking program (minus the letters of the SMILES), and words."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "start.smi").write_text("\n".join(zinc[:400]))
    (tmp_path / "dock.sh").write_text('#!/bin/sh\necho "-${#1}.25"\n')
    (tmp_path / "dock.sh").chmod(0o755)
    return tmp_path


DOCK = "cmd:./dock.sh {smiles}"


def search(folder: Path, model: str, *words: str, out: str = "run") -> pd.DataFrame:
    common = ["--model", model, "--data", "start.smi", "--budget", "40", "--out", out]
    assert main(["optimize", *words, *common]) == 0
    return pd.read_csv(folder / out / "best.csv")  # in the order of the objective


@pytest.mark.parametrize("words", [["--objective=-logP"], ["--objective", "-logP"]])
def test_a_minus_minimises(
    folder: Path, small_model_file: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    best = search(folder, small_model_file, *words)
    out, err = capsys.readouterr()
    assert out.startswith("minimise logP with")
    assert list(best)[:2] == ["logP", "smiles"]
    assert best["logP"].is_monotonic_increasing
    assert best["logP"][0] == pytest.approx(logp(Chem.MolFromSmiles(best["smiles"][0])))
    assert "%|" not in err  # no bar in a log file
    with History(folder / "run" / "history.sqlite") as history:
        assert max(record.y for record in history.records()) == -best["logP"][0]


def test_docking_scores_are_minimised_beside_a_descriptor_and_a_prediction(
    folder: Path, small_model_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--objective", f"-{DOCK}", "-TPSA", "predicted:QED"]
    best = search(folder, small_model_file, *words, "--constraint", "-logP<0")
    out = capsys.readouterr().out
    assert out.startswith(f"minimise {DOCK}, minimise TPSA (Å²), maximise predicted:QED with ehvi")
    assert "TPSA (Å²)" in out.split("Pareto front")[1]
    assert list(best)[:4] == [DOCK, "TPSA", "predicted:QED", "smiles"]
    for row in best.to_dict("records"):
        mol = Chem.MolFromSmiles(row["smiles"])
        assert row[DOCK] == -len(row["smiles"]) - 0.25
        assert row["TPSA"] == pytest.approx(DESCRIPTORS["TPSA"](mol))
        assert logp(mol) > 0
    assert best[DOCK].is_monotonic_increasing  # the best binders first
    assert main(["optimize", "--resume", "--out", "run", "--budget", "42", "--trust-folder"]) == 0


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_every_component_of_goals_is_a_column(
    folder: Path, small_model_file: str, jobs: str
) -> None:
    dock = f"cmd:{folder}/dock.sh {{smiles}}"  # the processes may have another working folder
    entries = {
        dock: {"worst": -5, "best": -60},
        "QED": {"worst": 0, "best": 1},
        "predicted:SAS": {"worst": 9, "best": 1},
    }
    (folder / "goals.json").write_text(json.dumps({"desirability": entries}))
    best = search(folder, small_model_file, "--objective", "goals.json", "--jobs", jobs)
    columns = [column for name in entries for column in (name, f"{name} desirability")]
    assert list(best)[1:8] == ["smiles", *columns]
    assert list(best)[8:11] == ["logP", "SAS", "heavy_atoms"]
    assert list(best)[-4:] == ["number", "iteration", "cluster", "cluster_size"]
    joined = best[[f"{name} desirability" for name in entries]].prod(axis=1) ** (1 / 3)
    pd.testing.assert_series_equal(best.iloc[:, 0], joined, check_names=False)
    assert (best[dock] == -best["smiles"].str.len() - 0.25).all()
    assert best["QED"].tolist() == [
        pytest.approx(qed(Chem.MolFromSmiles(smiles))) for smiles in best["smiles"]
    ]
    before = (folder / "run" / "best.csv").read_text()
    # another process would read them
    assert main(["optimize", "--resume", "--out", "run", "--trust-folder"]) == 0
    assert (folder / "run" / "best.csv").read_text() == before


def test_a_property_that_a_function_of_the_user_computes_is_learned(
    folder: Path, small_model_file: str
) -> None:
    (folder / "quantity_lab.py").write_text("def atoms(mol): return mol.GetNumAtoms()\n")
    tiny = ["--epochs", "1", "--latent", "4", "--encoder-hidden", "16", "--decoder-hidden", "16"]
    words = ["train", "--data", "start.smi", "--properties", "-logP", "quantity_lab:atoms", "TPSA"]
    assert main([*words, *tiny, "--tokenizer", "char", "--out", "t"]) == 0
    model = MolVAE.load(folder / "t" / "model.safetensors")
    assert list(model.predict_molecules([])) == ["-logP", "quantity_lab:atoms", "TPSA"]


def records(values: list[tuple[float, ...]]) -> list[Record]:
    return [Record(i, 0, "C" * (i + 1), v, None, 0.0, None) for i, v in enumerate(values)]


def test_pictures_show_the_sign_of_the_user() -> None:
    result = Result(records([(7.5,), (9.3,), (8.0,)]), [], "", (as_objective("-TPSA"),))
    (axes,) = plot_trace(result).axes
    seen, best = axes.get_lines()
    assert list(seen.get_ydata()) == [-7.5, -9.3, -8.0]
    assert list(best.get_ydata()) == [-7.5, -9.3, -9.3]  # goes down
    assert axes.get_ylabel() == "TPSA (Å²), lower is better"
    both = (as_objective("QED"), as_objective("SAS"))
    result = Result(records([(0.5, -2.0), (0.7, -3.0)]), [], "", both)
    (axes,) = plot_front(result, result.best()).axes
    assert list(axes.get_lines()[0].get_ydata()) == [2.0, 3.0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("QED", "SAS, lower is better")
