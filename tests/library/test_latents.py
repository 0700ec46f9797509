import io
import os
import zipfile

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from molvae.base.errors import MolvaeError
from molvae.base.files import write_file
from molvae.library.latents import (
    count_parquet_rows,
    format_latents_csv,
    format_latents_npz,
    iter_latents,
    read_latents,
)

finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
tables = arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=finite)


@given(tables)
def test_csv_returns_the_very_same_numbers(z):
    assert np.array_equal(read_latents(io.StringIO(format_latents_csv(["C"] * len(z), z))), z)


def test_npz_holds_plain_arrays_and_reads_back(tmp_path):
    z = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
    write_file(tmp_path / "z.npz", format_latents_npz(["C", "CC", "CCO"], z))
    with np.load(tmp_path / "z.npz", allow_pickle=False) as arrays:
        assert arrays["smiles"].tolist() == ["C", "CC", "CCO"]
    assert np.array_equal(read_latents(tmp_path / "z.npz"), z)


def test_a_damaged_npz_is_refused_in_one_line(tmp_path):
    path, z = tmp_path / "z.npz", np.random.default_rng(0).normal(size=(300, 5))
    write_file(path, format_latents_npz(["C"] * 300, z.astype(np.float32)))
    with zipfile.ZipFile(path) as file:
        offset = file.getinfo("z.npy").header_offset
    whole = path.read_bytes()
    name, extra = whole[offset + 26 :][:2], whole[offset + 28 :][:2]
    begin = offset + 30 + sum(int.from_bytes(n, "little") for n in (name, extra))
    path.write_bytes(whole[:begin] + b"\x07" + whole[begin + 1 :])  # deflate lacks this type
    with pytest.raises(MolvaeError, match="not a table"):
        read_latents(path)


def test_columns_are_ordered_by_number_wherever_they_stand():
    text = "z10,name,z2,z1,z0,zebra\n" + "10,a,2,1,0,x\n"
    assert read_latents(io.StringIO(text)).tolist() == [[0, 1, 2, 10]]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"smiles\nCCO\n", "no latents"),
        ("a.csv", b"", "not a table"),
        ("a.csv", b"z0,z1\n1,hello\n", "not a table"),
        ("a.csv", b"z0,z1\n1,2\n1,\n", "row 2"),
        ("a.csv", b"\x89PNG\xff", "not a table"),
        ("a.npz", b"PK nonsense", "not a table"),
        ("a.npz", b"", "not a table"),
    ],
)
def test_what_is_no_table_of_latents_is_refused_in_one_line(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(MolvaeError, match=message):
        read_latents(tmp_path / name)


def test_a_pickle_inside_an_npz_is_never_loaded(tmp_path):
    np.savez(tmp_path / "evil.npz", z=np.array([{"a": 1}], dtype=object))
    with pytest.raises(MolvaeError, match="not a table"):
        read_latents(tmp_path / "evil.npz")


def test_latents_are_checked_in_every_chunk(tmp_path):
    text = "z0,z1\n" + "1,2\n" * 4_500 + "1,\n"
    with pytest.raises(MolvaeError, match="row 4501 has a latent that is not a finite"):
        read_latents(io.StringIO(text))
    pd.DataFrame({"z0": [1.0, None, None], "z1": [2.0, None, 3.0]}).to_parquet(
        tmp_path / "z.parquet"
    )
    with pytest.raises(MolvaeError, match=r"z\.parquet: row 3 has a latent"):
        read_latents(tmp_path / "z.parquet")
    (tmp_path / "z.parquet").rename(tmp_path / "z.PQ")
    with pytest.raises(MolvaeError, match=r"z\.PQ: row 3 has a latent"):
        read_latents(tmp_path / "z.PQ")


def test_arrays_have_the_size_asked_for_whatever_the_files(tmp_path):
    z = np.arange(22, dtype=np.float32).reshape(11, 2)
    for name, rows in {"a.parquet": z[:4], "b.parquet": z[4:5], "c.parquet": z[5:]}.items():
        pd.DataFrame(rows, columns=["z0", "z1"]).to_parquet(tmp_path / name)
    arrays = list(iter_latents(tmp_path, 3))
    assert [len(array) for array in arrays] == [3, 3, 3, 2]
    assert np.array_equal(np.concatenate(arrays), z)
    assert count_parquet_rows(tmp_path) == 11


def test_a_missing_file_is_named():
    with pytest.raises(MolvaeError, match=r"nowhere\.npz: no such file"):
        read_latents("nowhere.npz")


def test_write_replaces_and_makes_folders(tmp_path):
    path = tmp_path / "a" / "b.txt"
    write_file(path, "first")
    write_file(path, b"second")
    assert path.read_text() == "second"
    assert os.listdir(path.parent) == ["b.txt"]


def test_failed_write_leaves_the_old_file_and_names_the_path(tmp_path):
    target = tmp_path / "taken.csv"
    target.mkdir()
    with pytest.raises(OSError, match=r"taken\.csv'") as failure:
        write_file(target, "x")
    assert failure.value.filename == str(target)
    assert os.listdir(tmp_path) == ["taken.csv"]
