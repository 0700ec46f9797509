"""Libraries in and out: rows keep their place, and no split changes a molecule."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from molvae.base.errors import MolvaeError
from molvae.chem.molecules import canonicalize
from molvae.library import bulk
from molvae.library.latents import read_latents
from molvae.library.stream import StreamConfig
from molvae.model.molvae import MolVAE


def contents(folder):
    return {path.name: path.read_bytes() for path in Path(folder).glob("*.parquet")}


@pytest.fixture(scope="session")
def bad_and_good(zinc):
    return [zinc[0], "C1CC", *zinc[1:11], "", "[U]", *zinc[11:22], "C" * 1_900]


def test_rows_that_fail_keep_their_place_with_a_reason(bad_and_good, small_model_file, tmp_path):
    config = StreamConfig(chunk=6)
    tally = bulk.encode(iter(bad_and_good), small_model_file, tmp_path / "z", config)
    assert tally == (26, 22)
    table = pd.read_parquet(tmp_path / "z")
    assert table["smiles"].tolist() == bad_and_good
    failed = table["reason"].notna().to_numpy()
    assert np.flatnonzero(failed).tolist() == [1, 12, 13, 25]
    assert "not a valid SMILES" in table["reason"][1]
    assert table["reason"][12] == "it is empty"
    model = MolVAE.load(small_model_file)
    z = table.filter(regex=r"^z\d+$").to_numpy()
    assert z.dtype == np.float32
    assert np.isnan(z[failed]).all()
    expected = model.encode([s for s, no in zip(bad_and_good, failed, strict=True) if not no])
    assert np.allclose(z[~failed], expected.numpy(), atol=1e-5)


def test_a_folder_made_with_another_model_is_refused(small_model_file, tmp_path):
    other = MolVAE.load(small_model_file)
    other.summary = replace(other.summary, data="another")
    other.save(tmp_path / "other.safetensors")
    bulk.encode(["CCO"], small_model_file, tmp_path / "z")
    with pytest.raises(MolvaeError, match=r"z: model was .* choose another --out"):
        bulk.encode(["CCO"], tmp_path / "other.safetensors", tmp_path / "z")


def test_decode_reads_the_folder_that_encode_wrote(bad_and_good, small_model_file, tmp_path):
    bulk.encode(bad_and_good, small_model_file, tmp_path / "z", StreamConfig(chunk=6))
    z = read_latents(tmp_path / "z")
    assert np.isnan(z).all(axis=1).nonzero()[0].tolist() == [1, 12, 13, 25]
    tally = bulk.decode(tmp_path / "z", small_model_file, tmp_path / "back", StreamConfig(chunk=9))
    table = pd.read_parquet(tmp_path / "back")
    there = ~np.isnan(z).all(axis=1)
    assert table["smiles"].notna().tolist() == there.tolist()
    assert table["smiles"][there].tolist() == MolVAE.load(small_model_file).decode(z[there])
    valid = [isinstance(s, str) and canonicalize(s) is not None for s in table["smiles"]]
    assert table["valid"].tolist() == valid
    assert tally == (26, sum(valid))


def test_a_table_that_others_wrote_decodes_too(small_model_file, tmp_path):
    z = np.random.default_rng(0).normal(size=(5, 8))
    table = pd.DataFrame(z, columns=[f"z{i}" for i in range(8)])
    table.to_parquet(tmp_path / "z.parquet")
    table.to_csv(tmp_path / "z.csv", index=False)
    for name in ("z.parquet", "z.csv"):
        bulk.decode(tmp_path / name, small_model_file, tmp_path / name[2:], StreamConfig(chunk=2))
    assert contents(tmp_path / "parquet") == contents(tmp_path / "csv")
    assert len(contents(tmp_path / "csv")) == 3


def test_a_sample_is_the_same_in_any_shards(small_model_file, tmp_path):
    def draw(folder, seed, *shards):
        for shard in shards:
            config = StreamConfig(chunk=8, shard=shard)
            bulk.sample(30, small_model_file, tmp_path / folder, config, seed=seed, temperature=1.0)
        return pd.read_parquet(tmp_path / folder)["smiles"].tolist()

    whole = draw("whole", 3, (1, 1))
    assert len(whole) == 30
    assert whole[:8] != whole[8:16]
    assert draw("shards", 3, (2, 3), (3, 3), (1, 3)) == whole
    assert draw("other", 4, (1, 1)) != whole


def test_predicted_properties_stand_beside_the_latents(bad_and_good, small_model_file, tmp_path):
    config = StreamConfig(chunk=6)
    bulk.encode(bad_and_good, small_model_file, tmp_path / "z", config, properties=True)
    table = pd.read_parquet(tmp_path / "z")
    there = table["reason"].isna()
    predicted = table[["predicted_logP", "predicted_SAS", "predicted_QED"]]
    assert predicted[~there].isna().all(axis=None)
    z = read_latents(tmp_path / "z")[there]
    expected = MolVAE.load(small_model_file).predict_properties(z)
    np.testing.assert_allclose(predicted[there], expected, atol=1e-4)
