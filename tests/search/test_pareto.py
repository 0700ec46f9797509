"""The front and its hypervolume against brute force; expected growth against Monte Carlo."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from molvae.search.pareto import (
    expected_hypervolume_improvement,
    free_boxes,
    hypervolume,
    pareto_front,
    reference_point,
    scalarise,
)
from molvae.search.protocols import Observations
from molvae.search.strategies import strategies

VALUES = st.integers(1, 3).flatmap(
    lambda m: arrays(
        np.float64,
        st.tuples(st.integers(0, 25), st.just(m)),
        elements=st.integers(-3, 3).map(float) | st.just(np.nan),
    )
)


def brute_force_front(y: np.ndarray) -> list[int]:
    rows = [i for i in range(len(y)) if not np.isnan(y[i]).any()]
    return [
        i
        for i in rows
        if not any((y[j] >= y[i]).all() and ((y[j] > y[i]).any() or j < i) for j in rows if j != i)
    ]


@given(VALUES)
@settings(max_examples=200)
def test_the_front_is_what_no_row_dominates(y: np.ndarray) -> None:
    assert pareto_front(y).tolist() == brute_force_front(y)


@pytest.mark.parametrize("m", [2, 3])
def test_hypervolume_and_free_boxes_share_the_space(m: int) -> None:
    y = np.random.default_rng(m).random((12, m))
    below = np.zeros(m)
    points = np.random.default_rng(7).random((100_000, m))
    dominated = (y[:, None] >= points).all(axis=2).any(axis=0)
    assert hypervolume(y, below) == pytest.approx(dominated.mean(), abs=0.005)
    low, high = free_boxes(y[pareto_front(y)], below)
    free = ((points[:, None] > low) & (points[:, None] < high)).all(axis=2).sum(axis=1)
    np.testing.assert_array_equal(free, ~dominated)


@pytest.mark.parametrize("m", [1, 2, 3])
def test_expected_growth_is_the_mean_of_what_draws_add(m: int) -> None:
    rng = np.random.default_rng(m)
    y = rng.random((6, m))
    below = reference_point(y)
    low, high = free_boxes(y[pareto_front(y)], below)
    mean, deviation = rng.random((2, m)) + 0.3, np.full((2, m), 0.4)
    draws = mean + deviation * rng.standard_normal((4_000, 2, m))
    sizes = [
        (np.minimum(draws, h) - b).clip(0).prod(axis=2) for b, h in zip(low, high, strict=True)
    ]
    added = np.sum(sizes, axis=0)
    if m > 1:  # the boxes measure hypervolume
        before = hypervolume(y, below)
        for draw, size in zip(draws[:20, 0], added[:20, 0], strict=True):
            grown = hypervolume(np.vstack([y, draw]), below) - before
            assert size == pytest.approx(grown, abs=1e-9)
    error = added.std(axis=0) / np.sqrt(len(draws))
    found = expected_hypervolume_improvement(mean, deviation, low, high)
    assert (np.abs(found - added.mean(axis=0)) < 4 * error).all()


def test_the_reference_point_lies_below_the_front_by_a_tenth_of_its_range() -> None:
    y = np.array([[0.0, 30.0], [1.0, 10.0], [np.nan, np.nan], [-9.0, -9.0]])
    np.testing.assert_allclose(reference_point(y), [-0.1, 8.0])
    ends = [hypervolume(np.delete(y, row, axis=0), np.array([-0.1, 8.0])) for row in (0, 1)]
    assert max(ends) < hypervolume(y, reference_point(y))  # each end of the front adds to it
    flat = np.array([[2.0, 1.0], [2.0, 0.0], [1.0, 1.0]])  # constant on the front, not over all
    np.testing.assert_allclose(reference_point(flat), [1.9, 0.9])
    np.testing.assert_allclose(reference_point(np.array([[2.0, 3.0]])), [1.9, 2.9])


def test_one_value_follows_dominance_and_leaves_a_single_objective_alone() -> None:
    y = np.array([[0.0, 5.0], [1.0, 9.0], [np.nan, np.nan], [3.0, 6.0]])
    for seed in range(20):
        one = scalarise(y, np.random.default_rng(seed))
        assert one.shape == (4, 1)
        assert one[1] > one[0]
        assert one[3] > one[0]
        assert np.isnan(one[2])
    np.testing.assert_array_equal(scalarise(y[:, :1], np.random.default_rng(0)), y[:, :1])


def test_one_value_is_the_augmented_chebyshev_distance_to_the_best_of_each() -> None:
    """Knowles 2006, eq. 2, with each objective scaled to [0, 1]."""
    y = np.array([[0.0, 50.0], [2.0, 10.0], [0.0, 10.0], [2.0, 50.0], [1.0, 20.0]])
    for seed in range(5):
        weight = np.random.default_rng(seed).dirichlet([1, 1])
        away = weight * [[1, 0], [0, 1], [1, 1], [0, 0], [0.5, 0.75]]
        expected = -away.max(axis=1) - 0.05 * away.sum(axis=1)
        found = scalarise(y, np.random.default_rng(seed))[:, 0]
        np.testing.assert_allclose(found, expected, atol=1e-12)
    constant = np.array([[1.0, 3.0], [2.0, 3.0]])
    assert np.isfinite(scalarise(constant, np.random.default_rng(0))).all()


def test_its_choices_spread_along_the_front() -> None:
    marks = np.linspace(-3, 3, 41)

    def features(z: np.ndarray) -> np.ndarray:
        found = np.empty(len(z), dtype=[("parts", "u1", 16), ("numbers", "f4", 3)])
        passed = (z[:, :, None] >= marks).reshape(len(z), 3 * 41)
        found["parts"], found["numbers"] = np.packbits(passed, axis=1), z
        return found

    rng = np.random.default_rng(0)
    z = rng.uniform(-2, 2, (60, 3))
    centre = np.array([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]])  # two peaks: between them is the front
    y = -((z[:, None] - centre) ** 2).sum(axis=2)
    bounds = np.array([[-3.0] * 3, [3.0] * 3])
    seen = Observations(z, y, bounds, features(z), np.zeros(60, int), lambda z: (z, z))
    strategy = strategies["ehvi"](seen, 0)
    pool = strategy.propose(400)
    rows = strategy.choose(features(pool), 12)
    assert len(set(rows.tolist())) == 12
    found = -((pool[rows][:, None] - centre) ** 2).sum(axis=2)
    random = -((pool[:12][:, None] - centre) ** 2).sum(axis=2)
    below = reference_point(y)
    assert hypervolume(np.vstack([y, found]), below) > hypervolume(np.vstack([y, random]), below)
    assert (found.argmax(axis=1) == 0).any()
    assert (found.argmax(axis=1) == 1).any()
