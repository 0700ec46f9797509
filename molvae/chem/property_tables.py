"""Tables of molecular properties: computed, or measured values from the user's file."""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from molvae.base.errors import MolvaeError, MolvaeWarning
from molvae.base.parallel import map_parallel
from molvae.chem.cache import load_or_compute
from molvae.chem.datasets import DataSet, datasets, qm9_table, read_forms
from molvae.chem.files import find_column, match_column, open_molecules
from molvae.chem.molecules import parse
from molvae.chem.precomputed import read_properties
from molvae.chem.properties import REPORTED, Property, compute_or_nan, properties

MISSING = ("", "na", "n/a", "#n/a", "nan", "none", "null", "-")  # an empty cell, as programs write
REPORTED_FUNCTIONS = {name: properties[name].function for name in REPORTED}


def compute_properties(source: DataSet | Sequence[str], progress: bool = False) -> pd.DataFrame:
    """Data set or SMILES -> table of the properties in `REPORTED`, one row per molecule.

    Computed in parallel processes. The table of a data set is cached; that of ZINC ships, exact to
    32 bits (`chem.precomputed`). The row of an invalid SMILES is all NaN; a value that cannot be
    computed is NaN.
    """
    if not isinstance(source, DataSet):
        return compute_columns(list(source), REPORTED_FUNCTIONS, progress)
    shipped = read_properties(source.key, source.smiles)
    if shipped is not None:
        return shipped
    return load_or_compute(
        f"{source.key}-properties",
        lambda: compute_columns(source.smiles, REPORTED_FUNCTIONS, progress),
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
        there = set(_list_columns(source))  # the user's values come first
        own = [n for n in names if n not in functions or (n in there and n not in REPORTED)]
    table = pd.DataFrame(index=pd.Index(source.smiles, name="smiles"))
    if any(name in REPORTED for name in names if name not in own):
        reported = compute_properties(source, progress)
        table = table.join(reported.set_index(table.index))
    others = {n: functions[n] for n in names if n not in own and n not in REPORTED}
    if others:
        computed = compute_columns(source.smiles, others, progress)
        broken = [name for name in others if source.smiles and computed[name].isna().all()]
        if broken:
            raise MolvaeError(f"{broken[0]!r} could not be computed for any molecule")
        table = table.join(computed.set_index(table.index))
    if own:
        columns = _list_columns(source)
        for name in own:
            if len(match_column(columns, name)) != 1:
                known = dict.fromkeys([*REPORTED, *columns])
                raise MolvaeError(
                    f"{source.name} has no property {name!r}; known: {', '.join(known)}, the "
                    "names of objectives and RDKit descriptors"
                )
        table = table.join(load_columns(source, own, progress))
    return table[list(names)].astype("float64")


def load_columns(source: DataSet, names: Sequence[str], progress: bool = False) -> pd.DataFrame:
    """Data set and column names -> the values in its file, a row per molecule, indexed by SMILES.

    Values that are missing or not finite numbers are NaN. Duplicates of a molecule are averaged.

    Raises:
        MolvaeError: there is no such column, or it contains no numbers.
    """
    columns = _list_columns(source)
    for name in names:
        find_column(columns, name, Path(source.name))
    try:
        raw = _read_columns(source, names)
    except MolvaeError as error:
        raise MolvaeError(f"{source.name}: {error}") from None
    content = "\n".join(names).encode() + pd.util.hash_pandas_object(raw).to_numpy().tobytes()
    key = hashlib.blake2b(content, digest_size=8)

    def compute() -> pd.DataFrame:
        rows = raw["smiles"].tolist()
        _, forms = read_forms(source.name, rows, source.standardized, progress)
        named = raw.assign(smiles=forms.astype(object))
        return named.groupby("smiles", sort=False).mean()

    found = load_or_compute(f"{source.key}-{key.hexdigest()}", compute)
    return found.reindex(source.smiles)[list(dict.fromkeys(names))].astype("float64")


def _read_columns(source: DataSet, names: Sequence[str]) -> pd.DataFrame:
    """Data set and column names -> its file's rows: SMILES as written, and numeric columns."""
    columns = _list_columns(source)
    if source.name == "qm9":
        table = qm9_table()
        found = {name: table[match_column(columns, name)[0]] for name in names}
        return pd.DataFrame({"smiles": table["SMILES"].astype(str), **found})
    file = open_molecules(source.name)
    rows = list(file.iter_rows(names))
    numbers = {"smiles": [smiles for smiles, *_ in rows]}
    cells = {name: [row[2 + i] for row in rows] for i, name in enumerate(names)}
    return pd.DataFrame(
        numbers | {n: parse_numbers(cells[n], n, file.decimal_comma) for n in names}
    )


def parse_numbers(cells: Sequence[str], name: str, decimal_comma: bool) -> NDArray[np.float64]:
    """Cells of a column -> their values; NaN where a cell is empty or not a finite number.

    Args:
        cells: text.
        name: of the column, for messages.
        decimal_comma: whether "7,5" is a number.

    Raises:
        MolvaeError: the column contains no numbers.

    Warns:
        MolvaeWarning: some cells are neither empty nor finite numbers.
    """
    text = pd.Series(cells, dtype=object).str.strip()
    if decimal_comma:
        text = text.str.replace(r"^([+-]?\d*),(\d+(e[+-]?\d+)?)$", r"\1.\2", regex=True)
    values = np.array([_parse_number(cell) for cell in text], np.float64)
    values[~np.isfinite(values)] = np.nan
    wrong = np.isnan(values) & ~text.str.lower().isin(MISSING).to_numpy()
    if np.isnan(values).all():
        raise MolvaeError(f"the column {name!r} contains no numbers")
    if wrong.any():
        examples = ", ".join(repr(cell) for cell in dict.fromkeys(text[wrong].head(100)))[:60]
        warnings.warn(
            f"{wrong.sum():,} of {len(text):,} values of {name!r} are not numbers and count as "
            f"missing: {examples}",
            MolvaeWarning,
            stacklevel=2,
        )
    return values


def _parse_number(cell: str) -> float:
    """Cell -> the nearest number to what is written, which pandas 2 misses in the last place."""
    try:
        return math.nan if "_" in cell else float(cell)  # Python reads 1_000
    except ValueError:
        return math.nan


def _list_columns(source: DataSet) -> list[str]:
    """The names of the columns behind a data set."""
    if source.name in datasets:
        return list(map(str, qm9_table().columns)) if source.name == "qm9" else []
    return list(open_molecules(source.name).columns)


def compute_columns(
    smiles: list[str], functions: Mapping[str, Property], progress: bool = False
) -> pd.DataFrame:
    """SMILES (n) -> the values of functions of a molecule, columns by name, computed in processes.

    The row of an invalid SMILES is all NaN; a value that cannot be computed is NaN.
    """
    work = partial(_compute_rows, list(functions.values()))
    rows = map_parallel(work, smiles, "properties", progress)
    return pd.DataFrame(rows, columns=list(functions), dtype="float64")


def _compute_rows(functions: list[Property], chunk: list[str]) -> list[list[float]]:
    rows = []
    for smiles in chunk:
        mol = parse(smiles)
        rows.append([float("nan") if mol is None else compute_or_nan(f, mol) for f in functions])
    return rows
