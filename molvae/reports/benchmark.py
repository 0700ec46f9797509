"""Benchmarks: run every strategy on every task of a suite, with several seeds.

Each run stores its evaluations in its own history as they finish. Rerun a stopped benchmark to
resume it. All shards of a benchmark share one folder.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from molvae.base.digests import digest_lines
from molvae.base.errors import MolvaeError
from molvae.base.files import read_json_object, write_file
from molvae.chem.molecules import parse
from molvae.chem.neighbors import find_clusters
from molvae.chem.plausibility import Domain
from molvae.chem.properties import Property, compute_or_nan, properties
from molvae.chem.property_tables import compute_columns
from molvae.loop.config import OptimizeConfig
from molvae.loop.optimization import optimize
from molvae.loop.result import Result
from molvae.loop.space import LatentSpace
from molvae.oracles.evaluation import Effort
from molvae.oracles.given import as_objective
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
        prescreened: how many of the best start molecules each search knows before it begins, 0 for
            a black box, as in PMO. All of them are scored for it, outside the budget.
    """

    suite: str = "pmo"
    tasks: tuple[str, ...] = ()
    strategies: tuple[str, ...] = ("neighbourhood",)
    seeds: int = 1
    budget: int = 10_000
    shard: tuple[int, int] = (1, 1)
    heavy_atoms: tuple[int, int] | None = None
    plausibility: float = 0.0
    prescreened: int = 0

    def __post_init__(self) -> None:
        if self.suite not in SUITES:
            raise MolvaeError(f"unknown suite {self.suite!r}: choose from {', '.join(SUITES)}")
        for task in self.tasks:
            if task not in SUITES[self.suite]:
                known = ", ".join(SUITES[self.suite])
                raise MolvaeError(f"{self.suite} has no task {task!r}: choose from {known}")
        if self.seeds < 1:
            raise MolvaeError(f"the number of seeds must be at least 1, not {self.seeds}")
        if self.prescreened < 0:
            raise MolvaeError(f"prescreened must not be negative, got {self.prescreened}")

    def runs(self) -> list[Run]:
        """Return the runs of this shard, ordered by seed."""
        every = [
            Run(
                self.suite,
                task,
                OptimizeConfig(strategy, plausibility=self.plausibility, seed=seed),
                self.budget,
                self.heavy_atoms,
                self.prescreened,
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
    prescreened: int

    @property
    def name(self) -> str:
        """The name of its files."""
        parts = [self.suite, self.task, self.config.strategy, self.budget, self.config.seed]
        if self.config.plausibility:
            parts.append(f"plausible{self.config.plausibility:g}")
        if self.prescreened:
            parts.append(f"prescreened{self.prescreened}")
        return "-".join(map(str, parts))


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
    progress: bool = False,
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
        progress: show a progress bar while start molecules are scored.

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
            best = _prescreen(run, folder, start, progress) if run.prescreened else None
            search = partial(
                optimize, model, start=start, config=run.config, known=best, fine_tune=fine_tune
            )
            row = _run_task(run, folder, effort, search, model.domain)
            write_file(path, json.dumps(row))
        on_run(read_json_object(path))
    paths = sorted(folder.glob(f"{config.suite}-*.json"))
    rows = pd.DataFrame([read_json_object(path) for path in paths])
    write_file(folder / RESULTS, rows.to_csv(index=False))
    return rows


def _prescreen(run: Run, folder: Path, start: Sequence[str], progress: bool) -> dict[str, float]:
    """Score all start molecules -> the best of them and their values, kept in the folder.

    Those whose score is 0 say nothing of where better ones are, and are left out.
    """
    data = digest_lines(hashlib.blake2b(digest_size=8), start).hexdigest()
    path = folder / f"{run.suite}-{run.task}.prescreened{run.prescreened}-{data}.csv"
    if not path.exists():
        function = as_objective(f"{run.suite}:{run.task}").function
        scores = compute_columns(list(start), {"y": function}, progress)
        table = scores.assign(smiles=list(start)).query("y > 0")
        best = table.sort_values("y", ascending=False, kind="stable").head(run.prescreened)
        write_file(path, best.to_csv(index=False))
    best = pd.read_csv(path)
    return dict(zip(best["smiles"], best["y"], strict=True))


def _run_task(
    run: Run,
    folder: Path,
    effort: Effort | None,
    search: Callable[[Oracle], Result],
    domain: Domain | None,
) -> dict[str, Any]:
    """Start or resume a search -> the table row of the run.

    Args:
        run: suite, task, strategy, seed and budget.
        folder: where the history is stored.
        effort: parallelism, time limit and retries of the oracle.
        search: runs a search on the oracle.
        domain: tells how plausible the best molecules are.
    """
    began = time.perf_counter()
    with History(folder / f"{run.name}.sqlite") as history:
        task = f"{run.suite}:{run.task}"
        result = search(Oracle(task, run.budget, history, run.heavy_atoms or "any", effort=effort))
    found = [record for record in result.records if not record.known]
    y = np.array([record.y for record in found])
    best = [found[i].smiles for i in np.argsort(-y, kind="stable") if not np.isnan(y[i])]
    return {
        "suite": run.suite,
        "task": run.task,
        "strategy": run.config.strategy,
        "seed": run.config.seed,
        "budget": run.budget,
        "plausibility": run.config.plausibility,
        "prescreened": run.prescreened,
        "evaluations": len(y),
        **{f"auc_top_{k}": top_auc(y, run.budget, k) for k in (1, 10, 100)},
        **{f"top_{k}": top_mean(y, k) for k in (1, 10, 100)},
        "best": best[0],
        **{f"top_10_{name}": value for name, value in _describe(best[:10], domain).items()},
        "valid": result.valid_fraction,
        "bred": result.bred_fraction,
        "search_seconds": result.seconds,  # excluding oracle calls, summed over resumed parts
        "seconds": time.perf_counter() - began,  # since the last start
    }


def _describe(smiles: list[str], domain: Domain | None) -> dict[str, float]:
    """Molecules -> their mean QED, SAS and plausibility, and the number of their clusters."""
    mols = [mol for mol in map(parse, smiles) if mol is not None]
    functions: dict[str, Property] = {name: properties[name].function for name in ("QED", "SAS")}
    if domain is not None:
        functions["plausibility"] = domain.find_plausibility
    means = {n: float(np.mean([compute_or_nan(f, m) for m in mols])) for n, f in functions.items()}
    return {**means, "clusters": max(find_clusters(smiles), default=0)}


def compare_with_published(rows: pd.DataFrame, suite: str, budget: int) -> pd.DataFrame:
    """Rows of finished runs -> mean AUC top-10 by task and strategy, with published results.

    Runs under different rules, which must not be compared as equals, are in columns of their own.
    The last row is the sum over the tasks, NaN for a strategy that has not finished all of them.
    Published values are included for PMO with 10,000 evaluations; they are of a black box.
    """
    mine = rows[(rows["suite"] == suite) & (rows["budget"] == budget)]
    mine = mine.assign(strategy=[_name_rules(row) for row in mine.to_dict("records")])
    means = mine.pivot_table("auc_top_10", "task", "strategy", sort=False)
    table = means.reindex(list(SUITES[suite])).dropna(how="all")
    if (suite, budget) == ("pmo", 10_000):
        published = pd.DataFrame.from_dict(PMO, orient="index", columns=list(SOURCES))
        table = table.join(published)
    table.loc["sum"] = table.sum(min_count=len(table))
    return table.rename_axis(columns=None)


def _name_rules(row: Mapping[Hashable, Any]) -> str:
    """Row of a run -> its strategy, and the rules where they are not those of a black box.

    Rows of earlier versions have fewer columns, or NaN in them.
    """
    names = [name for name in ("plausibility", "prescreened") if row.get(name, 0) > 0]
    return ", ".join([row["strategy"], *(f"{name} {row[name]:g}" for name in names)])
