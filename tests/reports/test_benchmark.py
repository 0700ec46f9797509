from pathlib import Path

import pandas as pd
import pytest

from molvae.base.errors import MolvaeError
from molvae.chem.molecules import count_heavy_atoms
from molvae.cli import main
from molvae.loop.optimization import optimize
from molvae.model.molvae import MolVAE
from molvae.oracles.history import History
from molvae.oracles.suites import SUITES
from molvae.reports.benchmark import BenchmarkConfig, compare_with_published, run_benchmark
from molvae.reports.metrics import top_auc
from molvae.reports.published import PMO, SOURCES

TASKS = ("celecoxib_rediscovery", "isomers_c7h8n2o2")


def test_a_benchmark_that_was_stopped_goes_on_to_the_same_figures(
    tmp_path: Path, zinc: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = MolVAE.load("zinc")
    config = BenchmarkConfig("pmo", TASKS, ("neighbourhood", "ga"), seeds=1, budget=50)
    whole = run_benchmark(model, zinc, tmp_path / "whole", config)
    assert len(whole) == 4
    assert (whole["evaluations"] == 50).all()

    rounds = []

    def interrupted(*args, **kwargs):
        rounds.append(1)
        if len(rounds) == 2:
            raise KeyboardInterrupt
        return optimize(*args, **kwargs)

    monkeypatch.setattr("molvae.reports.benchmark.optimize", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_benchmark(model, zinc, tmp_path / "again", config)
    seen = []
    again = run_benchmark(model, zinc, tmp_path / "again", config, on_run=seen.append)
    assert len(seen) == 4
    figures = ["task", "strategy", "auc_top_1", "auc_top_10", "top_1", "best"]
    pd.testing.assert_frame_equal(again[figures], whole[figures])
    row = whole.iloc[0]
    path = tmp_path / "whole" / f"pmo-{row['task']}-{row['strategy']}-50-0.sqlite"
    with History(path) as history:  # every evaluation is there to be looked at
        assert row["auc_top_10"] == top_auc([r.y for r in history.records()], 50)


def test_shards_are_all_runs_once() -> None:
    config = BenchmarkConfig(strategies=("neighbourhood", "ga"), seeds=2)
    names = [run.name for run in config.runs()]
    assert len(names) == len(set(names)) == 23 * 2 * 2
    parts = [
        run.name
        for i in (1, 2, 3)
        for run in BenchmarkConfig(strategies=("neighbourhood", "ga"), seeds=2, shard=(i, 3)).runs()
    ]
    assert sorted(parts) == sorted(names)


def test_the_table_stands_beside_what_was_published() -> None:
    assert list(PMO) == list(SUITES["pmo"])
    sums = dict(zip(SOURCES, map(sum, zip(*PMO.values(), strict=True)), strict=True))
    assert sums["mol_ga"] == pytest.approx(14.708, abs=0.002)
    assert sums["screening"] == pytest.approx(8.623, abs=0.002)
    rows = pd.DataFrame(
        [
            {"suite": "pmo", "task": task, "strategy": strategy, "budget": 10_000, "auc_top_10": y}
            for strategy, y in (("ga", 0.5), ("ei", 0.25))
            for task in (list(PMO) if strategy == "ga" else list(PMO)[:2])
        ]
    )
    table = compare_with_published(rows, "pmo", 10_000)
    assert table.loc["sum", "ga"] == 11.5
    assert pd.isna(table.loc["sum", "ei"])  # two tasks are not the suite
    assert table.loc["sum", "mol_ga"] == pytest.approx(14.708, abs=0.002)
    assert table.loc["jnk3", "reinvent"] == 0.783


def test_the_verb_prints_the_table_and_refuses_another_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["benchmark", "--tasks", "qed", "--strategy", "ga", "--budget", "20"]
    assert main([*words, "--out", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "qed" in shown
    assert "sum" in shown
    assert len(pd.read_csv(tmp_path / "results.csv")) == 1
    for other in (["--model", "qm9"], ["--heavy-atoms", "6", "20"], ["--adapt"]):
        assert main([*words, *other, "--out", str(tmp_path)]) == 1
        assert "choose another --out" in capsys.readouterr().err
    assert main([*words, "--heavy-atoms", "6", "12", "--out", str(tmp_path / "small")]) == 0
    with History(tmp_path / "small" / "pmo-qed-ga-20-0.sqlite") as history:
        assert all(6 <= count_heavy_atoms(record.smiles) <= 12 for record in history.records())


def test_wrong_names_are_told(tmp_path: Path) -> None:
    with pytest.raises(MolvaeError, match="shard 24/30 has no runs"):
        run_benchmark(MolVAE.load("qm9"), [], tmp_path, BenchmarkConfig(shard=(24, 30)))
    with pytest.raises(MolvaeError, match="unknown suite 'moses': choose from guacamol, pmo"):
        BenchmarkConfig("moses")
    with pytest.raises(MolvaeError, match="pmo has no task 'logp'"):
        BenchmarkConfig(tasks=("logp",))
