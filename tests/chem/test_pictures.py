import io
import re
import struct
import xml.etree.ElementTree as ElementTree

import matplotlib.image
import numpy as np
import pandas as pd
import pytest

from molvae.chem.pictures import CELL, DPI, Arrangement, draw_molecules
from molvae.reports.plots import plot_property_distributions

SIDE = round(CELL * DPI / 96)  # of a cell, in pixels of a PNG
MOLECULES = ["CCO", "c1ccccc1C(=O)O", "Cn1c(=O)c2c(ncn2C)n(C)c1=O"]


def pixels(png: bytes) -> np.ndarray:
    return matplotlib.image.imread(io.BytesIO(png), format="png")


def cell(image: np.ndarray, row: int, column: int) -> np.ndarray:
    return image[row * SIDE : (row + 1) * SIDE, column * SIDE : (column + 1) * SIDE, :3]


def test_png_grid_has_a_cell_for_every_molecule():
    image = pixels(draw_molecules(MOLECULES, columns=2))
    assert image.shape[:2] == (2 * SIDE, 2 * SIDE)
    drawn = [cell(image, i // 2, i % 2).min() < 0.5 for i in range(4)]
    assert drawn == [True, True, True, False]


def test_svg_grid_is_xml_of_the_same_size():
    root = ElementTree.fromstring(draw_molecules(MOLECULES, columns=3, picture="svg"))
    assert root.attrib["width"].startswith(str(3 * CELL))


def test_invalid_string_is_marked_and_not_drawn_as_something_else():
    image = pixels(draw_molecules(["C1CC", "CCO", ""], columns=3))
    first, _, last = (cell(image, 0, i) for i in range(3))
    assert first.min() < 0.5
    assert np.array_equal(first, last)


def test_highlight_colours_only_the_cell_asked_for():
    plain = pixels(draw_molecules(MOLECULES, columns=3))
    marked = pixels(draw_molecules(MOLECULES, columns=3, highlighted=[1]))
    assert [np.array_equal(cell(plain, 0, i), cell(marked, 0, i)) for i in range(3)] == [
        True, False, True,
    ]  # fmt: skip


def test_highlight_of_some_atoms_colours_no_others():
    def colour(highlighted):
        drawn = cell(pixels(draw_molecules(["CCCCCCO"], columns=1, highlighted=highlighted)), 0, 0)
        yellow = (drawn[..., 0] > 0.9) & (drawn[..., 1] > 0.8) & (drawn[..., 2] < 0.8)
        return np.flatnonzero(yellow.any(axis=0))  # columns of the picture

    whole, left, right = colour([0]), colour({0: (0, 1, 2)}), colour({0: range(3, 7)})
    assert min(map(len, (whole, left, right))) > 20
    assert set(left) | set(right) <= set(whole)
    assert len(set(left) & set(right)) < 25  # the bond between them has no colour
    assert len(colour({0: ()})) == 0


def test_legend_is_drawn_below_its_molecule():
    bare = cell(pixels(draw_molecules(["CCO"], columns=1)), 0, 0)
    named = cell(pixels(draw_molecules(["CCO"], ["ethanol"], columns=1)), 0, 0)
    assert bare[-SIDE // 4 :].min() == 1.0
    assert named[-SIDE // 4 :].min() < 0.5


def test_a_png_says_its_resolution_and_is_as_large_as_an_svg_in_a_notebook():
    png, svg = (draw_molecules(MOLECULES, columns=3, picture=kind) for kind in ("png", "svg"))
    at = png.index(b"pHYs") + 4
    across, down, unit = struct.unpack(">IIB", png[at : at + 9])
    assert (across, down) == (7874, 7874)  # per metre: 200 per inch
    assert unit == 1
    shown, size = png._repr_png_()
    assert shown == bytes(png)
    assert size["width"] == pytest.approx(3 * CELL, abs=1)
    assert png._repr_svg_() is None
    assert svg._repr_png_() is None
    assert ElementTree.fromstring(svg._repr_svg_()).tag.endswith("svg")
    assert len(repr(png)) < 100


def find_directions(smiles: list[str], arrangement: Arrangement | None = None) -> list[float]:
    """SMILES -> the angle at which the bond between the first two atoms of each is drawn."""
    svg = draw_molecules(smiles, picture="svg", arrangement=arrangement).decode()
    number = r"([\d.]+)"
    line = rf"class='bond-0 atom-0 atom-1' d='M {number},{number} L {number},{number}"
    found = {}
    for x, y, x2, y2 in np.array(re.findall(line, svg), float):
        found.setdefault(x // CELL, np.arctan2(y2 - y, x2 - x))  # the first line of the bond
    assert len(found) == len(smiles)
    return list(found.values())


def test_molecules_of_one_scaffold_lie_the_same_way():
    quinolines = [
        "c1cc2c(CCC(=O)OCC)ccnc2cc1",
        "c1cc2c(C)c(S(=O)(=O)NCC)c(CC)nc2cc1",
        "c1cc2cc(C(C)C)c(CCCCCCl)nc2cc1",
    ]
    alone = [find_directions([one])[0] for one in quinolines]
    assert np.ptp(alone) > 0.5
    assert np.ptp(find_directions(quinolines)) < 0.02
    # another scaffold with the same ring system
    larger = "c1cc2c(CCC(=O)NC3CCCC3)ccnc2cc1"
    assert np.ptp(find_directions([*quinolines, larger])) < 0.02
    # drawn one by one, others between them
    kept = Arrangement()
    one_by_one = []
    for smiles in [*quinolines, larger]:
        one_by_one += find_directions([smiles], kept)
        find_directions(["CCCC1CCCCC1"], kept)
    assert np.ptp(one_by_one) < 0.02


def test_a_ring_within_a_bridged_system_does_not_bend_the_system():
    bridged = "C1C2CCC1CC2"
    alone = cell(pixels(draw_molecules([bridged], columns=1)), 0, 0)
    beside = cell(pixels(draw_molecules(["C1CCCCC1", bridged], columns=2)), 0, 1)
    assert np.array_equal(alone, beside)


def frame(seed: int, n: int) -> pd.DataFrame:
    return pd.DataFrame(
        np.random.default_rng(seed).normal(size=(n, 3)), columns=["logP", "SAS", "QED"]
    )


@pytest.mark.parametrize(
    "sets",
    [
        {"Data": frame(0, 500), "GA": frame(1, 300), "VAE": frame(2, 40)},
        {"Data": frame(0, 500), "VAE": frame(0, 0)},
        {"Data": frame(0, 1), "VAE": frame(0, 0)},
        {"Data": frame(0, 50), "VAE": frame(1, 50) * np.nan},
    ],
)
def test_distributions_are_drawn_for_any_sets_also_empty_ones(sets):
    image = pixels(plot_property_distributions(sets))
    assert image.ndim == 3
    assert image[..., :3].min() < 0.5


def test_distributions_as_svg():
    content = plot_property_distributions({"Data": frame(0, 100)}, picture="svg")
    assert ElementTree.fromstring(content).tag.endswith("svg")
