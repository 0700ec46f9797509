"""The map of a latent space: the same every time, and invertible."""

import numpy as np
import pytest
import torch
from sklearn.manifold import trustworthiness

from molvae import MolvaeError
from molvae.chem.datasets import DataSet
from molvae.model.atlas import Atlas, Pca, Umap, fit_atlas, load_atlas, measure_trust
from molvae.model.molvae import MolVAE


@pytest.fixture(scope="module")
def atlas() -> Atlas:
    """600 points in 8 dimensions, two of which are long."""
    z = np.random.default_rng(0).standard_normal((600, 8)) * [6, 5, 1, 1, 1, 1, 1, 1] + 3
    return fit_atlas(z, [f"C{i}" for i in range(600)], "test points")


def test_the_map_shows_the_long_directions(atlas: Atlas) -> None:
    assert isinstance(atlas.projection, Pca)
    assert atlas.projection.explain(atlas.z) == pytest.approx(61 / 67, abs=0.03)
    assert np.abs(atlas.projection.axes[0]).argmax() == 0
    assert atlas.trust > 0.9
    np.testing.assert_allclose(atlas.place(atlas.projection.centre[None]), [[0, 0]], atol=1e-9)


def test_a_map_of_noise_says_that_it_cannot_be_trusted() -> None:
    z = np.random.default_rng(0).standard_normal((600, 32))
    assert fit_atlas(z, ["C"] * 600, "noise").trust < 0.75
    flat = z[:, :2]
    assert measure_trust(z, flat, 15) == pytest.approx(trustworthiness(z, flat, n_neighbors=15))


def test_a_place_is_lifted_to_a_point_above_it_beside_the_nearest_molecule(atlas: Atlas) -> None:
    assert isinstance(atlas.projection, Pca)
    places = np.array([[0.0, 0.0], [20.0, -15.0], *atlas.places[:1]])
    z = atlas.lift(places)
    np.testing.assert_allclose(atlas.place(z), places, atol=1e-9)
    np.testing.assert_allclose(z[2], atlas.z[0], atol=1e-9)  # where a molecule is, itself
    # as far off the plane as molecules are, not on the mean plane, where none is
    off = z[:2] - atlas.projection.centre - places[:2] @ atlas.projection.axes
    assert (np.linalg.norm(off, axis=1) > 0.5).all()
    known = atlas.projection.centre + 7 * np.eye(8)[:1]
    (at,) = atlas.place(known)
    np.testing.assert_allclose(atlas.lift(at[None], known)[0], known[0], atol=1e-9)


def test_a_umap_places_a_point_among_its_neighbours_and_lifts_a_place_to_their_mean() -> None:
    rng = np.random.default_rng(0)
    z = np.concatenate([rng.normal(size=(40, 8)) + 20 * k for k in range(3)])
    flat = np.concatenate([rng.normal(size=(40, 2)) + 9 * k for k in range(3)])
    atlas = Atlas(Umap(z, flat), z, ["C"] * 120, "three islands", z)
    np.testing.assert_allclose(atlas.place(z), flat, atol=1e-4)  # each where UMAP has put it
    new = rng.normal(size=(5, 8)) + 20
    assert (np.linalg.norm(atlas.place(new) - flat[40:80].mean(0), axis=1) < 3).all()
    lifted = atlas.lift(np.array([flat[80:].mean(0)]))
    assert np.linalg.norm(lifted - z[80:].mean(0)) < 3
    assert np.isnan(atlas.place(np.full((1, 8), np.nan))).all()  # without a point, no place
    assert atlas.trust > 0.6
    assert atlas.describe().startswith("UMAP of three islands")


def test_umap_is_fitted_the_same_every_time_and_keeps_islands_apart(
    small_model: MolVAE, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("umap", reason="it comes with the extra studio")
    rng = np.random.default_rng(0)
    z = np.concatenate([rng.normal(size=(40, 8)) + 20 * k for k in range(3)])
    monkeypatch.setattr("molvae.model.atlas._draw", lambda model: (["C"] * 120, z, "three islands"))
    monkeypatch.setattr("molvae.model.atlas.load_or_compute", lambda name, compute: compute())
    threads = torch.get_num_threads()
    first, again = (load_atlas(small_model, "UMAP") for _ in range(2))
    assert torch.get_num_threads() == threads
    np.testing.assert_array_equal(first.places, again.places)
    middles = [first.places[i : i + 40].mean(0) for i in (0, 40, 80)]
    spread = max(float(first.places[i : i + 40].std(0).max()) for i in (0, 40, 80))
    gaps = [float(np.linalg.norm(middles[i] - middles[i - 1])) for i in range(3)]
    assert min(gaps) > 3 * spread


def test_the_density_is_greatest_where_most_molecules_are(atlas: Atlas) -> None:
    density, (left, low, right, up) = atlas.density()
    assert density.shape == (96, 96)
    assert density.max() == 255
    assert left < atlas.places[:, 0].min() < atlas.places[:, 0].max() < right
    row, column = np.unravel_index(density.argmax(), density.shape)
    assert abs(left + (column + 0.5) * (right - left) / 96) < 5
    assert abs(low + (row + 0.5) * (up - low) / 96) < 5


def test_a_map_needs_three_molecules() -> None:
    with pytest.raises(MolvaeError, match="three"):
        fit_atlas(np.zeros((2, 4)), ["C", "CC"], "two")


def test_the_map_of_a_model_is_fitted_once(
    small_model: MolVAE, zinc: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("molvae.model.atlas.load", lambda name: DataSet(name, zinc, 0, "own"))
    first = load_atlas(small_model)
    assert "training molecules (zinc)" in first.describe()
    monkeypatch.setattr(MolVAE, "encode_means", None)  # would be called to fit it again
    again = load_atlas(small_model)
    np.testing.assert_array_equal(first.places, again.places)
    assert first.smiles == again.smiles


def test_without_its_data_the_map_is_of_the_prior_and_says_so(
    small_model: MolVAE, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str) -> DataSet:
        raise MolvaeError("gone")

    monkeypatch.setattr("molvae.model.atlas.load", fail)
    monkeypatch.setattr("molvae.model.atlas.load_or_compute", lambda name, compute: compute())
    assert "points of the prior" in load_atlas(small_model).describe()
