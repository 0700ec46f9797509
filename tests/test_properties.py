"""Properties: computed ones, and measured ones from the file that the molecules came from."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from molvae.base.errors import MolvaeError
from molvae.chem.datasets import load
from molvae.chem.molecules import parse
from molvae.chem.properties import properties
from molvae.chem.property_tables import compute_properties, load_properties

ROWS = pd.DataFrame(
    {
        "smiles": ["CCO", "OCC", "c1ccccc1", "not a molecule", "CCN"],
        "affinity": ["1.0", "2.0", "-3.5", "9", "none"],
        "name": ["a", "b", "c", "d", "e"],
    }
)


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("MOLVAE_CACHE", str(tmp_path / "cache"))
    ROWS.to_csv(tmp_path / "mine.csv", index=False)
    return str(tmp_path / "mine.csv")


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_columns_of_a_file_belong_to_its_molecules(source: str, suffix: str) -> None:
    path = Path(source).with_suffix(suffix)
    if suffix == ".parquet":
        ROWS.to_parquet(path)
    data = load(str(path))
    for _ in range(2):  # computed, then from the cache
        table = load_properties(data, ["affinity", "logP"])
        assert list(table.columns) == ["affinity", "logP"]
        assert list(table.index) == data.smiles == ["CCO", "c1ccccc1", "CCN"]
        np.testing.assert_allclose(table["affinity"], [1.5, -3.5, np.nan])  # repeats: their mean
        np.testing.assert_allclose(
            table["logP"], [properties["logP"].function(parse(s)) for s in data.smiles]
        )


def test_measured_properties_of_qm9() -> None:
    data = load("qm9")
    table = load_properties(data, ["HOMO_LUMO_gap_au"])
    assert table["HOMO_LUMO_gap_au"].notna().all()
    methane = table.loc["C", "HOMO_LUMO_gap_au"]
    assert methane == pytest.approx(0.5048, abs=1e-4)  # hartree, as the data set has it


@pytest.mark.parametrize(
    ("name", "message"), [("affinty", "no property 'affinty'"), ("name", "no numbers")]
)
def test_a_column_that_is_not_there_or_holds_no_number(
    source: str, name: str, message: str
) -> None:
    with pytest.raises(MolvaeError, match=message):
        load_properties(load(source), [name])


def test_a_file_without_columns_has_no_measured_properties(tmp_path: Path) -> None:
    (tmp_path / "mine.smi").write_text("CCO\nCCN\n")
    data = load(str(tmp_path / "mine.smi"))
    with pytest.raises(MolvaeError, match="known: logP, SAS, QED"):
        load_properties(data, ["affinity"])
    assert len(load_properties(data, ["QED"])) == 2


def test_a_name_that_zinc_does_not_have() -> None:
    with pytest.raises(MolvaeError, match="zinc has no property 'gap'"):
        load_properties(load("zinc"), ["gap"])


def test_an_invalid_string_has_no_properties() -> None:
    assert compute_properties(["CCO", "C1CC"]).notna().all(axis=1).tolist() == [True, False]


def test_a_property_that_cannot_be_computed_is_not_known() -> None:
    odd = "CCC1=c2=C(C[NH2+]Cc3cccc(-c4ccccc4)c3)[nH]n21"  # read by RDKit, refused by its QED
    row = compute_properties([odd, "CCO"]).iloc[0]
    assert parse(odd) is not None
    assert np.isnan(row["QED"])
    assert row.drop("QED").notna().all()
