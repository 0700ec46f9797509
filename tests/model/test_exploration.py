import itertools

import numpy as np
import pandas as pd
import pytest
import torch
from rdkit import Chem

from molvae.base.errors import MolvaeError
from molvae.chem.molecules import canonicalize
from molvae.chem.properties import qed
from molvae.model.exploration import (
    THOROUGH,
    decode_plane,
    interpolate,
    read_axis,
    sample_new_molecules,
    walk_along_property,
)
from molvae.model.molvae import MolVAE

BOOK = ["CCO", "CCN", "CCC", "c1ccccc1", "C1CC", "CC(=O)O", "CCCl", "CCF"]


class BookModel:
    """Latents on the corners of a cube stand for the strings of BOOK; the nearest one is read."""

    latent = 3
    domain = None

    def __init__(self) -> None:
        self.corners = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=3)))

    def encode(self, smiles, refine):
        try:
            return torch.stack([self.corners[BOOK.index(s)] for s in smiles])
        except ValueError as error:
            raise MolvaeError("unknown") from error

    def decode(self, z, progress=False):
        return [BOOK[i] for i in torch.cdist(z, self.corners).argmin(1)]

    def sample(self, n, seed=0, temperature=0.0, progress=False):
        return self.decode(torch.randn(n, 3, generator=torch.Generator().manual_seed(seed)))


def test_line_begins_and_ends_at_the_molecules_and_describes_each_step():
    table = interpolate(BookModel(), "CCO", "CCF", steps=5)
    assert table["t"].tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert table["smiles"].iloc[[0, -1]].tolist() == ["CCO", "CCF"]
    assert table["similarity_start"].iloc[0] == table["similarity_end"].iloc[-1] == 1
    assert table["logP"].iloc[0] == pytest.approx(-0.0014, abs=1e-3)


def test_an_invalid_decode_is_shown_without_values():
    class Stammering(BookModel):
        def decode(self, z, progress=False):
            return ["CCO", "C1CC", "CCF"]

    middle = interpolate(Stammering(), "CCO", "CCF", steps=3).iloc[1]
    assert (middle["smiles"], middle["valid"]) == ("C1CC", False)
    assert np.isnan([middle["logP"], middle["QED"], middle["similarity_start"]]).all()


@pytest.mark.parametrize("arguments", [("CCO", "CCN", 1), ("CCO", "nonsense", 3)])
def test_line_refuses_what_is_none(arguments):
    with pytest.raises(MolvaeError):
        interpolate(BookModel(), *arguments)


def test_plane_is_a_square_around_the_molecule():
    table = decode_plane(BookModel(), "CCO", radius=2.0, grid=5, seed=1)
    assert len(table) == 25
    middle = table.iloc[12]
    assert (middle["distance"], middle["smiles"]) == (0, "CCO")
    assert table["distance"].max() == pytest.approx(2 * 2**0.5)
    first = table.iloc[0]  # top left, as in the picture
    assert (first["right"], first["up"]) == (-2, 2)


def test_plane_directions_are_orthonormal_so_distances_are_latent_distances():
    seen = []

    class Watching(BookModel):
        def decode(self, z, progress=False):
            seen.append(z)
            return super().decode(z)

    model = Watching()
    table = decode_plane(model, "CCO", radius=3.0, grid=3, seed=4)
    distances = (seen[0] - model.encode(["CCO"], refine=0)).norm(dim=1)
    assert np.allclose(distances, table["distance"], atol=1e-5)


def test_plane_is_fixed_by_its_seed():
    tables = [
        decode_plane(BookModel(), "CCO", radius=2.0, grid=7, seed=seed)["smiles"].tolist()
        for seed in (1, 1, 2)
    ]
    assert tables[0] == tables[1] != tables[2]


@pytest.mark.parametrize("arguments", [(2.0, 4), (2.0, 1), (-1.0, 5), (float("nan"), 5)])
def test_plane_refuses_what_is_none(arguments):
    with pytest.raises(MolvaeError):
        decode_plane(BookModel(), "CCO", radius=arguments[0], grid=arguments[1])


def test_new_molecules_are_valid_and_different_and_a_dry_model_ends():
    found, drawn = sample_new_molecules(BookModel(), 5)
    assert len(set(found)) == len(found) == 5
    assert [canonicalize(s) for s in found] == found
    assert drawn >= 5
    found, drawn = sample_new_molecules(BookModel(), 20)  # there are only seven
    assert (len(found), drawn) == (7, 20 * 50)


def test_plausible_molecules_are_those_of_the_others_that_the_model_calls_so():
    model = MolVAE.load("zinc")
    every, drawn = sample_new_molecules(model, 64, seed=1, beam=1)
    found, more = sample_new_molecules(model, 64, seed=1, plausibility=0.5, beam=1)
    scores = [model.domain.find_plausibility(Chem.MolFromSmiles(s)) for s in every]
    assert 0 < sum(score < 0.5 for score in scores) < 32
    passed = [s for s, score in zip(every, scores, strict=True) if score >= 0.5]
    assert found[: len(passed)] == passed
    assert len(found) == 64
    assert more >= drawn
    with pytest.raises(MolvaeError, match="plausible"):
        sample_new_molecules(BookModel(), 5, plausibility=0.5)


def test_a_walk_goes_up_the_predicted_property(small_model, zinc):
    table = walk_along_property(small_model, zinc[0], "SAS", distance=2.0, steps=5)
    assert table["SAS_at_point"].is_monotonic_increasing
    assert table["distance"].tolist() == [0, 0.5, 1, 1.5, 2]
    z = small_model.encode([zinc[0]], refine=THOROUGH)
    assert table["smiles"].tolist()[0] == small_model.decode(z)[0]
    for text in ("-SAS", "-predicted:SAS"):
        down = walk_along_property(small_model, zinc[0], text, distance=2.0, steps=5)
        assert down["SAS_at_point"].is_monotonic_decreasing
    for wrong in ({"along": "gap"}, {"steps": 1}, {"distance": -1.0}):
        with pytest.raises(MolvaeError):
            walk_along_property(small_model, zinc[0], **{"along": "SAS", **wrong})


class Stubborn(BookModel):
    """Every point decodes to ethanol, while the predictions rise with the first coordinate."""

    names = ("QED", "TPSA", "pIC50")

    def decode(self, z, progress=False):
        return ["CCO"] * (len(z) - 1) + ["C1CC"]

    def predict_properties(self, z):
        return pd.DataFrame({name: 10 + z[:, 0].numpy() for name in self.names})

    def property_gradient(self, z, name):
        return torch.tensor([[1.0, 0.0, 0.0]]).expand(len(z), 3)

    def predict_molecules(self, smiles):
        known = [5.5 if canonicalize(s) else np.nan for s in smiles]  # at their own points
        return pd.DataFrame(dict.fromkeys(self.names, known), dtype=float)


@pytest.mark.parametrize(
    ("name", "column", "value"),
    [
        ("QED", "QED", qed(Chem.MolFromSmiles("CCO"))),
        ("TPSA", "TPSA", 20.23),
        ("pIC50", "predicted_pIC50", 5.5),
    ],
)
@pytest.mark.parametrize("of", ["walk", "plane"])
def test_a_molecule_keeps_its_value_while_the_prediction_at_the_points_rises(
    of, name, column, value
):
    model = Stubborn()
    if of == "walk":
        table = walk_along_property(model, "CCO", name, distance=4.0, steps=8)
        along = table["distance"]
    else:
        table = decode_plane(model, "CCO", radius=2.0, grid=3, along=name)
        along = table["right"]
    assert table[column].tolist()[:-1] == [pytest.approx(value)] * (len(table) - 1)
    assert np.isnan(table[column].iloc[-1])  # no molecule, no value
    first = table[f"{name}_at_point"].iloc[0]
    assert (table[f"{name}_at_point"] - first).tolist() == pytest.approx(along - along.iloc[0])
    assert {"logP", "SAS", "QED"} <= set(table)
    axis = read_axis(model, f"-{name}")
    assert (axis.value, axis.rises) == (column, False)
    assert axis.write_legend("distance 1.0", value).startswith(
        f"distance 1.0, {column.replace('_', ' ')} {value:.2f}"
    )
    assert axis.write_legend("distance 1.0", np.nan) == "distance 1.0"
    falling = decode_plane(model, "CCO", radius=2.0, grid=3, along=f"-{name}")
    assert falling[f"{name}_at_point"][0] > falling[f"{name}_at_point"][2]


def test_the_property_grows_to_the_right_of_the_plane(small_model, zinc):
    table = decode_plane(small_model, zinc[0], radius=0.5, grid=3, along="logP")
    z = small_model.encode([zinc[0]], refine=THOROUGH)
    slope = small_model.property_gradient(z, "logP")[0]
    to_the_right = small_model.predict_properties(z + 0.5 * slope / slope.norm())["logP"].item()
    assert to_the_right > small_model.predict_properties(z)["logP"].item()
    row = table[(table["up"].abs() < 1e-6) & (table["right"] > 0)].iloc[0]
    assert row["smiles"] == small_model.decode(z + 0.5 * slope / slope.norm())[0]
