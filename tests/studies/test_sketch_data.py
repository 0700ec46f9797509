"""What the study of sketches reads: curves, few points of each, and files of QuickDraw."""

import importlib
import os
import pickle
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
import pytest
import torch

from molvae.base.errors import MolvaeError
from molvae.latent.sketches import count_rows, locate, stack_sketches
from molvae.latent.vae import VAE, VAEConfig
from sketches import sketch_data as data
from sketches import sketch_scores as scores

PIPELINES = Path(__file__).parents[2] / "pipelines"


def stack(*sketches: list[tuple[float, float, int]]) -> torch.Tensor:
    return torch.from_numpy(stack_sketches([np.array(s, float) for s in sketches], 9))


def test_a_path_is_traced_in_absolute_and_relative_commands() -> None:
    for path in ("M1,2C1,2 4,2 4,2", "m1,2c0,0,3,0,3,0", "M1 2c0-0 3 0 3 0"):
        points = data.trace(path)
        np.testing.assert_allclose(points[[0, -1]], [[1, 2], [4, 2]])
        np.testing.assert_allclose(points[:, 1], 2)
    # the control point that S leaves out is the mirrored one
    whole = data.trace("M0,0C0,4 2,4 2,0C2,-4 4,-4 4,0")
    np.testing.assert_allclose(data.trace("M0,0C0,4 2,4 2,0S4,-4 4,0"), whole)
    np.testing.assert_allclose(data.trace("M0,0c0,4,2,4,2,0s2,-4,2,0"), whole)
    middle = data.trace("M0,0C0,4 2,4 2,0")[4]
    np.testing.assert_allclose(middle, [1, 3])  # of a cubic Bézier curve


@pytest.mark.parametrize("path", ["M0,0", "M0,0L1,1", "M0,0C1,1 2,2", "C0,0 1,1 2,2", ""])
def test_a_path_of_anything_else_is_refused(path: str) -> None:
    with pytest.raises(MolvaeError, match="a path"):
        data.trace(path)


def test_simplified_lines_keep_their_corners() -> None:
    line = np.array([[0, 0], [1, 0.05], [2, 0], [3, 0], [3, 1], [3, 2.0]])
    assert data.simplify(line, 0.1).tolist() == [[0, 0], [3, 0], [3, 2]]
    assert len(data.simplify(line, 0.01)) == 5
    ring = np.array([[0, 0], [1, 1], [0, 2], [-1, 1], [0, 0.0]])
    assert len(data.simplify(ring, 0.1)) == 5  # its ends are one point


def test_strokes_become_moves_from_the_middle() -> None:
    points = data.to_points([np.array([[1, 1], [2, 1.0]]), np.array([[0, 0.0], [0, 3]])])
    assert points.tolist() == [[1, 1, 0], [1, 0, 1], [-2, -1, 0], [0, 3, 1]]
    assert data.Sketch("x", points, {}).strokes == 2


def test_characters_are_read_with_their_components() -> None:
    try:
        distribution("kanjivg")
    except PackageNotFoundError:
        pytest.skip("needs kanjivg, of the extra studies")
    found = data.read_kanji(40)
    assert len(found) == 40
    assert all(len(s.name) == 1 and s.points[-1, 2] == 1 for s in found)
    assert all(np.abs(s.points[:, :2].cumsum(0)).max() <= data.SIDE / 2 + 10 for s in found)
    assert len({place for s in found for place in s.parts.values()}) > 2


def write_quickdraw(path: Path, **parts: list[object]) -> Path:
    arrays = {}
    for name, part in parts.items():
        arrays[name] = np.empty(len(part), object)
        arrays[name][:] = part
    np.savez(path, **arrays)
    return path


def test_quickdraw_is_read_and_centred(tmp_path: Path) -> None:
    drawing = np.array([[0, 0, 0], [10, 0, 1], [0, 20, 0]], np.int16)
    other = np.array([[0, 0, 0], [4, 4, 1]], np.int16)
    path = write_quickdraw(
        tmp_path / "cat.npz", train=[drawing, other], valid=[other], test=[other]
    )
    found = data.read_quickdraw(path)
    assert {name: len(part) for name, part in found.items()} == {"train": 2, "valid": 1, "test": 1}
    points = found["train"][0].points
    assert points.tolist() == [[-5, -10, 0], [10, 0, 1], [0, 20, 1]]
    assert points[:, :2].cumsum(0).tolist() == [[-5, -10], [5, -10], [5, 10]]


class Harm:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch harmed",)


def test_a_file_that_would_run_something_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert pickle.dumps(Harm())
    harm = write_quickdraw(tmp_path / "harm.npz", train=[Harm()], valid=[Harm()], test=[Harm()])
    (tmp_path / "text.npz").write_text("no archive")
    np.savez(tmp_path / "numbers.npz", train=np.zeros(3), valid=np.zeros(3), test=np.zeros(3))
    odd = write_quickdraw(tmp_path / "odd.npz", train=[np.zeros((2, 2))], valid=[], test=[])
    for path in (harm, tmp_path / "text.npz", tmp_path / "numbers.npz", odd, tmp_path / "no.npz"):
        with pytest.raises(MolvaeError, match=r"not a \.npz of QuickDraw"):
            data.read_quickdraw(path)
    assert not (tmp_path / "harmed").exists()


def test_the_picture_of_a_sketch_shows_its_lines_only() -> None:
    drawn = stack([(-1, 0, 0), (2, 0, 1), (-1, 1, 1)])  # a line across the middle, then a move
    image = scores.paint(drawn, 2.0).reshape(scores.SIDE, scores.SIDE)
    assert image.argmax() // scores.SIDE == scores.SIDE // 2
    assert image[:, : scores.SIDE // 8].max() < 0.01
    assert image[3 * scores.SIDE // 4 + 4 :].max() < 0.01


def test_a_sketch_is_told_by_the_nearest_picture() -> None:
    originals = stack([(-1, 0, 0), (2, 0, 1)], [(0, -1, 0), (0, 2, 1)], [(-1, -1, 0), (2, 2, 1)])
    moved = originals.clone()
    moved[:, 0, :2] += 0.1
    images = scores.paint(moved, 2.0)
    true = scores.paint(originals, 2.0)
    assert scores.rank(images, true, np.arange(3)).tolist() == [0, 0, 0]
    assert scores.rank(images[:1], true, np.array([2])).tolist() == [1]


def test_a_beginning_is_half_of_the_strokes() -> None:
    x = stack(
        [(0, 0, 0), (1, 0, 1), (0, 1, 0), (1, 0, 1)],
        [(0, 0, 0), (1, 1, 0), (1, 0, 1)],
        [(1, 0, 1), (1, 0, 1), (1, 0, 0), (1, 0, 1)],
    )
    half = scores.halve(x)
    assert half.tolist() == [2, 3, 2]
    begun = scores.cut(x, half)
    assert (count_rows(begun) - 1).tolist() == half.tolist()
    assert torch.equal(begun[0, :2], x[0, :2])


def test_another_ending_stays_where_it_was_or_follows_as_the_same_moves() -> None:
    x = stack([(-1, 0, 0), (2, 0, 1), (0, 1, 1)], [(0, -1, 0), (0, 2, 1), (1, 1, 0), (1, 0, 1)])
    joined = scores.join(x[0], 2, x[1], 2)
    assert torch.equal(joined[:2], x[0, :2])
    torch.testing.assert_close(locate(joined[None])[0, 2:4], locate(x[1:])[0, 2:4])
    assert int(count_rows(joined[None])) == 5
    assert torch.equal(scores.join(x[0], 2, x[0], 2), x[0])
    moved = scores.join(x[0], 2, x[1], 2, placed=False)
    torch.testing.assert_close(moved[2:4], x[1, 2:4])


def test_radicals_are_added_and_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(PIPELINES / "sketches")
    study = importlib.import_module("sketches.sketches")
    plain = [data.Sketch(c, np.array([[i, 1.0, 0], [1, i, 1]]), {}) for i, c in enumerate("abcd")]
    composed = [
        data.Sketch(
            s.name.upper(),
            np.concatenate([[[-2.0, -2, 0], [0, 4, 1]], s.points]),
            {"氵": "left", s.name: "right"},
        )
        for s in plain
    ]
    other = data.Sketch("x", composed[0].points, {"氵": "top", "a": "bottom"})
    assert study.find_pairs([plain[0], *composed, other], plain, "氵") == [
        (1, 0),
        (2, 1),
        (3, 2),
        (4, 3),
    ]
    assert study.find_pairs(composed, plain[:1], "氵") == [(0, 0)]
    parts = {"train": [*plain, *composed[:2]], "test": [*composed[2:], other]}
    x = {name: stack_sketches([s.points for s in part], 9) for name, part in parts.items()}
    known = study.Data(parts, x, ["test"], 5.0)
    torch.manual_seed(0)
    sizes = {"latent": 4, "encoder_hidden": 16, "decoder_hidden": 16}
    of_sketches = {
        "encoder": "sketch-gru",
        "decoder": "sketch-gru",
        "likelihood": "mixture-density",
    }
    model = VAE(VAEConfig(shape=(9, 5), kind="sketches", **sizes, **of_sketches)).eval()
    directions = study.find_directions(model, known)
    z = model.encode(known.tensor("train"))
    assert list(directions) == ["氵"]
    torch.testing.assert_close(directions["氵"], (z[4] - z[0] + z[5] - z[1]) / 2)
    table = study.score_arithmetic(model, known, directions, 0)
    assert table.pairs["氵"] == 2
    assert table.filter(like="told").stack().isin([0, 0.5, 1]).all()
    assert table.filter(like="rank").stack().between(0, 3).all()
    assert study.plot_arithmetic(model, known, directions, 0).axes
