"""Compare search strategies with a genetic algorithm and with random molecules.

All methods spend the same budget on the same objective under the same size bound. The table also
shows the best value at half of the budget. Histories are kept in --out: rerun the same command to
resume.

    python pipelines/search_vs_random/search_vs_random.py  # 500 evaluations, 3 seeds
    python pipelines/search_vs_random/search_vs_random.py --quick  # seconds
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from molvae import History, MolVAE, Oracle
from molvae.base.errors import MolvaeError
from molvae.chem.datasets import load
from molvae.reports.metrics import top_mean

sys.path.insert(0, str(Path(__file__).parents[1]))  # pipelines/, which holds shared/

from shared.methods import spend_budget

METHODS = (
    "neighbourhood",
    "ei",
    "ga",
    "prior",
    "random",
)  # the last draws molecules of the data set
FIGURES = ["best_half", "best", "top_10"]


def main() -> None:
    """Run the study; print the table and write it as CSV."""
    args = parse_arguments()
    model = MolVAE.load(args.model)
    data = load(model.summary.data, progress=True)
    bound = args.heavy_atoms or model.summary.heavy_atoms
    rows = []
    for objective in args.objectives:
        for seed in range(args.seeds):
            for method in args.methods:
                path = args.out / f"{objective}-{method}-{args.budget}-seed{seed}.sqlite"
                path.parent.mkdir(parents=True, exist_ok=True)
                with History(path) as history:
                    oracle = Oracle(objective, args.budget, history, bound)
                    spend_budget(oracle, method, seed, args.initial, model, data.split("train"))
                    y = np.array([record.y for record in history.records()])
                best_half = np.nanmax(y[: args.budget // 2])
                rows.append((objective, method, seed, best_half, np.nanmax(y), top_mean(y)))
                text = "{:<12} {:<17} seed {}: best half-way {:.3f}, best {:.3f}, top 10 {:.3f}"
                print(text.format(*rows[-1]), flush=True)
    table = pd.DataFrame(rows, columns=["objective", "method", "seed", *FIGURES])
    table.to_csv(args.out / "search_vs_random.csv", index=False)
    print(f"\nmean (sd) over {args.seeds} seeds, {args.budget} evaluations, heavy atoms {bound}")
    print(summarise(table).to_string())


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="zinc")
    parser.add_argument("--objectives", nargs="+", default=["logP", "drug", "plogp_zinc"])
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--budget", type=int, default=500)
    parser.add_argument(
        "--initial", type=int, help="random evaluations first, as in OptimizeConfig"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--heavy-atoms", type=int, nargs=2, metavar=("LOW", "HIGH"))
    parser.add_argument("--out", type=Path, default=Path("runs/search-vs-random"))
    parser.add_argument("--quick", action="store_true", help="one objective, 40 evaluations")
    args = parser.parse_args()
    if args.quick:
        args.objectives, args.budget, args.seeds = args.objectives[:1], 40, 1
        args.methods = ["neighbourhood", "ga", "random"]
    return args


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """Table -> mean (sd) over seeds; one row per objective, one column per figure and method."""
    cells = table.groupby(["objective", "method"], sort=False)[FIGURES]
    mean, deviation = cells.mean(), cells.std(ddof=0)
    text = mean.map("{:.2f}".format) + deviation.map(" ({:.2f})".format)
    return text.unstack("method")[FIGURES]


if __name__ == "__main__":
    try:
        main()
    except MolvaeError as error:
        raise SystemExit(f"error: {error}") from None
