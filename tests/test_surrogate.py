import numpy as np
import pytest
import torch

from molvae.chem.fingerprints import Fingerprints
from molvae.chem.properties import properties
from molvae.errors import MolvaeError
from molvae.search.surrogate import TanimotoProcess, fit_surrogate


def sample(n: int, dimension: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    z = np.random.default_rng(seed).standard_normal((n, dimension))
    return z, 100.0 + 30.0 * (z[:, :1] - 0.5 * z[:, 1:2] ** 2)


def test_it_predicts_a_smooth_function_in_its_own_units() -> None:
    z, y = sample(80, 4)
    far, truth = sample(40, 4, seed=1)
    with torch.no_grad():
        posterior = fit_surrogate(z, y).posterior(torch.as_tensor(far))
    assert posterior.mean.dtype == torch.float64
    assert np.corrcoef(posterior.mean[:, 0], truth[:, 0])[0, 1] > 0.95
    assert abs(posterior.mean.mean().item() - truth.mean()) < 10


def test_failed_rows_are_ignored() -> None:
    z, y = sample(30, 3)
    with_failures = np.insert(y, [0, 10], np.nan, axis=0)
    more_z = np.insert(z, [0, 10], 7.0, axis=0)
    at = torch.zeros(1, 3, dtype=torch.float64)
    with torch.no_grad():
        plain = fit_surrogate(z, y).posterior(at).mean
        assert torch.equal(plain, fit_surrogate(more_z, with_failures).posterior(at).mean)


def test_two_fits_are_equal() -> None:
    z, y = sample(40, 5)
    one, two = (fit_surrogate(z, y).state_dict() for _ in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_float32_input_and_constant_columns_are_fine() -> None:
    z, y = sample(20, 3)
    z[:, 2] = 1.0
    y[:] = 2.0
    surrogate = fit_surrogate(z.astype(np.float32), y.astype(np.float32))
    with torch.no_grad():
        mean = surrogate.posterior(torch.as_tensor(z[:1])).mean
    assert mean.item() == pytest.approx(2.0, abs=1e-3)


def test_too_few_known_values_are_told() -> None:
    with pytest.raises(MolvaeError, match="at least two"):
        fit_surrogate(np.zeros((3, 2)), [[1.0], [np.nan], [np.nan]])


def sets(n: int, rng: np.random.Generator) -> np.ndarray:
    return (rng.random((n, 60)) < 0.2).astype(np.uint8)


def shares(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a[:, None] & b[None]).sum(-1) / (a[:, None] | b[None]).sum(-1)


def test_a_process_on_sets_is_the_exact_posterior() -> None:
    rng = np.random.default_rng(0)
    x, new = sets(50, rng), sets(8, rng)
    y = x @ rng.normal(size=60) + rng.normal(size=50)
    process = TanimotoProcess(x, y, rng)
    inverse = np.linalg.inv(shares(x, x) + process.noise * np.eye(50))
    standard, cross = (y - y.mean()) / y.std(), shares(new, x)
    mean, deviation = process.predict(new)
    np.testing.assert_allclose(mean, y.mean() + y.std() * cross @ inverse @ standard, atol=1e-9)
    unexplained = 1 - np.einsum("ij,jk,ik->i", cross, inverse, cross)
    expected = y.std() * np.sqrt(process.amplitude * unexplained)
    np.testing.assert_allclose(deviation, expected, atol=1e-9)


def test_its_noise_and_amplitude_are_the_likeliest() -> None:
    rng = np.random.default_rng(1)
    x = sets(60, rng)
    y = x @ rng.normal(size=60) + 2 * rng.normal(size=60)
    process, standard = TanimotoProcess(x, y, rng), (y - y.mean()) / y.std()

    def likelihood(noise: float, amplitude: float) -> float:
        covariance = amplitude * (shares(x, x) + noise * np.eye(60))
        _, log_det = np.linalg.slogdet(covariance)
        return float(-0.5 * (standard @ np.linalg.solve(covariance, standard) + log_det))

    best = likelihood(process.noise, process.amplitude)
    others = [likelihood(noise, process.amplitude) for noise in process.NOISE]
    assert best == pytest.approx(max(others))
    assert best > likelihood(process.noise, 1.1 * process.amplitude)
    assert best > likelihood(process.noise, process.amplitude / 1.1)


def test_a_process_on_fingerprints_predicts_a_property_of_molecules(zinc: list[str]) -> None:
    x, y = Fingerprints()(zinc[:800]), properties(zinc[:800])["logP"].to_numpy().copy()
    y[5] = np.nan  # a failed evaluation
    mean, deviation = TanimotoProcess(x[:600], y[:600], np.random.default_rng(0)).predict(x[600:])
    assert np.corrcoef(mean, y[600:])[0, 1] > 0.7
    errors = (mean - y[600:]) / deviation
    assert 0.5 < errors.std() < 2


def test_many_observations_are_more_than_it_keeps() -> None:
    rng = np.random.default_rng(0)
    x = sets(2_000, rng)
    y = x.sum(axis=1).astype(float)
    mean, deviation = TanimotoProcess(x, y, rng).predict(x[np.argsort(-y)[:5]])
    np.testing.assert_allclose(mean, np.sort(y)[::-1][:5], atol=0.5)  # the best it has kept
    assert (deviation < y.std() / 5).all()
    mean, _ = TanimotoProcess(x[:3], np.ones(3), rng).predict(x[:5])
    np.testing.assert_allclose(mean, 1)


def test_fingerprints_count_what_a_molecule_has() -> None:
    one, six, eight = Fingerprints()(["CCO", "C" * 6, "C" * 8]).astype(int)
    assert one.shape == (4_096,)
    assert ((six > 0) <= (eight > 0)).all()
    assert six.sum() < eight.sum()
