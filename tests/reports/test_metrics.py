import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from molvae.reports.metrics import (
    SampleQuality,
    build_statistics_table,
    compute_moments,
    measure_samples,
    top_auc,
    top_mean,
)
from molvae.reports.published import PUBLISHED

ETHANOL, ASPIRIN = "CCO", "CC(=O)Oc1ccccc1C(=O)O"


def test_quality_counts_invalid_and_sees_through_different_spellings():
    samples = ["OCC", "CCO", "O=C(O)c1ccccc1OC(C)=O", "C1CC", "", "c1ccccc1"]
    quality = measure_samples(samples, training=[ETHANOL, ASPIRIN])
    assert quality == SampleQuality(drawn=6, valid=4, unique=3, novel=1)
    assert quality.validity == pytest.approx(4 / 6)
    assert quality.uniqueness == pytest.approx(3 / 4)
    assert quality.novelty == pytest.approx(1 / 3)


def test_quality_of_nothing_valid_is_nan_not_zero_or_one():
    quality = measure_samples(["C1CC", "("], training=[])
    assert quality.validity == 0
    assert math.isnan(quality.uniqueness)
    assert math.isnan(quality.novelty)


@given(st.lists(st.text("CNO()1=c", max_size=8), max_size=20))
def test_quality_counts_never_grow_down_the_line(samples):
    quality = measure_samples(samples, training=["C", "CC"])
    assert len(samples) == quality.drawn >= quality.valid >= quality.unique >= quality.novel >= 0


def test_moments_are_population_ones_and_skip_missing_values():
    frame = pd.DataFrame({"logP": [1.0, 3.0, np.nan], "SAS": [2.0] * 3, "QED": [np.nan] * 3})
    found = compute_moments(frame)
    assert found["logP"] == (2.0, 1.0)
    assert found["SAS"] == (2.0, 0.0)
    assert all(math.isnan(value) for value in found["QED"])


def test_statistics_table_sets_the_published_figure_beside_the_measured_one():
    frame = pd.DataFrame({"logP": [2.0, 3.0], "SAS": [3.0, 3.0], "QED": [0.7, 0.8]})
    table = build_statistics_table({"Data": frame, "VAE": frame}, PUBLISHED["zinc"])
    row = table.set_index("source").loc["VAE"]
    assert row["molecules"] == 2
    assert row["logP"] == "2.50 (0.50)"
    assert row["logP (published)"] == "2.67 (1.46)"
    assert list(build_statistics_table({"Data": frame}).columns) == [
        "source", "molecules", "logP", "SAS", "QED",
    ]  # fmt: skip


def test_published_moments_are_those_of_the_paper():
    """Gómez-Bombarelli et al. 2018, table 2: sums over its rows, so that a wrong digit shows."""
    for data, means, deviations in (
        ("zinc", (6.24, 7.21, 6.55), (2.40, 3.07, 2.46)),
        ("qm9", (5.03, 5.96, 5.11), (2.01, 2.67, 2.03)),
    ):
        rows = PUBLISHED[data].values()
        for place, expected in enumerate((means, deviations)):
            found = [sum(moments[place] for moments in row.values()) for row in rows]
            assert found == pytest.approx(expected)


def test_top_mean_takes_the_highest_and_ignores_failures():
    assert top_mean([5, 1, 4, math.nan], k=2) == 4.5
    assert top_mean([1.0, 3.0], k=10) == 2.0
    assert math.isnan(top_mean([math.nan], k=3))


def test_top_auc_of_a_constant_run_loses_only_the_first_triangle():
    assert top_auc(np.ones(1000), budget=1000) == pytest.approx(0.95)


def test_top_auc_follows_the_definition_by_hand():
    # top-1 after 2, 4 and 5 calls: 1, 3, 4, then flat to 10 calls
    scores = [0.0, 1.0, 3.0, 2.0, 4.0]
    by_hand = (2 * (0 + 1) / 2 + 2 * (1 + 3) / 2 + 1 * (3 + 4) / 2 + 5 * 4) / 10
    assert top_auc(scores, budget=10, k=1, every=2) == pytest.approx(by_hand)


def test_top_auc_counts_a_failed_call_but_not_its_score():
    with_failure = top_auc([math.nan, math.nan, 1.0, 1.0], budget=4, k=1, every=1)
    assert with_failure == pytest.approx((0 + 0 + 0.5 + 1) / 4)
    assert math.isnan(top_auc([math.nan], budget=4))
    assert math.isnan(top_auc([], budget=4))


@given(arrays(float, st.integers(1, 60), elements=st.floats(0, 1)), st.integers(1, 5))
def test_top_auc_lies_between_zero_and_the_best_and_rewards_early_finds(scores, k):
    area = top_auc(scores, budget=60, k=k, every=7)
    assert 0 <= area <= scores.max() + 1e-12
    early = np.sort(scores)[::-1]
    assert top_auc(early, budget=60, k=k, every=7) >= area - 1e-12
