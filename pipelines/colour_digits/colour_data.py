"""Coloured digits pasted over patches of photographs, and the house numbers of SVHN by file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.image import imread
from numpy.typing import NDArray
from scipy.io import loadmat

from molvae.base.errors import MolvaeError
from shared.digits import Digits
from shared.packages import locate_file

SIDE = 32  # pixels, as in SVHN
PHOTOGRAPHS = ("astronaut", "brick", "chelsea", "coffee", "grass", "gravel", "motorcycle_left")
GAP = 0.35  # between the grey level of a digit and the mean one of its patch, so that it is legible
GREY = np.array([0.299, 0.587, 0.114], np.float32)
SVHN = ("train_32x32.mat", "test_32x32.mat")
SVHN_SOURCE = "http://ufldl.stanford.edu/housenumbers (format 2, cropped digits)"

Images = NDArray[np.float32]
Labels = NDArray[np.int64]


def colour_digits(digits: Digits, copies: int, seed: int) -> Digits:
    """Grey digits -> the same digits (n, 3, 32, 32), coloured, over patches of photographs.

    Test images take their patches from the right fifth of each photograph, all others from the
    rest, so that neither a digit nor a patch of a test image is in a training image.

    Args:
        digits: 28 x 28 pixels at most, with their splits, which are kept.
        copies: images made of each digit of training and test, each in another colour over
            another patch.
        seed: of colours and patches.

    Raises:
        MolvaeError: the photographs are missing.
    """
    rng = np.random.default_rng(seed)
    seen, unseen = [], []
    for name in PHOTOGRAPHS:
        photograph = _read_photograph(name)
        cut = photograph.shape[1] * 4 // 5
        seen.append(photograph[:, :cut])
        unseen.append(photograph[:, cut:])
    return digits._replace(
        x_train=_paste(digits.x_train.repeat(copies, 0), seen, rng),
        y_train=digits.y_train.repeat(copies),
        x_validation=_paste(digits.x_validation, seen, rng),
        x_test=_paste(digits.x_test.repeat(copies, 0), unseen, rng),
        y_test=digits.y_test.repeat(copies),
    )


def _read_photograph(name: str) -> Images:
    """Name of a picture in scikit-image's wheel -> (H, W, 3) in [0, 1]."""
    image = np.asarray(imread(locate_file("scikit-image", f"{name}.png")), np.float32)
    return np.stack([image] * 3, axis=-1) if image.ndim == 2 else image[..., :3]


def _paste(digits: Images, photographs: list[Images], rng: np.random.Generator) -> Images:
    """Digits (n, 1, h, w) in [0, 1] -> (n, 3, 32, 32), each over a random patch."""
    x = np.empty((len(digits), 3, SIDE, SIDE), np.float32)
    for i, digit in enumerate(digits[:, 0]):
        photograph = photographs[rng.integers(len(photographs))]
        top, left = (rng.integers(side - SIDE, endpoint=True) for side in photograph.shape[:2])
        patch = photograph[top : top + SIDE, left : left + SIDE]
        ink = np.zeros((SIDE, SIDE, 1), np.float32)
        top, left = ((SIDE - side) // 2 for side in digit.shape)
        ink[top : top + digit.shape[0], left : left + digit.shape[1], 0] = digit
        colour = _draw_colour(patch.mean((0, 1)), rng)
        x[i] = (patch + ink * (colour - patch)).transpose(2, 0, 1)
    return x


def _draw_colour(behind: Images, rng: np.random.Generator) -> Images:
    """Mean colour of a patch (3,) -> a random one (3,) whose grey level is not near."""
    while True:
        colour = rng.random(3, np.float32)
        if abs((colour - behind) @ GREY) >= GAP:
            return colour


def read_svhn(folder: Path) -> Digits:
    """Folder with train_32x32.mat and test_32x32.mat -> house numbers (n, 3, 32, 32).

    The last twentieth of the training images is the validation set.

    Raises:
        MolvaeError: a file is missing, damaged, or another one.
    """
    (x, y), (x_test, y_test) = (_read_mat(folder / name) for name in SVHN)
    cut = len(x) - len(x) // 20 - 1
    return Digits(x[:cut], y[:cut], x[cut:], y[cut:], x_test, y_test, 256)


def _read_mat(path: Path) -> tuple[Images, Labels]:
    """One file of SVHN -> images (n, 3, 32, 32) in [0, 1] and digits (n,)."""
    if not path.is_file():
        raise MolvaeError(f"{path}: no such file; it comes from {SVHN_SOURCE}")
    try:
        content: dict[str, Any] = loadmat(str(path), variable_names=["X", "y"])
        x, y = content["X"], content["y"].ravel()
        if x.dtype != np.uint8 or x.ndim != 4 or x.shape[:3] != (SIDE, SIDE, 3):
            raise ValueError(f"X is {x.dtype} {x.shape}, not uint8 (32, 32, 3, n)")
        if len(y) != x.shape[3] or y.dtype.kind not in "iu" or not np.isin(y, range(1, 11)).all():
            raise ValueError("y must hold a label from 1 to 10, which is 0, for each image")
        if len(y) < 2:
            raise ValueError("it must hold at least 2 images")
    except Exception as error:  # loadmat of a file of another kind raises many
        raise MolvaeError(
            f"{path}: not such a file of SVHN, which comes from {SVHN_SOURCE}: {error}"
        ) from error
    return x.transpose(3, 2, 0, 1).astype(np.float32) / 255, y.astype(np.int64) % 10


def measure_style(x: torch.Tensor) -> torch.Tensor:
    """Images (n, 3, H, W) -> the mean colours of frame and ink (n, 6).

    The frame is the outermost two pixels, which the digit seldom reaches; the ink is the
    twentieth of the pixels inside that differ most from the mean colour of the frame.
    """
    inside = torch.zeros(x.shape[2:], dtype=torch.bool)
    inside[2:-2, 2:-2] = True
    frame = x[:, :, ~inside].mean(2)  # (n, 3)
    pixels = x[:, :, inside]  # (n, 3, P)
    distance = (pixels - frame[..., None]).square().sum(1)
    far = distance.topk(inside.sum().item() // 20, dim=1).indices
    ink = pixels.gather(2, far[:, None].expand(-1, 3, -1)).mean(2)
    return torch.cat([frame, ink], 1)
