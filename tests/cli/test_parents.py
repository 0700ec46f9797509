"""Salts, ions and labelled molecules are read as their parents, and every verb says so."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd
import pytest

from molvae import MolVAE
from molvae.base.errors import MolvaeError
from molvae.cli import main
from molvae.library.bulk import encode

DIPHENHYDRAMINE = "CN(C)CCOC(c1ccccc1)c1ccccc1"
SALT = f"{DIPHENHYDRAMINE.replace('CN(C)', 'C[NH+](C)')}.[Cl-]"
BENZOATE, BENZOIC_ACID = "O=C([O-])c1ccccc1", "O=C(O)c1ccccc1"


@pytest.fixture
def run(small_model_file, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def call(*words):
        return main([*words, "--model", small_model_file]), *capsys.readouterr()

    return call


def test_a_salt_encodes_as_its_parent(small_model_file):
    plain = MolVAE.load(small_model_file)
    parents = MolVAE.load(small_model_file, standardize=True)
    assert not plain.can_encode(SALT)
    assert parents.can_encode(SALT)
    assert (parents.encode_means([SALT]) == plain.encode_means([DIPHENHYDRAMINE])).all()


def test_encode_writes_what_it_read_each_row_as(run):
    words = ["encode", SALT, BENZOIC_ACID, BENZOATE, "C[Na", "--refine", "0"]
    code, out, err = run(*words, "--standardize")
    assert code == 0
    found = pd.read_csv(io.StringIO(out), keep_default_na=False)
    assert found["smiles"].tolist() == [SALT, BENZOIC_ACID, BENZOATE]
    assert found["parent"].tolist() == [DIPHENHYDRAMINE, BENZOIC_ACID, BENZOIC_ACID]
    assert found["changes"].tolist() == ["largest fragment; neutralised", "", "neutralised"]
    assert found["z0"].iloc[1] == found["z0"].iloc[2]
    assert "2 rows were changed to their parents (columns parent, changes)" in err
    assert "row 4 skipped: 'C[Na'" in err
    code, out, err = run(*words, "--no-standardize")
    assert "parent" not in out
    assert "several fragments, as a salt does" in err


def test_a_folder_has_the_same_columns(small_model_file, tmp_path: Path):
    encode([SALT, BENZOATE, "C1CC"], small_model_file, tmp_path / "out", standardize=True)
    found = pd.read_parquet(tmp_path / "out")
    assert found["parent"].tolist()[:2] == [DIPHENHYDRAMINE, BENZOIC_ACID]
    assert found["changes"].tolist()[:2] == ["largest fragment; neutralised", "neutralised"]
    assert found.loc[2, ["parent", "changes", "z0"]].isna().all()
    with pytest.raises(MolvaeError, match="standardize was true"):
        encode([SALT, BENZOATE, "C1CC"], small_model_file, tmp_path / "out")


@pytest.mark.parametrize(
    "words", [("interpolate", SALT, BENZOATE, "--steps", "2"), ("neighbors", SALT, "--grid", "3")]
)
def test_verbs_that_take_molecules_say_what_they_read(run, words):
    code, _, err = run(*words, "--standardize")
    assert code == 0
    assert f"{SALT} is read as {DIPHENHYDRAMINE} (largest fragment, neutralised)" in err
    with pytest.raises(MolvaeError, match="several fragments"):
        MolVAE.load("zinc").encode([SALT])


def test_a_search_begins_with_the_parents_of_its_leads(run, tmp_path: Path):
    (tmp_path / "leads.csv").write_text(f"Smiles\n{SALT}\n{BENZOATE}\n{BENZOIC_ACID}\n")
    words = ["optimize", "--start", "leads.csv", "--budget", "4", "--objective", "QED"]
    code, _, err = run(*words, "--data", "zinc", "--standardize", "--out", "run")
    assert code == 0
    assert "2 of 3 molecules of --start changed to their parents" in err
    start = pd.read_csv(tmp_path / "run" / "start.csv", keep_default_na=False)
    assert start["smiles"].tolist() == [SALT, BENZOATE, BENZOIC_ACID]
    assert start["parent"].tolist() == [DIPHENHYDRAMINE, BENZOIC_ACID, BENZOIC_ACID]
    evaluated = set(pd.read_csv(tmp_path / "run" / "best.csv")["smiles"])
    assert {DIPHENHYDRAMINE, BENZOIC_ACID} <= evaluated


def test_a_model_of_parents_encodes_parents(small_model_file, tmp_path: Path, capsys):
    rows = "\n".join([SALT, BENZOATE, *(f"{'C' * n}C(=O)[O-].[Na+]" for n in range(1, 30))])
    (tmp_path / "salts.smi").write_text(rows)
    words = ["train", "--data", str(tmp_path / "salts.smi"), "--out", str(tmp_path / "run")]
    words += ["--standardize", "--epochs", "1", "--latent", "4", "--properties"]
    words += ["--encoder-hidden", "16", "--decoder-hidden", "16"]
    assert main(words) == 0
    assert "reduced to their parents" in capsys.readouterr().out
    model = MolVAE.load(tmp_path / "run" / "model.safetensors")
    assert model.summary.standardized
    assert model.can_encode("CC(=O)[O-].[K+]")
    tuned = [*words, "--start", str(tmp_path / "run" / "model.safetensors")]
    for word in ("--standardize", "--latent", "--encoder-hidden", "--decoder-hidden"):
        i = tuned.index(word)
        del tuned[i : i + (1 if word == "--standardize" else 2)]
    tuned[tuned.index("--out") + 1] = str(tmp_path / "tuned")
    assert main(tuned) == 0
    assert MolVAE.load(tmp_path / "tuned" / "model.safetensors").summary.standardized
