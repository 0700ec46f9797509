"""Choosing from predictions that are written down here, not learned."""

import numpy as np
import pytest
import torch
from scipy.stats import norm

from molvae.search.acquisition import BETAS, choose_highest, draw_best
from molvae.search.latent_surrogate import fit_surrogate
from molvae.search.proposals import Around, draw_by_rank, propose_nearby
from molvae.search.protocols import Observations
from molvae.search.strategies import strategies

DIMENSION = 3
BOUNDS = np.array([[-3.0] * DIMENSION, [3.0] * DIMENSION])
SEEDS = range(40)


def features(name: str, z: np.ndarray) -> np.ndarray:
    """What a strategy sees of points: themselves, or an equal set for all and themselves."""
    if strategies[name].sees == "latents":
        return z
    found = np.zeros(len(z), dtype=[("parts", "u1", 1), ("numbers", "f4", DIMENSION)])
    found["parts"], found["numbers"] = 255, z
    return found


def observe(name: str, z: np.ndarray, y: np.ndarray) -> Observations:
    rounds = np.zeros(len(z), dtype=int)
    return Observations(z, y, BOUNDS, features(name, z), rounds, lambda z: (z, z))


def along_first_axis(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Points, and noisy values that grow along the first axis."""
    rng = np.random.default_rng(1)
    z = rng.uniform(-2, 2, (n, DIMENSION))
    return z, z[:, :1] + 0.5 * rng.standard_normal((n, 1))


def test_of_two_equal_means_an_upper_bound_prefers_the_less_certain() -> None:
    mean, deviation = np.zeros(3), np.array([0.1, 2.0, 0.5])
    for seed in SEEDS:
        rows = choose_highest(mean, deviation, 2, np.random.default_rng(seed))
        assert rows.tolist() == [1, 2]


def test_the_weight_of_the_deviation_varies_within_its_range() -> None:
    mean, deviation = np.array([1.0, 0.0]), np.array([0.0, 1.0])  # beta above 1 explores
    share = np.mean(
        [choose_highest(mean, deviation, 1, np.random.default_rng(s)) for s in range(400)]
    )
    low, high = np.log(BETAS)
    assert share == pytest.approx(high / (high - low), abs=0.08)
    for certain, chosen in ((3.1, 0), (0.09, 1)):  # outside of the range nothing is left to chance
        mean = np.array([certain, 0.0])
        for seed in SEEDS:
            rows = choose_highest(mean, deviation, 1, np.random.default_rng(seed))
            assert rows.tolist() == [chosen]


def test_draws_know_which_rows_rise_together() -> None:
    mean = np.array([0.0, 0.1])
    tied, free = np.full((2, 2), 100.0), 100 * np.eye(2)
    shares = [
        np.mean([draw_best(mean, c, 1, np.random.default_rng(s)) for s in range(400)])
        for c in (tied, free)
    ]
    assert shares[0] == 1  # always the better one
    assert shares[1] == pytest.approx(0.5, abs=0.1)


def test_draws_have_the_covariance_that_they_are_given() -> None:
    mean, deviation, correlation = np.array([0.5, 0.0]), np.array([1.0, 2.0]), -0.6
    covariance = np.outer(deviation, deviation) * [[1, correlation], [correlation, 1]]
    share = np.mean(
        [draw_best(mean, covariance, 1, np.random.default_rng(s)) for s in range(2_000)]
    )
    spread = np.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    assert share == pytest.approx(norm.cdf((mean[1] - mean[0]) / spread), abs=0.03)


@pytest.mark.parametrize("name", ["thompson", "trust-region"])
def test_of_two_molecules_alike_the_worse_is_hardly_ever_drawn(name: str) -> None:
    z, y = along_first_axis(30)
    twins = np.array([[0.0, 3.0, -3.0], [0.1, 3.0, -3.0]])  # far out, where little is known
    strategy = strategies[name](observe(name, z, y), 0)
    drawn = [strategy.choose(features(name, twins), 1).item() for _ in range(200)]
    assert np.mean(drawn) > 0.9  # independent draws would prefer it in 55 %


def test_expected_improvement_is_over_the_best_value() -> None:
    rng = np.random.default_rng(0)
    z = rng.uniform(-2, 2, (30, DIMENSION))
    y = -(z**2).sum(axis=1, keepdims=True)

    def predict(pool: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with torch.no_grad():
            posterior = fit_surrogate(z, y).posterior(torch.as_tensor(pool))
        return posterior.mean[:, 0].numpy(), posterior.variance[:, 0].sqrt().numpy()

    pool = rng.uniform(-3, 3, (600, DIMENSION))
    pool = pool[predict(pool)[0] < -2]  # certainly bad ones among them, and uncertain ones
    mean, deviation = predict(pool)

    def choose(over: float) -> int:
        u = (mean - over) / deviation
        return int((deviation * (norm.pdf(u) + u * norm.cdf(u))).argmax())

    assert choose(y.max()) != choose(y.min())
    strategy = strategies["ei"](observe("ei", z, y), 0)
    assert strategy.choose(pool, 1).tolist() == [choose(y.max())]


@pytest.mark.parametrize("name", ["neighbourhood", "thompson"])
def test_of_equal_means_the_less_certain_is_promising(name: str) -> None:
    z, y = along_first_axis(30)

    class EqualMeans:
        """Knows less where the second coordinate is positive."""

        def predict(self, found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return np.zeros(len(found)), np.where(found["numbers"][:, 1] > 0, 5.0, 0.1)

    strategy = strategies[name](observe(name, z, y), 0)
    (strategy._near if name == "thompson" else strategy).surrogate = EqualMeans()
    sure, unsure = (np.tile([2.5, side, 2.9], (60, 1)) for side in (-2.9, 2.9))
    both = np.concatenate([sure, unsure])
    strategy.consider(both, features(name, both))
    points = strategy.propose(400)
    near = [(np.abs(points - place[0]).max(axis=1) < 1.5).mean() for place in (sure, unsure)]
    assert near[1] > near[0] + 0.2


def test_a_better_rank_is_drawn_more_often_by_the_weight_that_is_stated() -> None:
    z = np.arange(20.0)[:, None]
    drawn = draw_by_rank(z, 20_000, 0.1, np.random.default_rng(0))
    shares = np.bincount(drawn[:, 0].astype(int), minlength=20) / 20_000
    weight = 1 / (0.1 * 20 + np.arange(20))
    np.testing.assert_allclose(shares, weight / weight.sum(), atol=0.01)


def test_proposals_lie_around_and_between_the_points() -> None:
    ends = np.array([[-1.0] * 4, [1.0] * 4])
    bounds = np.array([[-8.0] * 4, [8.0] * 4])
    z = propose_nearby(ends, bounds, 4_000, np.random.default_rng(0))
    steps, joined = z[np.arange(4_000) % 4 < 2], z[np.arange(4_000) % 4 >= 2]
    apart = np.abs(steps[:, None] - ends).max(axis=2).min(axis=1)
    assert np.quantile(apart, 0.9) > 8 * np.quantile(apart, 0.1)  # short and long ones
    between, crossed = joined[::2], joined[1::2]
    if between.std(axis=1).mean() > crossed.std(axis=1).mean():
        between, crossed = crossed, between
    assert between.std(axis=1).mean() < 0.3  # on the line all coordinates are the same
    assert np.abs(between.mean(axis=1)).min() < 0.05
    corners = np.sign(crossed)
    assert len(np.unique(corners, axis=0)) == 16  # each coordinate from either
    assert (np.abs(np.abs(crossed) - 1).mean(axis=0) < 0.3).all()


@pytest.mark.parametrize("unit", [0.01, 100.0])
def test_steps_along_a_gradient_are_in_standard_deviations_of_the_points(unit: float) -> None:
    z, y = along_first_axis(30)

    def propose(unit: float) -> np.ndarray:
        def predict(z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            slope = np.array([[1.0, 0.0, 0.0], [0.0, 0.5, 0.0]]) / unit
            return z @ slope.T, np.broadcast_to(slope, (len(z), 2, DIMENSION))

        seen = Observations(unit * z, y, unit * BOUNDS, unit * z, np.zeros(30, int), predict)
        return strategies["gradient"](seen, 0).propose(200)

    usual = propose(1.0)
    np.testing.assert_allclose(propose(unit), unit * usual, rtol=1e-6)
    best = z[np.argsort(-y[:, 0])]
    assert usual[:, 0].mean() > best[:10, 0].mean()  # uphill from the best


def test_points_around_leads_keep_their_distance() -> None:
    leads = np.array([[2.0] * 16, [-2.0] * 16], dtype=np.float32)
    bounds = np.array([[-9.0] * 16, [9.0] * 16])
    around = Around(leads, bounds, 0)
    z = around.propose(2_000)
    apart = np.sqrt(((z[:, None] - leads) ** 2).mean(axis=2))
    nearest = apart.min(axis=1)
    assert set(apart.argmin(axis=1)) == {0, 1}
    assert 0.05 < nearest.min() < 0.15
    assert 0.7 < nearest.max() < 2
    assert np.median(nearest) == pytest.approx(0.1**0.5, rel=0.1)  # log-uniform
    assert around.choose(z[:5], 3).tolist() == [0, 1, 2]
    assert around.choose(z[:2], 3).tolist() == [0, 1]
