"""Measure what each part of the search contributes, on a few tasks of PMO.

Each row changes one thing: the way to propose, the surrogate, the acquisition, fine-tuning of the
model during the search, the strategy, or the model. The default, `neighbourhood`, is the first row.
All runs have the same budget and start from the same molecules. Histories are kept in --out: rerun
the same command to resume.

    python pipelines/search_study/search_study.py  # 1,000 evaluations, one seed
    python pipelines/search_study/search_study.py --models a.safetensors  # rows for more models
    python pipelines/search_study/search_study.py --quick  # seconds
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from search_variants import VARIANTS

from molvae import History, MolVAE, OptimizeConfig, Oracle, optimize
from molvae.base.errors import MolvaeError
from molvae.chem.datasets import load
from molvae.model.adaptation import fine_tune
from molvae.reports.metrics import top_auc

DEFAULT, ADAPTED = "neighbourhood", "adaptation"
OTHERS = ("thompson", "trust-region", "gradient", "ei", "ga")
TASKS = ("celecoxib_rediscovery", "median2", "osimertinib_mpo", "sitagliptin_mpo", "zaleplon_mpo")


def main() -> None:
    """Run the missing searches; print the table and write it as CSV."""
    args = parse_arguments()
    models = {"zinc": "zinc", "zinc-selfies": "zinc-selfies"}
    models |= {Path(name).stem: name for name in args.models}
    rows = {strategy: (strategy, "zinc") for strategy in (DEFAULT, *VARIANTS, *OTHERS)}
    rows[ADAPTED] = (DEFAULT, "zinc")
    rows |= {f"model-{name}": (DEFAULT, name) for name in models if name != "zinc"}
    chosen = args.only or list(rows)
    if unknown := set(chosen) - set(rows):
        raise MolvaeError(f"no row {min(unknown)!r}: choose from {', '.join(rows)}")
    start = load("zinc", progress=True).split("train")
    args.out.mkdir(parents=True, exist_ok=True)
    results = []
    for name in chosen:
        strategy, model_name = rows[name]
        model, adapt = MolVAE.load(models[model_name]), fine_tune if name == ADAPTED else None
        for task in args.tasks:
            for seed in range(args.seeds):
                path = args.out / f"{name}-{task}-{args.budget}-{seed}.sqlite"
                with History(path) as history:
                    oracle = Oracle(f"pmo:{task}", args.budget, history, "any")
                    config = OptimizeConfig(strategy, args.batch, seed=seed)
                    result = optimize(model, oracle, start=start, config=config, fine_tune=adapt)
                y = result.table["y"].to_numpy()
                row = (name, task, seed, top_auc(y, args.budget, 10), np.nanmax(y))
                results.append((*row, result.valid_fraction, result.seconds))
                print("{:<20} {:<22} seed {}: AUC top-10 {:.3f}, best {:.3f}".format(*row))
    columns = ["part", "task", "seed", "auc_top_10", "best", "valid", "search_seconds"]
    table = pd.DataFrame(results, columns=columns)
    table.to_csv(args.out / "search_study.csv", index=False)
    print(f"\nAUC top-10, {args.budget} evaluations, mean over {args.seeds} seeds")
    means = table.pivot_table("auc_top_10", "part", "task", sort=False)
    means["sum"] = means.sum(axis=1)
    print(means.rename_axis(columns=None).to_string(float_format="{:.3f}".format))


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", metavar="ROW", help="rows to run (default: all)")
    parser.add_argument("--models", nargs="+", metavar="FILE", default=[], help="models of ZINC")
    parser.add_argument("--tasks", nargs="+", default=list(TASKS))
    parser.add_argument("--budget", type=int, default=1_000)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs/search-study"))
    parser.add_argument("--quick", action="store_true", help="three rows, one task, 45 evaluations")
    args = parser.parse_args()
    args.batch = 10 if args.quick else None
    if args.quick:
        args.only = args.only or [DEFAULT, "proposal-prior", "surrogate-latents"]
        args.tasks, args.budget = ["median2"], 45
    return args


if __name__ == "__main__":
    try:
        main()
    except MolvaeError as error:
        raise SystemExit(f"error: {error}") from None
