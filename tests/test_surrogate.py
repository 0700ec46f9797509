import numpy as np
import pytest
import torch

from molvae.errors import MolvaeError
from molvae.search.surrogate import fit_surrogate


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
