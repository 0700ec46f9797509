"""Conformance: every registered strategy, a new one too, keeps these promises."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from molvae.base.errors import MolvaeError
from molvae.search.protocols import Observations, Refining
from molvae.search.strategies import strategies
from molvae.search.strategies.trust_region import TrustRegion

DIMENSION = 8
BOUNDS = np.array([[-3.0] * DIMENSION, [3.0] * DIMENSION])
PEAK = np.full(DIMENSION, 0.7)


def quadratic(z: np.ndarray) -> np.ndarray:
    return -((z - PEAK) ** 2).sum(axis=1, keepdims=True)


def features(name: str, z: np.ndarray) -> np.ndarray:
    """What a strategy sees of points: themselves, or sets of marks passed and a number."""
    if strategies[name].sees == "latents":
        return z
    marks = np.packbits((z[:, :, None] >= np.linspace(-3, 3, 41)).reshape(len(z), -1), axis=1)
    kind = [("parts", "u1", marks.shape[1]), ("numbers", "f4", 1)]
    found = np.empty(len(z), dtype=kind)
    found["parts"], found["numbers"] = marks, z[:, :1]
    return found


def predict(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two properties of points, of which the quadratic is a difference, and their slopes."""
    size, along = (z**2).sum(axis=1), 2 * z @ PEAK
    return np.stack([size, along], axis=1), np.stack([2 * z, np.tile(2 * PEAK, (len(z), 1))], 1)


def observed(name: str, z: np.ndarray, y: np.ndarray, bounds: np.ndarray = BOUNDS) -> Observations:
    rounds = np.maximum(0, np.arange(len(z)) - 15) // 5  # 20 to begin with, then 5 a round
    return Observations(z, y, bounds, features(name, z), rounds, predict)


def observations(name: str, bounds: np.ndarray = BOUNDS) -> Observations:
    z = np.random.default_rng(0).standard_normal((30, DIMENSION)).clip(-3, 3)
    y = quadratic(z)
    y[3] = np.nan
    return observed(name, z, y, bounds)


@pytest.mark.parametrize("name", list(strategies))
@pytest.mark.parametrize("p", [1, 7, 64])
def test_proposals_have_their_shape_and_lie_inside(name: str, p: int) -> None:
    z = strategies[name](observations(name), 0).propose(p)
    assert z.shape == (p, DIMENSION)
    assert z.dtype == np.float64
    assert (z >= BOUNDS[0]).all()
    assert (z <= BOUNDS[1]).all()


@pytest.mark.parametrize("name", list(strategies))
def test_narrow_bounds_hold(name: str) -> None:
    narrow = np.array([[-0.1] * DIMENSION, [0.2] * DIMENSION])
    z = strategies[name](observations(name, narrow), 0).propose(40)
    assert z.min() >= -0.1
    assert z.max() <= 0.2


@pytest.mark.parametrize("name", list(strategies))
def test_a_seed_repeats_and_another_does_not(name: str) -> None:
    pool = features(name, np.random.default_rng(5).standard_normal((30, DIMENSION)))

    def one(seed: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        strategy = strategies[name](observations(name), seed)
        return strategy.propose(20), strategy.propose(20), strategy.choose(pool, 5)

    first, again, other = one([1, 2]), one([1, 2]), one([1, 3])
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first[0], other[0])
    assert not np.array_equal(first[0], first[1])


@pytest.mark.parametrize("name", ["neighbourhood", "thompson"])
def test_only_the_order_of_values_counts(name: str) -> None:
    seen = observations(name)
    same, other = (replace(seen, y=y) for y in (np.exp(3 * seen.y), -seen.y))
    pool = features(name, np.random.default_rng(5).standard_normal((200, DIMENSION)))
    chosen = [strategies[name](o, 0).choose(pool, 10).tolist() for o in (seen, same, other)]
    assert chosen[0] == chosen[1] != chosen[2]


@pytest.mark.parametrize("name", ["neighbourhood", "thompson"])
def test_proposals_follow_what_looks_promising(name: str) -> None:
    strategy = strategies[name](observations(name), 0)
    assert isinstance(strategy, Refining)
    first = strategy.propose(400)
    near, far = PEAK + 0.1 * np.random.default_rng(1).standard_normal((2, 60, DIMENSION))
    for z in (near, far - 2.0):  # the latter are worse than what was observed
        strategy.consider(z, features(name, z))
    later = strategy.propose(400)
    assert later.shape == first.shape
    assert (later >= BOUNDS[0]).all()
    assert (later <= BOUNDS[1]).all()
    share = [(quadratic(z) > quadratic(near).min()).mean() for z in (first, later)]
    assert share[1] > share[0] + 0.1


@pytest.mark.parametrize("name", list(strategies))
def test_choices_are_distinct_rows_even_of_equal_features(name: str) -> None:
    strategy = strategies[name](observations(name), 0)
    pool = np.repeat(np.random.default_rng(0).standard_normal((6, DIMENSION)), 2, axis=0)
    rows = strategy.choose(features(name, pool), 8)
    assert len(set(rows.tolist())) == 8
    assert set(rows.tolist()) <= set(range(12))
    assert len(strategy.choose(features(name, pool[:3]), 8)) == 3


def best_of_search(name: str, seed: int) -> float:
    """The best of 60 evaluations on the quadratic, after 20 prior samples."""
    z = np.random.default_rng(seed).standard_normal((20, DIMENSION)).clip(-3, 3)
    for k in range(8):
        strategy = strategies[name](observed(name, z, quadratic(z)), [seed, k])
        pool = strategy.propose(64)
        z = np.concatenate([z, pool[strategy.choose(features(name, pool), 5)]])
    return float(quadratic(z).max())


@pytest.mark.parametrize("name", [name for name in strategies if name != "prior"])
def test_it_beats_prior_sampling_on_a_quadratic(name: str) -> None:
    for seed in range(2):
        assert best_of_search(name, seed) > best_of_search("prior", seed) + 0.5


@pytest.mark.parametrize("name", [name for name in strategies if name != "prior"])
def test_the_surrogate_needs_two_known_values(name: str) -> None:
    seen = observed(name, np.zeros((2, DIMENSION)), np.array([[1.0], [np.nan]]))
    with pytest.raises(MolvaeError, match="at least two"):
        strategies[name](seen, 0)


def region(tops: list[float], each: int = 8) -> tuple[TrustRegion, np.ndarray]:
    """The region after rounds of so many observations, of which the best had these values."""
    rng = np.random.default_rng(0)
    n = each * len(tops)
    rounds = np.arange(n) // each
    z = rng.uniform(-1, 1, (n, DIMENSION))
    y = np.array(tops)[rounds] - rng.random(n)
    y[::each] = tops
    seen = Observations(z, y[:, None], BOUNDS, z, rounds, predict)
    strategy = TrustRegion(seen, 0)
    return strategy, strategy.propose(200)


def test_a_trust_region_grows_with_success_shrinks_without_and_starts_anew() -> None:
    calm, points = region([0.0, 0.0, 0.0])
    centre = np.median(points, axis=0)
    usual = np.abs(points - centre).max()
    _, grown = region([0.0, 0.0, 0.0, 1.0, 2.0, 3.0])
    _, shrunk = region([0.0, 0.0, 0.0, -1.0, -1.0])
    sizes = [np.ptp(p, axis=0).mean() for p in (shrunk, points, grown)]
    assert sizes[0] < sizes[1] < sizes[2]
    assert usual > 0
    fresh, samples = region([0.0, 0.0, 0.0] + [-1.0] * 4)  # halved until it was left
    assert samples.std() == pytest.approx(1.0, abs=0.1)
    assert fresh.choose(samples, 3).tolist() == [0, 1, 2]
    later, points = region([5.0, 5.0, 5.0] + [-1.0] * 4 + [0.0] * 3)  # what it was left for
    assert np.ptp(points, axis=0).mean() < np.ptp(samples, axis=0).mean()
    assert calm.choose(points, 3).shape == (3,)
    assert later.choose(points, 3).shape == (3,)


def side(tops: list[float]) -> float:
    """The side of the region after rounds of four, as a share of the bounds' width."""
    _, points = region(tops, each=4)
    sides = np.ptp(points, axis=0)  # in proportion to the lengthscales, whose mean cancels
    return float(np.exp(np.log(sides).mean()) / np.ptp(BOUNDS, axis=0).mean())


def test_only_successes_or_failures_in_a_row_change_the_region() -> None:
    begun = [0.0] * 5  # 20 observations
    usual, half, double = 0.4, 0.2, 0.8
    for then, expected in (
        ([], usual),
        ([-1.0], usual),  # two failures of four each are as many as dimensions
        ([-1.0, -1.0], half),
        ([-1.0, -1.0, -1.0], half),  # counted anew
        ([-1.0, -1.0, -1.0, -1.0], half / 2),
        ([-1.0, 1.0, -1.0], usual),
        ([1.0, 2.0, 3.0], double),
        ([1.0, 2.0, -1.0, 3.0], usual),
        ([-1.0, -1.0, 1.0, 2.0, 3.0, 4.0, 5.0], usual),
        ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], double),  # its greatest
        ([1.0, 2.0, 3.0, -1.0, -1.0], usual),
        ([0.0, 0.0], half),  # as good is no success
    ):
        for shift in (0.0, -100.0):  # values may be negative, too
            tops = [top + shift for top in [*begun, *then]]
            assert side(tops) == pytest.approx(expected, rel=0.1), tops


def test_a_new_strategy_is_one_file_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_strategy.py").write_text(
        "from molvae.search.strategies.prior import PriorSampling as Whole\n"
        "class Half:\n    sees, several = 'latents', False\n    def propose(self, p): ...\n"
        "class Blind(Whole):\n    sees = 'nothing'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert strategies.look_up("my_strategy:Whole") is strategies["prior"]
    for name, message in (
        ("my_strategy:Half", "lacks choose"),
        ("my_strategy:Blind", "has sees = 'nothing'; it must be 'latents' or 'molecules'"),
    ):
        with pytest.raises(MolvaeError, match=message):
            strategies.look_up(name)
