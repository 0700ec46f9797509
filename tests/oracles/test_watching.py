"""A history is read while another process writes it, and the writer is not disturbed."""

import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from molvae import MolvaeError
from molvae.oracles.history import History, Iteration
from molvae.oracles.watching import HistoryReader, find_writers, list_runs


def test_what_is_new_is_read_and_only_that(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    reader = HistoryReader(path)
    assert not reader.read()  # there is no file yet
    with History(path) as history:
        history.save_settings({"strategy": "prior"})
        history.add("CCO", 1.5, seconds=0.1, z=np.arange(3))
        assert reader.read()
        assert not reader.read()
        history.add("CCN", (float("nan"), 2.0), seconds=0.1, error="failed")
        history.add_iteration(Iteration(0, 10, 8, 2, 0.5))
        history.steer("ban", "CCC")
        assert reader.read()
        found = reader.records[1]
        assert (found.smiles, found.error, found.values[1]) == ("CCN", "failed", 2.0)
        np.testing.assert_array_equal(reader.records[0].z, [0, 1, 2])
        assert reader.settings == {"strategy": "prior"}
        assert [wish.text for wish in reader.wishes] == ["CCC"]
        assert reader.iterations[0].decoded == 10


def test_a_reader_writes_nothing_and_holds_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    with History(path) as history:
        history.add("CCO", 1.0, seconds=0.1)
        before = path.read_bytes()
        path.chmod(0o444)
        reader = HistoryReader(path)
        assert reader.read()
        path.chmod(0o644)
        assert path.read_bytes() == before
        began = time.perf_counter()
        history.add("CCN", 1.0, seconds=0.1)
        assert time.perf_counter() - began < 1


def test_what_a_writer_has_not_committed_is_not_seen(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    reader = HistoryReader(path)
    with History(path) as history:
        with history.at_once():
            history.add("CCO", 1.0, seconds=0.1)
            reader.read()
            assert not reader.records
        reader.read()
        assert len(reader.records) == 1


def test_each_run_of_a_file_is_read_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "shared.sqlite"
    with History(path, "one") as one, History(path, "two") as two:
        one.add("CCO", 1.0, seconds=0.1)
        two.add("CCN", 2.0, seconds=0.1)
    assert list_runs(path) == ["one", "two"]
    reader = HistoryReader(path, "two")
    reader.read()
    assert [record.smiles for record in reader.records] == ["CCN"]


@pytest.mark.parametrize("content", [b"not a database, but long enough to be one" * 40, b"x"])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "history.sqlite"
    path.write_bytes(content)
    with pytest.raises(MolvaeError, match=r"history\.sqlite"):
        HistoryReader(path).read()


def test_a_damaged_row_is_named_and_what_was_read_remains(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    with History(path) as history:
        history.add("CCO", 1.0, seconds=0.1)
        reader = HistoryReader(path)
        reader.read()
        history.add("CCN", 1.0, seconds=0.1, z=np.zeros(2))
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE evaluations SET z = x'0102' WHERE number = 1")
    with pytest.raises(MolvaeError, match="cut off"):
        reader.read()
    assert len(reader.records) == 1


def test_files_of_earlier_versions_are_read_and_go_on(tmp_path: Path) -> None:
    """The first ones said nothing of steering, known values and bred molecules."""
    path = tmp_path / "history.sqlite"
    with History(path) as history:
        history.add("CCO", 1.0, seconds=0.1)
        history.add_iteration(Iteration(0, 3, 2, 1, 0.5, 1))
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("DROP TABLE steering")
        db.execute("ALTER TABLE evaluations DROP COLUMN known")
        db.execute("ALTER TABLE iterations DROP COLUMN bred")
    reader = HistoryReader(path)
    assert reader.read()
    assert not reader.records[0].known
    assert reader.iterations == [Iteration(0, 3, 2, 1, 0.5, 0)]
    with History(path) as history:
        history.add_iteration(Iteration(1, 3, 2, 1, 0.5, 1))
        assert [one.bred for one in history.iterations()] == [0, 1]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc, as Linux has it")
def test_the_process_that_writes_is_found_until_it_dies(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    code = f"import time; from molvae.oracles.history import History; h = History({str(path)!r}); "
    code += "h.add('CCO', 1.0, seconds=0.1); print('ready', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert find_writers(path) == [process.pid]
        process.kill()
        process.wait()
    assert find_writers(path) == []
