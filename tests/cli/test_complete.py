import io

import pandas as pd
import pytest

from molvae.chem.molecules import canonicalize
from molvae.cli import main

ASPIRIN = "CC(=O)Oc1ccccc1C(=O)O"


@pytest.fixture
def molvae(capsys, tmp_path, monkeypatch):
    """Run the verb in an empty folder -> exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*words):
        try:
            code = main(["complete", *words])
        except SystemExit as usage:
            code = usage.code
        return code, *capsys.readouterr()

    return call


def test_completions_are_a_table_and_a_picture(molvae, tmp_path, monkeypatch):
    monkeypatch.setattr("molvae.model.forced_decoding.LEAST_DRAWS", 100)
    code, out, err = molvae("c1ccc(cc1)C(", "-n", "7", "--out", "c.csv")
    assert code == 0
    stored = pd.read_csv(tmp_path / "c.csv")
    assert len(stored) == 7
    assert stored["written"].str.startswith("c1ccc(cc1)C(").all()
    assert stored["given"].tolist() == ["0 1 2 3 4 5 6"] * 7
    shown = pd.read_csv(io.StringIO(out), sep=r"\s+")
    assert list(shown) == ["smiles", "count", "log_p", "logP", "SAS", "QED"]
    assert shown["smiles"].tolist() == stored["smiles"].tolist()
    assert shown["QED"].tolist() == pytest.approx(stored["QED"].round(2).tolist())
    assert err.startswith("100 strings drawn: ")
    valid = int(err.split("drawn: ")[1].split(" valid")[0])
    assert 50 < valid < 100
    assert molvae("c1ccc(cc1)C(", "-n", "7")[1] == out
    code, other, _ = molvae("c1ccc(cc1)C(", "-n", "7", "--seed", "1", "--out", "c.png")
    assert (code, other != out) == (0, True)
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")


def test_a_fragment_is_grown_near_a_molecule_and_highlighted(molvae, tmp_path):
    words = ("--keep", "CC(=O)Oc1ccccc1*", "--near", ASPIRIN, "--radius", "1", "-n", "2")
    code, out, err = molvae(*words, "--out", "g.svg")
    assert code == 0
    assert out.splitlines()[1].split()[0] == ASPIRIN
    assert "log p of the fragment" in err
    picture = (tmp_path / "g.svg").read_text().upper()
    assert "#FFEA8C" in picture  # the colour of the highlight


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "give either the beginning of a SMILES or --keep FRAGMENT"),
        (("CC", "--keep", "*C"), "give either the beginning of a SMILES or --keep FRAGMENT"),
        (("CC)",), "closes a parenthesis that it does not open"),
        (("CC%12",), "this model cannot write the '%'"),
        (("c1cccc1C",), "none of 500 strings that begin with 'c1cccc1C' is such a molecule"),
        (("--keep", "C*C"), "not at the end of a bond"),
        (("--keep", "[F,Cl]C"), "give one as SMILES"),
        (("CC", "--near", "C1CC"), "'C1CC' is not a valid SMILES"),
        (("CC", "--near", ASPIRIN, "--radius", "0"), "the radius must be a positive number"),
        (("CC", "--temperature", "-1"), "the temperature must be 0 or more"),
        (("CC", "--model", "zinc-selfies"), "this model writes SELFIES"),
        (("CC", "--out", "x.pdf"), "must end in .png or .svg or .csv"),
    ],
)
def test_mistakes_are_answered_in_one_line(molvae, words, message):
    code, out, err = molvae(*words)
    assert (code, out) == (1, "")
    assert message in err
    assert err.count("\n") == 1
    assert "Traceback" not in err


def test_the_parent_of_a_salt_is_the_centre(molvae):
    code, _, err = molvae("CC", "--near", f"{ASPIRIN}.Cl", "--standardize", "-n", "1")
    assert code == 0
    assert f"is read as {canonicalize(ASPIRIN)}" in err
