"""Tables of molecular properties: computed, or measured values from the user's file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd
from rdkit.Chem import Mol

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
from molvae.chem.properties import REPORTED, Property, properties

REPORTED_FUNCTIONS = {name: properties[name].function for name in REPORTED}


def compute_properties(source: DataSet | Sequence[str], progress: bool = False) -> pd.DataFrame:
    """Data set or SMILES -> table of the properties in `REPORTED`, one row per molecule.

    Computed in parallel processes. The table of a data set is cached. The row of an invalid SMILES
    is all NaN; a value that cannot be computed is NaN.
    """
    if not isinstance(source, DataSet):
        return _compute_table(list(source), REPORTED_FUNCTIONS, progress)
    return load_or_compute(
        f"{source.key}-properties",
        lambda: _compute_table(source.smiles, REPORTED_FUNCTIONS, progress),
    )


def load_properties(
    source: DataSet,
    names: Sequence[str],
    functions: Mapping[str, Property] | None = None,
    progress: bool = False,
) -> pd.DataFrame:
    """Data set -> table of numeric properties, one row per molecule, indexed by SMILES.

    A name that is not in `functions` is read from the column of that name in the data set's file.
    A column also takes precedence over a function of the same name, except for the properties in
    `REPORTED`, which are always computed. Values in the file that are missing or not finite numbers
    are NaN. Duplicates of a molecule are averaged.

    Args:
        source: the molecules.
        names: the properties, in column order.
        functions: properties that can be computed, by name; None for all in
            `molvae.chem.properties`.
        progress: whether to show progress bars.

    Raises:
        MolvaeError: there is no such column, it contains no numbers, or a property can be computed
            for no molecule.
    """
    if functions is None:
        functions = {name: entry.function for name, entry in properties.items()}
    own = [name for name in names if name not in functions]
    if any(name in functions and name not in REPORTED for name in names):
        there = set(map(str, _read_table(source)[0].columns))  # the user's values come first
        own = [n for n in names if n not in functions or (n in there and n not in REPORTED)]
    table = pd.DataFrame(index=pd.Index(source.smiles, name="smiles"))
    if any(name in REPORTED for name in names if name not in own):
        reported = compute_properties(source, progress)
        table = table.join(reported.set_index(table.index))
    others = {n: functions[n] for n in names if n not in own and n not in REPORTED}
    if others:
        computed = _compute_table(source.smiles, others, progress)
        broken = [name for name in others if source.smiles and computed[name].isna().all()]
        if broken:
            raise MolvaeError(f"{broken[0]!r} could not be computed for any molecule")
        table = table.join(computed.set_index(table.index))
    if own:
        raw = _read_columns(source, own)
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


def _read_columns(source: DataSet, names: Sequence[str]) -> pd.DataFrame:
    """Data set and column names -> its file's rows: SMILES as written, and numeric columns."""
    table, column = _read_table(source)
    numbers = pd.DataFrame({"smiles": table[column].fillna("").astype(str)})
    for name in names:
        if name not in table:
            known = dict.fromkeys([*REPORTED, *map(str, table.columns)])
            raise MolvaeError(
                f"{source.name} has no property {name!r}; known: {', '.join(known)}, the "
                "names of objectives and RDKit descriptors"
            )
        values = pd.to_numeric(table[name], errors="coerce").replace([np.inf, -np.inf], np.nan)
        if values.isna().all():
            raise MolvaeError(f"{source.name}: the column {name!r} contains no numbers")
        numbers[name] = values.astype("float64")
    return numbers


def _read_table(source: DataSet) -> tuple[pd.DataFrame, str]:
    """The table behind a data set, and the name of its column of SMILES."""
    if source.name in datasets:
        if source.name == "qm9":
            return qm9_table(), "SMILES"
        return pd.DataFrame({"smiles": source.smiles}), "smiles"
    path, given = split_source(source.name)
    if path.suffix == ".parquet":
        table = pd.read_parquet(path).reset_index(drop=True)  # row labels of pandas mean nothing
    elif path.name.removesuffix(".gz").endswith(".csv"):
        table = pd.read_csv(path, encoding_errors="replace", index_col=False)
    else:
        return pd.DataFrame({"smiles": source.smiles}), "smiles"
    return table, find_column(list(table.columns), given, path)


def _compute_table(
    smiles: list[str], functions: Mapping[str, Property], progress: bool
) -> pd.DataFrame:
    work = partial(_compute_rows, list(functions.values()))
    rows = map_parallel(work, smiles, "properties", progress)
    return pd.DataFrame(rows, columns=list(functions), dtype="float64")


def _compute_rows(functions: list[Property], chunk: list[str]) -> list[list[float]]:
    rows = []
    for smiles in chunk:
        mol = parse(smiles)
        rows.append([float("nan") if mol is None else _compute_value(f, mol) for f in functions])
    return rows


def _compute_value(function: Property, mol: Mol) -> float:
    """Compute a property; NaN if it cannot be, as with QED for a few unusual molecules."""
    try:
        return float(function(mol))
    except MolvaeError:
        raise
    except Exception:  # a user's function or program may raise anything
        return float("nan")
