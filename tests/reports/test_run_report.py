"""The report of a run, from evaluations that are written down here."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rdkit import Chem
from rdkit.Chem import QED

from molvae.base.errors import MolvaeError
from molvae.chem.properties import logp
from molvae.loop.result import Result
from molvae.oracles.history import Record
from molvae.oracles.objectives import Objective
from molvae.reports import run_report
from molvae.reports.run_report import note_noise, write_run_report


def result(smiles: list[str], *values: list[float], labels: tuple[str, ...]) -> Result:
    rows = zip(smiles, zip(*values, strict=True), strict=True)
    records = [Record(i, i // 10, s, some, None, 0.1, None) for i, (s, some) in enumerate(rows)]
    objectives = tuple(Objective(n.removeprefix("-"), logp, n[0] != "-") for n in labels)
    return Result(records, [], "the budget is spent", objectives)


def chains(n: int) -> list[str]:
    return ["C" * i + "O" for i in range(1, n + 1)]


@pytest.fixture
def legends(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is written below the molecules."""
    found: list[str] = []

    def draw(smiles: list[str], legends: list[str], marked: object) -> bytes:
        assert len(smiles) == len(legends)
        found.extend(legends)
        return b""

    monkeypatch.setattr(run_report, "draw_molecules", draw)
    return found


def test_a_hundred_are_listed_and_the_best_of_each_cluster_drawn(
    tmp_path: Path, legends: list[str]
) -> None:
    smiles = chains(120)
    found = write_run_report(
        result(smiles, [float(i) for i in range(120)], labels=("length",)), tmp_path
    )
    best = pd.read_csv(tmp_path / "best.csv", keep_default_na=False)
    assert list(best)[:2] == ["length", "smiles"]
    assert list(best)[-4:] == ["number", "iteration", "cluster", "cluster_size"]
    pd.testing.assert_frame_equal(best, found, check_dtype=False)
    assert best["smiles"].tolist()[:100] == smiles[:19:-1]
    assert best["number"].tolist()[:100] == list(range(119, 19, -1))
    # all further ones are the first of a cluster
    rest = best[100:]
    assert not rest["cluster"].duplicated().any()
    assert not rest["cluster"].isin(best["cluster"][:100]).any()
    assert best.drop_duplicates("cluster")["cluster_size"].sum() == 120
    assert (tmp_path / "best.smi").read_text().split() == best["smiles"].tolist()
    assert [mol.GetProp("smiles") for mol in Chem.SDMolSupplier(str(tmp_path / "best.sdf"))] == (
        best["smiles"].tolist()
    )
    assert best["iteration"].tolist() == [n // 10 for n in best["number"]]
    assert best["heavy_atoms"].tolist() == [len(s) for s in best["smiles"]]
    assert best["QED"][0] == pytest.approx(QED.qed(Chem.MolFromSmiles(smiles[-1])))
    assert len(legends) == best["cluster"].nunique() > 1
    assert legends[0] == f"length 119.000\nSAS {best['SAS'][0]:.2f}  QED {best['QED'][0]:.2f}"


def test_an_objective_that_is_a_property_is_a_column_once(
    tmp_path: Path, legends: list[str]
) -> None:
    found = write_run_report(result(chains(3), [0.5, 0.25, 0.125], labels=("QED",)), tmp_path)
    assert list(found).count("QED") == 1
    assert found["QED"].tolist() == [0.5, 0.25, 0.125]  # as it was evaluated
    assert legends[0].startswith("QED 0.500\nSAS ")


def test_the_whole_front_of_several_objectives_is_listed(
    tmp_path: Path, legends: list[str]
) -> None:
    up = [float(i) for i in range(130)]
    down = [float(-i) for i in range(130)]
    labels = ("length", "-weight")
    found = write_run_report(result(chains(130), up, down, labels=labels), tmp_path)
    assert len(found) == 130
    assert list(found)[:3] == ["length", "weight", "smiles"]  # with the sign of the user
    assert legends[0].startswith("length 129.000  weight 129.000\nSAS ")
    assert (tmp_path / "front.png").read_bytes().startswith(b"\x89PNG")


def test_pictures_show_every_evaluation_and_the_best_so_far(
    tmp_path: Path, legends: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = []

    def render(figure: object) -> bytes:
        figures.append(figure)
        return b""

    monkeypatch.setattr(run_report, "_render_png", render)
    one = result(chains(4), [1.0, 3.0, math.nan, 2.0], labels=("logP",))
    write_run_report(one, tmp_path)
    (trace,) = figures
    (axes,) = trace.axes
    evaluated, best = axes.lines
    assert evaluated.get_ydata()[[0, 1, 3]].tolist() == [1, 3, 2]
    assert best.get_ydata().tolist() == [1, 3, 3, 3]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("evaluations", "logP")
    assert [label.get_text() for label in axes.get_legend().texts] == [
        "evaluated molecule",
        "best so far",
    ]
    assert not (tmp_path / "front.png").exists()
    figures.clear()
    three = ([1.0, 2.0, 0.0], [2.0, 1.0, 0.0], [0.0, 0.0, 3.0])
    write_run_report(result(chains(3), *three, labels=("a", "b", "c")), tmp_path)
    trace, front = figures
    assert [label.get_text() for label in trace.axes[0].get_legend().texts] == ["hypervolume"]
    assert trace.axes[0].get_ylabel() == "hypervolume"
    assert [(axes.get_xlabel(), axes.get_ylabel()) for axes in front.axes] == [
        ("a", "b"),
        ("a", "c"),
    ]
    for axes, y in zip(front.axes, three[1:], strict=True):
        for line in axes.lines:  # all of them are on the front
            shown = sorted(zip(line.get_xdata(), line.get_ydata(), strict=True))
            assert shown == sorted(zip(three[0], y, strict=True))


def test_a_run_without_a_success_has_no_report(tmp_path: Path) -> None:
    failed = result(["CO"], [math.nan], labels=("logP",))
    with pytest.raises(MolvaeError, match="no evaluation succeeded"):
        write_run_report(failed, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_beside_a_noisy_objective_stands_what_is_expected(
    tmp_path: Path, legends: list[str], zinc: list[str]
) -> None:
    rng = np.random.default_rng(0)
    truth = np.array([logp(Chem.MolFromSmiles(s)) for s in zinc[:150]])
    measured = truth + truth.std() * rng.standard_normal(150)
    found = result(zinc[:150], list(-measured), list(truth), labels=("-cost", "value"))
    best = write_run_report(found, tmp_path)
    assert list(best)[:4] == ["cost", "value", "cost expected", "smiles"]
    known = dict(zip(zinc, truth, strict=False))
    exact = best["smiles"].map(known)
    assert (best["cost expected"] - exact).abs().mean() < (best["cost"] - exact).abs().mean()
    (line,) = note_noise(found)
    assert line.startswith("-cost is noisy, with a standard deviation of about ")
    assert "'cost expected'" in line
    assert note_noise(result(chains(60), [float(i) for i in range(60)], labels=("length",))) == []
