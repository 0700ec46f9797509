"""Values that were known before the run: free, learned from at once, told from the others."""

import math
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem

from chains import START, Chains, Interrupted
from molvae.base.errors import MolvaeError
from molvae.chem.properties import logp, sas
from molvae.loop.ask_tell import Search
from molvae.loop.config import OptimizeConfig, strategy_names
from molvae.loop.optimization import SPENT, optimize
from molvae.loop.result import Result
from molvae.model.molvae import MolVAE
from molvae.oracles.history import History
from molvae.oracles.objectives import measured_objective
from molvae.oracles.oracle import GIVE_UP_AFTER, Oracle

CONFIG = OptimizeConfig(initial=12, batch=6, pool=64, seed=1)
CHAINS = ["C" * n + end for n in range(1, 7) for end in ("O", "N", "CO", "CN")]
KNOWN = {name: logp(Chem.MolFromSmiles(name)) for name in dict.fromkeys(CHAINS)}

pytestmark = pytest.mark.filterwarnings("ignore:what computes Interrupted is not in a file")


def run(
    history: History | None = None, objective=None, known=None, budget: int = 20, **more
) -> Result:
    oracle = Oracle(objective or "logP", budget, history, heavy_atoms=(2, 14))
    more = {"start": START, "config": CONFIG, "known": KNOWN if known is None else known, **more}
    return optimize(Chains(), oracle, **more)


@pytest.mark.parametrize("strategy", strategy_names())
def test_known_values_cost_nothing_and_every_strategy_learns_from_them(strategy: str) -> None:
    config = OptimizeConfig(strategy, batch=6, pool=64, seed=1)
    known = {name: logp(Chem.MolFromSmiles(name)) for name in ["CCO", *CHAINS[8:]]}
    result = run(known=known, config=config)
    table = result.table
    assert set(table["smiles"][table["known"]]) == set(known)
    if result.stopped == SPENT:  # there are few chains
        assert (~table["known"]).sum() == 20
    assert table["smiles"].is_unique
    assert result.known == len(known)
    # none of the budget goes to a first round of molecules from the data, which has 12
    assert result.iterations[0].candidates == 6
    if strategy in ("neighbourhood", "thompson"):
        assert table["y"][~table["known"]].median() > np.median(list(known.values()))


def test_leads_without_a_value_come_first() -> None:
    for strategy, more in (("neighbourhood", 4), ("ga", 4)):
        config = OptimizeConfig(strategy, batch=6, pool=64, seed=1)
        history = History()
        run(history, leads=["NCCO", "CCO", "OCCCCO"], config=config)
        first = [r.smiles for r in history.records() if r.iteration == 0]
        assert {"NCCO", "OCCCCO"} <= set(first)
        assert len(first) == 2 + more
    history = History()  # more of them than a round has candidates
    leads = [f"{'C' * n}Cl" for n in range(2, 11)]
    run(history, leads=leads)
    assert {r.smiles for r in history.records() if r.iteration == 0} == set(leads)


def test_what_is_proposed_beside_leads_is_none_of_them() -> None:
    """Here the best proposals are the leads themselves."""
    leads = [f"{'C' * n}Cl" for n in range(9, 13)]
    known = {name: logp(Chem.MolFromSmiles(name)) for name in ("CCCCCCCCCl", "CCCCCCCO", "CCO")}
    for seed in range(5):
        history = History()
        config = OptimizeConfig(batch=6, pool=64, seed=seed)
        run(history, known=known, leads=leads, config=config, budget=6)
        assert history.spent == 6
        assert {record.iteration for record in history.records()} == {-1, 0}


def test_a_known_molecule_need_not_be_plausible(zinc: list[str]) -> None:
    polysulfide = "CSSSSSc1ccccc1"
    oracle = Oracle("logP", 9)
    search = Search(MolVAE.load("zinc"), oracle, known={polysulfide: 4.5, zinc[0]: 1.0})
    assert search.left_out == {}
    assert polysulfide in oracle.history


def test_equal_known_values_teach_nothing_yet() -> None:
    result = run(known=dict.fromkeys(CHAINS[:6], 1.0))
    table = result.table
    assert (~table["known"]).sum() == 20
    assert table["y"].max() > 1


def test_several_objectives_have_several_values_with_the_signs_of_the_user() -> None:
    mols = {name: Chem.MolFromSmiles(name) for name in KNOWN}
    known = {name: (-logp(mol), sas(mol)) for name, mol in mols.items()}
    result = run(objective=["-logP", "SAS"], known={n: (-a, b) for n, (a, b) in known.items()})
    for record in result.records:
        if record.known:
            assert record.values == (known[record.smiles][0], -known[record.smiles][1])
    assert result.best(99)["known"].any()
    assert len(result.trace) == len(result.records)


def test_a_molecule_with_a_value_is_not_evaluated() -> None:
    calls = []

    def counted(mol: Chem.Mol) -> float:
        calls.append(Chem.MolToSmiles(mol))
        return logp(mol)

    known = KNOWN | {"OCC": 50.0}  # as others write it, and as no function computes it
    del known["CCO"]
    result = run(objective=counted, known=known)
    assert len(calls) == 20
    assert not set(calls) & {record.smiles for record in result.records if record.known}
    assert result.best(1)["y"].tolist() == [50.0]
    assert result.best(1)["known"].tolist() == [True]


def test_a_run_that_is_killed_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    leads = ["NCCO", "OCCCCO"]
    whole = run(objective=Interrupted(after=99), leads=leads)
    path = tmp_path / "h.sqlite"
    for after in (1, 9):
        with History(path) as history, pytest.raises(KeyboardInterrupt):
            run(history, Interrupted(after), leads=leads)
    with History(path) as history:
        resumed = run(history, Interrupted(after=99), leads=leads)
        assert history.spent == 20
    one, other = (
        [(r.iteration, r.smiles, r.values, r.known) for r in result.records]
        for result in (whole, resumed)
    )
    assert one == other
    with History(path) as history:
        assert run(history, Interrupted(after=99), leads=leads, budget=26).known == len(KNOWN)
        assert history.spent == 26


def test_a_run_is_not_continued_with_other_known_values(tmp_path: Path) -> None:
    with History(tmp_path / "h.sqlite") as history:
        run(history, budget=14)
        for known in (KNOWN | {"CCO": 9.0}, KNOWN | {"CCCl": 1.0}, {}):
            with pytest.raises(MolvaeError, match="begun with known values = "):
                run(history, known=known, budget=20)
        run(history, known=dict(reversed(KNOWN.items())), budget=20)
    with History(tmp_path / "old.sqlite") as history:
        run(history, known={}, budget=14)
        history._db.execute("DELETE FROM settings WHERE name = 'known values'")  # earlier versions
        with pytest.raises(MolvaeError, match="begun with known values = "):
            run(history, budget=20)
        run(history, known={}, budget=20)


def test_ask_and_tell_begins_with_what_a_laboratory_knows() -> None:
    oracle = Oracle(measured_objective("activity"), 10, heavy_atoms=(2, 14))
    search = Search(Chains(), oracle, config=CONFIG, known=KNOWN)
    names = search.ask()
    assert len(names) == 6
    assert not set(names) & set(KNOWN)
    with pytest.raises(MolvaeError, match="has a value already"):
        search.tell({"OCC": 3.0})
    search.tell(dict.fromkeys(names, 1.0))
    assert oracle.remaining == 4


@pytest.mark.parametrize(
    ("known", "message"),
    [
        ({"CCO": 1.0, "OCC": 2.0}, "'OCC' has two known values"),
        ({"CCO": (1.0, 2.0)}, "expected a value for each of logP"),
        ({"CCO": math.inf}, "expected a finite number"),
        ({"CCO": "high"}, "expected a value for each"),
        ({"C" * 30: 1.0}, "none of the molecules to begin with"),
    ],
)
def test_what_cannot_be_a_known_value_is_told(known: dict, message: str) -> None:
    history = History()
    with pytest.raises(MolvaeError, match=message):
        run(history, known=known)
    assert not len(history)


def test_what_is_not_admissible_is_left_out_and_named() -> None:
    oracle = Oracle("logP", 9, heavy_atoms=(2, 14), constraints=["lacks:Cl"])
    known = KNOWN | {"CCCl": 2.0, "C" * 30: 9.0, "C1CC": 1.0}
    search = Search(Chains(), oracle, config=CONFIG, known=known)
    assert set(search.left_out) == {"CCCl", "C" * 30, "C1CC"}
    assert len(oracle.history) == len(KNOWN)


def test_a_failed_measurement_is_known_and_not_repeated() -> None:
    result = run(known=KNOWN | {"CCCl": math.nan, "CCCCl": 1e40})
    failed = [record for record in result.records if record.error is not None]
    assert {record.smiles: record.error for record in failed} == {
        "CCCl": "told nan",
        "CCCCl": "told 1e+40",
    }
    assert all(record.known for record in failed)


def test_an_objective_that_always_fails_is_noticed_beside_known_values() -> None:
    def broken(mol: Chem.Mol) -> float:
        raise OSError("no licence")

    history = History()
    with pytest.raises(MolvaeError, match=f"failed for all {GIVE_UP_AFTER} molecules.*no licence"):
        run(history, broken, budget=60)


def test_leads_that_must_be_evaluated_must_fit_the_budget_and_known_ones_need_not() -> None:
    assert run(budget=3).known == len(KNOWN) > 3
    with pytest.raises(MolvaeError, match="4 molecules to begin with, but the budget is 3"):
        run(budget=3, leads=["CCCl", "CCCCl", "CCCCCl", "CCCCCCl", "CCO"])


def test_known_values_are_no_scores_for_other_runs_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "shared.sqlite"
    with History(path, "one") as history:
        run(history, known={**KNOWN, "CCO": 77.0})
    with History(path, "two") as history:
        values = Oracle("logP", 5, history)(["CCO"])
    assert values == [logp(Chem.MolFromSmiles("CCO"))]


def test_known_values_are_stored_together_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "h.sqlite"
    with History(path) as history:
        oracle = Oracle("logP", 5, history)
        oracle.add_known({"CCO": (1.0,), "CCN": (2.0,)}, [None, None])
        with pytest.raises(MolvaeError, match="already stored"):
            oracle.add_known({"CCC": (1.0,), "CCN": (2.0,)}, [None, None])
    with History(path) as history:
        assert [record.smiles for record in history.records()] == ["CCO", "CCN"]


def test_a_history_of_an_earlier_version_is_read_and_continued(tmp_path: Path) -> None:
    path = tmp_path / "old.sqlite"
    with History(path) as history:
        history.add("CCO", 1.0, seconds=0.1)
    with closing(sqlite3.connect(path)) as file, file:
        file.execute("ALTER TABLE evaluations DROP COLUMN known")
    file.close()
    with History(path) as history:
        assert [record.known for record in history.records()] == [False]
        history.add("CCN", 2.0, seconds=0.0, known=True)
    with History(path) as history:
        assert [record.known for record in history.records()] == [False, True]
        assert (len(history), history.spent) == (2, 1)
