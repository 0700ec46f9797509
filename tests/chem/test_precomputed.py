"""What ships of ZINC is what would be computed."""

import json
import random

import pyarrow.parquet as pq
import pytest
import rdkit

from molvae.chem.datasets import canonicalize_rows, datasets, load
from molvae.chem.molecules import parse
from molvae.chem.precomputed import FOLDER, compute_table, read_forms, read_properties
from molvae.chem.properties import REPORTED, properties
from molvae.chem.property_tables import compute_properties

VERSIONS = {
    json.loads(pq.read_schema(path).metadata[b"pandas"])["attributes"]["rdkit"]
    for path in FOLDER.glob("*.parquet")
}
same_rdkit = pytest.mark.skipif(rdkit.__version__ not in VERSIONS, reason="for another RDKit")


@same_rdkit
def test_the_forms_and_properties_of_zinc_ship_and_are_right(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.setenv("MOLVAE_CACHE", str(tmp_path_factory.mktemp("empty")))
    raw, data = datasets["zinc"](), load("zinc")
    forms = read_forms(data.key, raw)
    assert forms is not None
    assert forms.tolist() == data.smiles
    table = compute_properties(data)
    assert len(table) == len(raw)
    assert list(table) == list(REPORTED)
    changed = [i for i, (a, b) in enumerate(zip(raw, data.smiles, strict=True)) if a != b]
    assert len(changed) > 1_000
    rows = random.Random(1).sample(range(len(raw)), 300) + random.Random(2).sample(changed, 100)
    assert canonicalize_rows([raw[i] for i in rows]) == [data.smiles[i] for i in rows]
    for i in rows:
        values = [properties[name].function(parse(data.smiles[i])) for name in REPORTED]
        assert table.loc[i].tolist() == pytest.approx(values, rel=1e-7, abs=1e-7)


@same_rdkit
def test_another_rdkit_is_asked_and_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    raw, data = datasets["zinc"](), load("zinc")
    monkeypatch.setattr(rdkit, "__version__", "2030.03.1")
    assert read_forms(data.key, raw) is not None
    assert read_properties(data.key, data.smiles) is not None
    monkeypatch.setattr("molvae.chem.precomputed.canonicalize", lambda smiles: smiles + ".")
    assert read_forms(data.key, raw) is None
    monkeypatch.setattr(
        "molvae.chem.precomputed.compute_table", lambda smiles: compute_table(smiles) + 1e-4
    )
    assert read_properties(data.key, data.smiles) is None


def test_no_other_source_takes_it() -> None:
    assert read_forms("zinc-0000000000000000", ["CCO"]) is None
    assert read_properties("zinc-0000000000000000", ["CCO"]) is None
