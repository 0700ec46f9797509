"""Coloured digits over photographs, and SVHN read from its files."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import savemat

from colour_digits import colour_data
from colour_digits.colour_data import PHOTOGRAPHS, colour_digits, measure_style, read_svhn
from molvae.base.errors import MolvaeError
from shared.digits import Digits

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (32, 32, 3, 40), dtype=np.uint8)  # as SVHN lays them
LABELS = np.arange(40, dtype=np.uint8)[:, None] % 10 + 1


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    savemat(tmp_path / "train_32x32.mat", {"X": IMAGES[..., :30], "y": LABELS[:30]})
    savemat(tmp_path / "test_32x32.mat", {"X": IMAGES[..., 30:], "y": LABELS[30:]})
    return tmp_path


def test_svhn_is_read_with_its_label_10_as_0(folder: Path) -> None:
    digits = read_svhn(folder)
    assert [len(digits.x_train), len(digits.x_validation), len(digits.x_test)] == [28, 2, 10]
    x = np.concatenate([digits.x_train, digits.x_validation, digits.x_test])
    y = np.concatenate([digits.y_train, digits.y_validation, digits.y_test])
    assert x.shape == (40, 3, 32, 32)
    assert x.dtype == np.float32
    assert y.dtype == np.int64
    np.testing.assert_array_equal(np.round(255 * x[7, 2]), IMAGES[:, :, 2, 7])
    np.testing.assert_array_equal(y, [*range(1, 10), 0] * 4)


def test_files_that_are_missing_or_others_give_one_clear_line(folder: Path) -> None:
    def refused(message: str) -> None:
        with pytest.raises(MolvaeError, match=message) as caught:
            read_svhn(folder)
        assert "\n" not in str(caught.value)
        assert "housenumbers" in str(caught.value)  # where they come from

    test, train = folder / "test_32x32.mat", folder / "train_32x32.mat"
    test.unlink()
    refused("test_32x32.mat: no such file")
    whole = train.read_bytes()
    train.write_bytes(whole[:5_000])
    refused("train_32x32.mat: not such a file")
    train.write_bytes(b"<html>not found</html>")
    refused("train_32x32.mat: not such a file")
    savemat(train, {"X": IMAGES})
    refused("train_32x32.mat: not such a file")
    savemat(train, {"X": IMAGES / 255, "y": LABELS})
    refused("X is float64")
    savemat(train, {"X": IMAGES.transpose(3, 2, 0, 1), "y": LABELS})
    refused(r"X is uint8 \(40, 3, 32, 32\)")
    savemat(train, {"X": IMAGES, "y": LABELS[:-1]})
    refused("y must hold a label")
    savemat(train, {"X": IMAGES, "y": LABELS - 1})
    refused("a label from 1 to 10")


def make_digits(n: int) -> Digits:
    """Squares of ink, the same in each split."""
    x = np.zeros((n, 1, 28, 28), np.float32)
    x[:, :, 8:20, 8:20] = 1
    y = np.arange(n) % 10
    return Digits(x, y, x[:2], y[:2], x[:5], y[:5], 256)


def test_digits_are_pasted_in_one_colour_that_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    photographs = {name: RNG.random((60, 300, 3), np.float32) for name in PHOTOGRAPHS}
    monkeypatch.setattr(colour_data, "_read_photograph", photographs.__getitem__)
    digits, again = (colour_digits(make_digits(30), 3, 0) for _ in range(2))
    assert digits.x_train.shape == (90, 3, 32, 32)
    np.testing.assert_array_equal(digits.y_train, np.repeat(np.arange(30) % 10, 3))
    assert digits.x_test.shape == (15, 3, 32, 32)
    np.testing.assert_array_equal(digits.x_test, again.x_test)
    np.testing.assert_array_equal(digits.y_test, np.repeat(np.arange(5), 3))
    grey = np.array([0.299, 0.587, 0.114])
    for image in np.concatenate([digits.x_train, digits.x_test]):
        ink = image[:, 10:22, 10:22].reshape(3, -1)
        assert np.ptp(ink, axis=1).max() < 1e-6
        behind = image[:, :, [*range(10), *range(22, 32)]].mean((1, 2))
        assert abs((ink[:, 0] - behind) @ grey) > 0.25


def test_no_patch_of_a_test_image_is_in_a_training_image(monkeypatch: pytest.MonkeyPatch) -> None:
    photograph = np.zeros((60, 300, 3), np.float32)
    photograph[:, 240:] = 1  # the right fifth
    monkeypatch.setattr(colour_data, "_read_photograph", lambda name: photograph)
    digits = colour_digits(make_digits(60), 20, 0)
    corner = [part[:, :, :4].mean((1, 2, 3)) for part in (digits.x_train, digits.x_test)]
    assert (corner[0] == 0).all()
    assert (corner[1] == 1).all()


@pytest.mark.skipif(
    importlib.util.find_spec("skimage") is None,
    reason="needs scikit-image, of the extra studies",
)
def test_each_photograph_is_in_the_wheel() -> None:
    for name in PHOTOGRAPHS:
        photograph = colour_data._read_photograph(name)
        assert photograph.ndim == 3
        assert photograph.shape[2] == 3
        assert min(photograph.shape[:2]) > 200  # its right fifth holds a patch
        assert photograph.std() > 0.01
        assert photograph.min() >= 0
        assert photograph.max() <= 1


def test_the_style_of_an_image_is_the_colour_of_its_frame_and_of_its_ink() -> None:
    x = torch.zeros(2, 3, 32, 32)
    x[0] = torch.tensor([0.2, 0.4, 0.6])[:, None, None]
    x[0, :, 12:20, 12:20] = torch.tensor([0.9, 0.1, 0.3])[:, None, None]
    style = measure_style(x)
    assert style[0].tolist() == pytest.approx([0.2, 0.4, 0.6, 0.9, 0.1, 0.3])
    assert style[1].tolist() == [0] * 6
