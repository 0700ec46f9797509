"""Run the tasks of a benchmark suite and compare with published results.

The output folder holds the history of every run, the results of each finished run as JSON, and
results.csv with all of them. Rerun the command to resume.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from tqdm import tqdm

from molvae.cli import options

LINE = (
    "{task:<25} {strategy:<14} seed {seed}: AUC top-10 {auc_top_10:.3f}, best {top_1:.3f}, "
    "{minutes:.1f} min excluding oracle calls"
)

PRESCREENED = 500  # molecules of the data set whose values a prescreened search begins with

EXAMPLES = (
    "molvae benchmark --suite pmo --tasks pmo:jnk3 --budget 1000 --seeds 3",
    "molvae benchmark --strategy neighbourhood ga --out runs/against-ga",
    "molvae benchmark --prescreen --budget 1000 --out runs/prescreened",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `molvae benchmark`."""
    from molvae.loop.config import strategy_names
    from molvae.oracles.suites import SUITES

    parser.add_argument("--suite", choices=list(SUITES), default="pmo")
    parser.add_argument(
        "--tasks",
        nargs="+",
        default=argparse.SUPPRESS,
        help="tasks to run, such as jnk3 or pmo:jnk3 (default: all)",
    )
    parser.add_argument(
        "--strategy",
        nargs="+",
        choices=strategy_names(),
        default=["neighbourhood"],
        metavar="NAME",
        help="see 'molvae list strategies'",
    )
    parser.add_argument(
        "--seeds", type=options.whole_number, default=1, help="number of seeds, 0 to N-1"
    )
    parser.add_argument("--budget", type=options.whole_number, default=10_000, help="of each run")
    parser.add_argument("--model", default="zinc", help="shipped model, or a .safetensors file")
    options.add_data(parser)
    parser.add_argument("--out", type=Path, default=Path("runs/benchmark"), help="folder")
    parser.add_argument(
        "--shard",
        type=options.shard,
        default="1/1",
        metavar="i/n",
        help="only every n-th run, starting with the i-th",
    )
    parser.add_argument(
        "--heavy-atoms",
        type=int,
        nargs=2,
        metavar=("LOW", "HIGH"),
        default=argparse.SUPPRESS,
        help="allowed number of heavy atoms (default: any, as in the published results)",
    )
    parser.add_argument(
        "--plausibility",
        type=options.share_or_off,
        default=0.0,
        metavar="SHARE",
        help="least plausibility of what is evaluated, as in 'molvae optimize' (default: off, as "
        "in the published results)",
    )
    parser.add_argument(
        "--prescreen",
        type=options.whole_number,
        nargs="?",
        const=PRESCREENED,
        default=argparse.SUPPRESS,
        metavar="N",
        help="score the data set first, outside the budget, and begin each search with the values "
        f"of its N best molecules (N if left out: {PRESCREENED}; default: off, a black box)",
    )
    parser.add_argument(
        "--adapt", action="store_true", help="fine-tune the model, as in 'molvae optimize'"
    )
    parser.add_argument("--jobs", type=options.whole_number, default=1, help="parallel evaluations")
    options.add_backend(parser)


def run(args: argparse.Namespace) -> None:
    """Run what is missing, print a line per run, then the comparison table."""
    options.use_one_thread()
    from molvae.base.files import RunFolder
    from molvae.library.bulk import identify_model
    from molvae.model.adaptation import fine_tune
    from molvae.model.molvae import MolVAE
    from molvae.oracles.evaluation import Effort
    from molvae.reports.benchmark import BenchmarkConfig, compare_with_published, run_benchmark

    sizes = getattr(args, "heavy_atoms", None)
    config = BenchmarkConfig(
        suite=args.suite,
        tasks=tuple(t.removeprefix(f"{args.suite}:") for t in getattr(args, "tasks", ())),
        strategies=tuple(args.strategy),
        seeds=args.seeds,
        budget=args.budget,
        shard=args.shard,
        heavy_atoms=sizes and (sizes[0], sizes[1]),
        plausibility=args.plausibility,
        prescreened=getattr(args, "prescreen", 0),
    )
    model = MolVAE.load(args.model)
    args.out.mkdir(parents=True, exist_ok=True)
    settings = {"model": identify_model(args.model)[1], "adapt": args.adapt, "heavy_atoms": sizes}
    RunFolder(args.out, "settings.json").agree(settings)
    data = options.data_of(getattr(args, "data", None), args.model, model)
    start = options.load_data(data).split("train")

    with (
        options.engine(args),
        tqdm(total=len(config.runs()), unit="run", disable=not options.progress()) as bar,
    ):

        def finished(row: dict[str, Any]) -> None:
            tqdm.write(LINE.format(**row, minutes=row["search_seconds"] / 60))
            bar.update()

        rows = run_benchmark(
            model,
            start,
            args.out,
            config,
            effort=Effort(jobs=args.jobs),
            on_run=finished,
            fine_tune=fine_tune if args.adapt else None,
            progress=options.progress(),
        )
    print(f"\nAUC top-10, {args.budget} evaluations, mean over seeds")
    table = compare_with_published(rows, args.suite, args.budget)
    print(table.to_string(float_format="{:.3f}".format, na_rep="-"))
    print(f"all results: {args.out / 'results.csv'}")
