"""`molvae optimize`: search the latent space for molecules with a better property.

The run folder holds history.sqlite (every evaluation, the moment it is known), config.json, and at
the end best.csv, best.png and trace.png, and of several objectives front.png.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from uuid import uuid4

from molvae.base.errors import MolvaeError
from molvae.cli import options
from molvae.cli.watch import Evaluations

if TYPE_CHECKING:
    from molvae.loop.optimization import Result
    from molvae.model.molvae import MolVAE
    from molvae.oracles.history import History
    from molvae.oracles.oracle import Oracle

DEFAULTS: dict[str, Any] = {
    "objective": ["logP"],
    "model": "zinc",
    "strategy": None,
    "budget": 250,
    "batch": None,
    "constraint": [],
    "start": None,
    "adapt": False,
    "asynchronous": False,
    "history": None,
    "seed": 0,
}
ONE, SEVERAL = "neighbourhood", "ehvi"  # the strategy for one objective, and for more
SHOWN = 10  # best molecules in the terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `molvae optimize`."""
    from molvae.oracles.objectives import objectives
    from molvae.search.strategies import strategies

    parser.formatter_class = argparse.HelpFormatter
    names = ", ".join(name for name in objectives if ":" not in name)
    for name, text in (
        ("model", "a shipped model or a .safetensors file"),
        ("budget", "unique molecules to evaluate"),
        ("seed", "of all randomness"),
    ):
        default = DEFAULTS[name]
        parser.add_argument(f"--{name}", type=type(default), help=f"{text} (default: {default})")
    parser.add_argument(
        "--strategy",
        help=f"{', '.join(strategies)} or, to compare with, ga: a genetic algorithm (default: "
        f"{ONE}, and {SEVERAL} for several objectives)",
    )
    parser.add_argument(
        "--objective",
        nargs="+",
        metavar="NAME",
        help=f"{names}, a task of GuacaMol or PMO (see 'molvae list objectives'), goals.json (a "
        "weighted sum or desirabilities, see README), package.module:function, which gets an RDKit "
        "molecule, or 'cmd:./dock.sh {smiles}', a program that prints a number; several are "
        "searched for at once (default: logP)",
    )
    parser.add_argument(
        "--batch",
        type=int,
        help="molecules chosen per round (default: a 400th of the budget, at least 10; of ga 5)",
    )
    parser.add_argument(
        "--data", help="where the first molecules are drawn: a data set (default: the model's own)"
    )
    parser.add_argument(
        "--start",
        metavar="FILE",
        help="molecules to begin with instead, FILE or FILE:COLUMN: all of them are evaluated, "
        "then others around them",
    )
    parser.add_argument(
        "--heavy-atoms",
        type=int,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="size of admissible molecules (default: the range of the model's training data)",
    )
    parser.add_argument(
        "--constraint",
        nargs="+",
        metavar="TEXT",
        help="what molecules must be like: 'SAS<4', 'MolWt<500', 'similarity(SMILES)>=0.4', "
        "'has:SMARTS', 'lacks:SMARTS', 'alerts:PAINS'; others are not evaluated",
    )
    parser.add_argument(
        "--out", type=Path, help="run folder (default: runs/OBJECTIVE-STRATEGY-seedSEED)"
    )
    parser.add_argument(
        "--adapt",
        action="store_true",
        default=None,
        help="train the model on with the best that was found, ten times in a run",
    )
    parser.add_argument(
        "--history",
        metavar="FILE",
        help="an SQLite file that several runs may write to at once: what one of them has "
        "evaluated no other evaluates again (default: a file in the run folder)",
    )
    parser.add_argument(
        "--resume", action="store_true", help="continue the run in --out; only --budget may change"
    )
    group = parser.add_argument_group("an objective that takes long, or fails")
    group.add_argument("--jobs", type=options.whole_number, default=1, help="evaluations at once")
    group.add_argument(
        "--asynchronous",
        action="store_true",
        default=None,
        help="begin a round when processes would be idle, not when the last one is over",
    )
    group.add_argument(
        "--time-limit",
        type=float,
        metavar="SECONDS",
        help="of one evaluation, which is then killed and counts as failed (default: none)",
    )
    group.add_argument(
        "--retries", type=int, default=0, help="how often a failed one is tried again (default: 0)"
    )
    options.add_backend(group)


def run(args: argparse.Namespace) -> int:
    """Search, then show and draw the best molecules; return the exit code."""
    sys.path.insert(0, os.getcwd())  # so that the user's own module is found
    folder, chosen = _options(args)
    from molvae.loop.optimization import optimize
    from molvae.loop.rounds import OptimizeConfig
    from molvae.model.adaptation import fine_tune
    from molvae.oracles.evaluation import Effort
    from molvae.oracles.oracle import Oracle

    if chosen["asynchronous"] and args.backend != "loky":
        raise MolvaeError(f"--asynchronous works with local processes, not with {args.backend}")
    config = OptimizeConfig(chosen["strategy"], chosen["batch"], seed=chosen["seed"])
    history = None
    try:
        with _Terminable(), options.engine(args):
            model, start, leads = _loaded(chosen)
            low, high = chosen["heavy_atoms"]
            effort = Effort(args.jobs, args.time_limit, args.retries)
            oracle = Oracle(
                chosen["objective"],
                chosen["budget"],
                heavy_atoms=(low, high),
                effort=effort,
                constraints=chosen["constraint"],
            )
            _check(leads, oracle, model)
            oracle.history = history = _opened(folder, chosen)  # once all else is in order
            print(
                f"maximise {', '.join(oracle.labels)} with {config.strategy}: "
                f"{oracle.budget} evaluations, "
                f"molecules of {low} to {high} heavy atoms; writing to {folder}"
            )
            with Evaluations(oracle) as progress:
                oracle.on_evaluation = progress.evaluated
                adapt = fine_tune if chosen["adapt"] else None
                finished, ahead = progress.finished, chosen["asynchronous"]
                result = optimize(model, oracle, start, config, finished, leads, adapt, ahead)
    except KeyboardInterrupt as stop:
        saved = 0 if history is None else len(history)
        way = f"; continue with: molvae optimize --resume --out {folder}" if saved else ""
        print(f"stopped: {saved} evaluations are saved in {folder}{way}", file=sys.stderr)
        return 128 + (stop.args[0] if stop.args else signal.SIGINT)
    _report(result, folder)
    return 0


def _opened(folder: Path, chosen: dict[str, Any]) -> History:
    from molvae.base.files import write_file
    from molvae.oracles.history import History

    folder.mkdir(parents=True, exist_ok=True)
    history = History(chosen["history"] or folder / "history.sqlite", chosen["run"])
    write_file(folder / "config.json", json.dumps(chosen, indent=1) + "\n")
    return history


def _options(args: argparse.Namespace) -> tuple[Path, dict[str, Any]]:
    """The run folder, and the options in force: those given, over a resumed run's, or defaults."""
    names = [*DEFAULTS, "data", "heavy_atoms"]
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    new = DEFAULTS | given
    new["strategy"] = new["strategy"] or (SEVERAL if len(new["objective"]) > 1 else ONE)
    objective = re.sub(r"[^\w.-]+", ".", "+".join(new["objective"]))[:60]
    folder = args.out or Path("runs") / f"{objective}-{new['strategy']}-seed{new['seed']}"
    begun = (folder / "config.json").exists()
    if not args.resume:
        if begun:
            raise MolvaeError(f"{folder} holds a run already: add --resume, or another --out")
        return folder, new | {"run": f"{folder.name} {uuid4()}" if new["history"] else "run"}
    if not begun:
        raise MolvaeError(f"{folder} holds no run to resume")
    try:
        stored = json.loads((folder / "config.json").read_text())
        changed = [k for k in names if given.get(k, stored[k]) != stored[k] and k != "budget"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MolvaeError(f"{folder / 'config.json'} is damaged: {error!r}") from error
    if changed:
        flag, was = changed[0].replace("_", "-"), stored[changed[0]]
        raise MolvaeError(f"--{flag} cannot change on resume (this run has {was})")
    return folder, stored | given


def _loaded(chosen: dict[str, Any]) -> tuple[MolVAE, list[str], list[str]]:
    """Load the model, its data set and the leads; fill in the options that follow from them."""
    from molvae.chem.datasets import load
    from molvae.model.molvae import MolVAE

    model = MolVAE.load(chosen["model"])
    chosen.setdefault("data", model.summary.get("data", "zinc"))
    chosen.setdefault("heavy_atoms", model.summary["heavy_atoms"])
    leads = load(chosen["start"]).smiles if chosen["start"] else []
    return model, load(chosen["data"], progress=True).split("train"), leads


def _check(leads: list[str], oracle: Oracle, model: MolVAE) -> None:
    """Tell which leads cannot be evaluated, and refuse more of them than the budget allows."""
    usable = 0
    for lead in leads:
        name = oracle.admissible(lead)
        if name is None:
            options.note(f"{lead} is left out: its size is not allowed, or a constraint not met")
        elif not model.can_encode_canonical(name):
            options.note(f"{lead} is left out: the model cannot encode it")
        else:
            usable += 1
    if leads and not 0 < usable <= oracle.budget:
        raise MolvaeError(
            f"{usable} molecules to begin with, but the budget is {oracle.budget} evaluations"
            if usable
            else "none of the molecules to begin with can be evaluated"
        )


class _Terminable:
    """While inside, SIGTERM stops the run like Ctrl-C; the number comes with the exception."""

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGTERM, self._stop)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGTERM, self._before)

    @staticmethod
    def _stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt(number)


def _report(result: Result, folder: Path) -> None:
    failed = result.table["error"].dropna()
    rounds = max(len(result.iterations), 1)
    print(
        f"\n{len(result.table)} evaluations ({len(failed)} failed), {rounds} rounds of "
        f"{result.seconds / rounds:.2f} s beside the objective, "
        f"{result.valid_fraction:.0%} of decoded points admissible; stopped: {result.stopped}"
    )
    if len(failed):
        print(f"first failure: {failed.iloc[0]}")
    from molvae.reports.run_report import write_run_report

    best = write_run_report(result, folder)
    if len(result.labels) > 1:
        print(f"{len(best)} molecules that no other one exceeds in everything:")
    shown = best.head(SHOWN).drop(columns=["iteration", "number"])
    print(shown.to_string(index=False, float_format=lambda value: f"{value:.3f}"))
    front = "front.png, " if len(result.labels) > 1 else ""
    print(f"best.csv, best.png, {front}trace.png and history.sqlite are in {folder}")
