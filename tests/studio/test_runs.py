"""A run as the page sees it, and what a page shows of it."""

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rdkit import Chem

from molvae import MolvaeError
from molvae.chem.properties import sas
from molvae.model.molvae import MolVAE
from molvae.oracles.history import STOPPED
from molvae.studio.charts import draw_curves
from molvae.studio.facts import read_list
from molvae.studio.foreign import check_constraint, check_quantity
from molvae.studio.keep import write_csv, write_page, write_sdf
from molvae.studio.runs import WatchedRun, open_runs
from molvae.studio.searches import Searches, Wanted
from molvae.studio.space import Space
from molvae.studio.view import View, read_filter
from studio_runs import EVIL, write_run


def watch(path: Path) -> WatchedRun:
    run = WatchedRun(path)
    run.refresh()
    return run


def test_molecules_without_a_latent_point_lie_at_their_posterior_means(
    model_file: str, small_model: MolVAE, zinc: list[str], tmp_path: Path
) -> None:
    few = [name for name in zinc if small_model.can_encode(name)][:3]
    z = small_model.encode_means(few)
    moved = z[0] + 1.0  # where the search found it, and not its mean
    with write_run(tmp_path / "bred", model_file, ["QED"]) as history:  # a genetic algorithm
        for name in (few[0], few[1], "[U]"):
            history.add(name, 0.5, seconds=0.1)
    with write_run(tmp_path / "mixed", model_file, ["QED"]) as history:
        history.add(few[0], 0.5, seconds=0.1, z=moved)
        history.add(few[2], 0.5, seconds=0.1)
    space = Space(model_file)
    view = View([watch(tmp_path / "bred"), watch(tmp_path / "mixed")])
    found = view.points(space, view.take())
    expected = space.atlas.place(np.stack([z[0], z[1], moved, z[2]]))
    np.testing.assert_allclose(found[[0, 1, 3, 4], :2], expected, atol=1e-4)
    assert np.isnan(found[2, :2]).all()  # the model cannot encode it


def test_a_folder_of_runs_is_opened_as_its_runs(runs: Path) -> None:
    names = [run.name for run in open_runs([runs])]
    assert names == ["damaged", "empty", "hostile", "one", "single", "three"]
    with pytest.raises(MolvaeError, match="no such run folder"):
        open_runs([runs / "nothing"])


@pytest.mark.parametrize(
    ("name", "state", "text"),
    [
        ("one", "finished", "60 of 60 evaluations"),
        ("single", "stopped", "resume"),
        ("empty", "empty", "no evaluation yet"),
        ("damaged", "damaged", "damaged or not a molvae history"),
    ],
)
def test_the_state_of_a_run_is_said(runs: Path, name: str, state: str, text: str) -> None:
    status = watch(runs / name).status
    assert status.state == state
    assert text in status.text


def test_a_state_says_why_a_run_ended_and_what_it_waits_for(
    model_file: str, tmp_path: Path
) -> None:
    with write_run(tmp_path / "own", model_file, ["QED"], 9) as history:
        history.add("CCO", 0.4, seconds=0.1)
        run = watch(tmp_path / "own")
        assert "no process is writing" in run.status.text
        history.save_settings({STOPPED: "several pools in a row held no new valid molecule"})
        run.refresh()
        assert (
            run.status.text
            == "1 of 9 evaluations; several pools in a row held no new valid molecule"
        )
        settings = json.loads((tmp_path / "own" / "config.json").read_text())
        (tmp_path / "own" / "config.json").write_text(json.dumps(settings | {"budget": 450}))
        run.refresh()
        assert run.status.text.startswith("1 of 450")
        history.save_settings({"asked for": {"CCN": 1, "CCC": 1}})
        run.refresh()
        assert run.status.state == "waiting"
        assert run.status.text == "1 of 450 evaluations; 2 molecules wait for a value"
        with pytest.raises(MolvaeError, match="evaluated already"):
            run.steer("pin", "CCO")


def test_a_pasted_list_has_names_and_perhaps_a_header() -> None:
    text = "SMILES,name\nCCO, ethyl alcohol\n\nCCN\tamine\nCCC;x\nC=C\n"
    assert read_list(text) == [
        ("CCO", "ethyl alcohol"),
        ("CCN", "amine"),
        ("CCC", "x"),
        ("C=C", ""),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("solubility", "unknown quantity 'solubility'"),
        ("logs", "did you mean 'logS'"),
        ("os:getcwd", "--allow-programs"),
        ("my.csv", "--allow-programs"),
    ],
)
def test_a_misspelt_name_is_not_taken_for_a_program(text: str, said: str) -> None:
    with pytest.raises(MolvaeError, match=said):
        check_quantity(text)


def test_leads_that_are_no_molecules_start_no_search(tmp_path: Path) -> None:
    searches = Searches(tmp_path, ["zinc"], False)
    with pytest.raises(MolvaeError, match="'notasmiles' is not a valid SMILES, and 1 more"):
        searches.start(Wanted("new", ["QED"], [], "zinc", "CCO\nnotasmiles\nC(C", 10, 0))
    assert not (tmp_path / "new" / "leads.smi").exists()


def test_a_run_that_has_spent_its_budget_goes_on_only_to_a_larger_one(
    runs: Path, tmp_path: Path
) -> None:
    with pytest.raises(MolvaeError, match="give a larger one"):
        Searches(tmp_path, ["zinc"], False).resume(watch(runs / "one"))


def test_values_have_the_users_sign_and_the_best_is_the_front(runs: Path) -> None:
    run = watch(runs / "three")
    assert [one.label for one in run.objectives] == ["QED", "-SAS", "heavy_atoms"]
    assert run.values[:, 1].min() > 1  # SAS, not its negative
    view = View([run])
    view.take()
    signs = [1, -1, 1]
    front = run.values[view.best()] * signs
    others = run.values * signs
    assert not any((others > one).all(1).any() for one in front)


def test_new_evaluations_are_added_behind_the_others(runs: Path, tmp_path: Path) -> None:
    run = watch(runs / "one")
    view = View([run, watch(runs / "three")])
    assert len(view.take()) == 120
    assert len(view.take()) == 0
    assert view.owners[60:, 0].tolist() == [1] * 60
    assert view.smiles(0) == run.records[0].smiles


def test_rows_are_ordered_and_filtered(runs: Path) -> None:
    view = View([watch(runs / "one")])
    view.take()
    y = view.y[view.order()][:, 0]
    assert (np.diff(y) <= 0).all()
    heavy = [view.runs[0].records[r].smiles for r in view.order("heavy_atoms", descending=False)]
    assert len(heavy[0]) < len(heavy[-1])
    kept = view.order(keep=read_filter("SAS<3; has:c1ccccc1", None, False))
    assert 0 < len(kept) < 60
    phenyl = Chem.MolFromSmarts("c1ccccc1")
    for row in range(60):
        mol = Chem.MolFromSmiles(view.smiles(row))
        assert (row in kept) == (sas(mol) < 3 and mol.HasSubstructMatch(phenyl))


@pytest.mark.parametrize(
    "text",
    [
        "cmd:touch pwned {smiles}",
        "-cmd:touch pwned {smiles}",
        "os:getcwd",
        "goals.json",
        "/etc/passwd",
        "model:/etc/passwd:x",
        "lower(model:my.csv:y)",
        "P(model:my.csv:y>7)",
        "x" * 1000,
    ],
)
def test_nothing_from_the_page_runs_a_program_or_reads_a_file(text: str, tmp_path: Path) -> None:
    with pytest.raises(MolvaeError):
        check_quantity(text)
    with pytest.raises(MolvaeError):
        check_constraint(f"{text}<4")
    with pytest.raises(MolvaeError):
        read_filter(f"SAS<4; {text}<4", None, False)
    searches = Searches(tmp_path, ["zinc"], False)
    wanted = Wanted("new", [text], [], "zinc", "", 10, 0)
    with pytest.raises(MolvaeError):
        searches.start(wanted)
    with pytest.raises(MolvaeError):
        searches.start(Wanted("new", ["QED"], [f"{text}<4"], "zinc", "", 10, 0))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "change",
    [
        {"name": "../outside"},
        {"name": "a/b"},
        {"name": ""},
        {"name": "--resume"},
        {"model": "/tmp/stranger.safetensors"},
        {"budget": 0},
        {"budget": 10**9},
        {"seed": -1},
        {"objectives": []},
        {"leads": "C\n" * 10**6},
    ],
    ids=str,
)
def test_what_a_search_may_be_is_limited(change: dict[str, object], tmp_path: Path) -> None:
    wanted = {"name": "new", "objectives": ["QED"], "constraints": [], "model": "zinc"}
    wanted |= {"leads": "", "budget": 10, "seed": 0}
    with pytest.raises(MolvaeError):
        Searches(tmp_path, ["zinc"], False).start(Wanted(**wanted | change))  # type: ignore[arg-type]
    assert not list(tmp_path.rglob("*.sqlite"))


def test_a_run_folder_of_a_stranger_is_not_resumed_if_it_would_run_code(tmp_path: Path) -> None:
    config = {"objective": ["cmd:touch pwned {smiles}"], "constraint": [], "budget": 9}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(MolvaeError, match="not a registered name"):
        Searches(tmp_path, [], False).resume(watch(tmp_path))


def test_harmless_quantities_pass() -> None:
    for text in ("QED", "-SAS", "TPSA", "similarity(CCO)", "predicted:logP", "pmo:jnk3"):
        assert check_quantity(text) == text
    for text in ("SAS<4", "has:c1ccncc1", "alerts:PAINS", "predicted:logP>2"):
        assert check_constraint(text).text == text
    assert check_quantity("cmd:./dock.sh {smiles}", allowed=True)


def test_what_is_kept_has_the_values_and_shows_text_as_text(runs: Path) -> None:
    view = View([watch(runs / "hostile")])
    view.take()
    table = pd.read_csv(io.StringIO(write_csv(view, [0, 1])))
    assert table[EVIL].tolist()[0] == 0.5
    assert table["smiles"][1].startswith("<img")
    page = write_page(view, [0, 1])
    assert "<img" not in page
    assert "<script" not in page
    assert write_sdf(view, [0]).count("$$$$") == 1


def test_a_model_places_decodes_and_walks(runs: Path, model_file: str) -> None:
    run = watch(runs / "one")
    space = Space(model_file)
    view = View([run])
    view.take()
    points = view.points(space, view.owners)
    assert points.shape == (60, 4)
    assert np.isfinite(points).all()
    np.testing.assert_allclose(points[:, 2], run.values[:, 0], rtol=1e-6)
    (found,) = space.decode(points[:1, :2].astype(float))
    assert found.z is not None
    np.testing.assert_allclose(space.atlas.place(found.z[None])[0], points[0, :2], atol=1e-3)
    first, second = (record.smiles for record in run.records[:2])
    table = space.walk(first, second, None)
    start = space.atlas.place(space.model.encode([first]).numpy())[0]
    np.testing.assert_allclose(table[["x", "y"]].to_numpy()[0], start, atol=1e-3)
    assert "QED" in space.walk(run.records[0].smiles, None, "logP")
    trip = space.bring(run.records[0].smiles, [run.records[1].smiles])
    assert len(trip.near) >= 6
    with pytest.raises(MolvaeError):
        space.bring("C(C", [])


def test_wishes_of_the_page_are_checked(runs: Path) -> None:
    run = watch(runs / "single")
    for kind, text in (("add", "cmd:touch pwned {smiles}<1"), ("ban", "C(C"), ("drop", "CCO")):
        with pytest.raises(MolvaeError):
            run.steer(kind, text)
    run.steer("ban", "OCC")
    run.refresh()
    assert [wish.text for wish in run.reader.wishes] == ["CCO"]


def test_the_curve_shows_what_was_said_where_it_was_heeded(
    model_file: str, small_model: MolVAE, tmp_path: Path
) -> None:
    with write_run(tmp_path / "own", model_file, ["-SAS"]) as history:
        for i, y in enumerate([-3.0, -2.0, float("nan"), -4.0, -1.0]):
            history.add("C" * (i + 1), y, seconds=0.1, iteration=i // 2)
        history.steer("ban", "CCO")
        history.steering(1)
        history.steer("pin", "CCN")  # heeded by no round yet
    chart = draw_curves([watch(tmp_path / "own")])
    line, dots = chart["series"]
    assert [y for _, y in line["data"]] == [3.0, 2.0, 2.0, 2.0, 1.0]  # the lower, the better
    assert "lower is better" in chart["yAxis"]["name"]
    (mark,) = line["markLine"]["data"]
    assert mark["xAxis"] == 3
    assert mark["label"]["formatter"] == "never evaluate CCO"
    assert [y for _, y in dots["data"]] == [3.0, 2.0, None, 4.0, 1.0]
