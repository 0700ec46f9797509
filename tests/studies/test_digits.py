"""The digits that the studies share: the bundled ones, and MNIST in each supported format."""

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from molvae.base.errors import MolvaeError
from shared import digits

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (24, 5, 4), dtype=np.uint8)
LABELS = np.arange(24, dtype=np.uint8) % 10
PARTS = {
    "train-images-idx3-ubyte": IMAGES[:18],
    "train-labels-idx1-ubyte": LABELS[:18],
    "t10k-images-idx3-ubyte": IMAGES[18:],
    "t10k-labels-idx1-ubyte": LABELS[18:],
}


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">{1 + array.ndim}i", 0x0800 + array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, array in PARTS.items():
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(idx(array)))
    return tmp_path


@pytest.fixture
def npz(tmp_path: Path) -> Path:
    path = tmp_path / "mnist.npz"
    x_train, y_train, x_test, y_test = PARTS.values()
    np.savez(path, x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    return path


def assert_is_the_small_mnist(loaded: Any) -> None:
    x = np.concatenate([loaded.x_train, loaded.x_validation, loaded.x_test])
    y = np.concatenate([loaded.y_train, loaded.y_validation, loaded.y_test])
    assert [len(loaded.x_train), len(loaded.x_validation), len(loaded.x_test)] == [15, 3, 6]
    assert x.dtype == np.float32
    assert y.dtype == np.int64
    np.testing.assert_array_equal(np.round(255 * x[:, 0]), IMAGES)
    np.testing.assert_array_equal(y, LABELS)
    assert loaded.levels == 256


def test_bundled_digits_are_split_by_the_seed() -> None:
    loaded, again = (digits.load_digits_data(None, 0) for _ in range(2))
    x = np.concatenate([loaded.x_train, loaded.x_validation, loaded.x_test])
    assert x.shape == (1797, 1, 8, 8)
    assert len(np.unique(x, axis=0)) == 1797  # no image in two parts
    assert x.dtype == np.float32
    assert x.min() == 0
    assert x.max() == 1
    assert np.array_equal(np.unique(np.round(x * (loaded.levels - 1), 4)), np.arange(17))
    for part in ("train", "validation", "test"):
        images, labels = getattr(loaded, f"x_{part}"), getattr(loaded, f"y_{part}")
        assert len(images) == len(labels)
        assert set(labels) == set(range(10))
        assert labels.dtype == np.int64
        assert np.array_equal(images, getattr(again, f"x_{part}"))
    assert abs(len(loaded.x_train) / 1797 - 0.6) < 0.01
    assert not np.array_equal(loaded.x_test, digits.load_digits_data(None, 1).x_test)


def test_idx_files_packed_or_plain(folder: Path) -> None:
    assert_is_the_small_mnist(digits.load_digits_data(str(folder), 0))
    for path in folder.iterdir():
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    assert_is_the_small_mnist(digits.load_digits_data(str(folder), 0))


def test_npz(npz: Path) -> None:
    assert_is_the_small_mnist(digits.load_digits_data(str(npz), 0))


def test_openml(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = RNG.integers(0, 256, (10_012, 784)), RNG.integers(0, 10, 10_012).astype(str)
    monkeypatch.setattr(digits, "fetch_openml", lambda *_, **__: (x, y.astype(object)))
    loaded = digits.load_digits_data("openml", 0)
    assert loaded.x_train.shape == (10, 1, 28, 28)
    assert loaded.x_validation.shape == (2, 1, 28, 28)
    assert loaded.x_test.shape == (10_000, 1, 28, 28)
    np.testing.assert_array_equal(np.round(255 * loaded.x_train.reshape(10, -1)), x[:10])
    np.testing.assert_array_equal(loaded.y_test, y[12:].astype(int))

    def fail(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(digits, "fetch_openml", fail)
    with pytest.raises(MolvaeError, match=r"cannot be downloaded.*no route"):
        digits.load_digits_data("openml", 0)


def test_files_that_are_missing_or_damaged_give_one_clear_line(folder: Path, npz: Path) -> None:
    def refused(source: Path, message: str) -> None:
        with pytest.raises(MolvaeError, match=message) as caught:
            digits.load_digits_data(str(source), 0)
        assert "\n" not in str(caught.value)

    refused(folder / "nothing", "no such file or folder")
    images, labels = (folder / f"{name}.gz" for name in list(PARTS)[:2])
    whole = images.read_bytes()
    images.write_bytes(whole[:60])
    refused(folder, "train-images-idx3-ubyte.gz: not a valid IDX file")
    images.write_bytes(b"<html>not found</html>")
    refused(folder, "train-images-idx3-ubyte.gz: not a valid IDX file")
    images.write_bytes(gzip.compress(idx(IMAGES[:18])[:-5]))
    refused(folder, "not a valid IDX file: cannot reshape")
    images.write_bytes(labels.read_bytes())
    refused(folder, "not a valid IDX file: its magic number")
    images.write_bytes(gzip.compress(idx(IMAGES[:10])))
    refused(folder, "expected uint8 images")
    images.unlink()
    refused(folder, "no file train-images")
    npz.write_bytes(npz.read_bytes()[:200])
    refused(npz, "not a valid .npz file")
    npz.write_bytes(b"x")
    refused(npz, "not a valid .npz file")
    np.savez(npz, x_train=IMAGES)
    refused(npz, "must hold x_train, y_train, x_test, y_test")
    np.savez(npz, x_train=IMAGES, y_train=np.array([{}] * 24), x_test=IMAGES, y_test=LABELS)
    refused(npz, "not a valid .npz file")  # pickled objects are not loaded
    np.savez(npz, x_train=IMAGES / 255, y_train=LABELS, x_test=IMAGES, y_test=LABELS)
    refused(npz, "expected uint8 images")
    np.savez(npz, x_train=IMAGES, y_train=LABELS + 1, x_test=IMAGES, y_test=LABELS)
    refused(npz, "labels from 0 to 9")
    np.save(npz.with_suffix(".npy"), IMAGES)
    refused(npz.with_suffix(".npy"), "not a valid .npz file")
