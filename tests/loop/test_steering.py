"""What a user says while a search runs is heeded, stored, and repeated by a resumed run."""

from pathlib import Path

import pytest

from chains import START, Chains
from molvae import MolvaeError, OptimizeConfig, Oracle
from molvae.loop.ask_tell import Search
from molvae.loop.steering import check_wish
from molvae.oracles.history import History
from molvae.oracles.objectives import measured_objective


def begin(path: Path, strategy: str = "neighbourhood") -> Search:
    config = OptimizeConfig(strategy, initial=8, batch=4, pool=64)
    oracle = Oracle(measured_objective("length"), 60, History(path), heavy_atoms=(2, 14))
    return Search(Chains(), oracle, start=START, config=config)


def measure(search: Search) -> list[str]:
    """A round -> its molecules; the longer a chain, the better."""
    names = search.ask()
    search.tell({name: float(len(name)) for name in names})
    return names


@pytest.mark.parametrize("strategy", ["neighbourhood", "ga"])
def test_wishes_are_heeded_from_the_next_round_on(tmp_path: Path, strategy: str) -> None:
    search = begin(tmp_path / "history.sqlite", strategy)
    measure(search)
    with History(tmp_path / "history.sqlite") as page:  # another process
        page.steer("pin", check_wish("pin", "OCCCCCN"))
        page.steer("add", check_wish("add", "lacks:O"))
    first = measure(search)
    assert "NCCCCCO" not in first  # the constraint holds for what is pinned, too
    assert first
    for _ in range(3):
        assert not any("O" in name for name in measure(search))


def test_what_is_pinned_comes_next_and_only_once(tmp_path: Path) -> None:
    search = begin(tmp_path / "history.sqlite")
    measure(search)
    search.oracle.history.steer("pin", check_wish("pin", "OCCCCCN"))
    assert measure(search)[0] == "NCCCCCO"
    assert "NCCCCCO" not in measure(search)


def test_what_is_banned_is_never_evaluated(tmp_path: Path) -> None:
    free = begin(tmp_path / "free.sqlite")
    measure(free)
    tempting = measure(free)
    search = begin(tmp_path / "history.sqlite")
    measure(search)
    for name in tempting:
        search.oracle.history.steer("ban", name)
    for _ in range(4):
        assert not set(tempting) & set(measure(search))


def test_more_like_this_adds_molecules_near_it_until_it_is_taken_back(tmp_path: Path) -> None:
    search = begin(tmp_path / "history.sqlite")
    measure(search)
    search.oracle.history.steer("like", check_wish("like", "CCCO"))
    model = Chains()
    here = model.encode_means(["CCCO"])[0]
    added = measure(search)[0]
    assert abs(model.encode_means([added])[0] - here).max() < 4
    assert len(search.oracle.history.records()) > 8 + 4
    search.oracle.history.steer("unlike", "CCCO")
    assert len(measure(search)) <= 4


def test_a_resumed_run_repeats_what_was_said(tmp_path: Path) -> None:
    whole = begin(tmp_path / "whole.sqlite")
    measure(whole)
    for kind, text in (("ban", "CCCO"), ("like", "CCCN"), ("add", "heavy_atoms<=9")):
        whole.oracle.history.steer(kind, text)
    rounds = [measure(whole) for _ in range(4)]
    stopped = begin(tmp_path / "stopped.sqlite")
    measure(stopped)
    for kind, text in (("ban", "CCCO"), ("like", "CCCN"), ("add", "heavy_atoms<=9")):
        stopped.oracle.history.steer(kind, text)
    again = [measure(stopped) for _ in range(2)]
    stopped.oracle.history.close()
    resumed = begin(tmp_path / "stopped.sqlite")
    again += [measure(resumed) for _ in range(2)]
    assert again == rounds
    heeded = resumed.oracle.history.steering(99)
    assert [wish.iteration for wish in heeded] == [1, 1, 1]


def test_a_wish_in_a_history_runs_no_program(tmp_path: Path) -> None:
    search = begin(tmp_path / "history.sqlite")
    measure(search)
    search.oracle.history.steer("add", f"cmd:touch {tmp_path}/done {{smiles}}<1")  # a stranger's
    with pytest.raises(MolvaeError, match="runs code"):
        search.ask()
    assert not (tmp_path / "done").exists()
    with pytest.raises(MolvaeError, match="runs code"):
        check_wish("add", "os:getcwd<1")
