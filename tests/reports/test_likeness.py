"""Samples that are unlike the data are told from those that are like it."""

import math
from importlib.util import find_spec

import pytest

from molvae.chem.datasets import load
from molvae.reports.likeness import count_groups, measure_diversity, measure_likeness

ZINC = load("zinc").smiles
ALIKE = ["C" * n + "C(=O)O" for n in range(1, 61)]  # acids, which differ in length alone


def test_acids_are_told_from_drug_like_molecules() -> None:
    held_out, others = ZINC[:60], ZINC[1000:1060]
    figures, groups = measure_likeness(ALIKE, held_out, others)
    own, _ = measure_likeness(others, held_out, others)
    assert figures["internal_diversity"] < 0.6 < figures["internal_diversity_data"]
    assert figures["fcd_data"] == own["fcd"] or math.isnan(own["fcd"])
    if find_spec("fcd_torch") is not None:
        assert figures["fcd"] > 2 * own["fcd"]
    assert groups["samples"]["COO"] == 1  # every one is an acid
    assert list((groups["samples"] - groups["data"]).abs()) == sorted(
        (groups["samples"] - groups["data"]).abs(), reverse=True
    )


def test_groups_are_counted_once_a_molecule() -> None:
    found = count_groups(["OC(=O)CC(=O)O", "CCN", "c1ccccc1"])
    assert found["COO"] == pytest.approx(1 / 3)
    assert found["benzene"] == pytest.approx(1 / 3)
    assert found["NH2"] == pytest.approx(1 / 3)


def test_diversity_is_the_mean_distance_of_pairs() -> None:
    assert measure_diversity(["CCO", "OCC"]) == 0
    assert measure_diversity(["CCO", "c1ccccc1"]) == 1
    assert measure_diversity(["CCO", "CCO", "c1ccccc1"]) == pytest.approx(2 / 3)
    assert math.isnan(measure_diversity(["CCO"]))
