import json
import math
import os
import shlex
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rdkit import Chem

import molvae
from chains import START, Chains, Interrupted
from molvae.base.errors import MolvaeError
from molvae.chem.datasets import DataSet, load
from molvae.cli import main
from molvae.loop.ask_tell import Search
from molvae.loop.config import OptimizeConfig, strategy_names
from molvae.loop.optimization import SPENT, optimize
from molvae.loop.result import Result
from molvae.oracles.given import as_objective
from molvae.oracles.history import History
from molvae.oracles.objectives import Objective, measured_objective, objectives
from molvae.oracles.oracle import Oracle
from molvae.search.strategies import strategies

# an object of the tests' own is resumed in many of them
pytestmark = pytest.mark.filterwarnings("ignore:what computes Interrupted is not in a file")

CONFIG = OptimizeConfig(initial=12, batch=6, pool=64, seed=1)


def run(history: History | None = None, objective=None, budget: int = 40, **settings) -> Result:
    oracle = Oracle(objective or "logP", budget, history, heavy_atoms=(2, 14))
    config = OptimizeConfig(**{**vars(CONFIG), **settings})
    return optimize(Chains(), oracle, start=START, config=config)


def rows(result: Result) -> list[tuple]:
    return [(r.number, r.iteration, r.smiles, r.y, tuple(r.z.tolist())) for r in result.records]


def test_a_data_set_may_hold_a_molecule_whose_canonical_form_is_no_smiles() -> None:
    oracle = Oracle("logP", 20, heavy_atoms=(2, 14))
    result = optimize(Chains(), oracle, start=[*START, "OC=c1=C\\nccn1"], config=CONFIG)
    assert len(result.table) == 20


@pytest.mark.parametrize("strategy", list(strategies))
def test_a_search_spends_its_budget_on_new_admissible_molecules(strategy: str) -> None:
    result = run(strategy=strategy)
    table = result.table
    assert len(table) == 40
    assert table["smiles"].is_unique
    sizes = [Chem.MolFromSmiles(s).GetNumHeavyAtoms() for s in table["smiles"]]
    assert min(sizes) >= 2
    assert max(sizes) <= 14
    assert (np.diff(result.trace) >= 0).all()
    assert result.trace[-1] == result.best(1)["y"][0] == table["y"].max()
    assert 0 < result.valid_fraction < 1
    assert result.seconds > 0
    for record in result.records:  # what the surrogate sees is the molecule's own latent point
        np.testing.assert_array_equal(record.z, Chains().encode_means([record.smiles])[0])


def test_it_finds_what_random_search_does_not() -> None:
    found, random = run(), run(strategy="prior")
    assert found.best(1)["y"][0] > random.best(1)["y"][0]
    assert found.best(1)["smiles"][0] == "C" * 14  # the most lipophilic chain of the size bound


def test_the_same_seed_repeats_a_run() -> None:
    assert rows(run()) == rows(run())
    assert rows(run()) != rows(run(seed=2))


@pytest.mark.parametrize("after", [5, 12, 15, 21, 39])
def test_a_killed_and_resumed_run_equals_the_unbroken_one(tmp_path, after: int) -> None:
    whole = run(objective=Interrupted(after=1000))
    with History(tmp_path / "h.sqlite") as history, pytest.raises(KeyboardInterrupt):
        run(history, Interrupted(after))
    rest = Interrupted(after=1000)
    with History(tmp_path / "h.sqlite") as history:
        assert len(history) == after
        resumed = run(history, rest)
    assert rows(resumed) == rows(whole)
    assert resumed.valid_fraction == whole.valid_fraction
    assert rest.calls == 40 - after


@pytest.mark.parametrize("strategy", strategy_names())
def test_every_strategy_goes_on_where_it_stopped(strategy: str) -> None:
    history = History()
    with pytest.raises(KeyboardInterrupt):
        run(history, Interrupted(after=26), strategy=strategy, batch=5)
    resumed = run(history, Interrupted(after=1000), strategy=strategy, batch=5)
    whole = run(objective=Interrupted(after=1000), strategy=strategy, batch=5)
    assert resumed.table["smiles"].tolist() == whole.table["smiles"].tolist()


def test_a_larger_budget_continues_a_finished_run() -> None:
    history = History()
    run(history, budget=27)
    assert rows(run(history, budget=40)) == rows(run(budget=40))


def test_other_settings_or_another_model_are_refused() -> None:
    history = History()
    run(history, budget=20)
    with pytest.raises(MolvaeError, match="seed = 1, not 2"):
        run(history, seed=2)
    with pytest.raises(MolvaeError, match="objective"):
        run(history, objective="QED")
    other = Chains()
    other.encode_means = lambda smiles: Chains().encode_means(smiles) + 1  # type: ignore[method-assign]
    with pytest.raises(MolvaeError, match="another model"):
        optimize(other, Oracle("logP", 40, history, (2, 14)), start=START, config=CONFIG)


def test_failures_are_kept_and_do_not_stop_the_search() -> None:
    def moody(mol: Chem.Mol) -> float:
        if mol.GetNumAtoms() % 3 == 0:
            raise RuntimeError("no")
        return float(mol.GetNumAtoms())

    result = run(objective=moody)
    assert len(result.table) == 40
    failed = result.table[result.table["error"].notna()]
    assert len(failed) > 0
    assert failed["y"].isna().all()
    assert result.best(100)["y"].notna().all()


def test_an_objective_that_always_fails_is_told() -> None:
    def broken(mol: Chem.Mol) -> float:
        raise RuntimeError("no licence")

    with pytest.raises(MolvaeError, match="no licence"):
        run(objective=broken)


def test_a_space_without_valid_molecules_stops_with_a_reason() -> None:
    barren = Chains()
    barren.decode_greedily = lambda z: ["("] * len(z)  # type: ignore[method-assign]
    result = optimize(barren, Oracle("logP", 40, heavy_atoms=(2, 14)), start=START, config=CONFIG)
    assert {r.smiles for r in result.records} == set(START)
    assert "no new valid molecule" in result.stopped
    with pytest.raises(MolvaeError, match="no molecule to begin with is admissible"):
        optimize(barren, Oracle("logP", 5), start=[], config=CONFIG)
    strict = Oracle("logP", 5, constraints=["charge=3"])
    with pytest.raises(MolvaeError, match=r"admissible \(refused: \d+ for charge=3\): "):
        optimize(Chains(), strict, start=START, config=CONFIG)


def test_a_space_that_runs_dry_stops() -> None:
    result = optimize(Chains(), Oracle("logP", 500, heavy_atoms=(2, 3)), start=START, config=CONFIG)
    assert len(result.table) < 60
    assert "no new valid molecule" in result.stopped


def test_a_strategy_is_shown_the_new_molecules_of_its_pools(monkeypatch) -> None:
    shown: list[tuple[np.ndarray, int]] = []

    def consider(self, z: np.ndarray, features: np.ndarray) -> None:
        shown.append((z, len(features)))

    monkeypatch.setattr(strategies["neighbourhood"], "consider", consider)
    result = run(strategy="neighbourhood", pool=8)
    assert shown
    first = set(result.table["smiles"][:12])
    for z, n in shown:
        names = [Chem.CanonSmiles(s) for s in Chains().decode_greedily(z.astype(np.float32))]
        assert len(set(names)) == n
        assert not first & set(names)


def test_a_single_candidate_is_chosen_from_many() -> None:
    with History() as history:
        run(history, batch=1, budget=15, pool=None)
        assert [i.candidates for i in history.iterations()[1:]] == [1, 1, 1]
        assert min(i.decoded for i in history.iterations()[1:]) >= 100


def test_it_starts_from_the_prior_where_there_is_no_data_set() -> None:
    result = optimize(Chains(), Oracle("logP", 15, heavy_atoms=(2, 14)), config=CONFIG)
    assert len(result.table) == 15


def test_start_molecules_that_are_invalid_are_passed_over() -> None:
    start = ["", "C1CC", "C" * 100, "CCO", "OCC"]
    result = optimize(Chains(), Oracle("logP", 12, heavy_atoms=(2, 14)), start=start, config=CONFIG)
    assert result.table["smiles"].is_unique
    assert "CCO" in set(result.table["smiles"])


@pytest.mark.parametrize("strategy", ["ei", "ga"])
def test_leads_are_evaluated_first_all_of_them(strategy: str) -> None:
    leads = ["OCCO", "NCCN", "OCCO", "C1CC1", "nonsense", "C" * 20]
    oracle = Oracle("logP", 60, heavy_atoms=(2, 14))
    config = OptimizeConfig(strategy, initial=8, batch=6, pool=64)
    result = optimize(Chains(), oracle, start=START, config=config, leads=leads)
    assert result.table["smiles"][:3].tolist() == ["OCCO", "NCCN", "C1CC1"]
    first = result.table[result.table["iteration"] == 0]
    assert len(first) == 8
    if strategy == "ei":  # the others are found around them, not drawn
        assert len(set(first["smiles"]) & set(START)) < 3
    with pytest.raises(MolvaeError, match="leads"):
        optimize(Chains(), oracle, start=START, config=config, leads=leads[:2])


def test_until_values_differ_it_goes_on_as_it_began() -> None:
    shares = [(c, n, o) for c in range(1, 7) for n in range(1, 4) for o in range(1, 4)]
    start = [Chem.CanonSmiles("O" * o + "C" * c + "N" * n) for c, n, o in shares]  # not as decoded

    def drawn(objective: str | Objective, leads: tuple[str, ...] = ()) -> float:
        """The share of data among what is evaluated after the first round."""
        oracle = Oracle(objective, 60, heavy_atoms=(2, 14))
        table = optimize(Chains(), oracle, start=start, config=CONFIG, leads=leads).table
        assert len(table) == 60
        assert table.groupby("iteration").size()[1:].max() == 6  # the batch
        return float(table["smiles"][table["iteration"] > 0].isin(start).mean())

    flat = as_objective(lambda mol: 0.0)
    assert drawn("logP") == 0
    assert drawn(flat) >= 2 / 3
    assert drawn(flat, ("ClCCO", "ClCCCCN")) == 0  # around the leads, not elsewhere


def test_one_lead_is_enough_under_a_constraint_that_no_start_molecule_meets() -> None:
    constraints = ["similarity(CCCCCCCCOCCO)>=0.5"]
    oracle = Oracle("logP", 12, heavy_atoms=(2, 14), constraints=constraints)
    config = OptimizeConfig(initial=6, batch=3, pool=64)
    result = optimize(Chains(), oracle, start=START, config=config, leads=["OCCOCCCCCCCC"])
    assert len(result.table) >= 2
    assert all(oracle.admissible(smiles) for smiles in result.table["smiles"])


def test_wrong_settings_are_told() -> None:
    for settings in ({"batch": 0}, {"seed": -1}, {"strategy": "magic"}):
        with pytest.raises(MolvaeError):
            OptimizeConfig(**settings)
    with pytest.raises(MolvaeError, match=r"did you mean 'ga'\?.* trust-region, ga$"):
        OptimizeConfig("gaa")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, where `zinc` is the toy model and its chains."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr("molvae.model.molvae.MolVAE.load", lambda source, standardize: Chains())
    chains = DataSet("chains", START, 0, "chains")
    monkeypatch.setattr(
        "molvae.chem.datasets.load",
        lambda source, *options: chains if source == "chains" else load(source, *options),
    )
    return tmp_path


def test_the_command_writes_its_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["optimize", "--objective", "SAS", "--budget", "40", "--out", "run"]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "minimise SAS with" in printed
    assert "QED" in printed
    best = pd.read_csv(folder / "run" / "best.csv")
    assert list(best)[:2] == ["SAS", "smiles"]
    assert best["SAS"].is_monotonic_increasing  # the user's sign, the easiest to make first
    known = [objectives["SAS"].function(Chem.MolFromSmiles(s)) for s in best["smiles"]]
    np.testing.assert_allclose(best["SAS"], known)
    assert best["heavy_atoms"].between(2, 14).all()
    for name in ("best.png", "trace.png"):
        assert (folder / "run" / name).read_bytes().startswith(b"\x89PNG")
    config = json.loads((folder / "run" / "config.json").read_text())
    assert config["heavy_atoms"] == [2, 14]
    assert config["data"] == "chains"
    assert main(words) == 1
    assert "holds a run already" in capsys.readouterr().err
    assert main([*words, "--resume", "--seed", "3"]) == 1
    assert "--seed cannot change" in capsys.readouterr().err
    assert main(["optimize", "--out", "run", "--resume", "--budget", "45"]) == 0
    assert main(["optimize", "--out", "elsewhere", "--resume"]) == 1
    with History(folder / "run" / "history.sqlite") as history:
        assert len(history) == 45


STOPPING = """
import os, signal
calls = 0
def score(mol):
    global calls
    calls += 1
    if calls == 33:
        os.kill(os.getpid(), signal.{})
    return float(mol.GetNumAtoms())
"""


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C reaches Python, also where the tests run in the background of a shell."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_saves_and_says_how_to_go_on(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str, code: int
) -> None:
    module = f"stopping_{name.lower()}"
    (folder / f"{module}.py").write_text(STOPPING.format(name))
    before = signal.getsignal(signal.SIGTERM)
    words = ["optimize", "--objective", f"{module}:score", "--budget", "50", "--out", "run"]
    assert main([*words, "--quiet"]) == code
    assert signal.getsignal(signal.SIGTERM) is before
    said = capsys.readouterr().err
    assert said.startswith("stopped: 32 evaluations are saved in run; resume with: molvae ")
    assert main(shlex.split(said.partition("resume with: molvae ")[2])) == 0
    with History(folder / "run" / "history.sqlite") as history:
        assert len(history) == 50


def test_two_runs_share_a_history_and_pay_once(folder: Path) -> None:
    words = ["optimize", "--budget", "30", "--history", "shared.sqlite", "--strategy"]
    assert main([*words, "prior", "--out", "one"]) == 0
    assert main([*words, "neighbourhood", "--out", "two"]) == 0
    assert main(["optimize", "--resume", "--budget", "33", "--out", "one"]) == 0
    with closing(sqlite3.connect(folder / "shared.sqlite")) as file, file:
        rows = file.execute("SELECT run, smiles, y, seconds FROM evaluations").fetchall()
        sizes = file.execute("SELECT count(*) FROM evaluations GROUP BY run").fetchall()
    assert sizes == [(33,), (30,)]
    paid = [smiles for _, smiles, _, seconds in rows if seconds > 0]
    assert len(paid) == len(set(paid)) == len({smiles for _, smiles, _, _ in rows}) < 63


def test_the_command_begins_with_a_file_of_leads(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    leads = tmp_path / "leads.smi"
    leads.write_text("CCO first\nOCCO second\nC1CCCCC1CCCCCCCCCCC large\n")
    words = ["optimize", "--budget", "16", "--out", str(folder), "--start", str(leads)]
    words += ["--data", "chains"]
    assert main(words) == 0
    with History(folder / "history.sqlite") as history:
        assert [r.smiles for r in history.records()][:2] == ["CCO", "OCCO"]
    assert "large" not in capsys.readouterr().out
    leads.write_text("CCCO\n")
    assert main([*words[:4], str(folder), "--resume", "--budget", "20"]) == 1
    assert "leads" in capsys.readouterr().err
    leads.write_text("C1CCCCC1CCCCCCCCCCC\n")
    other = [*words[:4], str(tmp_path / "other"), "--data", "chains", "--start", str(leads)]
    assert main(other) == 1
    assert "none of the molecules to begin with" in capsys.readouterr().err


def test_wrong_words_leave_no_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (
        ["--objective", "logp"],
        ["--strategy", "magic"],
        ["--budget", "0"],
        ["--batch", "0"],
        ["--heavy-atoms", "9", "3"],
        ["--objective", "absent.module:score"],
    ):
        assert main(["optimize", *words]) == 1
        assert capsys.readouterr().err.count("\n") == 1
    assert os.listdir(folder) == []


def test_a_broken_objective_is_quoted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "broken_score.py").write_text("def score(mol): return mol.dock()\n")
    assert main(["optimize", "--objective", "broken_score:score", "--out", "run"]) == 1
    assert "has no attribute 'dock'" in capsys.readouterr().err


def test_a_genetic_algorithm_spends_the_same_budget_and_goes_on_where_it_stopped(zinc) -> None:
    def search(budget: int, history: History) -> list[tuple]:
        oracle = Oracle("logP", budget, history, heavy_atoms=(8, 30))
        config = OptimizeConfig("ga", batch=10, initial=30, seed=2)
        return [
            (r.smiles, r.y)
            for r in optimize(Chains(), oracle, start=zinc[:200], config=config).records
        ]

    whole = search(90, History())
    stopped = History()
    search(57, stopped)  # in the middle of a round
    assert search(90, stopped) == whole
    assert len({smiles for smiles, _ in whole}) == 90
    assert {smiles for smiles, _ in whole[:30]} <= set(zinc[:200])
    assert not {smiles for smiles, _ in whole[30:]} & set(zinc[:200])
    scores = [y for _, y in whole]
    assert np.mean(scores[60:]) > np.mean(scores[:30])  # it has learned something
    assert all(8 <= Chem.MolFromSmiles(s).GetNumHeavyAtoms() <= 30 for s, _ in whole)


def test_a_genetic_algorithm_breeds_until_a_round_is_full(zinc) -> None:
    # most children miss these conditions, and fifty of them hold no new one that meets them
    oracle = Oracle("QED", 30, heavy_atoms=(21, 21), constraints=["SAS<=2.4"])
    config = OptimizeConfig("ga", initial=10, seed=2)
    assert optimize(Chains(), oracle, start=zinc[:2000], config=config).stopped == SPENT
    assert oracle.history.settings["stopped"] == SPENT  # for who watches the run


def test_a_laboratory_is_asked_and_tells_over_several_days(tmp_path: Path) -> None:
    def today() -> tuple[Search, Oracle]:
        history = History(tmp_path / "lab.sqlite")
        oracle = Oracle(measured_objective("grease"), 30, history, heavy_atoms=(2, 14))
        return Search(
            Chains(), oracle, start=START, config=OptimizeConfig(initial=12, batch=6, seed=1)
        ), oracle

    def grease(smiles: str) -> float:
        return objectives["logP"].function(Chem.MolFromSmiles(smiles))

    search, oracle = today()
    first = search.ask()
    assert len(set(first)) == len(first) > 6
    assert search.ask() == first
    search.tell({name: grease(name) for name in first[:5]} | {first[5]: math.nan})
    again, oracle = today()
    assert again.ask() == first[6:]
    again.tell({"CCCCCCCCCl": grease("CCCCCCCCCl")})  # measured without being asked for
    assert today()[0].ask() == first[6:]
    again.tell(
        {Chem.MolToRandomSmilesVect(Chem.MolFromSmiles(n), 1)[0]: grease(n) for n in first[6:]}
    )
    while names := today()[0].ask():
        assert not set(names) & set(first)
        search, oracle = today()
        search.tell({name: grease(name) for name in names})
    assert oracle.remaining == 0
    rounds = len(oracle.history.iterations())
    assert search.ask() == []
    assert len(oracle.history.iterations()) == rounds
    records = oracle.history.records()
    assert [r.error for r in records if np.isnan(r.y)] == ["told nan"]
    assert max(r.y for r in records[13:]) > max(r.y for r in records[:13])
    with pytest.raises(MolvaeError, match="1 values, but 0 evaluations are left"):
        search.tell({"CCCCCCO": 1.0})


def test_what_is_told_must_be_new_and_admissible() -> None:
    search = Search(
        Chains(), Oracle(measured_objective("grease"), 30, heavy_atoms=(2, 14)), start=START
    )
    search.tell({"CCO": 1.0})
    for told, message in (
        ({"CCCC": 1.0, "CCCN": math.inf}, "expected a finite number, or NaN"),
        ({"CCCC": 1.0, "CCCN": "2.0"}, "expected a value for each of grease"),
        ({"CCCC": 1.0, "CCCN": None}, "expected a finite number, or NaN"),
        ({"CCCC": 1.0, "CCCN": 1j}, "expected a finite number, or NaN"),
        ({"CCCC": 1.0, "CCCN": (1.0, 2.0)}, "expected a value for each of grease"),
        ({"CCCC": 1.0, None: 2.0}, "is not a text"),
        ({"CCCC": 1.0, "OCC": 2.0}, "has a value already"),
        ({"CCCC": 1.0, "C(": 2.0}, "it is not a valid molecule"),
        ({"C" * 20: 2.0}, "20 heavy atoms"),
        ({"CCCN": 1.0, "NCCC": 2.0}, "has a value already"),
    ):
        with pytest.raises(MolvaeError, match=message):
            search.tell(told)
    search.tell({"CCCC": 2, "CCCN": np.float32(3)})  # none of them was stored before
    assert search.oracle.history["CCCN"].y == 3
    # as many failures as end a search that computes its values
    failed = {"C" * i + "O" * j: math.nan for i in range(2, 8) for j in range(1, 6)}
    others = Search(Chains(), Oracle(measured_objective("grease"), 40, heavy_atoms=(2, 14)))
    others.tell(failed)
    assert len(others.oracle.history) == len(failed) == 30


def test_what_was_measured_of_several_quantities_is_kept_where_another_failed() -> None:
    both = [measured_objective("grease"), measured_objective("smell", maximise=False)]
    search = Search(Chains(), Oracle(both, 30, heavy_atoms=(2, 14)), start=START)
    search.tell({"CCO": (1.0, math.nan), "CCN": np.array([2.0, 1e300])})
    records = search.oracle.history.records()
    assert [r.values[0] for r in records] == [1.0, 2.0]
    assert all(np.isnan(r.values[1]) for r in records)
    assert [r.error for r in records] == ["told 1.0, nan", "told 2.0, 1e+300"]


@pytest.mark.parametrize("strategy", strategy_names())
def test_enormous_values_end_no_strategy(strategy: str) -> None:
    """What a docking script returns for a molecule without a pose, up to the limit and beyond."""
    enormous = [-sys.float_info.max, -1e155, -1e30, 1e30]

    def dock(mol: Chem.Mol) -> float:
        atoms = mol.GetNumAtoms()
        return enormous[atoms // 3 % 4] if atoms % 3 == 0 else float(atoms)

    result = run(objective=dock, strategy=strategy)
    assert len(result.records) == 40
    assert result.table["error"].str.contains("beyond 1e").any()
    several = Oracle([dock, "logP"], 40, heavy_atoms=(2, 14))
    if strategy != "ga":
        config = OptimizeConfig(strategy, initial=12, batch=6, pool=64, seed=1)
        result = optimize(Chains(), several, start=START, config=config)
        assert len(result.records) == 40
        failed = result.table["error"].notna()
        assert failed.any()
        assert result.table["logP"].notna().all()  # what did not fail is known
        assert np.isfinite(result.trace).all()


def test_a_front_holds_all_molecules_of_equal_values() -> None:
    def atoms(mol: Chem.Mol) -> float:
        return float(mol.GetNumAtoms())

    def carbons(mol: Chem.Mol) -> float:
        return -float(sum(atom.GetSymbol() == "C" for atom in mol.GetAtoms()))

    oracle = Oracle([atoms, carbons], 20)
    oracle(["CCO", "CCN", "CCF", "CCC", "CCCO", "CCCN"])
    records = oracle.history.records()
    best = Result(records, [], "", oracle.objectives).best(10)
    assert set(best["smiles"]) == {"CCO", "CCN", "CCF", "CCCO", "CCCN"}
    assert best["atoms"].is_monotonic_decreasing


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        (
            "UPDATE evaluations SET iteration = 1000000 WHERE number = 3",
            "molecules of round 1000000",
        ),
        ("UPDATE iterations SET iteration = 1000000 WHERE iteration = 2", "round 2 is missing"),
        ("DELETE FROM iterations WHERE iteration = 0", "round 0 is missing"),
        ("DELETE FROM evaluations", "12 evaluations of round 0 are missing"),
        ("DELETE FROM evaluations WHERE number > 15", "evaluations of round 1 are missing"),
        ("UPDATE evaluations SET smiles = 'C1CC' WHERE number = 3", "'C1CC' is not a valid SMILES"),
        ("UPDATE settings SET value = '7' WHERE name = 'asked for'", "asked for = 7"),
        ("UPDATE settings SET value = '[1]' WHERE name = 'strategy'", "strategy = "),
        ("UPDATE settings SET value = '\"x\"' WHERE name = 'batch'", "batch = 'x'"),
        ("UPDATE settings SET value = '[1]' WHERE name = 'heavy_atoms'", "heavy_atoms = "),
        ("UPDATE settings SET value = '3' WHERE name = 'sources'", "sources = 3"),
        ("UPDATE evaluations SET z = x'00000000'", "begun with another model"),
    ],
)
def test_a_damaged_history_is_one_line_that_names_it(
    sql: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "history.sqlite"
    with History(path) as history:
        run(history, budget=33)
    with History(path) as history:
        history._db.execute(sql)
    with History(path) as history:
        oracle, config = Oracle("logP", 40, history), OptimizeConfig(seed=1, pool=64)
        with pytest.raises(MolvaeError) as error:
            optimize(Chains(), oracle, start=START, config=config)
    assert message in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_search_that_stands_still_ends_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Search, "tell_outcome", lambda self, outcome: None)
    with pytest.raises(MolvaeError, match="makes no progress"):
        run()


def test_a_strategy_that_only_the_history_names_is_not_imported(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "foreign_strategy.py").write_text("raise SystemExit('was run')")
    monkeypatch.syspath_prepend(folder)
    history = History()
    history.save_settings({"strategy": "foreign_strategy:Strategy"})
    with pytest.raises(MolvaeError, match="import foreign_strategy first, if you trust it"):
        optimize(Chains(), Oracle("logP", 40, history), start=START)


COSTLY = """
import os, time
def assay(mol):
    time.sleep(0.05)
    with open("calls", "a") as file:
        file.write("x")
    return float(mol.GetNumAtoms())
"""


@pytest.mark.parametrize("words", [[], ["--jobs", "2"], ["--jobs", "2", "--asynchronous"]])
def test_two_runs_that_begin_at_once_pay_for_no_molecule_twice(
    words: list[str], zinc: list[str], tmp_path: Path
) -> None:
    (tmp_path / "few.smi").write_text("\n".join(zinc[:200]))
    (tmp_path / "costly_lab.py").write_text(COSTLY)
    root = str(Path(molvae.__file__).parents[1])
    command = [sys.executable, "-m", "molvae", "optimize", "--objective", "costly_lab:assay"]
    command += ["--model", "zinc", "--data", "few.smi", "--budget", "24", "--batch", "8", *words]
    command += ["--history", "shared.sqlite"]
    runs = [
        subprocess.Popen(
            [*command, "--out", name],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": root},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for name in ("one", "two")
    ]
    assert [(process.communicate()[1][-500:], process.returncode)[1] for process in runs] == [0, 0]
    with closing(sqlite3.connect(tmp_path / "shared.sqlite")) as file, file:
        rows = file.execute("SELECT smiles, y FROM evaluations").fetchall()
        assert not file.execute("SELECT * FROM claims").fetchall()
    file.close()
    assert len(rows) == 48
    assert len((tmp_path / "calls").read_text()) == len({smiles for smiles, _ in rows}) < 48


SCORES = """
def score(mol):
    with open("ran", "a") as file:
        file.write("x")
    return float(mol.GetNumAtoms())
"""


@pytest.fixture
def foreign(folder: Path) -> Path:
    """A run folder, begun with a function and a strategy of somebody's."""
    (folder / "foreign_scores.py").write_text(SCORES)
    words = ["--objective", "foreign_scores:score", "--budget", "30", "--out", "run"]
    assert main(["optimize", *words]) == 0
    (folder / "ran").unlink()
    yield folder
    sys.modules.pop("foreign_scores", None)


@pytest.mark.parametrize(
    "stored",
    [
        {},
        {"objective": ["cmd:touch ran {smiles}"]},
        {"objective": ["logP", "os:system"]},
        {"objective": ["goals.json"]},
        {"objective": "cmd:touch ran {smiles}"},
        {"objective": ["logP"], "strategy": "foreign_scores:score"},
    ],
)
def test_a_run_folder_runs_no_code_without_the_users_word(
    stored: dict[str, object], foreign: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sys.modules.pop("foreign_scores")
    config = foreign / "run" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | stored))
    resume = ["optimize", "--resume", "--out", "run", "--budget", "35"]
    assert main(resume) == 1
    said = capsys.readouterr().err
    assert "which runs code: if you trust it, give the same --" in said
    assert said.count("\n") == 1
    assert not (foreign / "ran").exists()
    assert "foreign_scores" not in sys.modules
    assert main([*resume, "--objective", "cmd:echo {smiles}"]) == 1  # another one
    assert "--objective cannot change" in capsys.readouterr().err


@pytest.mark.parametrize("word", [["--objective", "foreign_scores:score"], ["--trust-folder"]])
def test_with_the_users_word_it_goes_on(word: list[str], foreign: Path) -> None:
    assert main(["optimize", "--resume", "--out", "run", "--budget", "35", *word]) == 0
    with History(foreign / "run" / "history.sqlite") as history:
        assert len(history) == 35


def test_a_changed_objective_is_continued_only_where_that_is_allowed(
    foreign: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (foreign / "foreign_scores.py").write_text(SCORES.replace("float(", "10 * float("))
    resume = ["optimize", "--resume", "--out", "run", "--budget", "35", "--trust-folder"]
    assert main(resume) == 1
    said = capsys.readouterr().err
    assert "foreign_scores.py has changed since this run began" in said
    assert said.count("\n") == 1
    assert not (foreign / "ran").exists()
    assert main([*resume, "--allow-changed-objective"]) == 0


def test_a_history_that_is_gone_or_empty_is_not_begun_afresh(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["optimize", "--budget", "20", "--out", "run"]) == 0
    path = folder / "run" / "history.sqlite"
    whole = path.read_bytes()
    resume = ["optimize", "--resume", "--out", "run", "--budget", "25"]
    path.unlink()
    assert main(resume) == 1
    assert "history.sqlite is gone, the history of the run in run" in capsys.readouterr().err
    assert not path.exists()
    path.write_bytes(b"")
    assert main(resume) == 1
    assert "history.sqlite is empty" in capsys.readouterr().err
    path.write_bytes(whole)
    with History(path) as history:
        history._db.execute("DELETE FROM evaluations")
        history._db.execute("DELETE FROM settings")
    assert main(resume) == 1
    path.write_bytes(whole)
    assert main(resume) == 0


def test_what_cannot_be_identified_is_a_note_in_the_shell(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "called_lab.py").write_text(
        "class Score:\n    def __call__(self, mol): return mol.GetNumAtoms()\nscore = Score()"
    )
    words = ["optimize", "--objective", "called_lab:score", "--budget", "20", "--out", "run"]
    assert main([*words, "--history", "shared.sqlite"]) == 0
    said = capsys.readouterr().err
    assert said.count("what computes called_lab:score is not in a file") == 1
    sys.modules.pop("called_lab")


@pytest.mark.parametrize("strategy", ["neighbourhood", "ga"])
def test_others_are_asked_for_while_some_are_still_measured(strategy: str, tmp_path: Path) -> None:
    def today() -> Search:
        oracle = Oracle(measured_objective("grease"), 40, History(tmp_path / "lab.sqlite"), (2, 14))
        return Search(Chains(), oracle, start=START, config=OptimizeConfig(strategy, 6, initial=12))

    search = today()
    first = search.ask()
    search.tell({name: float(len(name)) for name in first[:-3]})
    second = today().ask(ahead=True)
    assert second
    assert not set(second) & set(first)
    assert today().ask() == [*first[-3:], *second]  # all that is pending
    search = today()
    search.tell({name: float(len(name)) for name in [*second, first[-1]]})
    third = search.ask(ahead=True)
    assert not set(third) & {*first, *second}
    search.tell({name: float(len(name)) for name in [*third, *first[-3:-1]]})
    pending: list[str] = []
    while names := search.ask(ahead=True):
        pending += names
    assert len(pending) == len(set(pending)) == 40 - len([*first, *second, *third])
    assert today().ask() == pending
    search.tell(dict.fromkeys(pending, 1.0))
    assert search.ask() == []
    with History(tmp_path / "lab.sqlite") as history:
        rounds = {record.smiles: record.iteration for record in history.records()}
    assert {rounds[name] for name in first} == {0}
    assert {rounds[name] for name in second} == {1}


def test_a_measured_quantity_is_not_computed() -> None:
    oracle = Oracle(measured_objective("affinity", maximise=False), 5)
    assert np.isnan(oracle(["CCO"])).all()
    assert "measured elsewhere" in str(oracle.history["CCO"].error)
    oracle.tell("CCN", 2.0)
    assert oracle.history["CCN"].y == -2.0


@pytest.mark.parametrize("strategy", ["ehvi", "ei", "neighbourhood"])
def test_several_objectives_have_a_front_that_no_evaluation_dominates(strategy: str) -> None:
    history = History()
    oracle = Oracle(["QED", "logP", "SAS"], 40, history, heavy_atoms=(2, 14))
    config = OptimizeConfig(strategy, batch=6, initial=12, pool=64)
    result = optimize(Chains(), oracle, start=START, config=config)
    columns = ["QED", "logP", "-SAS"]
    assert list(result.table)[3:6] == columns
    y = result.table[columns].to_numpy()
    best = result.best(100)
    rows = best[columns].to_numpy()
    assert best["QED"].is_monotonic_decreasing
    for row in rows:
        assert not ((y >= row).all(axis=1) & (y > row).any(axis=1)).any()
    others = result.table[~result.table["smiles"].isin(best["smiles"])][columns].to_numpy()
    assert all((rows >= other).all(axis=1).any() for other in others)
    assert (np.diff(result.trace) >= 0).all()
    assert result.trace[-1] > result.trace[20] > 0
    mol = Chem.MolFromSmiles(best["smiles"][0])
    assert best["-SAS"][0] == -objectives["SAS"].function(mol)


def test_several_objectives_are_kept_and_go_on(tmp_path: Path) -> None:
    config = OptimizeConfig("ehvi", batch=6, initial=12, pool=64)

    def table(history: History, budget: int) -> pd.DataFrame:
        oracle = Oracle(["QED", "logP"], budget, history, heavy_atoms=(2, 14))
        result = optimize(Chains(), oracle, start=START, config=config)
        return result.table.drop(columns="seconds")

    with History(tmp_path / "h.sqlite") as history:
        table(history, 21)
    with History(tmp_path / "h.sqlite") as history:
        resumed = table(history, 30)
    pd.testing.assert_frame_equal(resumed, table(History(), 30))
    with History(tmp_path / "h.sqlite") as history, pytest.raises(MolvaeError, match="QED, logP"):
        optimize(Chains(), Oracle("QED", 40, history, (2, 14)), start=START, config=config)


def test_one_of_several_objectives_that_fails_fails_the_molecule() -> None:
    def moody(mol: Chem.Mol) -> float:
        return math.nan if mol.GetNumAtoms() % 2 else 1.0

    oracle = Oracle(["logP", moody], 5)
    y = oracle(["CCO", "CCCO", "nothing"])
    assert y.shape == (3, 2)
    assert y[0, 0] == pytest.approx(-0.0014)  # what did not fail is kept
    assert np.isnan(y[[0, 2], 1]).all()
    assert y[1, 1] == 1.0
    assert oracle.history["CCO"].error == "moody: ValueError: returned nan"
    with pytest.raises(MolvaeError, match="a value for each of logP, moody"):
        oracle.tell("CCCCO", 3.0)
    oracle.tell("CCCCO", (3.0, 4.0))
    assert oracle.history["CCCCO"].values == (3.0, 4.0)


def test_the_command_draws_the_front_of_several_objectives(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["optimize", "--objective", "QED", "SAS", "--budget", "40"]
    assert main([*words, "--out", "run"]) == 0
    assert json.loads((folder / "run" / "config.json").read_text())["strategy"] == "ehvi"
    assert "Pareto front of" in capsys.readouterr().out
    best = pd.read_csv(folder / "run" / "best.csv")
    assert list(best)[:3] == ["QED", "SAS", "smiles"]
    assert best["SAS"].is_monotonic_decreasing  # along the front the drug-likeness falls with it
    for name in ("best.png", "trace.png", "front.png"):
        assert (folder / "run" / name).read_bytes().startswith(b"\x89PNG")
    assert main(["optimize", "--out", "run", "--resume", "--budget", "42"]) == 0
    assert main([*words, "--strategy", "ga", "--out", "other"]) == 1
    assert "one objective" in capsys.readouterr().err


@pytest.mark.parametrize("objectives", [["logP"], ["QED", "SAS"]])
def test_shell_and_python_give_the_same_run(folder: Path, objectives: list[str]) -> None:
    words = ["optimize", "--objective", *objectives, "--budget", "40", "--out", "run"]
    assert main(words) == 0
    with History(folder / "run" / "history.sqlite") as history:
        shell = [(r.smiles, r.iteration, r.values) for r in history.records()]
        settings = {k: v for k, v in history.settings.items() if k != "asked for"}
    history = History()
    chains = DataSet("chains", START, 0, "chains").split("train")
    result = optimize(Chains(), Oracle(objectives, 40, history), start=chains)
    assert [(r.smiles, r.iteration, r.values) for r in result.records] == shell
    assert {k: v for k, v in history.settings.items() if k != "asked for"} == settings
    assert settings["heavy_atoms"] == [2, 14]


def test_the_oracle_states_the_sizes_or_the_model_does() -> None:
    def sizes(stated: object) -> object:
        oracle = Oracle("logP", 12, heavy_atoms=stated)  # type: ignore[arg-type]
        optimize(Chains(), oracle, start=START, config=CONFIG)
        return oracle.heavy_atoms

    assert sizes(None) == (2, 14)
    assert sizes((3, 9)) == (3, 9)
    assert sizes("any") is None


def test_leads_that_cannot_be_evaluated_are_reported_and_too_many_refused() -> None:
    leads = ["OCCO", "C" * 20, "nonsense"]
    search = Search(Chains(), Oracle("logP", 20), start=START, leads=leads)
    assert set(search.left_out) == {"C" * 20, "nonsense"}
    assert "heavy atoms" in search.left_out["C" * 20]
    with pytest.raises(MolvaeError, match="3 molecules to begin with, but the budget is 2"):
        optimize(Chains(), Oracle("logP", 2), leads=["CCO", "CCN", "CCC"])
    with pytest.raises(MolvaeError, match="none of the molecules to begin with"):
        optimize(Chains(), Oracle("logP", 2), leads=["C" * 20])
