import json
import math

import pytest
import torch

from molvae.base.errors import MolvaeError
from molvae.chem.datasets import DataSet
from molvae.cli.verbs.report import list_figures
from molvae.reports.model_report import (
    ReportConfig,
    compute_property_sets,
    measure_model,
    measure_surroundings,
)

CONFIG = ReportConfig(molecules=40, samples=60, seed=1)


@pytest.fixture(scope="module")
def data(zinc):
    return DataSet("zinc", zinc, rejected=0, key="report-test")


@pytest.fixture(scope="module")
def report(small_model, data):
    return measure_model(small_model, data, CONFIG)


def test_every_figure_says_how_many_molecules_it_is_from(report):
    assert list(report.sets) == ["Data", "GA", "VAE"]
    assert len(report.sets["Data"]) == len(report.sets["GA"]) == 40
    assert len(report.sets["VAE"]) == report.samples.unique
    assert report.samples.drawn == 60
    assert report.held_out["molecules"] == 40 - report.not_encodable


def test_held_out_figures_are_consistent(report):
    found = report.held_out
    assert found["elbo_nats"] == pytest.approx(-found["reconstruction_nats"] - found["kl_nats"])
    exact, greedy = found["exact_reconstruction"], found["exact_reconstruction_greedy"]
    assert 0 <= greedy <= exact <= 1
    assert 0 <= greedy <= found["token_accuracy"] <= 1
    assert found["kl_nats"] > 0
    assert 0 <= found["local_validity_greedy"] <= found["local_validity"] <= 1
    assert all(found[f"r2_{name}"] <= 1 for name in ("logP", "SAS", "QED"))
    assert report.validity_greedy < report.samples.validity


def test_surroundings_of_a_model_that_knows_one_molecule_are_valid(zinc):
    class Sure:
        def decode(self, z, progress=False, beam=8):
            return [zinc[0] if point.norm() < 5 else "C1" for point in z]

    near, far = torch.zeros(50, 4), torch.full((50, 4), 9.0)
    assert set(measure_surroundings(Sure(), near).values()) == {1.0}
    assert set(measure_surroundings(Sure(), far).values()) == {0.0}
    ends = torch.cat([near + 9, near - 9])  # half of the midpoints are in the middle
    assert 0.2 < measure_surroundings(Sure(), ends)["midpoint_validity"] < 0.8


def test_table_shows_the_published_row_of_this_data_set_only(small_model, report, zinc):
    assert "QED (published)" in report.table
    own = measure_model(small_model, DataSet("my.smi", zinc[:300], 0, "mine"), CONFIG)
    assert "QED (published)" not in own.table
    assert own.to_json()["published"] is None


def test_json_repeats_for_a_seed_and_holds_no_nan(small_model, data, report):
    first, second = (r.to_json() for r in (report, measure_model(small_model, data, CONFIG)))
    for figures in (first, second):
        figures.pop("seconds")
        json.dumps(figures, allow_nan=False)
    assert first == second
    assert first["config"] == {"molecules": 40, "samples": 60, "seed": 1}
    assert set(first["versions"]) == {"molvae", "torch", "rdkit"}


def test_a_model_that_writes_nonsense_is_reported_not_refused(small_model, data, monkeypatch):
    monkeypatch.setattr(type(small_model), "sample", lambda self, n, **_: ["C1"] * n)
    report = measure_model(small_model, data, CONFIG)
    assert report.samples.validity == 0
    assert math.isnan(report.samples.novelty)
    figures = report.to_json()
    json.dumps(figures, allow_nan=False)
    assert figures["samples"]["novelty"] is None
    assert figures["statistics"]["VAE"]["molecules"] == 0
    assert figures["statistics"]["VAE"]["QED"] == {"mean": None, "sd": None}
    printed = {name: value for name, value, _ in list_figures(report)}
    assert printed["validity"] == "0.0%"
    assert printed["uniqueness"] == printed["novelty"] == "\N{EN DASH}"
    assert "nan" not in " ".join(printed.values())


def test_rows_of_the_table_are_of_the_molecules_asked_for(data):
    drawn = data.smiles[:3]
    sets = compute_property_sets(data, drawn, molecules=20, seed=1)
    assert {name: len(frame) for name, frame in sets.items()} == {"Data": 20, "GA": 20, "VAE": 3}
    everything = compute_property_sets(
        DataSet("some", data.smiles[:30], 0, "some"), drawn, molecules=50
    )
    assert everything["Data"]["logP"].head(3).tolist() == sets["VAE"]["logP"].tolist()
    assert len(everything["Data"]) == 30


def test_too_small_a_data_set_is_an_error_of_one_line(small_model):
    with pytest.raises(MolvaeError, match="at least two"):
        measure_model(small_model, DataSet("one.smi", ["CCO"], 0, "one"), CONFIG)
