"""Write the tables of canonical forms and of properties that ship for a data set.

python pipelines/speed/precompute.py zinc  # five minutes on two cores
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import rdkit

from molvae.base.parallel import map_parallel
from molvae.chem.datasets import canonicalize_rows, datasets, load
from molvae.chem.precomputed import FOLDER, compute_table


def main() -> None:
    """Compute the tables and write them into the package."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", choices=datasets)
    args = parser.parse_args()
    raw = datasets[args.data]()
    forms = map_parallel(canonicalize_rows, raw, "canonical SMILES", progress=True)
    if None in forms or len(set(forms)) < len(raw):
        raise SystemExit(f"{args.data} has invalid rows or repeats: its table would not fit it")
    rows = map_parallel(compute_rows, forms, "properties", progress=True)
    key = load(args.data).key
    FOLDER.mkdir(exist_ok=True)
    changed = {i: f for i, (f, s) in enumerate(zip(forms, raw, strict=True)) if f != s}
    path = FOLDER / f"{key}-forms.npz"
    np.savez_compressed(
        path,
        rows=np.array([*changed], dtype=np.int32),
        smiles=np.array([*changed.values()], dtype=bytes),
        rdkit=rdkit.__version__,
    )
    print(f"{path}: {path.stat().st_size / 1e6:.2f} MB, RDKit {rdkit.__version__}")
    table = pd.DataFrame(rows).set_axis(compute_table([]).columns, axis=1)
    table = table.astype(compute_table([]).dtypes)
    table.attrs["rdkit"] = rdkit.__version__
    path = FOLDER / f"{key}.parquet"
    numbers = [name for name in table if table[name].dtype == "float32"]
    pq.write_table(
        pa.Table.from_pandas(table, preserve_index=False),
        path,
        compression="zstd",
        compression_level=19,
        use_dictionary=False,
        use_byte_stream_split=numbers,
    )
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, RDKit {rdkit.__version__}")


def compute_rows(smiles: list[str]) -> list[list[float]]:
    """Canonical SMILES -> the values of each."""
    return compute_table(smiles).to_numpy("float64").tolist()


if __name__ == "__main__":
    main()
