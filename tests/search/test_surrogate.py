from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from molvae.base.errors import MolvaeError
from molvae.chem.fingerprints import DESCRIPTORS, ELEMENTS, MoleculeFeatures
from molvae.chem.property_tables import compute_properties
from molvae.search.latent_surrogate import fit_surrogate
from molvae.search.surrogate import LEAST_NOISE, NOISE, MixedProcess, normal_scores


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


def test_normal_scores_keep_order_ties_and_gaps() -> None:
    y = np.array([5.0, np.nan, 0.0, 0.0, 1e9])
    scores = normal_scores(y)
    assert np.isnan(scores[1])
    assert scores[2] == scores[3] < scores[0] < scores[4]
    assert scores[[0, 4]] == pytest.approx([0.3186, 1.1503], abs=1e-4)  # quantiles 5/8, 7/8
    many = normal_scores(np.random.default_rng(0).exponential(size=1_000))
    assert [many.mean(), many.std()] == pytest.approx([0, 1], abs=0.01)


def things(n: int, rng: np.random.Generator) -> np.ndarray:
    found = np.zeros(n, dtype=[("parts", "u1", 8), ("numbers", "f4", 3)])
    found["parts"] = np.packbits(rng.random((n, 60)) < 0.2, axis=1)
    found["numbers"] = rng.normal(size=(n, 3)) * [1, 20, 0] + [0, 300, 1]
    return found


def members(x: np.ndarray) -> np.ndarray:
    return np.unpackbits(x["parts"], axis=1, count=60)


def worth(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    noise = rng.normal(size=len(x))
    return members(x) @ rng.normal(size=60) + 0.1 * x["numbers"][:, 1] + noise


def kernel(process: Any, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    p, q = members(a), members(b)
    shares = (p[:, None] & q[None]).sum(-1) / (p[:, None] | q[None]).sum(-1)
    apart = (a["numbers"][:, None].astype(float) - b["numbers"]) / process.lengthscales
    return (1 - process.weight) * shares + process.weight * np.exp(-(apart**2).sum(-1) / 2)


def test_a_process_on_sets_and_numbers_is_the_exact_posterior() -> None:
    rng = np.random.default_rng(0)
    x, new = things(50, rng), things(8, rng)
    y = worth(x, rng)
    process = MixedProcess(x, y, rng)
    inverse = np.linalg.inv(kernel(process, x, x) + process.noise * np.eye(50))
    standard, cross = (y - y.mean()) / y.std(), kernel(process, new, x)
    mean, deviation = process.predict(new)
    np.testing.assert_allclose(mean, y.mean() + y.std() * cross @ inverse @ standard, atol=1e-5)
    covariance = kernel(process, new, new) - cross @ inverse @ cross.T
    covariance *= y.std() ** 2 * process.amplitude
    np.testing.assert_allclose(deviation, np.sqrt(covariance.diagonal()), rtol=1e-4)
    np.testing.assert_allclose(process.joint(new)[1], covariance, rtol=1e-3, atol=1e-6)


def test_what_it_has_learned_is_likelier_than_anything_near() -> None:
    rng = np.random.default_rng(1)
    x = things(60, rng)
    y = worth(x, rng)

    class Patient(MixedProcess):
        STEPS = 1_000

    process = Patient(x, y, rng)
    standard, spread = (y - y.mean()) / y.std(), np.where([1, 1, 0], x["numbers"].std(axis=0), 1)

    def posterior(p: np.ndarray) -> float:
        """Of logarithms of lengthscales, noise and amplitude, and the logit of the weight."""
        lengthscales, weight = np.exp(p[:3]) * spread * np.sqrt(3), 1 / (1 + np.exp(-p[5]))
        own = SimpleNamespace(lengthscales=lengthscales, weight=weight)
        noise = np.exp(p[3]) + LEAST_NOISE
        covariance = np.exp(p[4]) * (kernel(own, x, x) + noise * np.eye(60))
        _, log_det = np.linalg.slogdet(covariance)
        likelihood = -0.5 * (standard @ np.linalg.solve(covariance, standard) + log_det)
        return float(likelihood - (p[:3] ** 2).sum() / 4 - (p[3] - np.log(NOISE)) ** 2 / 18)

    lengths = process.lengthscales / spread / np.sqrt(3)
    logs = np.log([*lengths, process.noise - LEAST_NOISE, process.amplitude])
    found = np.array([*logs, np.log(process.weight / (1 - process.weight))])
    for i in range(6):
        for step in (-0.05, 0.05):
            assert posterior(found) > posterior(found + step * np.eye(6)[i])


def test_it_learns_which_numbers_matter() -> None:
    rng = np.random.default_rng(1)
    x, new = things(300, rng), things(100, rng)
    y, truth = (np.sin(a["numbers"][:, 1] / 10) for a in (x, new))
    process = MixedProcess(x, y, rng)
    assert process.weight > 0.9
    assert 2 * process.lengthscales[1] / 20 < process.lengthscales[0]  # 20 is their deviation
    assert np.corrcoef(process.predict(new)[0], truth)[0, 1] > 0.95


def test_a_process_on_molecules_predicts_a_property(zinc: list[str]) -> None:
    x, known = MoleculeFeatures()(zinc[:800]), compute_properties(zinc[:800])
    for name, least in (("logP", 0.95), ("QED", 0.75)):
        y = known[name].to_numpy().copy()
        y[5] = np.nan  # a failed evaluation
        process = MixedProcess(x[:600], y[:600], np.random.default_rng(0))
        mean, deviation = process.predict(x[600:])
        assert np.corrcoef(mean, y[600:])[0, 1] > least
        errors = (mean - y[600:]) / np.sqrt(deviation**2 + process.noise_variance)
        assert 0.3 < errors.std() < 2


def test_it_tells_noisy_values_from_others(zinc: list[str]) -> None:
    rng = np.random.default_rng(0)
    x = MoleculeFeatures()(zinc[:300])
    logp = compute_properties(zinc[:300])["logP"].to_numpy()
    repeated = logp + logp.std() * rng.standard_normal(300)
    clear, noisy = (MixedProcess(x, y, rng) for y in (logp, repeated))
    assert not clear.is_noisy
    assert noisy.is_noisy
    assert np.sqrt(noisy.noise_variance) == pytest.approx(logp.std(), rel=0.15)
    assert not MixedProcess(x[:40], repeated[:40], rng).is_noisy  # too few to tell
    # what it expects is nearer to the truth than what was measured
    assert np.abs(noisy.predict(x)[0] - logp).mean() < 0.5 * np.abs(repeated - logp).mean()


def test_many_observations_are_more_than_it_keeps() -> None:
    rng = np.random.default_rng(0)
    x = things(2_000, rng)
    y = members(x).sum(axis=1).astype(float)
    mean, deviation = MixedProcess(x, y, rng).predict(x[np.argsort(-y)[:5]])
    np.testing.assert_allclose(mean, np.sort(y)[::-1][:5], atol=0.5)  # the best it has kept
    assert (deviation < y.std() / 5).all()


def test_where_all_are_alike_it_says_so() -> None:
    rng = np.random.default_rng(0)
    x = things(5, rng)
    mean, deviation = MixedProcess(x[:3], np.ones(3), rng).predict(x)
    np.testing.assert_allclose(mean, 1)
    assert np.isfinite(deviation).all()
    same = x[[0, 0, 0]]
    mean, _ = MixedProcess(same, np.array([1.0, 2.0, 3.0]), rng).predict(same[:1])
    np.testing.assert_allclose(mean, 2, atol=1e-6)
    with pytest.raises(MolvaeError, match="at least two"):
        MixedProcess(x[:3], [1.0, np.nan, np.nan], rng)


def test_features_count_what_a_molecule_has() -> None:
    find = MoleculeFeatures()
    found = find(["CCO", "C" * 6, "C" * 8])["parts"]
    one, six, eight = np.unpackbits(found, axis=1).astype(int)
    assert one.shape == (4_096,)
    assert ((six > 0) <= (eight > 0)).all()
    assert six.sum() < eight.sum()
    phenol = dict(zip([*DESCRIPTORS, *ELEMENTS], find(["Oc1ccccc1"])["numbers"][0], strict=True))
    assert phenol["CrippenClogP"] == pytest.approx(1.3922)
    assert phenol["tpsa"] == pytest.approx(20.23)
    assert [phenol[element] for element in "HCNO"] == [6, 6, 0, 1]
    assert find([]).shape == (0,)
