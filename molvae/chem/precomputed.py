"""Tables that ship with the package: canonical forms and properties that would take minutes.

A table belongs to the content of one source. It is used where the RDKit that is installed gives the
same values: the version that computed it does, another one is asked about a sample of the rows.
`pipelines/speed/precompute.py` writes the tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import rdkit

from molvae.chem.molecules import canonicalize, parse
from molvae.chem.properties import REPORTED, properties

FOLDER = Path(__file__).parent / "precomputed"
SAMPLE = 500  # rows that another version of RDKit is asked about
TYPES = dict.fromkeys(REPORTED, "float32") | {"heavy_atoms": "int8"}


def read_forms(key: str, raw: Sequence[str]) -> pd.Series | None:
    """Key of a source's content and its SMILES -> their canonical forms.

    None where no table ships, or RDKit disagrees.
    """
    path = FOLDER / f"{key}-forms.npz"  # to read a parquet file takes 25 MB of memory more
    if not path.exists():
        return None
    forms = [*raw]  # the same strings, but for a few
    with np.load(path, allow_pickle=False) as changed:
        for row, form in zip(changed["rows"], changed["smiles"], strict=True):
            forms[row] = form.decode()
        some = _choose_rows(len(raw), str(changed["rdkit"]))
    same = all(canonicalize(raw[i]) == forms[i] for i in some)
    return pd.Series(forms, dtype=object) if same else None


def read_properties(key: str, smiles: Sequence[str]) -> pd.DataFrame | None:
    """Key of a source's content and its canonical SMILES -> the properties in `REPORTED`.

    They are exact to 32 bits. None where no table ships, or RDKit disagrees.
    """
    path = FOLDER / f"{key}.parquet"
    if not path.exists():
        return None
    values = pd.read_parquet(path, columns=[*REPORTED])
    some = _choose_rows(len(values), values.attrs.get("rdkit"))  # some pyarrow read no attrs
    same = compute_table([smiles[i] for i in some]).equals(values.loc[some].reset_index(drop=True))
    return values.astype("float64") if same else None


def compute_table(smiles: Sequence[str]) -> pd.DataFrame:
    """Canonical SMILES -> a row of properties for each, as it is stored."""
    functions = [properties[name].function for name in REPORTED]
    mols = [mol for mol in map(parse, smiles) if mol]
    rows = [[function(mol) for function in functions] for mol in mols]
    return pd.DataFrame(rows, columns=[*REPORTED], dtype="float64").astype(TYPES)


def _choose_rows(count: int, version: str | None) -> list[int]:
    """Number of rows, RDKit that computed them -> those to check: none if it is this RDKit."""
    if version == rdkit.__version__:
        return []
    return [*map(int, np.random.default_rng(0).choice(count, SAMPLE, replace=False))]
