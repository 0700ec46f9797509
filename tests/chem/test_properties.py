"""Properties: computed ones, and measured ones from the file that the molecules came from."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from molvae.base.errors import MolvaeError
from molvae.chem.datasets import load
from molvae.chem.files import iter_smiles_lines
from molvae.chem.molecules import parse
from molvae.chem.properties import compute_or_nan, properties
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


MEASURED = {  # log10 of mol/L in water at 25 °C, of the set that Delaney (2004) collected
    "CCO": 1.10,
    "Oc1ccccc1": 0.0,
    "Cn1cnc2c1c(=O)n(C)c(=O)n2C": -0.88,
    "c1ccccc1": -1.64,
    "CC(=O)Oc1ccccc1C(=O)O": -1.72,
    "c1ccc2ccccc2c1": -3.60,
    "CC(C)Cc1ccc(cc1)C(C)C(=O)O": -3.76,
    "Clc1c(Cl)c(Cl)c(Cl)c(Cl)c1Cl": -7.68,
}


def test_the_solubility_is_near_what_was_measured() -> None:
    found = np.array([properties["logS"].function(parse(s)) for s in MEASURED])
    error = found - np.array(list(MEASURED.values()))
    assert abs(error).mean() < 0.9  # the method errs by as much on its own molecules
    assert abs(error.mean()) < 0.2
    assert pd.Series(found).corr(pd.Series(MEASURED.values()), method="spearman") > 0.9


SOLD = ("CC(=O)Oc1ccccc1C(=O)O", "Cn1cnc2c1c(=O)n(C)c(=O)n2C", "CCN(CC)CC(=O)Nc1c(C)cccc1C")
UNHEARD_OF = ("C1SSC2SSC12", "c1ccccc1C=C=C=CN(Cl)Br", "C1=CC2=C1C1=C2C=C1")


def test_what_vendors_have_is_in_stock_as_a_salt_too() -> None:
    pytest.importorskip("molbloom")
    in_stock = properties["in_stock"].function
    assert [in_stock(parse(s)) for s in (*SOLD, *UNHEARD_OF)] == [1.0] * 3 + [0.0] * 3
    assert in_stock(parse("CC(=O)Oc1ccccc1C(=O)[O-].[Na+]")) == 1.0


def test_a_stock_list_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "molbloom", None)
    with pytest.raises(MolvaeError, match=r"pip install 'molvae\[stock\]'"):
        compute_or_nan(properties["in_stock"].function, parse("CCO"))


def test_a_property_that_cannot_be_computed_is_not_known() -> None:
    odd = "CCC1=c2=C(C[NH2+]Cc3cccc(-c4ccccc4)c3)[nH]n21"  # read by RDKit, refused by its QED
    row = compute_properties([odd, "CCO"]).iloc[0]
    assert parse(odd) is not None
    assert np.isnan(row["QED"])
    assert row.drop("QED").notna().all()


@pytest.mark.parametrize(
    "relabel",
    [
        lambda rows: rows.sort_values("y"),
        lambda rows: rows.sample(frac=1.0, random_state=1),
        lambda rows: pd.concat([rows[2:], rows[:2]]),
        lambda rows: rows[::-1].set_index("name"),
        lambda rows: rows.assign(z=1).groupby("y").sum().reset_index().sort_values("y"),
    ],
)
def test_row_labels_of_a_parquet_file_move_no_value(relabel, tmp_path: Path) -> None:
    rows = pd.DataFrame(
        {
            "smiles": ["CCBr", "CCCl", "CCC", "CCN", "CCO"],
            "y": [5, 4, 3, 2, 1],
            "name": list("abcde"),
        }
    )
    path = tmp_path / "rows.parquet"
    relabel(rows).to_parquet(path)
    table = load_properties(load(str(path)), ["y"])
    assert table["y"].to_dict() == {"CCBr": 5, "CCCl": 4, "CCC": 3, "CCN": 2, "CCO": 1}


def test_rows_with_more_fields_than_the_header_shift_no_column(tmp_path: Path) -> None:
    path = tmp_path / "codes.csv"
    path.write_text("code,smiles,y\nN,CCO,1,\nCO,CCN,2,\n")
    data = load(str(path))
    assert data.smiles == ["CCO", "CCN"]
    assert load_properties(data, ["y"])["y"].tolist() == [1.0, 2.0]


def test_other_encodings_lose_no_molecule(tmp_path: Path) -> None:
    smi = tmp_path / "marked.smi"
    smi.write_bytes("CCO ethanol\r\nCCN amine\r\n".encode("utf-8-sig"))
    assert load(str(smi)).smiles == ["CCO", "CCN"]
    assert list(iter_smiles_lines(["\ufeffCCO\n", "CCN\n"])) == [("CCO", ""), ("CCN", "")]
    table = tmp_path / "latin.csv"
    table.write_bytes("smiles,y,unit\nCCO,1,\u00b5M\nCCN,2,\u00b5M\n".encode("latin-1"))
    assert load_properties(load(str(table)), ["y"])["y"].tolist() == [1.0, 2.0]
