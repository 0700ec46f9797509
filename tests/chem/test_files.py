"""Files that people have: whoever wrote them, the molecules and values come back."""

import bz2
import csv
import gzip
import io
import lzma
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from rdkit import Chem

from molvae.base.errors import MolvaeError, MolvaeWarning
from molvae.chem.datasets import load
from molvae.chem.files import open_molecules
from molvae.chem.property_tables import load_properties, parse_numbers

MOLECULES = ["CCO", "N", "CO", "c1ccccc1", "C/C=C\\C", "CC(=O)[O-]", "C[C@H](N)O", "FC(F)F", "C#N"]
TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=12
)
ROWS = st.lists(
    st.tuples(st.sampled_from(MOLECULES), TEXT.map(str.strip), st.floats(-1e6, 1e6)),
    min_size=2,
    max_size=12,
)
Writer = Callable[[pd.DataFrame, Path], Path]


def write_pandas(table: pd.DataFrame, folder: Path) -> Path:
    table.to_csv(folder / "a.csv", index=False)
    return folder / "a.csv"


def write_pandas_with_labels(table: pd.DataFrame, folder: Path) -> Path:
    table.sort_values("value").to_csv(folder / "b.csv")
    return folder / "b.csv"


def write_tabs(table: pd.DataFrame, folder: Path) -> Path:
    table.to_csv(folder / "c.TSV.gz", index=False, sep="\t", compression="gzip")
    return folder / "c.TSV.gz"


def write_excel(table: pd.DataFrame, folder: Path) -> Path:
    text = io.StringIO()
    text.write("sep=;\r\n")
    table.to_csv(text, index=False, sep=";", decimal=",", lineterminator="\r\n")
    (folder / "d.CSV").write_bytes(text.getvalue().encode("utf-8-sig"))
    return folder / "d.CSV"


def write_utf16(table: pd.DataFrame, folder: Path) -> Path:
    table.to_csv(folder / "e.txt", index=False, sep="\t", encoding="utf-16")
    return folder / "e.txt"


def write_r(table: pd.DataFrame, folder: Path) -> Path:
    """Like write.table(table, sep = "\t", qmethod = "double"): labels without a header."""
    rows = [table.columns.tolist()]
    rows += [[str(i + 1), *row] for i, row in enumerate(table.itertuples(index=False))]
    with (folder / "f.tsv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter="\t", quoting=csv.QUOTE_NONNUMERIC).writerows(rows)
    return folder / "f.tsv"


def write_parquet(table: pd.DataFrame, folder: Path) -> Path:
    table.sort_values("value").to_parquet(folder / "g.pq")
    return folder / "g.pq"


def write_polars(table: pd.DataFrame, folder: Path) -> Path:
    """Like polars' write_csv: quotes only where they are needed, no carriage returns."""
    with (folder / "h.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_MINIMAL, lineterminator="\n")
        writer.writerow(table.columns)
        writer.writerows(table.itertuples(index=False))
    return folder / "h.csv"


WRITERS = [
    write_pandas, write_pandas_with_labels, write_tabs, write_excel, write_utf16, write_r,
    write_parquet, write_polars,
]  # fmt: skip


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(
    rows=[("CCO", "a", 1.5e-7), ("N", "b; c", -0.5)], header=["value", "SMILES", "Compound ID"]
)
@given(rows=ROWS, header=st.permutations(["SMILES", "Compound ID", "value"]))
def test_any_table_comes_back_the_same(
    write: Writer, rows: list[tuple[str, str, float]], header: list[str], tmp_path: Path
) -> None:
    table = pd.DataFrame(rows, columns=["SMILES", "Compound ID", "value"])
    file = open_molecules(str(write(table[header], tmp_path)))
    assert file.smiles == "SMILES"
    assert file.names == "Compound ID"
    back = list(file.iter_rows(["value"]))
    values = parse_numbers([value for *_, value in back], "value", file.decimal_comma)
    got = [(s, name.split(), float(v)) for (s, name, _), v in zip(back, values, strict=True)]
    wanted = [(s, name.split(), value) for s, name, value in rows]
    assert sorted(got) == sorted(wanted)


@pytest.mark.parametrize(
    ("name", "content", "rows"),
    [
        ("bom.smi", b"\xef\xbb\xbfCCO ethanol\nCCN\n", [("CCO", "ethanol"), ("CCN", "")]),
        ("bom16.smi", "CCO ethanol\nCCN\n".encode("utf-16"), [("CCO", "ethanol"), ("CCN", "")]),
        ("bom32.smi", "CCO ethanol\nCCN\n".encode("utf-32"), [("CCO", "ethanol"), ("CCN", "")]),
        ("bare16.smi", "CCO a\nCCN\n".encode("utf-16-le"), [("CCO", "a"), ("CCN", "")]),
        ("latin.smi", b"CCO \xb5-opioid\n", [("CCO", "µ-opioid")]),
        ("tabs.smi", b"CCO\tethyl alcohol\t5\n", [("CCO", "ethyl alcohol")]),
        ("cx.cxsmiles", b"CCO |$;;R1$| ethanol\n", [("CCO", "ethanol")]),
        ("header.smi", b"SMILES Name\nCCO ethanol\n", [("CCO", "ethanol")]),
        ("mac.csv", b"smiles\r" + b"CCO\r" * 20_000, [("CCO", "")] * 20_000),
        ("mac.smi", b"CCO ethanol\rCCN amine\r", [("CCO", "ethanol"), ("CCN", "amine")]),
        ("long.csv", b"smiles,id,y\nCCO,a,1,2\nCCN,b,3\n", [("CCO", "a"), ("CCN", "b")]),
        ("short.csv", b"id,y,smiles\na,1,CCO\nb\n", [("CCO", "a"), ("", "b")]),
        ("codes.csv", b"code;smiles\nN;CCO\nCO;CCC\n", [("CCO", "N"), ("CCC", "CO")]),
        ("blanks.csv", b" Name , Canonical SMILES \n x , CCO \n", [("CCO", "x")]),
        ("cut.csv", b'id,smiles\n"a, b",CCO\n', [("CCO", "a, b")]),
        ("bars.txt", b"smiles|id\nCCO|1\n", [("CCO", "1")]),
    ],
)
def test_odd_files(name: str, content: bytes, rows: list[tuple[str, str]], tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    assert list(open_molecules(str(tmp_path / name)).iter_rows()) == rows
    for pack, suffix in ((gzip, "gz"), (bz2, "bz2"), (lzma, "xz")):
        packed = tmp_path / f"{name}.{suffix}"
        packed.write_bytes(pack.compress(content))
        assert list(open_molecules(str(packed)).iter_rows()) == rows


def test_the_structures_of_an_sdf_are_read_and_its_fields(tmp_path: Path) -> None:
    path = tmp_path / "two.sdf"
    with Chem.SDWriter(str(path)) as writer:
        for smiles, value in (("CCO", "7.5"), ("C[C@H](N)C(=O)O", "> 99")):
            mol = Chem.MolFromSmiles(smiles)
            mol.SetProp("_Name", f"name of {smiles}")
            mol.SetProp("pIC50", value)
            writer.write(mol)
    text = path.read_text()
    path.write_text(text + "broken\n\n\n  0  0\nM  END\n$$$$\n" + text)
    file = open_molecules(str(path))
    rows = list(file.iter_rows(["pic50"]))
    assert rows[0] == ("CCO", "name of CCO", "7.5")
    assert [row[0] for row in rows[-2:]] == ["CCO", "C[C@H](N)C(=O)O"]
    (tmp_path / "two.sdf.gz").write_bytes(gzip.compress(text.encode()))
    assert load(str(tmp_path / "two.sdf.gz")).smiles == ["CCO", "C[C@H](N)C(=O)O"]


def test_values_that_are_no_numbers_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "assay.csv"
    path.write_text("smiles;pIC50\nCCO;7,5\nCCN;> 99\nCCC;\nCCF;6\nCCCl;inf\nCCBr;1_0\n")
    data = load(str(path))
    with pytest.warns(MolvaeWarning, match=r"3 of 6 values of 'pIC50' .* '> 99', 'inf', '1_0'"):
        table = load_properties(data, ["pIC50"])
    assert table["pIC50"].dropna().to_dict() == {"CCO": 7.5, "CCF": 6.0}


def test_what_is_left_out_is_said_with_its_reason_and_its_row(tmp_path: Path) -> None:
    path = tmp_path / "mixed.smi"
    path.write_text("CCO\nOCC\n[H][H]\n*CC\nnonsense\nC1CC\n")
    said = load(str(path)).description
    assert "read 1 molecules" in said
    assert "1 repeat merged" in said
    assert "4 left out: row 5 'nonsense' is not a valid SMILES (1 more)" in said
    assert "row 3 '[H][H]' has no heavy atom, row 4 '*CC' has a dummy atom (*)" in said


def test_blanks_around_commas_are_no_delimiter(tmp_path: Path) -> None:
    path = tmp_path / "spaced.csv"
    path.write_text(" id , smiles , y \n a , CCO , 1.5 \n b , CCN , 2.5 \n")
    file = open_molecules(str(path))
    assert list(file.columns) == ["id", "smiles", "y"]
    assert list(file.iter_rows(["y"])) == [("CCO", "a", "1.5"), ("CCN", "b", "2.5")]
    assert not file.decimal_comma


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"id,name\n1,x\n", "no column called smiles; columns: id, name"),
        ("a.csv:structure", b"smiles\nCCO\n", "no column 'structure'; columns: smiles"),
        ("a.smi:name", b"CCO ethanol\n", "no column 'name': the file has no header"),
        ("a.csv", b"a_smiles,b_smiles\nCCO,CCO\n", "several columns may be meant: a_smiles, b_smi"),
        ("a.csv", b"CCO,1\nCCN,2\n", "the first row 'CCO' seems to be a molecule"),
        ("a.csv", b'smiles,id\nCCO,"open\nCCN,2\n', "cannot be read"),
        ("a.smi", b"\x00\x01\x02\x03", "is not text"),
        ("a.smi", b"", "is empty"),
        ("a.csv", b"PK\x03\x04\x00\x00", "is an Excel or zip file: save it as CSV"),
        ("a.mol2", b"@<TRIPOS>MOLECULE", "unknown format '.mol2'"),
        ("a.parquet", b"no parquet", "cannot be read"),
        ("a.smi.gz", b"\x1f\x8bno gzip", "cannot be read"),
        ("a.sdf:ID", b"", "the structures of an SDF are read, not a column"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(
    name: str, content: bytes, message: str, tmp_path: Path
) -> None:
    (tmp_path / name.partition(":")[0]).write_bytes(content)
    with pytest.raises(MolvaeError) as caught:
        list(open_molecules(str(tmp_path / name)).iter_rows())
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
