"""Evaluations in other processes: time limits, crashes, retries, programs."""

import gc
import math
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from rdkit import Chem
from rdkit.Chem.rdMolDescriptors import CalcNumHeavyAtoms

import molvae
from chains import START, Chains
from molvae.base.errors import MolvaeError
from molvae.loop.ask_tell import Search
from molvae.loop.config import OptimizeConfig
from molvae.loop.optimization import optimize
from molvae.oracles.evaluation import Effort, evaluate_molecules
from molvae.oracles.given import as_objective
from molvae.oracles.history import History, Record
from molvae.oracles.oracle import Oracle
from molvae.oracles.programs import split_words

SMILES = ["CCO", "CCN", "CCCC", "c1ccccc1", "CC(=O)O", "CCCl"]
ODD = """
import os, time
def odd(mol):
    atoms = mol.GetNumAtoms()
    if atoms == 4:
        time.sleep(60)
    if atoms == 6:
        os._exit(3)
    return atoms
def size(mol):
    if mol.GetNumAtoms() % 5 == 3:
        time.sleep(2)
    return mol.GetNumAtoms()
def once(mol):
    path = os.environ["MARKS"] + "/" + str(mol.GetNumAtoms())
    if not os.path.exists(path):
        open(path, "w").close()
        raise OSError("busy")
    return 1.5
"""


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "odd_lab.py").write_text(ODD)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("MARKS", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    yield tmp_path
    sys.modules.pop("odd_lab", None)


def found(objective: str, effort: Effort) -> dict[str, tuple[float, str | None]]:
    outcomes = evaluate_molecules([as_objective(objective)], SMILES, effort)
    return {o.smiles: (o.values[0], o.error) for o in outcomes}


def test_one_that_hangs_and_one_that_crashes_are_failures_and_the_others_are_not(lab: Path) -> None:
    began = time.monotonic()
    outcomes = found("odd_lab:odd", Effort(seconds=3))
    assert time.monotonic() - began < 40
    assert outcomes["CCCC"][1] == "TimeoutError: no answer after 3 s"
    assert math.isnan(outcomes["CCCC"][0])
    assert outcomes["c1ccccc1"][1] == "its process died, exit code 3"
    assert outcomes["CCO"] == (3, None)
    assert sum(error is None for _, error in outcomes.values()) == 3


def test_a_process_that_dies_is_one_line_and_what_was_known_is_kept(lab: Path) -> None:
    history = History()
    oracle = Oracle("odd_lab:odd", 10, history, effort=Effort(jobs=2))
    oracle(["CCO", "CCN"])
    with pytest.raises(MolvaeError, match="a process died during an evaluation; all results"):
        oracle(["c1ccccc1", "C1CCCCC1"])
    assert len(history) == 2


@pytest.mark.parametrize("objective", ["QED", "pmo:median1"])
def test_processes_find_what_this_one_finds(objective: str) -> None:
    here = found(objective, Effort())
    assert found(objective, Effort(jobs=2)) == here
    assert found(objective, Effort(seconds=60)) == here


def test_a_failure_is_tried_again(lab: Path) -> None:
    assert found("odd_lab:once", Effort())["CCO"][1] == "OSError: busy"
    for mark in lab.glob("[0-9]"):
        mark.unlink()
    assert found("odd_lab:once", Effort(retries=1))["CCO"] == (1.5, None)


def test_a_search_in_processes_keeps_every_evaluation() -> None:
    history = History()
    oracle = Oracle("SAS", 10, history, effort=Effort(jobs=2))
    y = oracle([*SMILES, "OCC", "not a molecule"])
    assert len(history) == 6
    assert y[0] == y[6] < 0  # SAS is minimised
    assert math.isnan(y[7])
    assert all(record.seconds > 0 for record in history.records())


def script(folder: Path, text: str) -> str:
    path = folder / "dock.sh"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return f"cmd:{path} {{smiles}}"


def test_a_program_is_an_objective(tmp_path: Path) -> None:
    assert found(script(tmp_path, "echo docking; echo ${#1}"), Effort())["CCCC"] == (4, None)
    failing = found(script(tmp_path, "echo no licence >&2; exit 7"), Effort())
    assert failing["CCO"][1] == "RuntimeError: exit code 7: no licence"
    rubbish = found(script(tmp_path, "echo segfault"), Effort())
    assert rubbish["CCO"][1] == "ValueError: printed 'segfault', not a number"
    assert found(script(tmp_path, "echo nan"), Effort())["CCO"][1] == "ValueError: returned nan"
    silent = found(script(tmp_path, "true"), Effort(jobs=2))
    assert silent["CCO"][1] == "ValueError: printed '', not a number"


def test_a_program_gets_the_molecule_as_one_word_and_no_shell(tmp_path: Path) -> None:
    command = script(tmp_path, 'echo "$#"')
    assert as_objective(command).function(Chem.MolFromSmiles("C[N+](C)(C)C.[Cl-]")) == 1


def test_what_a_program_has_started_ends_with_it(tmp_path: Path) -> None:
    command = script(tmp_path, f"sleep 300 & echo $! > {tmp_path}/child; wait")
    outcome = next(iter(evaluate_molecules([as_objective(command)], ["CCO"], Effort(seconds=2))))
    assert outcome.error == "TimeoutError: no answer after 2 s"
    child = int((tmp_path / "child").read_text())
    for _ in range(50):
        state = Path(f"/proc/{child}/stat")
        if not state.exists() or state.read_text().split()[2] == "Z":
            break
        time.sleep(0.1)
    else:
        os.kill(child, signal.SIGKILL)
        pytest.fail("the program's child is still running")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cmd:echo 1", r"has no placeholder \{smiles\}"),
        ("cmd:no-such-program {smiles}", "there is no executable 'no-such-program'"),
        ("cmd:echo '{smiles}", "cannot be parsed: No closing quotation"),
        ("cmd:", r"has no placeholder \{smiles\}"),
    ],
)
def test_a_command_that_cannot_work_is_told_at_once(text: str, message: str) -> None:
    with pytest.raises(MolvaeError, match=message):
        as_objective(text)


def test_words_of_a_command_keep_the_backslashes_of_windows() -> None:
    text = r'"C:\Program Files\vina.exe" --in={smiles} C:\dock\new.txt a\ b'
    words = [r"C:\Program Files\vina.exe", "--in={smiles}", r"C:\dock\new.txt", "a\\", "b"]
    assert split_words(text, windows=True) == words
    for line in (text, "dock 'a b' # {smiles}", r"./dock\ it --x=\"{smiles}\""):
        assert split_words(line, windows=False) == shlex.split(line)


def test_efforts_that_make_no_sense() -> None:
    for wrong in ({"jobs": 0}, {"seconds": 0.0}, {"seconds": math.nan}, {"retries": -1}):
        with pytest.raises(MolvaeError):
            Effort(**wrong)


def test_an_objective_may_be_defined_anywhere_also_for_other_processes() -> None:
    factor = 2

    def twice(mol: Chem.Mol) -> float:
        return factor * CalcNumHeavyAtoms(mol)

    for effort in (Effort(), Effort(jobs=2), Effort(seconds=20), Effort(jobs=2, seconds=20)):
        assert Oracle(twice, 5, effort=effort)(["CCO", "CC"]).tolist() == [6, 4]


@pytest.mark.parametrize("effort", [Effort(jobs=2), Effort(jobs=2, seconds=20)])
def test_workers_that_are_kept_follow_the_user_to_another_folder(
    effort: Effort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("1", "2"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "own.sh").write_text(f"#!/bin/sh\necho {name}\n")
        (folder / "own.sh").chmod(0o755)
        monkeypatch.chdir(folder)
        values = Oracle("cmd:./own.sh {smiles}", 5, effort=effort)(["CCO", "CC"])
        assert values.tolist() == [float(name)] * 2


def test_a_search_that_stops_early_leaves_no_warning_behind() -> None:
    def fail(mol: Chem.Mol) -> float:
        time.sleep(0.01)
        raise ValueError("no licence")

    oracle = Oracle(fail, 40, effort=Effort(jobs=2))
    with pytest.raises(MolvaeError, match=r"failed for all .* no licence"):
        oracle(["C" * i for i in range(1, 40)])
    del oracle
    gc.collect()  # an open generator would complain now, which fails the test


@pytest.mark.parametrize("effort", [Effort(jobs=2), Effort(seconds=20)])
def test_what_cannot_be_sent_to_another_process_is_told_with_a_way_out(effort: Effort) -> None:
    lock = threading.Lock()

    def locked(mol: Chem.Mol) -> float:
        with lock:
            return 1.0

    with pytest.raises(MolvaeError, match=r"locked cannot be sent .* module of its own") as error:
        Oracle(locked, 5, effort=effort)(["CCO", "CC"])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("effort", [Effort(), Effort(jobs=2), Effort(seconds=20)])
def test_an_objective_that_exits_has_failed_and_the_others_go_on(effort: Effort) -> None:
    def leave(mol: Chem.Mol) -> float:
        if mol.GetNumAtoms() == 3:
            sys.exit("no licence")
        return 1.0

    oracle = Oracle(leave, 5, effort=effort)
    assert oracle(["CC", "CCO", "CCCC"]).tolist() == pytest.approx([1, math.nan, 1], nan_ok=True)
    assert oracle.history["CCO"].error == "SystemExit: no licence"


def test_a_module_that_exits_when_imported_is_one_line(lab: Path) -> None:
    (lab / "leaving_lab.py").write_text("import sys\nsys.exit('usage: ...')")
    with pytest.raises(MolvaeError, match=r"importing the objective .* SystemExit: usage"):
        as_objective("leaving_lab:score")


@pytest.mark.parametrize("effort", [Effort(), Effort(jobs=2), Effort(seconds=20)])
def test_each_objective_has_a_molecule_of_its_own(effort: Effort) -> None:
    def kekulize(mol: Chem.Mol) -> float:
        Chem.Kekulize(mol, clearAromaticFlags=True)
        return 1.0

    def count_aromatic(mol: Chem.Mol) -> float:
        return float(sum(atom.GetIsAromatic() for atom in mol.GetAtoms()))

    y = Oracle([kekulize, count_aromatic], 5, effort=effort)(["c1ccccc1"])
    assert y.tolist() == [[1, 6]]


def test_what_was_found_before_the_time_limit_is_kept() -> None:
    def sleep(mol: Chem.Mol) -> float:
        time.sleep(60)
        return 1.0

    oracle = Oracle(["heavy_atoms", sleep], 5, effort=Effort(seconds=1))
    assert oracle(["CCO"]).tolist() == [pytest.approx([3, math.nan], nan_ok=True)]
    assert oracle.history["CCO"].error == "sleep: TimeoutError: no answer after 1 s"


# the work of a whole script, which has no guard and takes longer to import than the limit
SCRIPT = """
import time
time.sleep(1.5)
from molvae import Oracle
from molvae.oracles.evaluation import Effort
def score(mol):
    return mol.GetNumAtoms()
print("run")
print(Oracle(score, budget=5, effort=Effort(seconds=1, jobs={jobs}))(["CCO", "CC"]).tolist())
"""


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("typed", [True, False])
def test_a_script_is_not_run_again_for_an_evaluation(typed: bool, jobs: int, lab: Path) -> None:
    (lab / "script.py").write_text(SCRIPT.format(jobs=jobs))
    words = ["-c", SCRIPT.format(jobs=jobs)] if typed else ["script.py"]
    found = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, cwd=lab, env=environment()
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.split("\n")[:2] == ["run", "[3.0, 2.0]"]


def environment() -> dict[str, str]:
    """The environment of a process that imports this molvae and what lies in its own folder."""
    root = str(Path(molvae.__file__).parents[1])
    return os.environ | {"PYTHONPATH": os.pathsep.join([root, "."])}


KILLED = """
import os, time
def slow(mol):
    mark = os.path.join(os.environ["MARKS"], "process-" + str(os.getpid()))
    open(mark, "a").write("x")
    time.sleep(4)
    open(mark, "a").write("y")
    return 1.0
"""


def is_running(process: int) -> bool:
    status = Path(f"/proc/{process}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at /proc")
@pytest.mark.parametrize(
    "words", [[], ["--time-limit", "60"], ["--asynchronous"]], ids=lambda words: "".join(words)
)
def test_workers_end_soon_after_the_search_was_killed(words: list[str], lab: Path) -> None:
    (lab / "killed_lab.py").write_text(KILLED)
    command = ["optimize", "--objective", "killed_lab:slow", "--model", "qm9", "--budget", "12"]
    command += ["--out", "run", "--jobs", "2", *words]
    with subprocess.Popen(
        [sys.executable, "-m", "molvae", *command],
        cwd=lab,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as search:
        end = time.monotonic() + 60
        while len(list(lab.glob("process-*"))) < 2 and time.monotonic() < end:
            time.sleep(0.1)
        search.kill()
    workers = {path: int(path.name.partition("-")[2]) for path in lab.glob("process-*")}
    assert len(workers) == 2
    end = time.monotonic() + 3
    while any(map(is_running, workers.values())) and time.monotonic() < end:
        time.sleep(0.1)
    assert not any(map(is_running, workers.values()))
    assert {path.read_text() for path in workers} == {"x"}  # what was under way has not gone on


def test_optimize_with_a_program_from_the_command_line(tmp_path: Path) -> None:
    command = script(tmp_path, 'case "$1" in *N*) exit 1;; esac; echo ${#1}')
    words = ["optimize", "--objective", command, "--budget", "40", "--batch", "20"]
    words += ["--time-limit", "20"]
    done = subprocess.run(
        [sys.executable, "-m", "molvae", *words, "--jobs", "2", "--out", str(tmp_path / "run")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "40 evaluations" in done.stdout
    assert "RuntimeError: exit code 1" in done.stdout


SLOW = OptimizeConfig(initial=8, batch=4, pool=64)


def slow(history: History, stop: int | None = None) -> Oracle:
    def evaluated(record: Record) -> None:
        if record.number == stop:
            raise KeyboardInterrupt

    return Oracle("odd_lab:size", 40, history, (2, 14), evaluated, Effort(jobs=2))


def test_a_round_begins_before_the_slow_ones_of_the_last_are_over(lab: Path) -> None:
    history = History()
    result = optimize(Chains(), slow(history), start=START, config=SLOW, asynchronous=True)
    assert result.stopped == "the budget is spent"
    rounds = [record.iteration for record in history.records()]
    assert len(rounds) == len({record.smiles for record in history.records()}) == 40
    assert rounds != sorted(rounds)
    assert all(record.z is not None for record in history.records())
    sizes = [Chem.MolFromSmiles(s).GetNumAtoms() for s in result.table["smiles"]]
    assert result.table["y"].tolist() == sizes


def test_one_that_was_stopped_begins_with_what_was_under_way(lab: Path) -> None:
    path = lab / "history.sqlite"
    with History(path) as history, pytest.raises(KeyboardInterrupt):
        optimize(Chains(), slow(history, stop=17), start=START, config=SLOW, asynchronous=True)
    with History(path) as history:
        pending = Search(Chains(), slow(history), start=START, config=SLOW).ask()
        assert pending
        again = slow(history, stop=17 + len(pending))
        with pytest.raises(KeyboardInterrupt):
            optimize(Chains(), again, start=START, config=SLOW, asynchronous=True)
        assert {record.smiles for record in history.records()[18:]} & set(pending)
    with History(path) as history:
        result = optimize(Chains(), slow(history), start=START, config=SLOW, asynchronous=True)
        assert len(result.records) == 40
        assert set(pending) <= {record.smiles for record in result.records}


def test_an_asynchronous_search_says_when_there_is_nothing_new(lab: Path) -> None:
    oracle = Oracle("odd_lab:size", 500, heavy_atoms=(2, 3), effort=Effort(jobs=2))
    config = OptimizeConfig("prior", initial=8, batch=4, pool=64)
    result = optimize(Chains(), oracle, start=START, config=config, asynchronous=True)
    assert result.stopped == "several pools in a row held no new valid molecule"
    assert 4 < len(result.records) < 500
