"""Smoothness is 1 where it must be, and the figures see what makes a space rough."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from molvae.reports.smoothness import RADII, measure_smoothness


class Ordered:
    """A space in which the molecules stand on a line in the order of their number of carbons."""

    def __init__(self, smiles: list[str], shuffled: bool = False) -> None:
        places = np.random.default_rng(0).permutation(len(smiles)) if shuffled else None
        self.smiles, self.places = smiles, np.arange(len(smiles)) if places is None else places

    def encode(self, smiles, refine=8):
        rows = [float(self.places[self.smiles.index(s)]) for s in smiles]
        return torch.tensor(rows)[:, None].expand(-1, 3)

    def decode_greedily(self, z):
        rows = np.clip(np.round(np.asarray(z).mean(1)), 0, len(self.smiles) - 1).astype(int)
        order = np.argsort(self.places)
        return [self.smiles[order[row]] for row in rows]

    def can_encode_canonical(self, form):
        return form in self.smiles


@pytest.fixture
def smiles() -> list[str]:
    return ["C" * n + "O" for n in range(1, 31)]


def test_an_ordered_space_is_smooth_and_a_shuffled_one_is_not(smiles: list[str]) -> None:
    carbons = {"carbons": np.arange(1.0, 31.0)}
    smooth, curve = measure_smoothness(Ordered(smiles), smiles, carbons)
    rough, _ = measure_smoothness(Ordered(smiles, shuffled=True), smiles, carbons)
    assert smooth["distance_correlation"] > 0.25 > 0.1 > rough["distance_correlation"]
    assert smooth["neighbors_r2_carbons"] > 0.9 > 0.5 > rough["neighbors_r2_carbons"]
    assert smooth["drift"] == pytest.approx(0.6, abs=0.15)  # the noise, and the rounding
    assert curve["radius"].tolist() == list(RADII)
    assert curve.loc[0, ["valid", "same", "similarity"]].tolist() == [1.0, 1.0, 1.0]
    assert curve["same"].iloc[0] > curve["same"].iloc[-1]


def test_a_real_model_gives_all_figures(small_model, zinc: list[str]) -> None:
    known = [s for s in zinc if small_model.can_encode(s)][:60]
    values = np.linspace(0, 1, len(known))
    values[3] = np.nan
    found, curve = measure_smoothness(small_model, known, {"x": values, "same": 0 * values})
    assert -1 <= found["distance_correlation"] <= 1
    assert found["drift"] >= 0 or np.isnan(found["drift"])
    assert found["neighbors_r2_x"] < 1
    assert np.isnan(found["neighbors_r2_same"])
    assert curve["valid"].between(0, 1).all()
