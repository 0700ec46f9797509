"""Compare the samples of the shipped models with their data: mean logP, SAS and QED.

This is table 2 of Gómez-Bombarelli et al. 2018 for both of its data sets: random molecules of the
data, molecules that a genetic algorithm without selection makes of them, and samples of the shipped
model, beside the published figures. Each mean has its standard error. A data set without a shipped
model of its name is skipped with a message.

    python pipelines/statistics_table/statistics_table.py  # 20,000 molecules a row, both sets
    python pipelines/statistics_table/statistics_table.py --quick  # seconds, ZINC only
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import pandas as pd

from molvae import MolVAE
from molvae.base.errors import MolvaeError
from molvae.base.files import write_file
from molvae.chem.datasets import DataSet, load
from molvae.chem.molecules import canonicalize
from molvae.chem.properties import STATISTICS
from molvae.model.shipped import list_shipped_models
from molvae.reports.metrics import build_statistics_table, compute_moments
from molvae.reports.model_report import compute_property_sets
from molvae.reports.plots import plot_property_distributions
from molvae.reports.published import PUBLISHED

ROUNDS = 10  # most rounds of sampling; a model with too few different molecules gets a shorter row


def main() -> None:
    """Measure each data set; print the tables, write them as CSV and the figures as PNG."""
    args = parse_arguments()
    rows = []
    for name in args.data:
        if name not in list_shipped_models():
            print(f"{name}: skipped, since no model of this name ships with the package\n")
            continue
        data = load(name, progress=True)
        drawn, strings = sample_different(MolVAE.load(name), args.molecules, args.seed)
        sets = compute_property_sets(
            data, drawn, args.molecules, args.seed, progress=not args.quick
        )
        print(f"{name}: mean (sd) ± standard error of the mean; {strings} strings from the prior")
        print(format_table(data, sets).to_string(index=False), end="\n\n")
        rows += list_numbers(data, sets)
        write_file(args.out / f"{name}.png", plot_property_distributions(sets))
    if not rows:
        raise MolvaeError("none of these data sets has a shipped model: give another --data")
    write_file(args.out / "statistics_table.csv", pd.DataFrame(rows).to_csv(index=False))
    print(f"table and figures: {args.out}")


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", nargs="+", choices=list(PUBLISHED), default=list(PUBLISHED))
    parser.add_argument("--molecules", type=int, default=20_000, help="in each row")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/statistics-table"))
    parser.add_argument("--quick", action="store_true", help="one data set, 200 molecules")
    args = parser.parse_args()
    if args.molecules < 2:
        parser.error("--molecules must be at least 2")
    if args.quick:
        args.data, args.molecules = args.data[:1], 200
    return args


def sample_different(model: MolVAE, molecules: int, seed: int) -> tuple[list[str], int]:
    """A model -> different valid molecules from its prior, and the number of strings drawn."""
    found: dict[str, None] = {}
    drawn = 0
    for i in range(ROUNDS):
        strings = model.sample(molecules - len(found), seed=seed + i)
        drawn += len(strings)
        found |= dict.fromkeys(form for form in map(canonicalize, strings) if form is not None)
        if len(found) == molecules:
            break
    return list(found), drawn


def format_table(data: DataSet, sets: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Property tables by source -> the statistics table as text, with standard errors."""
    table = build_statistics_table(sets, PUBLISHED[data.name])
    for name in STATISTICS:
        errors = [f" ±{compute_standard_error(frame[name]):.3f}" for frame in sets.values()]
        table[name] = table[name] + errors
    return table


def list_numbers(data: DataSet, sets: dict[str, pd.DataFrame]) -> list[dict[str, object]]:
    """Property tables by source -> the statistics as rows, one per source and property."""
    rows = []
    for source, frame in sets.items():
        for name, (mean, sd) in compute_moments(frame).items():
            published = PUBLISHED[data.name][source][name]
            rows.append(
                {
                    "data": data.name,
                    "source": source,
                    "molecules": len(frame),
                    "property": name,
                    "mean": mean,
                    "sd": sd,
                    "standard_error": compute_standard_error(frame[name]),
                    "published_mean": published[0],
                    "published_sd": published[1],
                }
            )
    return rows


def compute_standard_error(values: pd.Series[float]) -> float:
    """Independent values -> standard error of their mean; NaN for fewer than two."""
    return float(values.std() / math.sqrt(values.count())) if values.count() > 1 else math.nan


if __name__ == "__main__":
    try:
        main()
    except MolvaeError as error:
        raise SystemExit(f"error: {error}") from None
