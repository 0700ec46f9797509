"""Properties of molecules: computed, or measured ones that a file holds."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import pandas as pd
from rdkit.Chem import Mol, MolSanitizeException

from molvae.base.errors import MolvaeError
from molvae.base.parallel import map_parallel
from molvae.chem.cache import load_or_compute
from molvae.chem.datasets import (
    DataSet,
    canonicalize_rows,
    datasets,
    find_column,
    qm9_table,
    split_source,
)
from molvae.chem.molecules import parse
from molvae.chem.properties import PROPERTIES, Property


def compute_properties(source: DataSet | Sequence[str], progress: bool = False) -> pd.DataFrame:
    """Compute logP, SAS, QED and heavy_atoms, one row a molecule, in parallel processes.

    For a whole data set the table is cached, and computed once. An invalid SMILES is a row of NaN,
    and so is a value that cannot be computed.
    """
    if not isinstance(source, DataSet):
        return _property_table(list(source), progress)
    return load_or_compute(
        f"{source.key}-properties", lambda: _property_table(source.smiles, progress)
    )


def load_properties(source: DataSet, names: Sequence[str], progress: bool = False) -> pd.DataFrame:
    """A data set -> numeric properties of its molecules, a row each; SMILES are the index.

    A name that `properties` does not compute is a column of the file that the data came from. What
    is missing or not a finite number there is NaN, and repeats of a molecule are averaged.

    Raises:
        MolvaeError: no such column, or one without a number in it.
    """
    own = [name for name in names if name not in PROPERTIES]
    table = pd.DataFrame(index=pd.Index(source.smiles, name="smiles"))
    if len(own) < len(names):
        computed = compute_properties(source, progress)
        table = table.join(computed.set_index(table.index))
    if own:
        raw = _measured(source, own)
        key = hashlib.blake2b(pd.util.hash_pandas_object(raw).to_numpy().tobytes(), digest_size=8)

        def compute() -> pd.DataFrame:
            forms = map_parallel(canonicalize_rows, raw["smiles"].tolist(), "columns", progress)
            return (
                raw.assign(smiles=pd.Series(forms, dtype=object))
                .groupby("smiles", sort=False)
                .mean()
            )

        table = table.join(load_or_compute(f"{source.key}-{key.hexdigest()}", compute))
    return table[list(names)].astype("float64")


def _measured(source: DataSet, names: Sequence[str]) -> pd.DataFrame:
    """The rows of the file behind a data set: smiles as written, and columns of numbers."""
    if source.name in datasets:
        if source.name != "qm9":
            raise _no_column(source.name, names[0], list(PROPERTIES))
        table, column = qm9_table(), "SMILES"
    else:
        path, given = split_source(source.name)
        if path.suffix == ".parquet":
            table = pd.read_parquet(path)
        elif path.name.removesuffix(".gz").endswith(".csv"):
            table = pd.read_csv(path)
        else:
            raise _no_column(source.name, names[0], list(PROPERTIES))
        column = find_column(list(table.columns), given, path)
    numbers = pd.DataFrame({"smiles": table[column].fillna("").astype(str)})
    for name in names:
        if name not in table:
            raise _no_column(source.name, name, [*PROPERTIES, *map(str, table.columns)])
        values = pd.to_numeric(table[name], errors="coerce").replace([np.inf, -np.inf], np.nan)
        if values.isna().all():
            raise MolvaeError(f"{source.name}: the column {name!r} holds no number")
        numbers[name] = values.astype("float64")
    return numbers


def _no_column(source: str, name: str, known: Sequence[str]) -> MolvaeError:
    return MolvaeError(f"{source} has no property {name!r}; known: {', '.join(known)}")


def _property_table(smiles: list[str], progress: bool) -> pd.DataFrame:
    rows = map_parallel(_property_rows, smiles, "properties", progress)
    return pd.DataFrame(rows, columns=list(PROPERTIES), dtype="float64")


def _property_rows(chunk: list[str]) -> list[list[float]]:
    rows = []
    for smiles in chunk:
        mol = parse(smiles)
        rows.append([float("nan") if mol is None else _value(f, mol) for f in PROPERTIES.values()])
    return rows


def _value(function: Property, mol: Mol) -> float:
    """A property, or NaN: of a few molecules that RDKit reads it cannot compute QED."""
    try:
        return function(mol)
    except MolSanitizeException:
        return float("nan")
