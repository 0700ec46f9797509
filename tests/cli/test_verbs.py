import io
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from rdkit import Chem

from molvae import MolVAE
from molvae.chem.molecules import canonicalize
from molvae.chem.properties import sas
from molvae.cli import main
from molvae.model.decoding import BEAM

ASPIRIN, IBUPROFEN = "CC(=O)Oc1ccccc1C(=O)O", "CC(C)Cc1ccc(C(C)C(=O)O)cc1"
STRANGE = ["", "[Na+].[Cl-]", "[13CH3]C", "C" * 1_900, "Äöü", "[U]", "C1CC", "not a molecule"]


@pytest.fixture
def molvae(small_model_file, capsys, tmp_path, monkeypatch):
    """Run a verb with the small model in an empty folder -> exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def call(verb, *words, model=True):
        option = ["--model", small_model_file] if model else []
        try:
            code = main([verb, *words, *option])
        except SystemExit as usage:
            code = usage.code
        return code, *capsys.readouterr()

    return call


def table(text):
    return pd.read_csv(io.StringIO(text), keep_default_na=False)


def feed(monkeypatch, content: bytes):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))


def test_sample_prints_every_string_with_its_validity(molvae):
    code, out, err = molvae("sample", "-n", "20", "--seed", "3", "--temperature", "1")
    assert code == 0
    found = table(out)
    assert len(found) == 20
    assert found["valid"].tolist() == [canonicalize(s) is not None for s in found["smiles"]]
    assert err.startswith("20 strings drawn")
    assert molvae("sample", "-n", "20", "--seed", "3", "--temperature", "1")[1] == out
    assert molvae("sample", "-n", "20", "--seed", "4", "--temperature", "1")[1] != out


def test_sample_valid_yields_different_molecules_only(molvae, tmp_path):
    code, _, err = molvae("sample", "-n", "3", "--valid", "--temperature", "1", "--out", "new.smi")
    assert code == 0
    found = (tmp_path / "new.smi").read_text().split()
    assert [canonicalize(s) for s in found] == found
    assert len(set(found)) == len(found) <= 3
    assert "unique valid molecules" in err


def test_sample_says_how_plausible_molecules_are_and_draws_until_all_are(molvae):
    words = ("sample", "--model", "zinc", "-n", "40", "--beam", "1")
    found = table(molvae(*words, model=False)[1])
    assert (found["plausibility"] == "").tolist() == (~found["valid"]).tolist()
    assert pd.to_numeric(found["plausibility"]).min() < 0.5
    code, out, err = molvae(*words, "--plausible", model=False)
    assert (code, len(table(out))) == (0, 40)
    assert table(out)["plausibility"].min() >= 0.5
    assert "40 unique plausible molecules" in err


@pytest.mark.parametrize("name", ["z.npz", "z.csv"])
def test_encode_then_decode_through_a_file(molvae, name, small_model_file, tmp_path):
    code, _, err = molvae("encode", ASPIRIN, IBUPROFEN, "--out", name)
    assert (code, err.splitlines()[0]) == (0, "2 of 2 rows encoded")
    code, out, _ = molvae("decode", name)
    assert code == 0
    model = MolVAE.load(small_model_file)  # in half precision, as the command has it
    assert table(out)["smiles"].tolist() == model.decode(model.encode([ASPIRIN, IBUPROFEN]))
    if name == "z.npz":
        with np.load(tmp_path / name, allow_pickle=False) as arrays:
            assert arrays["smiles"].tolist() == [ASPIRIN, IBUPROFEN]


def test_encode_refines_points_alone_and_in_parts(molvae, small_model_file):
    command = ("encode", ASPIRIN, IBUPROFEN, "--refine", "3")
    assert molvae(*command, "--out", "z.npz")[0] == 0
    assert molvae(*command, "--out", "z/")[0] == 0
    points = MolVAE.load(small_model_file).encode([ASPIRIN, IBUPROFEN], refine=3)
    parts = pd.read_parquet("z").filter(regex="^z[0-9]")
    for found in (np.load("z.npz")["z"], parts.to_numpy()):
        np.testing.assert_allclose(found, points, atol=1e-5)
    code, _, err = molvae(*command[:-1], "-3", "--out", "z.npz")
    assert code != 0
    assert "'-3' is not a whole number of at least 0" in err


def test_encode_reads_files_and_standard_input_with_names(molvae, tmp_path, monkeypatch):
    (tmp_path / "a.smi").write_text(f"{ASPIRIN} aspirin\n{IBUPROFEN}\tibuprofen\n")
    pd.DataFrame({"drug": [ASPIRIN, IBUPROFEN]}).to_csv(tmp_path / "a.csv", index=False)
    feed(monkeypatch, f"{ASPIRIN} aspirin\n{IBUPROFEN}\n".encode())
    outputs = [molvae("encode", source) for source in ("a.smi", "a.csv:drug", "-")]
    assert {code for code, _, _ in outputs} == {0}
    tables = [table(out) for _, out, _ in outputs]
    assert tables[0]["name"].tolist() == ["aspirin", "ibuprofen"]
    assert "names from the rest" in outputs[0][2]
    assert "SMILES from column 'drug'" in outputs[1][2]
    for other in tables[1:]:
        points = [t.filter(regex=r"smiles|z\d") for t in (tables[0], other)]
        pd.testing.assert_frame_equal(*points)


def test_encode_marks_the_molecules_that_do_not_come_back(molvae, small_model_file):
    model = MolVAE.load(small_model_file)
    code, out, err = molvae("encode", ASPIRIN, IBUPROFEN, "CCO", "--refine", "0", "--check")
    back = [
        canonicalize(s) for s in model.decode_greedily(model.encode_means(table(out)["smiles"]))
    ]
    same = [b == canonicalize(s) for b, s in zip(back, table(out)["smiles"], strict=True)]
    assert code == 0
    assert table(out)["round_trip"].tolist() == same
    assert f"{same.count(False)} of 3 molecules do not decode to themselves" in err
    assert "round_trip" not in molvae("encode", "CCO", "--refine", "0")[1]
    assert molvae("encode", ASPIRIN, "C1CC", "--refine", "0", "--check", "--out", "z/")[0] == 0
    assert pd.read_parquet("z")["round_trip"].isna().tolist() == [False, True]


def test_encode_names_each_row_it_leaves_out_and_keeps_the_rest(molvae):
    code, out, err = molvae("encode", *STRANGE, ASPIRIN)
    assert code == 0
    assert table(out)["smiles"].tolist()[-1] == ASPIRIN
    left_out = [line for line in err.splitlines() if "skipped" in line]
    assert len(left_out) + len(table(out)) == len(STRANGE) + 1
    assert left_out[0] == "row 1 skipped: it is empty"
    assert "consists of several fragments" in left_out[1]
    assert "this model reads at most" in " ".join(left_out)
    assert all(len(line) < 200 for line in left_out)
    assert "Traceback" not in err


def test_a_library_streams_through_encode_and_decode(molvae, zinc, tmp_path, monkeypatch):
    rows = [*zinc[:20], "C1CC", *zinc[20:25]]
    (tmp_path / "a.smi").write_text("".join(f"{s} name{i}\n" for i, s in enumerate(rows)))
    command = ("encode", "a.smi", ASPIRIN, "--out", "z/", "--chunk", "10")
    for shard in ("2/2", "1/2"):
        code, out, err = molvae(*command, "--shard", shard)
        assert (code, out) == (0, "")
        assert err.splitlines()[-1].endswith("rows encoded" if shard == "2/2" else "for the others")
    parts = pd.read_parquet("z")
    assert parts["smiles"].tolist() == [*rows, ASPIRIN]
    assert parts["reason"].notna().tolist() == [s == "C1CC" for s in parts["smiles"]]
    assert molvae(*command)[0] == 0  # nothing left to do
    feed(monkeypatch, (tmp_path / "a.smi").read_bytes())
    assert molvae("encode", "-", "--out", "stdin", "--chunk", "10")[0] == 0
    assert pd.read_parquet("stdin")["smiles"].tolist() == rows
    code, _, err = molvae("decode", "z", "--out", "back/")
    assert (code, err.split(":")[0]) == (0, "27 points decoded")
    back = pd.read_parquet("back")
    assert table(molvae("decode", "z")[1])["smiles"].tolist() == back["smiles"].fillna("").tolist()
    (tmp_path / "a.smi").write_text("CCO\n")
    code, _, err = molvae(*command)
    assert (code, err.count("\n")) == (1, 2)  # what was read as what, and what is wrong
    assert "choose another --out" in err


def test_a_sampled_library_can_be_encoded(molvae):
    code, _, err = molvae("sample", "-n", "12", "--out", "s", "--chunk", "5", "--temperature", "1")
    assert code == 0
    strings = pd.read_parquet("s")
    assert err == f"12 strings drawn: {strings['valid'].sum()} valid\n"
    code, _, err = molvae("encode", "s", ASPIRIN, "--out", "z")
    assert code == 0
    assert pd.read_parquet("z")["smiles"].tolist() == [*strings["smiles"], ASPIRIN]


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xff\xfe\x00\n", "Äöü".encode()])
def test_encode_fails_where_nothing_is_left(molvae, monkeypatch, content):
    feed(monkeypatch, content)
    code, out, err = molvae("encode", "-")
    assert (code, out) == (1, "")
    assert err.splitlines()[-1].startswith("molvae encode: none of the ")


@pytest.mark.parametrize(
    "words",
    [
        ("encode", "nowhere.smi"),
        ("encode", "nowhere.csv:smiles"),
        ("encode", ASPIRIN, "--out", "z.txt"),
        ("encode", ASPIRIN, "--out", "z.parquet"),
        ("encode", ASPIRIN, "--out", "z.csv", "--shard", "1/2"),
        ("encode", ASPIRIN, "--out", "z", "--backend", "nonsense"),
        ("encode", "nowhere.smi", "--out", "z"),
        ("encode", "C1CC", "--out", "z"),
        ("encode", ASPIRIN, "--model", "nowhere"),
        ("encode", ASPIRIN, "--model", "nowhere", "--out", "z"),
        ("decode", "nowhere", "--out", "z"),
        ("sample", "--valid", "--out", "z"),
        ("sample", "--plausible", "--out", "z"),
        ("decode", "nowhere.npz"),
        ("sample", "--out", "x.pdf"),
        ("sample", "--temperature", "-1"),
        ("interpolate", ASPIRIN, "C1CC"),
        ("interpolate", ASPIRIN, IBUPROFEN, "--steps", "1"),
        ("interpolate", ASPIRIN, IBUPROFEN, "--out", "x.bmp"),
        ("neighbors", "C1CC"),
        ("neighbors", ASPIRIN, "--grid", "4"),
        ("neighbors", ASPIRIN, "--radius", "nan"),
        ("neighbors", ASPIRIN, "--out", "x"),
    ],
)
def test_mistakes_are_answered_in_one_line(molvae, words):
    code, out, err = molvae(*words, model="--model" not in words)
    assert (code, out) == (1, "")
    assert err.startswith(f"molvae {words[0]}: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        ("sample", "-n", "0"),
        ("sample", "--seed", "-1"),
        ("encode",),
        ("encode", "C", "--shard", "3/2"),
        ("encode", "C", "--shard", "0/2"),
        ("encode", "C", "--shard", "2"),
    ],
)
def test_impossible_options_are_usage_errors(molvae, words):
    assert molvae(*words)[0] == 2


def test_decode_refuses_latents_of_another_size(molvae, tmp_path):
    (tmp_path / "z.csv").write_text("z0,z1\n0.5,0.5\n")
    code, _, err = molvae("decode", "z.csv")
    assert code == 1
    assert "(n, 8)" in err


def test_interpolate_prints_a_row_a_step_and_stores_it(molvae, tmp_path):
    code, out, _ = molvae("interpolate", ASPIRIN, IBUPROFEN, "--steps", "4", "--out", "line.csv")
    assert code == 0
    assert len(out.splitlines()) == 5
    stored = pd.read_csv(tmp_path / "line.csv")
    assert stored["t"].round(3).tolist() == [0, 0.333, 0.667, 1]
    assert molvae("interpolate", ASPIRIN, IBUPROFEN, "--out", "line.svg")[0] == 0
    assert (tmp_path / "line.svg").read_text().lstrip().startswith("<?xml")


def test_neighbors_draws_a_grid_around_the_molecule(molvae, tmp_path):
    code, out, _ = molvae("neighbors", ASPIRIN, "--grid", "3", "--radius", "2")
    assert code == 0
    assert (tmp_path / "neighbors.png").read_bytes().startswith(b"\x89PNG")
    assert "9 points" in out
    assert ASPIRIN in out
    assert molvae("neighbors", ASPIRIN, "--grid", "3", "--out", "n.svg")[0] == 0
    assert "<svg" in (tmp_path / "n.svg").read_text()


def test_report_prints_and_stores_its_figures(molvae, small_model_file, tmp_path):
    words = ["--data", "mine.smi", "--molecules", "30", "--samples", "30", "--out", "r"]
    pairs = [f"{'C' * n}{end}" for n in range(1, 16) for end in ("O", "N", "Cl", "F")]
    (tmp_path / "mine.smi").write_text("\n".join(pairs))
    code, out, _ = molvae("report", small_model_file, *words, model=False)
    assert code == 0
    for word in ("Data", "GA", "VAE", "logP", "validity", "novelty", "exact, means"):
        assert word in out
    figures = json.loads((tmp_path / "r" / "report.json").read_text())
    assert figures["data"] == "mine.smi"
    assert figures["trained_on"] == "zinc"
    assert (tmp_path / "r" / "properties.png").read_bytes().startswith(b"\x89PNG")


def test_list_prints_every_registry_with_descriptions():
    def listed(*words):
        command = [sys.executable, "-m", "molvae", "list", *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    out = listed()
    for word in ("objectives", "plogp_zinc", "zinc", "char", "gru", "diagonal", "ei", "priors"):
        assert word in out
    rows = [line.split() for line in listed("tokenizers").splitlines()[1:]]
    assert {"char", "atom", "selfies"} <= {words[0] for words in rows}
    assert all(len(words) > 1 for words in rows)


def test_predicted_properties_on_the_command_line(molvae, tmp_path):
    code, out, _ = molvae("encode", ASPIRIN, "--properties")
    assert code == 0
    assert list(table(out))[:6] == [
        "smiles",
        "round_trip",
        "predicted_logP",
        "predicted_SAS",
        "predicted_QED",
        "z0",
    ]
    assert molvae("encode", ASPIRIN, "--properties", "--out", "z.npz")[0] == 0
    assert set(np.load(tmp_path / "z.npz")) >= {"smiles", "z", "predicted_QED"}
    code, out, _ = molvae("interpolate", ASPIRIN, "--along=-SAS", "--steps", "3", "--out", "w.png")
    assert code == 0
    assert "SAS_at_point" in out.split("\n")[0]
    assert (tmp_path / "w.png").read_bytes().startswith(b"\x89PNG")
    again = molvae("interpolate", ASPIRIN, "--along", "-SAS", "--steps", "3", "--out", "w.csv")
    assert again[1] == out
    assert "gradient of the predicted SAS, downwards" in again[2]
    stored = pd.read_csv(tmp_path / "w.csv").dropna()
    for smiles, value in zip(stored["smiles"], stored["SAS"], strict=True):
        assert value == pytest.approx(sas(Chem.MolFromSmiles(smiles)))
    code, out, _ = molvae("neighbors", ASPIRIN, "--along", "-QED", "--grid", "3", "--out", "n.svg")
    assert code == 0
    assert "to the right the predicted QED falls\n" in out
    assert "the QED below a molecule is its own, computed\n" in out
    code, _, err = molvae("interpolate", ASPIRIN)
    assert (code, err.count("\n")) == (1, 1)
    assert "give either a second SMILES or --along" in err


def test_a_wider_beam_finds_more_molecules(molvae):
    def found(*words):
        return table(molvae("sample", "-n", "400", *words)[1])["valid"].sum()

    assert found("--beam", str(BEAM)) == found() > found("--beam", "1")
    assert found("--prior", "standard") == found()  # which is this model's own
