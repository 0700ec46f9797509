"""What plausibility buys and costs: searches with it, without it, and the genetic algorithm.

Each search is judged on its hundred best molecules, and on the 20 that `molvae optimize` shows, the
best of each cluster: groups that a chemist strikes out, atom environments that the data lacks, and
ChEMBL's own check of ring systems and bonds (chembl-gen-check, if installed; no search here runs
under it). Histories are kept in --out: rerun the same command to resume.

    python pipelines/plausibility/plausibility.py  # 250 evaluations, 3 seeds
    python pipelines/plausibility/plausibility.py --quick  # seconds
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from rdkit import Chem

from molvae import History, MolVAE, OptimizeConfig, Oracle, optimize
from molvae.chem.datasets import load
from molvae.chem.neighbors import find_clusters
from molvae.chem.plausibility import PASSING, Domain
from molvae.loop.result import Result

OBJECTIVES = ("logP", "drug", "QED", "plogp_zinc", "pmo:jnk3", "pmo:gsk3b")
METHODS = {  # strategy and least plausibility
    "plausible": ("neighbourhood", PASSING),
    "any": ("neighbourhood", 0.0),
    "ga, plausible": ("ga", PASSING),
    "ga": ("ga", 0.0),
}
BEST, SHOWN = 100, 20
JUDGED = ["struck", "unknown", "plausible", "judged"]
STRUCK = {  # groups that a chemist strikes out
    "three sulfurs in a row": "[#16X2][#16X2][#16X2]",
    "N anion": "[N-;!$([N-]=*);!$([N-]~[N+]);!$([N-]S(=O)=O);!$([N-](C=O)C=O)]",
    "C anion": "[C-;!$([C-]#[N+,O+])]",
    "N or S halide": "[NX3,NX2,SX2][F,Cl,Br,I]",
    "peroxide": "[OX2][OX2]",
    "three nitrogens in a row": "[NX3;!R][NX3;!R][NX3]",
    "cumulated double bonds": "[*]=[C;!R;!$(C=[O,S])]=[*]",
    "three-ring with two heteroatoms": "[O,N,S]1[O,N,S]*1",
    "cyclobutadiene": "C1=CC=C1",
}


def main() -> None:
    """Run the study; print the table and write it as CSV."""
    args = parse_arguments()
    model, data = MolVAE.load("zinc"), load("zinc", progress=True)
    judge = load_judge()
    if judge is None:
        print("chembl-gen-check is not installed: its share is left out")
    start, domain = data.split("train"), model.domain
    if domain is None:
        raise SystemExit("the model stores no domain")
    real = data.split("test")[: args.real]
    blank = [math.nan] * 4
    data_row = (*blank, *judge_molecules(real, domain, judge), *blank)
    rows = [("held-out ZINC", "", math.nan, *data_row)]
    for objective in args.objectives:
        for seed in range(args.seeds):
            for method in args.methods:
                strategy, least = METHODS[method]
                path = args.out / f"{objective}-{method}-{args.budget}-seed{seed}.sqlite"
                path.parent.mkdir(parents=True, exist_ok=True)
                with History(path) as history:
                    oracle = Oracle(objective, args.budget, history)
                    config = OptimizeConfig(
                        strategy, batch=args.batch, plausibility=least, seed=seed
                    )
                    result = optimize(model, oracle, start=start, config=config)
                rows.append((objective, method, seed, *judge_result(result, domain, judge)))
                print(*(f"{cell:.3g}" if isinstance(cell, float) else cell for cell in rows[-1]))
    names = ["best", "top_10", "shown_mean", "shown", *JUDGED, *(f"shown_{n}" for n in JUDGED)]
    table = pd.DataFrame(rows, columns=["objective", "method", "seed", *names])
    table["seed"] = table["seed"].astype("Int64")  # which the first row lacks
    table.to_csv(args.out / "plausibility.csv", index=False)
    means = table.groupby(["objective", "method"], sort=False)[names].mean()
    print(f"\n{means.to_string(float_format='{:.3f}'.format)}")


def judge_result(result: Result, domain: Domain, judge: Judge | None) -> list[float]:
    """Result -> best value, mean of the ten best, mean and number of the molecules shown,
    `judge_molecules` of the hundred best, and of those shown.
    """
    (one,) = result.objectives
    best = result.best(len(result.records))
    values, smiles = best["y"].map(one.restore_sign), best["smiles"]
    shown = ~pd.Series(find_clusters(smiles.tolist())).duplicated()
    shown &= shown.cumsum() <= SHOWN
    return [
        float(values.iloc[0]),
        float(values.head(10).mean()),
        float(values[shown].mean()),
        float(shown.sum()),
        *judge_molecules(smiles.head(BEST).tolist(), domain, judge),
        *judge_molecules(smiles[shown].tolist(), domain, judge),
    ]


def judge_molecules(smiles: Sequence[str], domain: Domain, judge: Judge | None) -> list[float]:
    """Molecules -> shares that are struck out, of unknown atoms, plausible, passed by the judge."""
    mols = [Chem.MolFromSmiles(s) for s in smiles]
    patterns = [Chem.MolFromSmarts(text) for text in STRUCK.values()]
    return [
        float(np.mean([any(map(mol.HasSubstructMatch, patterns)) for mol in mols])),
        float(np.mean([domain.share_unknown(mol) for mol in mols])),
        float(np.mean([domain.find_plausibility(mol) >= PASSING for mol in mols])),
        math.nan if judge is None else float(np.mean([judge(s) for s in smiles])),
    ]


Judge = Callable[[str], bool]


def load_judge() -> Judge | None:
    """Return whether ChEMBL knows the ring systems and bonds of a SMILES; None if not installed."""
    if importlib.util.find_spec("chembl_gen_check") is None:
        return None
    checker = importlib.import_module("chembl_gen_check").Checker()

    def accept(smiles: str) -> bool:
        checker.load_smiles(smiles)
        return bool(checker.check_ring_systems() and checker.check_lacan() > 0)

    return accept


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--objectives", nargs="+", default=list(OBJECTIVES))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--budget", type=int, default=250)
    parser.add_argument("--real", type=int, default=1_000, help="held-out molecules for comparison")
    parser.add_argument("--out", type=Path, default=Path("runs/plausibility"))
    parser.add_argument("--quick", action="store_true", help="20 evaluations of one objective")
    args = parser.parse_args()
    args.batch = 10 if args.quick else None
    if args.quick:
        args.objectives, args.seeds, args.budget, args.real = ["logP"], 1, 20, 50
    return args


if __name__ == "__main__":
    main()
