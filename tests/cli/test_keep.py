"""`molvae optimize --keep`: a search among the molecules that contain a fragment."""

from pathlib import Path

import pandas as pd
import pytest

from molvae.chem.molecules import parse
from molvae.cli import main
from molvae.oracles.constraints import parse_constraint
from molvae.oracles.history import History

FRAGMENT = "O=C(N*)c1ccncc1"


def test_all_molecules_contain_the_fragment_also_after_a_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("molvae.cli.verbs.optimize.GROWN", 20)  # which takes most of the time
    monkeypatch.setattr("molvae.model.forced_decoding.LEAST_DRAWS", 100)
    monkeypatch.setattr("molvae.model.forced_decoding.LEAST_PER_GROUP", 8)
    words = ["optimize", "--objective", "QED", "--quiet"]
    assert main([*words, "--keep", FRAGMENT, "--budget", "12", "--batch", "6", "--out", "run"]) == 0
    assert main([*words, "--resume", "--budget", "24", "--out", "run"]) == 0
    kept = parse_constraint(f"keeps:{FRAGMENT}")
    with History("run/history.sqlite") as history:
        names = [record.smiles for record in history.records()]
        decoded, valid = (
            sum(getattr(r, n) for r in history.iterations()) for n in ("decoded", "valid")
        )
    assert len(names) == 24
    assert all(kept.met(parse(name)) for name in names)
    assert valid > 0.7 * decoded > 0
    assert set(pd.read_csv("run/best.csv")["smiles"]) == set(names)


def test_what_cannot_be_kept_is_told_before_anything_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for fragment, message in (("C(C", "neither a SMILES nor a SMARTS"), ("C*.C", "give one")):
        assert main(["optimize", "--objective", "QED", "--keep", fragment, "--out", "run"]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("molvae optimize: ")
        assert message in line
    assert not Path("run").exists()
