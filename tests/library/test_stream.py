"""Streams: any split, stop and restart gives the same table, and nothing is held whole."""

import functools
import os
import tracemalloc
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from molvae.base.errors import MolvaeError
from molvae.library.latents import list_parquet_files
from molvae.library.stream import StreamConfig, run

SMALL = {"chunk": 10}


def lengths(part, rows, stop_at=None):
    """Stand in for a model: the length of each string; even ones are good."""
    if part == stop_at:
        raise KeyboardInterrupt
    found = [len(row) for row in rows]
    table = pa.table({"row": rows, "length": found, "process": [os.getpid()] * len(rows)})
    return table, sum(n % 2 == 0 for n in found)


def die(part, rows):
    os._exit(9)  # as the kernel ends a process that takes too much memory


def chunks(rows, size=10):
    return (rows[i : i + size] for i in range(0, len(rows), size))


def contents(folder):
    return {path.name: path.read_bytes() for path in Path(folder).glob("*.parquet")}


@pytest.fixture
def rows(zinc):
    return zinc[:95]


def test_shards_together_are_the_whole_each_row_once(rows, tmp_path):
    whole = run(chunks(rows), lengths, tmp_path / "whole", {}, StreamConfig(**SMALL))
    assert whole == (95, sum(len(s) % 2 == 0 for s in rows))
    shards = [StreamConfig(**SMALL, shard=(i, 3)) for i in (3, 1, 2)]
    tallies = [run(chunks(rows), lengths, tmp_path / "shards", {}, shard) for shard in shards]
    assert np.sum(tallies, axis=0).tolist() == [*whole]
    assert [tally.rows for tally in tallies] == [shard.share(95) for shard in shards]
    assert contents(tmp_path / "shards") == contents(tmp_path / "whole")
    assert pd.read_parquet(tmp_path / "shards")["row"].tolist() == rows


def test_a_shard_beyond_the_last_chunk_is_empty_and_done(rows, tmp_path):
    config = StreamConfig(**SMALL, shard=(12, 12))
    assert run(chunks(rows), lengths, tmp_path, {}, config) == (0, 0)


def test_a_run_that_is_stopped_goes_on_and_ends_like_an_unbroken_one(rows, tmp_path):
    unbroken = run(chunks(rows), lengths, tmp_path / "a", {}, StreamConfig(**SMALL))
    stopped = functools.partial(lengths, stop_at=4)
    with pytest.raises(KeyboardInterrupt):
        run(chunks(rows), stopped, tmp_path / "b", {}, StreamConfig(**SMALL))
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "b").glob("*.parquet")}
    assert len(before) == 4
    with pytest.raises(MolvaeError, match="unfinished, 4 parts so far"):
        list_parquet_files(tmp_path / "b")
    assert run(chunks(rows), lengths, tmp_path / "b", {}, StreamConfig(**SMALL)) == unbroken
    assert contents(tmp_path / "b") == contents(tmp_path / "a")
    assert {path: path.stat().st_mtime_ns for path in before} == before  # not made again


def test_half_written_files_are_no_parts(rows, tmp_path):
    config = StreamConfig(**SMALL)
    run(chunks(rows), lengths, tmp_path, {}, config)
    whole = contents(tmp_path)
    left = tmp_path / ".part-00002.parquet.0123.part"  # what a kill leaves
    left.write_bytes(whole["part-00002.parquet"][:100])
    (tmp_path / "part-00002.parquet").unlink()
    (tmp_path / "part-00003.parquet").write_bytes(whole["part-00003.parquet"][:-20])  # a bad disk
    with pytest.raises(MolvaeError, match="1 of 10 parts are missing"):
        list_parquet_files(tmp_path)
    run(chunks(rows), lengths, tmp_path, {}, config)
    assert contents(tmp_path) == whole
    assert not left.exists()


def test_other_settings_rows_or_contents_are_refused(rows, tmp_path):
    config = StreamConfig(**SMALL)
    run(chunks(rows), lengths, tmp_path / "a", {"model": "x", "seed": 1}, config)
    before = contents(tmp_path / "a")
    for settings, rows_now, message in [
        ({"model": "y", "seed": 1}, rows, 'a: model was "x" when the folder was made, and is "y"'),
        ({"model": "x"}, rows, "seed was 1 when the folder was made, and is null"),
        ({"model": "x", "seed": 1}, rows[::-1], "part-00000.parquet: was written from other rows"),
        ({"model": "x", "seed": 1}, rows[:90], "parts was 10 when the folder was made, and is 9"),
    ]:
        with pytest.raises(MolvaeError, match=message):
            run(chunks(rows_now), lengths, tmp_path / "a", settings, config)
    assert contents(tmp_path / "a") == before
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "thesis.txt").write_text("mine")
    with pytest.raises(MolvaeError, match="contains other files"):
        run(chunks(rows), lengths, tmp_path / "b", {}, config)


def test_an_input_that_breaks_off_is_reported_and_keeps_what_is_done(rows, tmp_path):
    def broken():
        yield from chunks(rows[:90])
        raise MolvaeError("a.csv: cannot be read: line 91")

    threads = joblib.parallel_config(backend="threading", n_jobs=2)  # which also read on
    with threads, pytest.raises(MolvaeError, match="line 91"):
        run(broken(), lengths, tmp_path, {}, StreamConfig(**SMALL))
    assert len(contents(tmp_path)) == 9


def test_processes_make_the_parts_and_one_that_dies_is_named(rows, tmp_path):
    with joblib.parallel_config(backend="loky", n_jobs=2):
        tally = run(chunks(rows), lengths, tmp_path / "a", {}, StreamConfig(**SMALL))
        assert tally.rows == 95
        table = pd.read_parquet(tmp_path / "a")
        assert table["row"].tolist() == rows
        assert os.getpid() not in set(table["process"])
        with pytest.raises(MolvaeError, match="a process died"):
            run(chunks(rows), die, tmp_path / "b", {}, StreamConfig(**SMALL))


def test_memory_does_not_grow_with_the_input(tmp_path):
    def peak(n):
        def source():
            for i in range(0, n, 500):
                yield [f"{'C' * 40}{i + j}" for j in range(500)]

        tracemalloc.start()
        run(source(), lengths, tmp_path / str(n), {}, StreamConfig(chunk=500))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(1_000)  # what is imported and allocated once
    assert peak(40_000) < 1.3 * peak(2_000)
