"""The photographs of CelebA (Liu et al. 2015), read from the files that the user has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from face_data import Changed, Faces, Images, Part, keep_images
from PIL import Image
from tqdm import tqdm

from molvae.base.errors import MolvaeError

SOURCE = "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"
IMAGES = "img_align_celeba"
WIDTH, HEIGHT = 178, 218  # of an aligned photograph
CROP = (15, 35, 163, 183)  # its middle 148 x 148 pixels, as usual
EDITED = ("Eyeglasses", "Wearing_Hat", "Smiling", "Male", "Blond_Hair")
WATCHED = ("Young", "No_Beard")  # that edits must leave alone
SPLITS = ("train", "validation", "test")  # 0, 1, 2 in the file


def read_celeba(folder: Path, sizes: tuple[int, int, int], side: int, kept: Path) -> Faces:
    """Read the first photographs of each part of CelebA, cut to their middle and made smaller.

    Args:
        folder: holds `img_align_celeba`, `list_attr_celeba` and `list_eval_partition`; the two
            lists as .txt, as their authors have them, or as .csv, as Kaggle has.
        sizes: numbers of faces to train on, of validation and of test, at most.
        side: of an image, in pixels.
        kept: folder of the small images, which are read from there the next time.

    Raises:
        MolvaeError: a file is missing, damaged, or another one.
    """
    attributes = _read_list(folder, "list_attr_celeba", 1)
    if missing := [name for name in (*EDITED, *WATCHED) if name not in attributes]:
        raise MolvaeError(f"{folder}/list_attr_celeba: has no column {missing[0]}; see {SOURCE}")
    if not attributes.isin([-1, 1]).all(axis=None):
        raise MolvaeError(f"{folder}/list_attr_celeba: holds other values than -1 and 1")
    split = _read_list(folder, "list_eval_partition", 0).iloc[:, 0]
    photographs = _find_photographs(folder)
    rows = []
    for number, (name, size) in enumerate(zip(SPLITS, sizes, strict=True)):
        names = split.index[split == number].intersection(attributes.index)[:size]
        if len(names) < 8:
            raise MolvaeError(f"{folder}: only {len(names)} photographs of {name}")
        rows.append(attributes.loc[names] > 0)
    parts = []
    for name, own in zip(SPLITS, rows, strict=True):
        bar = tqdm(own.index, unit="face", desc=f"reading {name}")
        x = keep_images(kept / f"celeba-{name}.npy", _read_photographs(photographs, bar, side))
        parts.append(_describe(x, own))
    factors = torch.from_numpy(rows[0].to_numpy(np.int64))
    return Faces((*EDITED, *WATCHED), EDITED, *parts, {}, factors)


def _read_list(folder: Path, name: str, skipped: int) -> pd.DataFrame:
    """One of the two lists -> its integers, by file name of the photograph."""
    text, table = folder / f"{name}.txt", folder / f"{name}.csv"
    path = table if table.is_file() and not text.is_file() else text
    try:
        if path is table:
            found = pd.read_csv(path, index_col=0)
        else:
            header = 0 if skipped else None
            found = pd.read_csv(path, sep=r"\s+", skiprows=skipped, header=header, index_col=0)
        return found.astype(int)
    except FileNotFoundError:
        raise MolvaeError(f"{path}: no such file, nor as .csv; it comes from {SOURCE}") from None
    except (OSError, ValueError, IndexError) as error:
        reason = " ".join(str(error).split())
        raise MolvaeError(f"{path}: not such a file of CelebA, see {SOURCE}: {reason}") from error


def _find_photographs(folder: Path) -> Path:
    """Folder of CelebA -> that of the photographs, which Kaggle's archive holds twice over."""
    for path in (folder / IMAGES / IMAGES, folder / IMAGES):
        if path.is_dir():
            return path
    raise MolvaeError(f"{folder / IMAGES}: no such folder; unpack {IMAGES}.zip from {SOURCE}")


def _read_photographs(folder: Path, names: tqdm, side: int) -> Iterator[Images]:
    """File names -> the middles of the photographs (1, 3, side, side) in [0, 1]."""
    for name in names:
        path = folder / name
        try:
            with Image.open(path) as image:
                if image.size != (WIDTH, HEIGHT):
                    raise ValueError(f"{image.width} x {image.height} pixels, not 178 x 218")
                small = image.convert("RGB").resize((side, side), Image.Resampling.BOX, CROP)
        except (OSError, ValueError) as error:
            raise MolvaeError(f"{path}: not a photograph of CelebA: {error}") from error
        yield np.asarray(small, np.float32).transpose(2, 0, 1)[None] / 255


def _describe(x: Images, attributes: pd.DataFrame) -> Part:
    """Images (n, 3, H, W) and which attributes they have -> what is known of them."""

    def tell(attributes: pd.DataFrame) -> Changed:
        seen = attributes[[*EDITED, *WATCHED]].to_numpy(bool)
        return Changed(seen, torch.from_numpy(attributes.to_numpy(np.float32)))

    own = tell(attributes)
    changed = {name: tell(attributes.assign(**{name: ~attributes[name]})) for name in EDITED}
    return Part(x, own.seen, own.known, changed)
