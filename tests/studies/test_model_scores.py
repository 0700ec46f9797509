"""The scores of the model studies, on stand-ins for a model whose figures are known beforehand."""

import inspect
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.distributions import Normal

from model_study.model_study import BASE, CONFIGURATIONS, fit_arguments
from molvae.chem.datasets import DataSet
from molvae.chem.properties import STATISTICS
from molvae.chem.property_tables import compute_properties
from molvae.chem.tokenizers import tokenizers
from molvae.latent.vae import VAEConfig
from molvae.model.molvae import MolVAE
from shared import model_scores as scores


class Perfect:
    """Writes back every molecule that it was shown; z is far apart for each, noise or not."""

    device = torch.device("cpu")

    def __init__(self, smiles):
        self.smiles = smiles
        self.tokenizer = SimpleNamespace(
            encode=lambda some: np.array([[smiles.index(s)] for s in some])
        )
        self.vae = SimpleNamespace(posterior=lambda ids: Normal(self.z[ids[:, 0]], 0.1))
        columns = compute_properties(smiles)[list(STATISTICS)].to_numpy()
        index = 1_000.0 * np.arange(len(smiles))[:, None]
        self.z = torch.tensor(np.hstack([index, columns]), dtype=torch.float32)

    def can_encode(self, smiles):
        return smiles in self.smiles

    def encode(self, smiles, refine):
        return self.z[[self.smiles.index(s) for s in smiles]]

    def decode(self, z, beam):
        rows = (z[:, 0] / 1_000).round().long().clamp(0, len(self.smiles) - 1)
        return [self.smiles[i] for i in rows]

    def sample(self, n, seed, beam):
        return (self.smiles * n)[:n]


def measure_one_bit_per_character(model, smiles, seed, refine):
    """The figures of a perfect model that spends one bit on each character, none on the end."""
    nats = math.log(2) * np.mean([len(s) for s in smiles])
    return {
        "molecules": len(smiles),
        "reconstruction_nats": 0.0,
        "kl_nats": nats,
        "elbo_nats": -nats,
        "token_accuracy": 1.0,
        "exact_reconstruction": 1.0,
        "exact_reconstruction_means": 1.0,
        "exact_reconstruction_encoder": 1.0,
        "learned_steps": 0,
    }


@pytest.fixture(scope="module", autouse=True)
def one_bit_per_character():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shared.model_scores.measure_reconstruction", measure_one_bit_per_character)
        yield


class OffCentre(Perfect):
    """Writes a molecule only exactly at its own z."""

    def decode(self, z, beam):
        return [
            self.smiles[(row == self.z).all(1).long().argmax()]
            if (row == self.z).all(1).any()
            else "C1CC"
            for row in z
        ]


@pytest.fixture(scope="module")
def data(zinc):
    return DataSet("zinc", zinc[:400], rejected=0, key="scores-test")


@pytest.fixture(scope="module")
def row(data):
    reference = scores.Reference.of(data, fcd=False)
    return scores.score(Perfect(data.smiles), data, reference, molecules=40, samples=300)


def test_a_perfect_model_gets_full_marks(row, data):
    assert row["molecules"] == len(data.split("test"))  # fewer than 40
    assert row["exact_reconstruction"] == row["token_accuracy"] == 1
    assert row["validity"] == row["uniqueness"] == 1
    assert row["posterior_validity"] == 1
    assert row["local_validity_noise"] == row["local_validity_midpoint"] == 1
    assert row["local_similarity_noise"] == row["local_similarity_small_noise"] == 1
    for name in STATISTICS:  # each is a coordinate of z
        assert row[f"{name}_r2"] > 0.9
        assert abs(row[f"{name}_difference"]) < 0.2 * compute_properties(data.smiles)[name].std()
    assert math.isnan(row["fcd"])


def test_bits_are_spread_over_the_characters_and_the_end(row, data):
    length = np.mean([len(s) for s in data.split("test")])
    assert row["bits_per_character"] == pytest.approx(length / (length + 1))


def test_samples_seen_in_training_are_not_novel(row, data):
    share = np.mean([s not in data.split("train") for s in data.smiles[:300]])
    assert row["novelty"] == pytest.approx(share)


def test_a_model_without_neighbourhood_has_no_similarity_there(data):
    model, held_out = OffCentre(data.smiles), data.split("test")
    z = model.encode(held_out, refine=0)
    assert scores.decode_nearby(model, z, 0.0, seed=0) == held_out
    assert set(scores.decode_nearby(model, z, 0.1, seed=0)) == {"C1CC"}
    assert scores.measure_posterior_validity(model, held_out, seed=0) == 0
    near = scores.measure_neighbourhood(model, held_out, z, seed=0)
    assert near["local_validity_noise"] == 0
    assert math.isnan(near["local_similarity_noise"])


def test_similarity_leaves_the_invalid_out():
    found = scores.compute_mean_similarity(["OCC", "C1CC", "CCN"], ["CCO", "CCO", "CCN"])
    assert found == 1


def test_nothing_valid_is_counted_and_compared_with_nothing(data):
    reference = scores.Reference.of(data, fcd=False)
    row = scores.score_samples(["C1CC", "("], reference)
    assert row["validity"] == 0
    assert all(math.isnan(row[f"{name}_difference"]) for name in STATISTICS)


def test_frechet_distance_is_that_of_the_gaussians():
    points = np.random.default_rng(0).normal(size=(500, 3))
    assert scores.compute_frechet_distance(points, points) == pytest.approx(0, abs=1e-9)
    assert scores.compute_frechet_distance(points, points + np.array([3, 0, 4])) == pytest.approx(
        25
    )
    # tr(C + 4 C - 2 (2 C)) = tr C, and the means differ by their own length
    expected = np.trace(np.cov(points.T)) + (points.mean(0) ** 2).sum()
    assert scores.compute_frechet_distance(points, 2 * points) == pytest.approx(expected)


def test_fcd_is_zero_for_the_same_molecules_and_grows_away_from_them(data):
    pytest.importorskip("fcd_torch")
    same = scores.compute_activations(data.smiles[:60])
    other = scores.compute_activations(["C" * n for n in range(1, 61)])
    assert scores.compute_frechet_distance(same, same) == pytest.approx(0, abs=1e-3)  # rounding
    assert scores.compute_frechet_distance(same, other) > 10


def test_each_prior_has_a_row_and_the_model_keeps_its_own(small_model, zinc):
    data = DataSet("zinc", zinc[:300], rejected=0, key="priors-test")
    z = small_model.sample_latents(3)
    reference = scores.Reference.of(data, fcd=False)
    names = ("standard-normal", "mixture")
    table = scores.score_priors(small_model, data, reference, names, samples=40)
    assert list(table.index) == ["standard-normal", "mixture", "aggregate posterior"]
    assert math.isnan(table.log_p_after["standard-normal"])
    assert np.isfinite(table.loc["mixture", ["log_p_before", "log_p_after", "validity"]]).all()
    assert (table.samples == 40).all()
    assert torch.equal(z, small_model.sample_latents(3))
    assert small_model.summary.prior is None


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_each_configuration_of_the_study_can_be_trained(name):
    given = fit_arguments({**BASE, **CONFIGURATIONS[name]})
    inspect.signature(MolVAE.fit).bind([], [], **given)
    VAEConfig(vocabulary=30, max_length=80, **given["shape"]).check_parts()
    assert given["tokenizer"] in tokenizers
