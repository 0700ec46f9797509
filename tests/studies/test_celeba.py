"""The photographs of CelebA, read from files such as their authors and Kaggle have."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[2] / "pipelines" / "faces"))

from celeba import CROP, EDITED, HEIGHT, WATCHED, WIDTH, read_celeba

from molvae.base.errors import MolvaeError

NAMES = [f"{i:06}.jpg" for i in range(1, 41)]
COLUMNS = ["5_o_Clock_Shadow", *WATCHED, *EDITED]  # in another order than ours
RNG = np.random.default_rng(0)
HAS = pd.DataFrame(RNG.random((len(NAMES), len(COLUMNS))) < 0.5, NAMES, COLUMNS)
SPLIT = pd.Series([0] * 20 + [1] * 10 + [2] * 10, NAMES)
COLOURS = RNG.integers(0, 256, (len(NAMES), 3), dtype=np.uint8)
SIZES = (16, 8, 8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder as CelebA's authors have it; each photograph has a frame that is cut away."""
    photographs = tmp_path / "celeba" / "img_align_celeba"
    photographs.mkdir(parents=True)
    for name, colour in zip(NAMES, COLOURS, strict=True):
        pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        pixels[CROP[1] : CROP[3], CROP[0] : CROP[2]] = colour
        Image.fromarray(pixels).save(photographs / name, quality=95)
    lines = [" ".join([name, *map(str, 2 * row.astype(int) - 1)]) for name, row in HAS.iterrows()]
    text = "\n".join([str(len(NAMES)), " ".join(COLUMNS), *lines])
    (photographs.parent / "list_attr_celeba.txt").write_text(text + "\n")
    text = "".join(f"{name} {part}\n" for name, part in SPLIT.items())
    (photographs.parent / "list_eval_partition.txt").write_text(text)
    return photographs.parent


def test_photographs_are_cut_and_go_with_their_attributes(folder: Path, tmp_path: Path) -> None:
    found = read_celeba(folder, SIZES, 32, tmp_path)
    own = {"train": NAMES[:16], "validation": NAMES[20:28], "test": NAMES[30:38]}
    for name, names in own.items():
        part = getattr(found, name)
        assert part.x.shape == (len(names), 3, 32, 32)
        middle = 255 * part.x[:, :, 8:-8, 8:-8].mean((2, 3))
        np.testing.assert_allclose(middle, COLOURS[[NAMES.index(n) for n in names]], atol=3)
        assert (abs(255 * part.x - middle[..., None, None]) < 60).all()  # the frame is gone
        np.testing.assert_array_equal(part.seen, HAS.loc[names, list(found.seen)])
        np.testing.assert_array_equal(part.known.numpy(), HAS.loc[names])
        for i, attribute in enumerate(found.edited):
            seen, known = part.changed[attribute]
            turned = seen != part.seen
            assert turned[:, i].all()
            assert turned.sum() == len(names)
            assert ((known != part.known).sum(1) == 1).all()
    np.testing.assert_array_equal(found.factors.numpy(), HAS.iloc[:16])
    assert found.counterfactuals == {}
    # from what was kept, without the photographs
    for path in (folder / "img_align_celeba").iterdir():
        path.unlink()
    again = read_celeba(folder, SIZES, 32, tmp_path)
    torch.testing.assert_close(again.test.x, found.test.x)


def test_lists_and_folders_may_be_those_of_kaggle(folder: Path, tmp_path: Path) -> None:
    expected = read_celeba(folder, SIZES, 16, tmp_path)
    for path in folder.glob("*.txt"):
        path.unlink()
    (2 * HAS.astype(int) - 1).rename_axis("image_id").to_csv(folder / "list_attr_celeba.csv")
    partition = SPLIT.rename_axis("image_id").rename("partition")
    partition.to_csv(folder / "list_eval_partition.csv")
    inner = folder / "img_align_celeba" / "img_align_celeba"
    (folder / "img_align_celeba").rename(folder / "inner")
    inner.parent.mkdir()
    (folder / "inner").rename(inner)
    (tmp_path / "kaggle").mkdir()
    found = read_celeba(folder, SIZES, 16, tmp_path / "kaggle")
    np.testing.assert_array_equal(found.train.x, expected.train.x)
    np.testing.assert_array_equal(found.test.seen, expected.test.seen)


def test_files_that_are_missing_or_others_give_one_clear_line(folder: Path, tmp_path: Path) -> None:
    def refused(message: str) -> None:
        with pytest.raises(MolvaeError, match=message) as caught:
            read_celeba(folder, SIZES, 16, tmp_path)
        assert "\n" not in str(caught.value)

    photograph = folder / "img_align_celeba" / NAMES[3]
    whole = photograph.read_bytes()
    photograph.write_bytes(whole[:400])
    refused("000004.jpg: not a photograph of CelebA")
    Image.new("RGB", (64, 64)).save(photograph)
    refused("64 x 64 pixels, not 178 x 218")
    photograph.unlink()
    refused("000004.jpg")
    attributes = folder / "list_attr_celeba.txt"
    text = attributes.read_text()
    attributes.write_text(text.replace("Smiling", "Frowning"))
    refused("has no column Smiling")
    attributes.write_text(text.replace(" -1", "  7", 1))
    refused("other values than -1 and 1")
    attributes.write_text("<html>not found</html>")
    refused(r"list_attr_celeba.*mmlab")
    attributes.unlink()
    refused(r"list_attr_celeba.txt: no such file.*mmlab")
    attributes.write_text(text)
    partition = folder / "list_eval_partition.txt"
    partition.write_text(partition.read_text().replace(" 1\n", " 0\n"))
    refused("only 0 photographs of validation")
    (folder / "img_align_celeba").rename(folder / "elsewhere")
    refused(r"img_align_celeba: no such folder.*mmlab")
