"""What the report says of known values, and of what is learned from measurements."""

from dataclasses import replace
from pathlib import Path

import pytest

from measured import BOILING, write_table
from molvae.chem.properties import logp
from molvae.loop.result import Result
from molvae.oracles.given import as_objective
from molvae.oracles.history import Record
from molvae.oracles.objectives import Objective
from molvae.reports import run_report
from molvae.reports.run_report import note_guesses, write_run_report


def make(smiles: list[str], values: list[float], objective: Objective) -> Result:
    records = [
        Record(i, 0, name, (value,), None, 0.1, None)
        for i, (name, value) in enumerate(zip(smiles, values, strict=True))
    ]
    return Result(records, [], "the budget is spent", (objective,))


def test_known_values_are_told_from_evaluations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures, legends = [], []
    monkeypatch.setattr(run_report, "_render_png", lambda figure: figures.append(figure) or b"")
    monkeypatch.setattr(
        run_report, "draw_molecules", lambda smiles, texts, **more: legends.extend(texts) or b""
    )
    plain = make(
        ["c1ccccc1", "CCO", "CCCCN"], [-3.0, -1.0, -2.0], Objective("weight", logp, maximise=False)
    )
    records = [replace(record, known=record.number == 1) for record in plain.records]
    found = write_run_report(replace(plain, records=records), tmp_path)
    assert found["known"].tolist() == [True, False, False]
    assert found["weight"].tolist() == [1, 2, 3]  # with the sign of the user
    assert "known" not in write_run_report(plain, tmp_path)
    assert legends[0].startswith("weight 1.000  (known)\nSAS ")
    assert "known" not in legends[1]
    evaluated, known, best = figures[0].axes[0].lines
    assert evaluated.get_xdata().tolist() == best.get_xdata().tolist() == [-1, 0, 1]
    assert (known.get_ydata().tolist(), known.get_label()) == ([1], "known before")


def test_what_is_learned_stands_beside_its_uncertainty_and_the_nearest_measurement(
    tmp_path: Path,
) -> None:
    table = write_table(tmp_path / "bp.csv", BOILING)
    mean, chance = (as_objective(n.format(table)) for n in ("model:{}:bp", "P(model:{}:bp>100)"))
    smiles = ["CCCCCCO", "CCCCC[NH3+]", "FC(F)(F)S(=O)(=O)c1ccsc1"]
    plain = make(smiles, [3.0, 2.0, 1.0], mean)
    best = write_run_report(plain, tmp_path)
    deviation, nearest = (
        best[f"model:bp.csv:bp{end}"].tolist() for end in (" deviation", " nearest")
    )
    assert nearest[0] == 1
    assert nearest[0] > nearest[1] > 0.3 > nearest[2]  # of the parent, pentylamine
    assert deviation[0] < deviation[1] < deviation[2]
    assert note_guesses(best) == [
        "1 of these 3 molecules are less than 0.3 similar to every measured one: what "
        "model:bp.csv:bp says of them is a guess"
    ]
    assert note_guesses(best.head(2)) == []
    both = write_run_report(
        replace(plain, objectives=(replace(mean, function=chance.function, name="p"),)), tmp_path
    )
    assert [name for name in both if name.startswith("model:")] == [
        "model:bp.csv:bp deviation",
        "model:bp.csv:bp nearest",
    ]
