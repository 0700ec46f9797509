"""What to choose under conditions that benchmarks leave out: noise, failures, plates, few calls.

Each condition changes one thing of a search for `pmo:zaleplon_mpo` or has an objective of its own,
and each choice of a user spends the same number of evaluations under it. Histories are kept in
--out: rerun the same command to resume.

    OMP_NUM_THREADS=1 python pipelines/conditions/conditions.py
    python pipelines/conditions/conditions.py --quick  # a minute
"""

from __future__ import annotations

import argparse
import math
import sys
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rdkit.Chem import Mol, MolFromSmarts, MolToSmiles
from rdkit.Chem.rdMolDescriptors import CalcNumRings
from scipy.special import ndtr
from tqdm import tqdm

from molvae import History, MolVAE, OptimizeConfig, Oracle, optimize
from molvae.base.errors import MolvaeError
from molvae.chem.datasets import load
from molvae.chem.molecules import parse
from molvae.loop.result import Result
from molvae.oracles.evaluation import Effort
from molvae.oracles.given import as_objective
from molvae.oracles.objectives import Objective
from molvae.search.pareto import hypervolume

sys.path.insert(0, str(Path(__file__).parents[1]))  # pipelines/, which holds shared/

from shared.methods import RANDOM, spend_budget

GOAL = as_objective("pmo:zaleplon_mpo")
NOISE = 0.1  # standard deviation; the goal is between 0 and 1
FAILING = 0.5  # share of the molecules whose evaluation fails
RARE = "similarity(Cc1ccc(-c2cc(C(F)(F)F)nn2-c2ccc(S(N)(=O)=O)cc2)cc1)>=0.2"  # 1 % of ZINC250k
LEAST = (0.0, -8.0, 0.0)  # QED, -SAS and activity above which the hypervolume is
TOP = 10  # molecules that are taken
SECONDS = (0.2, 2.0)  # that a slow evaluation takes, log-uniform
MOST = 5  # fluorine atoms and rings of a perfect molecule
FIGURES = ["taken", "lucky", "found", "seconds"]
ALL = ("neighbourhood", "thompson", "ga", RANDOM)
Number = Callable[[Mol], float]


@dataclass(frozen=True)
class Measured:
    """The goal as an experiment gives it, a function of the molecule and the seed of the run."""

    seed: int
    noise: float = 0.0
    failing: float = 0.0
    slow: bool = False

    def __call__(self, mol: Mol) -> float:
        """Molecule -> value; NaN for a failure."""
        own = zlib.crc32(f"{MolToSmiles(mol)} {self.seed}".encode())
        luck, share, pace = np.random.default_rng(own).standard_normal(3)
        if self.slow:
            low, high = np.log(SECONDS)
            time.sleep(float(np.exp(low + (high - low) * ndtr(pace))))
        failed = ndtr(share) < self.failing
        return math.nan if failed else GOAL.function(mol) + self.noise * float(luck)


def count_fluorines_and_rings(mol: Mol) -> float:
    """Molecule -> fluorine atoms or rings, whichever are fewer, as a share of MOST: a plateau."""
    fluorines = len(mol.GetSubstructMatches(MolFromSmarts("F")))
    return min(fluorines, CalcNumRings(mol), MOST) / MOST


@dataclass(frozen=True)
class Condition:
    """What is different, and the choices that a user has."""

    text: str
    objectives: Callable[[int], Sequence[Objective]] = lambda seed: (GOAL,)
    """Seed of the run -> what its search maximises."""
    truth: Number | None = None
    """What molecules are worth, if that is not what the search sees."""
    choices: Sequence[str] = ALL
    budget: int = 300
    batch: int | None = None
    constraints: tuple[str, ...] = ()
    effort: Effort | None = None


def measure(name: str, **how: Any) -> Callable[[int], Sequence[Objective]]:
    """Name and settings of `Measured` -> the objectives of each seed."""
    return lambda seed: (Objective(f"{name}-{seed}", Measured(seed, **how)),)


WAYS = ("neighbourhood", "neighbourhood, asynchronous")
CONDITIONS = {
    "plain": Condition("nothing: the goal as it is"),
    "noisy": Condition(
        f"normal noise, standard deviation {NOISE}", measure("noisy", noise=NOISE), GOAL.function
    ),
    "failing": Condition("half of all molecules fail", measure("failing", failing=FAILING)),
    "few": Condition("20 evaluations", budget=20, choices=(*ALL, "ei")),
    "plate": Condition("plates of 96", budget=384, batch=96),
    "rare": Condition("a constraint that 1 % of the data meet", constraints=(RARE,)),
    "plateau": Condition(
        "few distinct values",
        lambda seed: (Objective("fluorines and rings", count_fluorines_and_rings),),
    ),
    "three": Condition(
        "QED, SAS and the predicted activity at GSK3 beta",
        lambda seed: [as_objective(name) for name in ("QED", "SAS", "pmo:gsk3b")],
        choices=("ehvi", "neighbourhood", "thompson", RANDOM),
    ),
    "slow": Condition(
        f"four workers, {SECONDS[0]} to {SECONDS[1]} s an evaluation",
        measure("slow", slow=True),
        choices=WAYS,
        effort=Effort(4),
    ),
}


def main() -> None:
    """Run the conditions; print the table and write it as CSV."""
    args = parse_arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    model = MolVAE.load("zinc")
    molecules = load("zinc", progress=True).split("train")
    runs = [
        (name, choice, seed)
        for name in args.conditions
        for choice in CONDITIONS[name].choices
        for seed in range(args.seeds)
    ]
    rows = []
    for name, choice, seed in tqdm(runs, unit="run"):
        condition = CONDITIONS[name]
        if args.quick:
            condition = replace(condition, batch=10)
        budget = args.budget or condition.budget
        own = choice.replace(", ", "-")
        path = args.out / f"{name}-{own}-{budget}-seed{seed}.sqlite"
        with History(path) as history:
            oracle = make_oracle(condition, budget, history, seed)
            started = time.perf_counter()
            search(oracle, condition, choice, seed, model, molecules)
            seconds = time.perf_counter() - started
            rows.append((name, choice, seed, budget, *score(condition, oracle), seconds))
    columns = ["condition", "choice", "seed", "budget", *FIGURES]
    table = pd.DataFrame(rows, columns=columns)
    table.to_csv(args.out / "conditions.csv", index=False)
    cells = table.groupby(["condition", "choice"], sort=False)[FIGURES]
    shown = cells.mean().map("{:.3f}".format) + cells.std(ddof=0).map(" ({:.3f})".format)
    print(f"mean (sd) over {args.seeds} seeds\n\n{shown.to_string()}\n")
    for name in args.conditions:
        print(f"{name}: {CONDITIONS[name].text}")
    print(f"\ntable: {args.out / 'conditions.csv'}")


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    names = list(CONDITIONS)
    parser.add_argument("--conditions", nargs="+", choices=names, default=names, metavar="NAME")
    parser.add_argument("--budget", type=int, help="evaluations (default: that of each condition)")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("runs/conditions"))
    parser.add_argument("--quick", action="store_true", help="two conditions, 30 evaluations")
    args = parser.parse_args()
    if args.quick:
        args.conditions, args.budget, args.seeds = ["noisy", "three"], 30, 1
    return args


def make_oracle(condition: Condition, budget: int, history: History, seed: int) -> Oracle:
    """Return the oracle of one run."""
    return Oracle(
        list(condition.objectives(seed)),
        budget,
        history,
        constraints=condition.constraints,
        effort=condition.effort,
    )


def search(
    oracle: Oracle,
    condition: Condition,
    choice: str,
    seed: int,
    model: MolVAE,
    molecules: list[str],
) -> None:
    """Spend the budget of the oracle with one choice."""
    if choice == RANDOM:
        spend_budget(oracle, RANDOM, seed, None, model, molecules)
        return
    strategy, _, way = choice.partition(", ")
    config = OptimizeConfig(strategy, batch=condition.batch, seed=seed)
    optimize(model, oracle, start=molecules, config=config, asynchronous=way == "asynchronous")


def score(condition: Condition, oracle: Oracle) -> tuple[float, float, float]:
    """Return the true worth of ten molecules: those to take, those of the best values, the best.

    To be taken are those with the best values, but where values are noisy those with the greatest
    expected ones (`Result.expect`). Of several objectives all three are the hypervolume.
    """
    history = oracle.history
    result = Result(history.records(), history.iterations(), "", oracle.objectives)
    seen = result.table.dropna(subset=["y"] if len(result.labels) == 1 else result.labels[0])
    if len(result.labels) > 1:
        y = seen[list(result.labels)].to_numpy()
        return (hypervolume(y, np.array(LEAST)) if len(y) else 0.0,) * 3
    y = values = seen["y"].to_numpy()
    if condition.truth is not None:
        mols = [mol for mol in map(parse, seen["smiles"]) if mol is not None]
        values = np.array([condition.truth(mol) for mol in mols])
    wanted = result.expect(seen["smiles"].tolist())[:, 0] if result.noise else y
    taken, lucky, best = (float(values[np.argsort(-by)[:TOP]].mean()) for by in (wanted, y, values))
    return taken, lucky, best


if __name__ == "__main__":
    try:
        main()
    except MolvaeError as error:
        raise SystemExit(f"error: {error}") from None
