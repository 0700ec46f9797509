"""Dock against one protein: a search in latent space, a genetic algorithm and random screening.

All methods spend the same number of evaluations on the same docking score, under the same
conditions on drug-likeness and ease of synthesis. Before, published scores are computed again.
Histories are kept in --out: rerun the same command to resume.

    python pipelines/docking/docking.py --jobs 8  # 300 evaluations, one seed
    python pipelines/docking/docking.py --parts scores  # only the published scores
    python pipelines/docking/docking.py --quick  # a minute, with a very short search for the pose
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from rdkit import DataStructs
from rdkit.Chem.rdFingerprintGenerator import GetMorganGenerator

from molvae import History, MolVAE, Oracle
from molvae.base.errors import MolvaeError
from molvae.base.files import write_file
from molvae.chem.datasets import load
from molvae.chem.molecules import parse
from molvae.chem.pictures import draw_molecules
from molvae.oracles.evaluation import Effort, evaluate_molecules
from molvae.oracles.given import as_objective, keep_poses

sys.path.insert(0, str(Path(__file__).parents[1]))  # pipelines/, which holds shared/

from shared.methods import RANDOM, spend_budget

METHODS = ("neighbourhood", "ga", RANDOM)
PARTS = ("scores", "search")
CONSTRAINTS = ("QED>=0.5", "SAS<=5")
NOVEL = 0.4  # Tanimoto similarity to the nearest molecule of the data, Morgan radius 2, 2,048 bits
TOP = 10


def main() -> None:
    """Run the parts; print their tables and write them as CSV."""
    args = parse_arguments()
    options = "" if args.exhaustiveness is None else f",exhaustiveness={args.exhaustiveness}"
    objective = f"dock:{args.target}{options}"
    try:
        as_objective(objective)
    except MolvaeError as error:
        if not args.quick:
            raise
        print(f"left out: {error}")
        return
    args.out.mkdir(parents=True, exist_ok=True)
    if "scores" in args.parts:
        compare_with_published(args, options)
    if "search" in args.parts:
        compare_methods(args, objective)


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--target", default="DRD2", help="see molvae list objectives")
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--model", default="zinc")
    parser.add_argument("--budget", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1, help="evaluations at once, a core each")
    parser.add_argument("--time-limit", type=float, default=1_800, metavar="SECONDS")
    parser.add_argument("--exhaustiveness", type=int, help="of Vina's search (default: 8)")
    parser.add_argument("--out", type=Path, default=Path("runs/docking"))
    parser.add_argument("--quick", action="store_true", help="three small molecules a method")
    args = parser.parse_args()
    if args.quick:
        args.exhaustiveness, args.budget, args.seeds = 1, 3, 1
        args.methods = ["neighbourhood", RANDOM]
    args.published = 1 if args.quick else None
    args.heavy_atoms = (8, 13) if args.quick else None
    return args


def compare_with_published(args: argparse.Namespace, options: str) -> None:
    """Dock the ligands whose scores DOCKSTRING's package holds, the shortest first."""
    from dockstring.dataset import random_dataset_tuples

    ordered = sorted(random_dataset_tuples, key=lambda row: len(row[1]))[: args.published]
    rows, effort = [], Effort(args.jobs, args.time_limit)
    table = pd.DataFrame(ordered, columns=["target", "smiles", "published"])
    for target, own in table.groupby("target", sort=False):
        docking = as_objective(f"dock:{target}{options}")
        published = dict(zip(own["smiles"], own["published"], strict=True))
        for outcome in evaluate_molecules([docking], list(published), effort):
            known = published[outcome.smiles]
            rows.append((target, outcome.smiles, known, outcome.values[0], outcome.seconds))
            print("{0:<9} {2:6.1f} {3:6.1f} {4:6.0f} s  {1}".format(*rows[-1]), flush=True)
    columns = ["target", "smiles", "published", "docked", "seconds"]
    found = pd.DataFrame(rows, columns=columns)
    found.to_csv(args.out / "published.csv", index=False)
    error = (found["docked"] - found["published"]).abs()
    print(
        f"{len(found)} published scores: mean error {error.mean():.2f} kcal/mol, greatest "
        f"{error.max():.2f}, {error.isna().sum()} failed\n"
    )


def compare_methods(args: argparse.Namespace, objective: str) -> None:
    """Spend the budget with each method."""
    model = MolVAE.load(args.model)
    molecules = load(model.summary.data, progress=True).split("train")
    data = make_fingerprints(molecules[:2_000] if args.quick else molecules)
    rows = []
    for seed in range(args.seeds):
        for method in args.methods:
            name = f"{args.target}-{method}-{args.budget}-seed{seed}"
            with History(args.out / f"{name}.sqlite") as history:
                bound = args.heavy_atoms or model.summary.heavy_atoms
                effort = Effort(args.jobs, args.time_limit)
                oracle = Oracle(
                    keep_poses(as_objective(objective), args.out.absolute() / f"{name}-poses"),
                    args.budget,
                    history,
                    bound,
                    effort=effort,
                    constraints=CONSTRAINTS,
                )
                spend_budget(oracle, method, seed, None, model, molecules)
                found = pd.DataFrame(
                    [(r.smiles, -r.y, r.seconds) for r in history.records()],
                    columns=["smiles", "score", "seconds"],
                )
            found["similarity"] = measure_nearest(found["smiles"].tolist(), data)
            found.to_csv(args.out / f"{name}.csv", index=False)
            ordered = found.sort_values("score").dropna(subset="score")
            novel = ordered[ordered["similarity"] < NOVEL]
            rows.append(
                {
                    "method": method,
                    "seed": seed,
                    "best": ordered["score"].min(),
                    "top_10": ordered["score"].head(TOP).mean(),
                    "novel": len(novel),
                    "top_10_novel": novel["score"].head(TOP).mean(),
                    "failed": int(found["score"].isna().sum()),
                    "seconds": found["seconds"].mean(),
                }
            )
            print("{method} seed {seed}: top 10 {top_10:.2f}".format(**rows[-1]), flush=True)
            best = (novel if len(novel) else ordered).head(20)
            captions = [f"{score:.1f}" for score in best["score"]]
            write_file(args.out / f"{name}.png", draw_molecules(best["smiles"].tolist(), captions))
    table = pd.DataFrame(rows)
    table.to_csv(args.out / "docking.csv", index=False)
    print(f"\n{objective}, kcal/mol, {args.budget} evaluations, {', '.join(CONSTRAINTS)}")
    shown = table.drop(columns="seed").groupby("method", sort=False).mean()
    print(shown.to_string(float_format="{:.2f}".format))


def make_fingerprints(smiles: Sequence[str]) -> list[DataStructs.ExplicitBitVect]:
    """Valid SMILES -> Morgan fingerprints of radius 2 with 2,048 bits."""
    generator = GetMorganGenerator(radius=2, fpSize=2_048)
    mols = (parse(text) for text in smiles)
    return [generator.GetFingerprint(mol) for mol in mols if mol is not None]


def measure_nearest(
    smiles: Sequence[str], data: Sequence[DataStructs.ExplicitBitVect]
) -> list[float]:
    """Valid SMILES and fingerprints -> Tanimoto similarity of each to its nearest one."""
    return [
        float(np.max(DataStructs.BulkTanimotoSimilarity(own, data)))
        for own in make_fingerprints(smiles)
    ]


if __name__ == "__main__":
    try:
        main()
    except MolvaeError as error:
        raise SystemExit(f"error: {error}") from None
