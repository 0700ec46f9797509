"""Figures of held-out molecules, on a model that knows its training molecules by heart."""

import math

import pandas as pd
import pytest
import torch

from fitted import fit_once
from molvae.chem.datasets import DataSet, assign_part
from molvae.chem.property_tables import compute_properties
from molvae.latent.refine import STEPS
from molvae.latent.training import FitConfig
from molvae.model.decoding import decode_points
from molvae.model.molvae import MolVAE
from molvae.reports.model_report import ReportConfig, measure_model, measure_surroundings
from molvae.reports.reconstruction import measure_reconstruction

CONFIG = ReportConfig(molecules=40, samples=60)


@pytest.fixture(scope="module")
def data(zinc: list[str]) -> DataSet:
    """16 short molecules of the training split, 6 of the validation and 12 of the test split."""
    short = sorted(zinc, key=len)
    parts = (("train", 16), ("validation", 6), ("test", 12))
    some = [s for part, n in parts for s in [s for s in short if assign_part(s) == part][:n]]
    return DataSet("short", some, rejected=0, key="by-heart-test")


@pytest.fixture(scope="module")
def by_heart(data: DataSet) -> MolVAE:
    """A model that writes back what it was trained on, and little else."""
    train = data.split("train")
    everything = compute_properties(data.smiles)[["logP", "QED"]].set_axis(data.smiles)

    def fit() -> MolVAE:
        return MolVAE.fit(
            train,
            [*train, *data.split("test")],  # so that the tokenizer knows all of them
            tokenizer="atom",
            shape={"latent": 8, "encoder_hidden": 64, "decoder_hidden": 128},
            blur=0.0,
            properties=everything,
            config=FitConfig(
                epochs=300,
                batch=16,
                kl_weight=1e-3,
                learning_rate=1e-2,
                validate_every=300,
                keep_best=False,
                precision="32-true",
            ),
        )

    return fit_once("by-heart", fit)


def test_the_report_is_of_molecules_that_were_not_trained_on(
    by_heart: MolVAE, data: DataSet
) -> None:
    known = measure_reconstruction(by_heart, data.split("train"))
    report = measure_model(by_heart, data, CONFIG)
    assert known["exact_reconstruction"] > 0.8
    assert report.held_out["exact_reconstruction"] < 0.5
    assert report.held_out["elbo_nats"] < known["elbo_nats"] - 10
    assert report.held_out["r2_logP"] < 0.9  # of the training molecules it is near 1
    assert report.held_out["molecules"] + report.not_encodable == len(data.split("test"))
    expected = measure_reconstruction(by_heart, data.split("test"), seed=CONFIG.seed)
    assert report.held_out["token_accuracy"] == pytest.approx(expected["token_accuracy"])


@pytest.mark.parametrize(("part", "novelty"), [("train", 0), ("validation", 1), ("test", 1)])
def test_only_what_was_trained_on_is_not_novel(
    by_heart: MolVAE,
    data: DataSet,
    monkeypatch: pytest.MonkeyPatch,
    part: str,
    novelty: int,
) -> None:
    written = data.split(part)  # type: ignore[arg-type]
    monkeypatch.setattr(MolVAE, "sample", lambda self, n, **_: (written * n)[:n])
    report = measure_model(by_heart, data, CONFIG)
    assert report.samples.novelty == novelty
    assert report.samples.unique == len(written)
    assert report.sets["VAE"]["logP"].notna().all()


def test_who_predicts_the_mean_explains_nothing_and_who_is_right_all(
    by_heart: MolVAE, data: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    true = compute_properties(data.split("test"))[["logP", "QED"]]
    points = [by_heart.encode(data.split("test"), refine=steps) for steps in (0, STEPS)]

    def measure(predicted: pd.DataFrame) -> list[float]:
        def predict(self: MolVAE, z: torch.Tensor) -> pd.DataFrame:
            rows = torch.cdist(z, torch.cat(points)).argmin(1) % len(true)
            return predicted.iloc[rows.tolist()].reset_index(drop=True)

        monkeypatch.setattr(MolVAE, "predict_properties", predict)
        found = measure_model(by_heart, data, CONFIG).held_out
        return [found["r2_logP"], found["r2_QED"]]

    mean = pd.DataFrame([true.mean()] * len(true))
    assert measure(mean) == pytest.approx([0, 0], abs=1e-9)
    assert measure(true) == pytest.approx([1, 1])
    half = true + (mean.to_numpy() - true) * 0.5  # half of the way to the mean: a quarter is left
    assert measure(half) == pytest.approx([0.75, 0.75])


def test_noise_near_a_molecule_is_half_a_standard_deviation() -> None:
    class Within:
        """Writes a molecule within a distance of the origin."""

        def __init__(self, reach: float) -> None:
            self.reach = reach

        def decode(self, z: torch.Tensor, progress: bool = False, beam: int = 8) -> list[str]:
            return ["CCO" if abs(point) < self.reach else "C1" for point in z[:, 0]]

    z = torch.zeros(4_000, 1)
    for deviations in (0.5, 1.0, 2.0):
        near = measure_surroundings(Within(0.5 * deviations), z)["local_validity"]
        assert near == pytest.approx(math.erf(deviations / 2**0.5), abs=0.03)
    ends = torch.tensor([-1.0, 1.0]).repeat_interleave(2_000)[:, None]
    middle = measure_surroundings(Within(0.1), ends)["midpoint_validity"]
    assert middle == pytest.approx(0.5, abs=0.03)  # half of the random pairs have both ends


def test_the_accuracy_of_a_batch_is_that_of_its_tokens(by_heart: MolVAE, data: DataSet) -> None:
    some = data.split("test")
    tokens = [len(by_heart.tokenize(s)) + 1 for s in some]  # and the end
    assert len(set(tokens)) > 2  # of different lengths: the batch is padded
    alone = [measure_reconstruction(by_heart, [s])["token_accuracy"] for s in some]
    right = sum(a * n for a, n in zip(alone, tokens, strict=True))
    together = measure_reconstruction(by_heart, some)["token_accuracy"]
    assert together == pytest.approx(right / sum(tokens))


def test_of_the_beam_a_string_near_the_point_is_preferred() -> None:
    model = MolVAE.load("zinc")
    z = model.sample_latents(60, seed=3)

    def measure_distance(strings: list[str]) -> float:
        known = [model.can_encode(s) for s in strings]
        means = model.encode([s for s, ok in zip(strings, known, strict=True) if ok], refine=0)
        return float((means - z[known]).norm(dim=1).mean())

    likeliest, nearest = (measure_distance(decode_points(model, z, pull=p)) for p in (0.0, 1e6))
    usual = measure_distance(model.decode(z))
    assert nearest < usual < likeliest - 0.8 * (likeliest - nearest)
