import math
import os
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from molvae.base.errors import MolvaeError
from molvae.oracles.history import History, Iteration


def test_records_survive_closing(tmp_path) -> None:
    path = tmp_path / "history.sqlite"
    z = np.array([0.1, -2.5], dtype=np.float32)
    with History(path) as history:
        history.save_settings({"seed": 3, "objective": "logP"})
        history.add("CCO", 1.25, seconds=0.5, iteration=0, z=z)
        history.add("CCN", math.nan, seconds=0.1, iteration=1, error="ValueError: no")
        history.add_iteration(Iteration(0, 256, 100, 1, 0.2))
    with History(path) as again:
        first, second = again.records()
        assert (first.number, first.smiles, first.y, first.seconds) == (0, "CCO", 1.25, 0.5)
        assert first.z is not None
        np.testing.assert_array_equal(first.z, z)
        assert math.isnan(second.y)
        assert (second.error, second.z, second.iteration) == ("ValueError: no", None, 1)
        assert again.settings == {"seed": 3, "objective": "logP"}
        assert again.iterations() == [Iteration(0, 256, 100, 1, 0.2)]
        assert [r.smiles for r in again.records(before=1)] == ["CCO"]
        assert "CCN" in again


def test_what_a_round_sees_does_not_depend_on_which_evaluation_ended_first() -> None:
    found = [("CCO", 0), ("CCN", 0), ("C", 1), ("N", 1), ("O", 2)]
    orders = (found, found[::-1], [found[i] for i in (2, 0, 4, 1, 3)])
    past = []
    for order in orders:
        history = History()
        for smiles, iteration in order:
            history.add(smiles, 1.0, seconds=0.0, iteration=iteration)
        assert [r.smiles for r in history.records()] == [smiles for smiles, _ in order]
        past.append([r.smiles for r in history.records(before=2)])
    assert past == [["CCN", "CCO", "C", "N"]] * 3


@given(
    st.floats(allow_nan=True, allow_infinity=False),
    arrays(np.float32, 5, elements=st.floats(width=32, allow_nan=False)),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
)
def test_a_record_reads_back_exactly(y: float, z: np.ndarray, smiles: str) -> None:
    history = History()
    history.add(smiles, y, seconds=0.0, z=z)
    (row,) = history._db.execute("SELECT smiles, y, z FROM evaluations").fetchall()
    assert row[0] == smiles
    assert (row[1] is None) if math.isnan(y) else row[1] == y
    np.testing.assert_array_equal(np.frombuffer(row[2], "<f4"), z)
    history.close()


def test_a_record_is_on_disk_before_the_process_dies(tmp_path) -> None:
    path = tmp_path / "history.sqlite"
    code = (
        "import os, signal\nfrom molvae.oracles.history import History\n"
        f"h = History({str(path)!r})\nh.add('CCO', 1.0, seconds=0.0)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    with History(path) as history:
        assert [record.smiles for record in history.records()] == ["CCO"]


def test_another_process_may_look_while_a_run_goes_on(tmp_path) -> None:
    path = tmp_path / "history.sqlite"
    with History(path) as history:
        history.add("CCO", 1.0, seconds=0.0)
        reader = sqlite3.connect(path)
        assert reader.execute("SELECT smiles, y FROM evaluations").fetchall() == [("CCO", 1.0)]
        reader.close()
        history.add("CCN", 1.0, seconds=0.0)


def test_two_writers_are_noticed(tmp_path) -> None:
    path = tmp_path / "history.sqlite"
    with History(path) as one, History(path) as two:
        one.add("CCO", 1.0, seconds=0.0)
        with pytest.raises(MolvaeError, match="another process is continuing"):
            two.add("CCN", 1.0, seconds=0.0)


def test_any_thread_may_close_a_history(tmp_path) -> None:
    # garbage is collected in whichever thread is running, as Python 3.13 warns where it fails
    path = tmp_path / "history.sqlite"
    history = History(path)
    history.add("C", 1.0, seconds=0.1)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(history.close).result()
    with History(path) as again:
        assert again["C"].y == 1


def test_a_molecule_is_stored_once() -> None:
    with History() as history:
        history.add("CCO", 1.0, seconds=0.0)
        with pytest.raises(MolvaeError, match="already stored"):
            history.add("CCO", 2.0, seconds=0.0)
        assert len(history) == 1
        history.add("CCN", 2.0, seconds=0.0)


def test_damaged_and_foreign_files_are_told(tmp_path) -> None:
    text = tmp_path / "text.sqlite"
    text.write_text("this is no database, but it is long enough to look like one" * 20)
    with pytest.raises(MolvaeError, match="damaged"):
        History(text)
    foreign = tmp_path / "foreign.sqlite"
    other = sqlite3.connect(foreign)
    other.execute("CREATE TABLE evaluations (x)")
    other.commit()
    other.close()
    with pytest.raises(MolvaeError, match="not a history"):
        History(foreign)
    with pytest.raises(MolvaeError, match="unable to open"):
        History(tmp_path / "absent" / "history.sqlite")


def test_a_torn_file_is_told(tmp_path) -> None:
    path = tmp_path / "history.sqlite"
    with History(path) as history:
        for i in range(40):
            history.add("C" * (i + 1), 1.0, seconds=0.0, z=np.zeros(512))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(MolvaeError, match="damaged"):
        History(path)


def test_a_full_disk_is_told_and_loses_nothing(tmp_path) -> None:
    path = tmp_path / "history.sqlite"
    with History(path) as history:
        history.add("CCO", 1.0, seconds=0.0)
        pages = history._db.execute("PRAGMA page_count").fetchone()[0]
        history._db.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(MolvaeError, match="disk is full"):
            history.add("CCN", 1.0, seconds=0.0, z=np.zeros(10_000))
    with History(path) as again:
        assert len(again) == 1


def test_next_iteration_is_the_first_unfinished_one() -> None:
    with History() as history:
        assert history.next_iteration == 0
        history.add_iteration(Iteration(0, 10, 5, 2, 0.0))
        history.add("C", 1.0, seconds=0.0, iteration=0)
        assert history.next_iteration == 0
        history.add("CC", 1.0, seconds=0.0, iteration=0)
        assert history.next_iteration == 1


def test_runs_of_one_file_see_their_own_evaluations_and_all_scores(tmp_path) -> None:
    path = tmp_path / "shared.sqlite"
    with History(path, "one") as one, History(path, "two") as two:
        one.add("CCO", 1.5, seconds=0.5, objective="logP 1")
        one.add("CCN", math.nan, seconds=0.5, error="no", objective="logP 1")
        one.add("CCC", (1.0, -2.0), seconds=0.5, objective="both")
        one.save_settings({"seed": 1})
        one.add_iteration(Iteration(0, 5, 4, 3, 0.1))
        assert len(two) == 0
        assert two.settings == {}
        assert two.iterations() == []
        assert two.score("CCO", "logP 1") == (1.5,)
        assert two.score("CCC", "both") == (1.0, -2.0)
        assert two.score("CCO", "logP 2") is two.score("CCN", "logP 1") is None
        assert two.add("CCO", 1.5, seconds=0.0).number == 0
    with History(path, "one") as again:
        assert [r.smiles for r in again.records()] == ["CCO", "CCN", "CCC"]
        assert again.settings == {"seed": 1}


def test_many_processes_write_into_one_file(tmp_path) -> None:
    path = tmp_path / "shared.sqlite"
    code = (
        "import sys\nfrom molvae.oracles.history import History\n"
        f"with History({str(path)!r}, sys.argv[1]) as history:\n"
        "    for i in range(50):\n"
        "        history.add('C' * (i + 1), float(i), seconds=0.0, objective='x')"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, str(i)]) for i in range(4)]
    assert [process.wait() for process in running] == [0] * 4
    for i in range(4):
        with History(path, str(i)) as history:
            assert [record.y for record in history.records()] == list(range(50))


def test_a_molecule_is_claimed_by_one_run_until_it_is_evaluated(tmp_path) -> None:
    path = tmp_path / "shared.sqlite"
    with History(path, "one") as one, History(path, "two") as two:
        assert one.claim("CCO", "logP")
        assert one.claim("CCO", "logP")  # its own
        assert not two.claim("CCO", "logP")
        assert two.claim("CCO", "QED")
        assert two.claim("CCN", "logP")
        one.add("CCO", 1.0, seconds=1.0, objective="logP")
        assert two.score("CCO", "logP") == (1.0,)
        assert not two.claim("CCO", "logP")  # known: nothing is left to evaluate
        two.add("CCN", math.nan, seconds=1.0, error="no", objective="logP")
        assert one.claim("CCN", "logP")  # another's failure is nobody's value
        one.release()
        assert two.claim("CCN", "logP")
    with History(path, "three") as three:  # a file that is closed claims nothing
        assert three.claim("CCN", "logP")


def test_the_claims_of_a_dead_process_are_void(tmp_path) -> None:
    path = tmp_path / "shared.sqlite"
    code = (
        "import os, signal, sys\nfrom molvae.oracles.history import History\n"
        f"History({str(path)!r}, 'dead').claim('CCO', 'logP')\n"
        "print('claimed', flush=True)\nsys.stdin.read()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as process:
        assert process.stdout.readline() == b"claimed\n"
        with History(path, "alive") as history:
            assert not history.claim("CCO", "logP")
            process.kill()
            process.wait()
            assert history.claim("CCO", "logP")


def test_a_claim_of_another_machine_is_void_after_an_hour(tmp_path) -> None:
    path = tmp_path / "shared.sqlite"
    with History(path, "there") as there, History(path, "here") as here:
        assert there.claim("CCO", "logP")
        there._db.execute("UPDATE claims SET host = 'elsewhere'")
        assert not here.claim("CCO", "logP")
        there._db.execute("UPDATE claims SET time = time - 3601")
        assert here.claim("CCO", "logP")


def test_a_run_alone_in_its_file_claims_without_writing(tmp_path) -> None:
    with History(tmp_path / "own.sqlite") as history:
        assert history.claim("CCO", "logP")
        assert not history._db.execute("SELECT * FROM claims").fetchall()
        with History(tmp_path / "own.sqlite", "another"):
            assert history.claim("CCN", "logP")
            assert len(history._db.execute("SELECT * FROM claims").fetchall()) == 1


def test_a_file_of_the_first_version_is_read_and_can_be_shared(tmp_path) -> None:
    path = tmp_path / "old.sqlite"
    with History(path, "old") as history:
        history.add("CCO", 1.0, seconds=1.0, objective="logP")
        history._db.execute("DROP TABLE claims")
    with History(path, "new") as history:
        assert history.score("CCO", "logP") == (1.0,)
        assert history.claim("CCN", "logP")


DEEP = "[" * 100_000
TAMPERED = [
    ("iteration", "first"),
    ("iteration", -2),
    ("iteration", 2**40),
    ("number", 7),
    ("smiles", b"\0"),
    ("y", "high"),
    ("y", math.inf),
    ("several", DEEP),
    ("several", "[1, 1e999]"),
    ("several", '"text"'),
    ("error", b"\xff"),
    ("seconds", "long"),
    ("seconds", math.inf),
    ("z", "text"),
    ("z", b"abc"),
    ("z", np.array([np.nan], dtype="<f4").tobytes()),
    ("z", np.zeros(3, dtype="<f4").tobytes()),
]


@pytest.mark.parametrize(("column", "value"), TAMPERED)
def test_what_molvae_cannot_have_written_is_one_line_with_the_file(
    column: str, value: object, tmp_path
) -> None:
    path = tmp_path / "history.sqlite"
    with History(path) as history:
        for smiles in ("CCO", "CCN"):
            history.add(smiles, 1.0, seconds=0.0, iteration=0, z=np.zeros(2))
        history._db.execute(f"UPDATE evaluations SET {column} = ? WHERE number = 1", (value,))
    with pytest.raises(MolvaeError, match="damaged") as error:
        History(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300 + len(str(path))


def test_damaged_settings_rounds_and_scores_are_told_too(tmp_path) -> None:
    path = tmp_path / "history.sqlite"
    with History(path, "one") as history, History(path, "two") as other:
        history.add("CCO", 1.0, seconds=0.0, objective="logP")
        history.save_settings({"seed": 1})
        history.add_iteration(Iteration(0, 5, 4, 3, 0.1))
        history._db.execute("UPDATE settings SET value = ?", (DEEP,))
        history._db.execute("UPDATE iterations SET candidates = 'many'")
        history._db.execute("UPDATE evaluations SET y = 'high'")
        for read in (
            lambda: history.settings,
            history.iterations,
            lambda: other.score("CCO", "logP"),
        ):
            with pytest.raises(MolvaeError, match=r"history\.sqlite: the file is damaged"):
                read()
    assert os.listdir(tmp_path) == ["history.sqlite"]
