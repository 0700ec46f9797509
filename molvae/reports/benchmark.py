"""Benchmarks: run every strategy on every task of a suite, with several seeds.

Each run stores its evaluations in its own history as they finish. Rerun a stopped benchmark to
resume it. All shards of a benchmark share one folder.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from molvae.base.errors import MolvaeError
from molvae.base.files import read_json_object, write_file
from molvae.loop.config import OptimizeConfig
from molvae.loop.optimization import optimize
from molvae.loop.result import Result
from molvae.loop.space import LatentSpace
from molvae.oracles.evaluation import Effort
from molvae.oracles.history import History
from molvae.oracles.oracle import Oracle
from molvae.oracles.suites import SUITES
from molvae.reports.metrics import top_auc, top_mean
from molvae.reports.published import PMO, SOURCES

RESULTS = "results.csv"


@dataclass(frozen=True)
class BenchmarkConfig:
    """What to run: each task with each strategy and each seed.

    Attributes:
        suite: a name from `molvae.oracles.suites`.
        tasks: some of its tasks; empty for all.
        strategies: names as in `OptimizeConfig`.
        seeds: how many, from 0 on.
        budget: evaluations of each run.
        shard: (i, n), for every n-th run from the i-th on.
        heavy_atoms: least and greatest size of an admissible molecule, None for any, as in PMO.
        plausibility: least plausibility of an admissible molecule, 0 for any, as in PMO.
    """

    suite: str = "pmo"
    tasks: tuple[str, ...] = ()
    strategies: tuple[str, ...] = ("neighbourhood",)
    seeds: int = 1
    budget: int = 10_000
    shard: tuple[int, int] = (1, 1)
    heavy_atoms: tuple[int, int] | None = None
    plausibility: float = 0.0

    def __post_init__(self) -> None:
        if self.suite not in SUITES:
            raise MolvaeError(f"unknown suite {self.suite!r}: choose from {', '.join(SUITES)}")
        for task in self.tasks:
            if task not in SUITES[self.suite]:
                known = ", ".join(SUITES[self.suite])
                raise MolvaeError(f"{self.suite} has no task {task!r}: choose from {known}")
        if self.seeds < 1:
            raise MolvaeError(f"the number of seeds must be at least 1, not {self.seeds}")

    def runs(self) -> list[Run]:
        """Return the runs of this shard, ordered by seed."""
        every = [
            Run(
                self.suite,
                task,
                OptimizeConfig(strategy, plausibility=self.plausibility, seed=seed),
                self.budget,
                self.heavy_atoms,
            )
            for seed in range(self.seeds)
            for task in self.tasks or SUITES[self.suite]
            for strategy in self.strategies
        ]
        i, n = self.shard
        return every[i - 1 :: n]


@dataclass(frozen=True)
class Run:
    """One search on one task."""

    suite: str
    task: str
    config: OptimizeConfig
    budget: int
    heavy_atoms: tuple[int, int] | None

    @property
    def name(self) -> str:
        """The name of its files."""
        least = f"-plausible{self.config.plausibility:g}" if self.config.plausibility else ""
        parts = self.suite, self.task, self.config.strategy, self.budget, self.config.seed
        return "-".join(map(str, parts)) + least


Space = TypeVar("Space", bound=LatentSpace)


def run_benchmark(
    model: Space,
    start: Sequence[str],
    folder: Path,
    config: BenchmarkConfig,
    *,
    effort: Effort | None = None,
    on_run: Callable[[dict[str, Any]], None] = lambda row: None,
    fine_tune: Callable[[Space, Sequence[str], Sequence[str], int], LatentSpace] | None = None,
) -> pd.DataFrame:
    """Model, start molecules and config -> a table with a row for every finished run in the folder.

    Runs that are already in the folder are not repeated.

    Args:
        model: the latent space.
        start: SMILES from which every search draws its starting molecules.
        folder: output folder for histories and results.
        config: the runs to do.
        effort: parallelism, time limit and retries of the oracle.
        on_run: called with the table row of each finished run.
        fine_tune: as in `optimize`.

    Raises:
        MolvaeError: as in `optimize`; or the shard contains no runs.
    """
    runs = config.runs()
    if not runs:
        i, n = config.shard
        raise MolvaeError(f"shard {i}/{n} has no runs: there are fewer than {i} in total")
    folder.mkdir(parents=True, exist_ok=True)
    for run in runs:
        path = folder / f"{run.name}.json"
        if not path.exists():

            def search(oracle: Oracle, config: OptimizeConfig = run.config) -> Result:
                return optimize(model, oracle, start=start, config=config, fine_tune=fine_tune)

            write_file(path, json.dumps(_run_task(run, folder, effort, search)))
        on_run(read_json_object(path))
    paths = sorted(folder.glob(f"{config.suite}-*.json"))
    rows = pd.DataFrame([read_json_object(path) for path in paths])
    write_file(folder / RESULTS, rows.to_csv(index=False))
    return rows


def _run_task(
    run: Run, folder: Path, effort: Effort | None, search: Callable[[Oracle], Result]
) -> dict[str, Any]:
    """Start or resume a search -> the table row of the run.

    Args:
        run: suite, task, strategy, seed and budget.
        folder: where the history is stored.
        effort: parallelism, time limit and retries of the oracle.
        search: runs a search on the oracle.
    """
    began = time.perf_counter()
    with History(folder / f"{run.name}.sqlite") as history:
        task = f"{run.suite}:{run.task}"
        result = search(Oracle(task, run.budget, history, run.heavy_atoms or "any", effort=effort))
    y = result.table["y"].to_numpy()
    return {
        "suite": run.suite,
        "task": run.task,
        "strategy": run.config.strategy,
        "seed": run.config.seed,
        "budget": run.budget,
        "plausibility": run.config.plausibility,
        "evaluations": len(y),
        **{f"auc_top_{k}": top_auc(y, run.budget, k) for k in (1, 10, 100)},
        **{f"top_{k}": top_mean(y, k) for k in (1, 10, 100)},
        "best": result.best(1)["smiles"].item(),
        "valid": result.valid_fraction,
        "search_seconds": result.seconds,  # excluding oracle calls, summed over resumed parts
        "seconds": time.perf_counter() - began,  # since the last start
    }


def compare_with_published(rows: pd.DataFrame, suite: str, budget: int) -> pd.DataFrame:
    """Rows of finished runs -> mean AUC top-10 by task and strategy, with published results.

    The last row is the sum over the tasks, NaN for a strategy that has not finished all of them.
    Published values are included for PMO with 10,000 evaluations.
    """
    mine = rows[(rows["suite"] == suite) & (rows["budget"] == budget)]
    means = mine.pivot_table("auc_top_10", "task", "strategy", sort=False)
    table = means.reindex(list(SUITES[suite])).dropna(how="all")
    if (suite, budget) == ("pmo", 10_000):
        published = pd.DataFrame.from_dict(PMO, orient="index", columns=list(SOURCES))
        table = table.join(published)
    table.loc["sum"] = table.sum(min_count=len(table))
    return table.rename_axis(columns=None)
