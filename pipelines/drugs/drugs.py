"""Assemble the training file of the model `drugs`: molecules that medicinal chemists have.

python pipelines/drugs/drugs.py drugs.csv.gz:smiles drugs.csv
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd

from molvae.base.parallel import map_parallel
from molvae.chem.datasets import load
from molvae.chem.molecules import count_heavy_atoms
from molvae.chem.standardize import find_parents

LEAST, MOST = 3, 60  # heavy atoms


def main() -> None:
    """Standardise the molecules of the sources and write them without repeats."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("drugs", nargs="?", default="zinc", help="FILE or FILE:COLUMN")
    parser.add_argument(
        "out",
        nargs="?",
        type=Path,
        default=Path("runs/drugs/train.csv"),
        help="CSV file with the columns smiles, source",
    )
    parser.add_argument("--quick", action="store_true", help="200 molecules of each source")
    args = parser.parse_args()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    seen: dict[str, str] = {}
    for source, smiles in (("drugs", load(args.drugs).smiles), ("zinc", load("zinc").smiles)):
        own = smiles[:200] if args.quick else smiles
        parents = map_parallel(find_parents, own, source, True)
        count = len(seen)
        seen |= {s: source for s in bound_sizes(filter(None, parents)) if s not in seen}
        print(f"{source}: {len(seen) - count:,} molecules of {len(own):,}")
    pd.DataFrame(seen.items(), columns=["smiles", "source"]).to_csv(args.out, index=False)
    print(f"{args.out}: {len(seen):,} molecules")


def bound_sizes(smiles: Iterable[str]) -> Iterator[str]:
    """SMILES -> those with 3 to 60 heavy atoms."""
    return (s for s in smiles if LEAST <= count_heavy_atoms(s) <= MOST)


if __name__ == "__main__":
    main()
