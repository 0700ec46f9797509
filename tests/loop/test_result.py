"""What a run is by default, and what it found, from records that are written down here."""

import math

import numpy as np
import pandas as pd
import pytest

from chains import START, Chains
from molvae import OptimizeConfig, Oracle
from molvae.base.errors import MolvaeError
from molvae.chem.property_tables import compute_properties
from molvae.loop.ask_tell import Search
from molvae.loop.result import Result
from molvae.oracles.given import as_objective
from molvae.oracles.history import History, Iteration, Record
from molvae.search.pareto import hypervolume, reference_point


def result(*values: tuple[float, ...], labels: tuple[str, ...] = ("logP",)) -> Result:
    records = [
        Record(i, i // 2, "C" * (i + 1), some, "no" if math.isnan(some[0]) else None, 0.5, None)
        for i, some in enumerate(values)
    ]
    rounds = [Iteration(0, 30, 10, 2, 1.5), Iteration(1, 50, 50, 2, 2.0)]
    objectives = tuple(as_objective(label.removeprefix("-")) for label in labels)
    return Result(records, rounds, "the budget is spent", objectives)


def test_the_best_come_first_and_failures_not_at_all() -> None:
    found = result((1.0,), (math.nan,), (3.0,), (2.0,), (3.0,))
    assert found.best(2)["smiles"].tolist() == ["CCC", "CCCCC"]  # of equal ones the earlier first
    assert found.best()["y"].tolist() == [3, 3, 2, 1]
    assert found.best(3).index.tolist() == [0, 1, 2]
    assert found.table["number"].tolist() == [0, 1, 2, 3, 4]
    assert found.table["iteration"].tolist() == [0, 0, 1, 1, 2]
    assert found.table["error"].dropna().tolist() == ["no"]
    np.testing.assert_array_equal(found.trace, [1, 1, 3, 3, 3])
    np.testing.assert_array_equal(result((math.nan,), (2.0,)).trace, [math.nan, 2])
    assert result().trace.tolist() == []
    assert found.valid_fraction == 60 / 80
    assert found.seconds == 3.5
    assert Result([], [], "", (as_objective("logP"),)).valid_fraction == 0


def test_noise_is_found_and_what_another_evaluation_would_give(zinc: list[str]) -> None:
    rng = np.random.default_rng(0)
    truth = compute_properties(zinc[:200])["logP"].to_numpy()
    luck = truth.std() * rng.standard_normal(200)
    luck[7] = math.nan
    rows = zip(zinc, truth + luck, -truth, strict=False)
    records = [
        Record(i, 0, name, (y, exact), "no" if math.isnan(y) else None, 0.5, None)
        for i, (name, y, exact) in enumerate(rows)
    ]
    objectives = (as_objective("logP"), as_objective("SAS"))
    found = Result(records, [], "the budget is spent", objectives)
    assert list(found.noise) == ["logP"]
    assert found.noise["logP"] == pytest.approx(truth.std(), rel=0.2)
    expected = found.expect(zinc[:200])
    assert expected.shape == (200, 2)
    assert np.abs(expected[:, 0] - truth).mean() < 0.6 * np.nanmean(np.abs(luck))
    np.testing.assert_allclose(expected[:, 1], -truth, atol=0.1)
    nothing = result((math.nan,), (2.0,))
    assert nothing.noise == {}
    assert np.isnan(nothing.expect(["CCO"])).all()


def test_of_several_objectives_the_front_is_best_and_its_volume_grows() -> None:
    values = [(1.0, 1.0), (math.nan, math.nan), (0.0, 3.0), (0.5, 0.5), (2.0, 2.0)]
    found = result(*values, labels=("QED", "-SAS"))
    assert found.best()["smiles"].tolist() == ["CCCCC", "CCC"]
    assert list(found.best())[3:5] == ["QED", "-SAS"]
    y = np.array(values)
    below = reference_point(y)
    expected = [hypervolume(y[: n + 1], below) for n in range(5)]
    np.testing.assert_allclose(found.trace, expected)
    assert expected[0] == expected[1] < expected[2] == expected[3] < expected[4]
    nothing = result((math.nan, math.nan), labels=("QED", "-SAS"))
    assert len(nothing.best()) == 0
    assert np.isnan(nothing.trace).all()


def begin(budget: int, history: History | None = None, **options: object) -> Search:
    oracle = Oracle("logP", budget, history, heavy_atoms=(2, 14))
    return Search(Chains(), oracle, start=START, config=OptimizeConfig(**options))


@pytest.mark.parametrize(
    ("budget", "options", "expected"),
    [
        (100, {}, {"batch": 10, "initial": 30, "pool": 100, "stage": 10}),
        (20, {}, {"batch": 2, "initial": 6, "pool": 100}),
        (10_000, {}, {"batch": 25, "initial": 100, "pool": 250, "stage": 1_000}),
        (100, {"strategy": "ga"}, {"batch": 5, "initial": 30, "pool": 100, "stage": 10}),
        (100, {"batch": 20}, {"batch": 20, "initial": 30, "pool": 200, "stage": 20}),
        (100, {"batch": 2, "initial": 7, "pool": 3}, {"batch": 2, "initial": 7, "pool": 3}),
    ],
)
def test_what_is_left_open_follows_from_the_budget(
    budget: int, options: dict[str, object], expected: dict[str, int]
) -> None:
    run = begin(budget, **options).run
    assert {name: getattr(run, name) for name in expected} == expected
    assert run.strategy == options.get("strategy", "neighbourhood")


def test_a_continued_run_keeps_what_it_began_with() -> None:
    history = History()
    first = begin(4_000, history, strategy="ei", seed=3).run
    again = begin(40_000, history, seed=3).run  # a larger budget alone would mean larger batches
    for name in ("strategy", "batch", "initial", "pool", "seed", "stage"):
        assert getattr(again, name) == getattr(first, name)
    for other in ({"batch": 7}, {"initial": 9}, {"pool": 5}, {"strategy": "ga"}, {"seed": 4}):
        (name,) = other
        with pytest.raises(MolvaeError, match=f"begun with {name} = "):
            begin(4_000, history, **{"seed": 3, **other})


def test_as_many_leads_as_the_budget_allows_are_evaluated_in_the_order_given() -> None:
    oracle = Oracle("logP", 3, heavy_atoms=(2, 14))
    search = Search(Chains(), oracle, leads=["CCO", "NCC", "OCC", "C(", "CCCC"])
    assert search.ask() == ["CCO", "CCN", "CCCC"]
    assert set(search.left_out) == {"C("}
    oracle = Oracle("logP", 3, heavy_atoms=(2, 14))
    with pytest.raises(MolvaeError, match="4 molecules to begin with, but the budget is 3"):
        Search(Chains(), oracle, leads=["CCO", "CCN", "CCCC", "CCCCC"])


@pytest.mark.parametrize("name", ["batch", "initial", "pool"])
def test_one_is_the_least_of_what_can_be_counted(name: str) -> None:
    assert getattr(OptimizeConfig(**{name: 1}), name) == 1
    with pytest.raises(MolvaeError, match=f"{name} must be at least 1, not 0"):
        OptimizeConfig(**{name: 0})
    assert OptimizeConfig(seed=0).seed == 0


def test_what_is_asked_for_beyond_the_budget_waits_until_it_is_raised() -> None:
    history = History()
    search = begin(14, history, strategy="prior", initial=12, batch=6, pool=64)
    search.tell({name: float(len(name)) for name in search.ask()})
    two = search.ask()
    assert len(two) == 2
    assert search.ask() == two
    assert search.ask(ahead=True) == []
    search.tell(dict.fromkeys(two, 1.0))
    assert search.ask() == []
    more = begin(40, history, strategy="prior", initial=12, batch=6, pool=64)
    rest = more.ask()
    assert len(rest) == 4
    iterations = {record.iteration for record in history.records()}
    more.tell(dict.fromkeys(rest, 2.0))
    assert {record.iteration for record in history.records()} == iterations == {0, 1}


def test_a_table_of_no_evaluations_has_its_columns() -> None:
    columns = ["number", "iteration", "smiles", "y", "error", "seconds"]
    assert list(result().table) == columns
    assert isinstance(result().best(), pd.DataFrame)
