"""Search the latent space for better molecules.

The run folder holds config.json and history.sqlite, which stores each evaluation as soon as it is
done, and with --start start.csv, what each molecule was read as, with its known values. At the end
come report.html, best.csv, best.png and trace.png, and front.png for several objectives. Docking
keeps the poses of the best molecules as SDF files in the folder poses.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import signal
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from uuid import uuid4

from molvae.base.errors import MolvaeError
from molvae.base.files import RunFolder, write_file
from molvae.cli import options
from molvae.cli.parser import HelpFormatter
from molvae.cli.watch import Evaluations

if TYPE_CHECKING:
    import pandas as pd

    from molvae.chem.datasets import DataSet
    from molvae.loop.result import Result
    from molvae.loop.space import LatentSpace
    from molvae.model.molvae import MolVAE
    from molvae.oracles.history import History
    from molvae.oracles.objectives import Objective
    from molvae.oracles.oracle import Oracle
    from molvae.reports.run_report import Known

DEFAULTS: dict[str, Any] = {
    "objective": ["logP"],
    "model": "zinc",
    "strategy": None,
    "budget": 250,
    "batch": None,
    "constraint": [],
    "start": None,
    "values": [],
    "adapt": False,
    "asynchronous": False,
    "history": None,
    "seed": 0,
    "standardize": None,
    "plausibility": None,
    "keep": None,
}
# settings that the run folders of earlier versions lack
ADDED = ("standardize", "plausibility", "values", "keep")
# may be given as options, stored in config.json
SETTINGS: dict[str, Any] = {
    **dict.fromkeys(("model", "strategy", "start", "history", "data", "keep"), str),
    **dict.fromkeys(("objective", "constraint", "values"), list[str]),
    "heavy_atoms": list[int],
    **dict.fromkeys(("budget", "batch", "seed"), int),
    **dict.fromkeys(("adapt", "asynchronous", "standardize"), bool),
    "plausibility": float,
}
RESULTS = (
    "best.csv",
    "best.sdf",
    "best.smi",
    "best.png",
    "trace.png",
    "front.png",
    "report.html",
)  # written at the end
SHOWN = 20  # best molecules printed in the terminal
JUDGED = 100  # best molecules that the judge is asked about
SHOWN_REASONS = 5  # why evaluations failed
FEW_ADMISSIBLE = 0.05  # share of the decoded points
GROWN = 200  # molecules grown from the fragment that is kept, to begin with
POSES = "poses"  # folder of the best docked molecules

EXAMPLES = (
    "molvae optimize --objective logP --budget 250",
    "molvae optimize --objective QED --start leads.csv:SMILES --constraint 'SAS<3' alerts:none",
    "molvae optimize --objective QED --keep 'O=C(N*)c1ccncc1'",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `molvae optimize`."""
    parser.formatter_class = HelpFormatter
    parser.add_argument(
        "--model", help=f"{options.MODEL} (default: zinc; {options.DRUGS} with --start)"
    )
    for name, text in (
        ("budget", "number of unique molecules to evaluate"),
        ("seed", "random seed"),
    ):
        default = DEFAULTS[name]
        parser.add_argument(f"--{name}", type=type(default), help=f"{text} (default: {default})")
    parser.add_argument(
        "--strategy",
        help="see 'molvae list strategies'; ga, a genetic algorithm, is a baseline for comparison "
        "(default: neighbourhood; ehvi for several objectives)",
    )
    parser.add_argument(
        "--objective",
        nargs="+",
        type=options.quantity,
        metavar="NAME",
        help=f"what to maximise: {options.QUANTITY}; with a leading minus it is minimised, as in "
        "-logP or '-cmd:./dock.sh {smiles}'. Several objectives are optimised jointly "
        "(default: logP)",
    )
    parser.add_argument(
        "--batch",
        type=int,
        help="molecules evaluated per round (default: budget / 400, at least 10, or a tenth of a "
        "budget below 100; 5 for ga)",
    )
    parser.add_argument(
        "--data",
        help="data set to draw starting molecules from (default: the model's training data)",
    )
    parser.add_argument(
        "--start",
        metavar="FILE",
        help="lead molecules to start from instead, FILE or FILE:COLUMN: all of them are "
        "evaluated, then the search explores around them",
    )
    parser.add_argument(
        "--values",
        nargs="+",
        metavar="COLUMN",
        help="columns of the file of --start with known values, one for each objective: they cost "
        "nothing of the budget, and the search learns from them at once; molecules without a value "
        "are evaluated",
    )
    options.add_standardize(parser)
    parser.add_argument(
        "--heavy-atoms",
        type=int,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="allowed number of heavy atoms (default: the range of the model's training data)",
    )
    parser.add_argument(
        "--constraint",
        nargs="+",
        type=options.quantity,
        metavar="TEXT",
        help="evaluate only molecules that satisfy these constraints: any quantity with a bound, "
        "'SAS<4', 'similarity(SMILES)>=0.4', 'predicted:pIC50>6', and 'has:SMARTS', "
        "'lacks:SMARTS', 'alerts:PAINS'",
    )
    parser.add_argument(
        "--keep",
        metavar="FRAGMENT",
        help="search among the molecules that contain this fragment, SMILES or SMARTS; where it "
        "has attachment points, as in '*c1ccc(*)nc1', only these get substituents",
    )
    parser.add_argument(
        "--plausibility",
        type=options.share_or_off,
        metavar="SHARE",
        help="least plausibility, 0 to 1, of what is evaluated, or off: how common the parts of a "
        "molecule are in the model's training data, 97 %% of which pass (default: 0.5)",
    )
    parser.add_argument(
        "--out", type=Path, help="run folder (default: runs/OBJECTIVE-STRATEGY-seedSEED)"
    )
    parser.add_argument(
        "--adapt",
        action="store_true",
        default=None,
        help="fine-tune the model on the best molecules, ten times per run",
    )
    parser.add_argument(
        "--history",
        metavar="FILE",
        help="SQLite file that concurrent runs can share, so that no molecule is evaluated twice "
        "(default: history.sqlite in the run folder)",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="resume the run in --out; only --budget may change. A program, a function or a goals "
        "file that the run was begun with must be named again with --objective, or --trust-folder "
        "be added",
    )
    parser.add_argument(
        "--trust-folder",
        action="store_true",
        help="run the programs and functions that the run folder (--resume) or --config names",
    )
    parser.add_argument(
        "--allow-changed-objective",
        action="store_true",
        help="with --resume: go on although what computes the objective has changed since",
    )
    group = parser.add_argument_group("slow or unreliable objectives")
    group.add_argument("--jobs", type=options.whole_number, default=1, help="parallel evaluations")
    group.add_argument(
        "--asynchronous",
        action="store_true",
        default=None,
        help="start the next round as soon as a process is idle",
    )
    group.add_argument(
        "--time-limit",
        type=float,
        metavar="SECONDS",
        help="time limit per evaluation, after which it is killed and counts as failed "
        "(default: none)",
    )
    group.add_argument(
        "--retries", type=int, default=0, help="retries of a failed evaluation (default: 0)"
    )
    options.add_backend(group)
    options.add_config(parser)
    options.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Run the search, print and draw the best molecules; return the exit code."""
    options.import_from_here()
    options.use_one_thread()
    from molvae.chem.neighbors import Neighbors
    from molvae.loop.ask_tell import Search
    from molvae.loop.begin import check_leads, predict_with
    from molvae.loop.config import OptimizeConfig
    from molvae.loop.optimization import run_search
    from molvae.model.adaptation import fine_tune
    from molvae.model.completion import grow
    from molvae.model.keeping import Keeping
    from molvae.oracles.evaluation import Effort
    from molvae.oracles.given import report_learned
    from molvae.oracles.oracle import Oracle
    from molvae.reports.run_report import Known

    folder, chosen = _settings(args)
    again = _resume_command(folder.path, chosen)
    if chosen["asynchronous"] and args.backend != "loky":
        raise MolvaeError(f"--asynchronous works with local processes, not with {args.backend}")
    config = OptimizeConfig(
        chosen["strategy"],
        chosen["batch"],
        plausibility=chosen.get("plausibility"),
        seed=chosen["seed"],
    )
    history, keep = None, chosen.get("keep")
    try:
        with _Terminable(), options.engine(args):
            oracle = Oracle(
                chosen["objective"],
                chosen["budget"],
                heavy_atoms=chosen.get("heavy_atoms"),
                effort=Effort(args.jobs, args.time_limit, args.retries),
                constraints=[*chosen["constraint"], *([f"keeps:{keep}"] if keep else [])],
                allow_changed_objective=args.allow_changed_objective,
            )
            model, data, table = _load(chosen)
            space: LatentSpace = Keeping(model, keep) if keep else model
            start = data.split("train")
            if keep:  # hardly any molecule of the data contains it
                start = grow(model, keep, GROWN, seed=chosen["seed"]).table["smiles"].tolist()
            if not oracle.states_size:
                oracle.limit_size(model.heavy_atoms)
            predict_with(model, oracle)
            leads = table["parent"].drop_duplicates().tolist()
            known = _find_known(table, len(chosen.get("values", [])))
            check_leads(model, oracle, leads, known)  # before the run folder is created
            oracle.history = history = _open_history(folder, chosen)

            def adapt(_: LatentSpace, *molecules_and_seed: Any) -> LatentSpace:
                tuned = fine_tune(model, *molecules_and_seed)
                return Keeping(tuned, keep) if keep else tuned

            search = Search(
                space,
                oracle,
                start=start,
                config=config,
                leads=leads,
                known=known,
                fine_tune=adapt if chosen["adapt"] else None,
            )
            for line in report_learned(oracle.quantities):
                options.note(line)
            oracle.objectives = tuple(_record(one, folder.path) for one in oracle.objectives)
            folder.save(chosen | {"heavy_atoms": oracle.heavy_atoms})
            if len(table):
                write_file(folder.path / "start.csv", table.to_csv(index=False))
            for lead, reason in search.left_out.items():
                options.note(f"{lead} skipped: {reason}")
            sizes = "of {} to {} heavy atoms".format(*oracle.heavy_atoms or (1, "any number"))
            aims = ", ".join(
                f"{'maximise' if one.maximise else 'minimise'} {one.title}"
                for one in oracle.objectives
            )
            print(
                f"{aims} with {search.run.strategy}: "
                f"{oracle.budget} evaluations, molecules {sizes}; writing to {folder.path}"
            )
            with Evaluations(oracle) as progress:
                oracle.on_evaluation = progress.evaluated
                result = run_search(
                    search, asynchronous=chosen["asynchronous"], on_iteration=progress.finished
                )
    except KeyboardInterrupt as stop:
        saved = 0 if history is None else history.spent
        way = f"; resume with: {again}" if saved else ""
        said = f"stopped: {saved} evaluations are saved in {folder.path}{way}"
        raise options.Stopped(said, stop.args[0] if stop.args else signal.SIGINT) from None
    best = _show(result, folder.path, oracle, Known(model.domain, Neighbors.load(data)), chosen)
    options.answer(
        args,
        {
            "folder": str(folder.path),
            "objectives": [one.title for one in result.objectives],
            "evaluations": history.spent,
            "failed": sum(record.error is not None for record in result.records),
            "stopped": result.stopped,
            "best": json.loads(best.head(SHOWN).to_json(orient="records")),
        },
    )
    return 0


def _open_history(folder: RunFolder, chosen: dict[str, Any]) -> History:
    """Open the history of a new run, or of one that is resumed, which must be there.

    Raises:
        MolvaeError: the history of a begun run is gone, or holds nothing of it.
    """
    from molvae.oracles.history import History

    path = Path(chosen["history"] or folder.path / "history.sqlite")
    lost = f"the history of the run in {folder.path}: restore it, or begin another run"
    if folder.begun and not path.exists():
        raise MolvaeError(f"{path} is gone, {lost}")
    folder.path.mkdir(parents=True, exist_ok=True)
    history = History(path, chosen["run"])
    if folder.begun and not history.settings:
        history.close()
        raise MolvaeError(f"{path} is empty, {lost}")
    return history


def _resume_command(folder: Path, chosen: dict[str, Any]) -> str:
    """Run folder and settings -> the command that resumes the run."""
    words = ["molvae", "optimize", "--resume", "--out", str(folder)]
    for option in _executed(chosen):
        value = chosen[option]
        words += [f"--{option}", *([value] if isinstance(value, str) else value)]
    return shlex.join(words)


def _executed(chosen: dict[str, Any]) -> list[str]:
    """Settings -> the options whose stored values would run somebody's code."""
    from molvae.oracles.constraints import constraint_runs_code
    from molvae.oracles.given import runs_code

    found = []
    for option, runs in (("objective", runs_code), ("constraint", constraint_runs_code)):
        texts = chosen[option]
        sound = isinstance(texts, list) and all(isinstance(text, str) for text in texts)
        found += [option] if not sound or any(map(runs, texts)) else []
    return found + ["strategy"] * (":" in str(chosen["strategy"]))


def _record(objective: Objective, folder: Path) -> Objective:
    """Let an objective write into the run folder what its values alone do not say.

    Goals files with programs or functions of the user record the values of their parts, and docking
    keeps poses.
    """
    from molvae.oracles.given import keep_poses
    from molvae.oracles.goals import Goals

    if isinstance(objective.function, Goals) and not objective.function.is_ours:
        objective.function.record = folder.absolute() / f"{objective.name}.jsonl"
    return keep_poses(objective, folder.absolute() / POSES)


def _refuse_code(where: str, option: str, settings: dict[str, Any], trusted: bool) -> None:
    """Refuse settings that would run code which the user did not name, unless they are trusted."""
    if not trusted:
        raise MolvaeError(
            f"{where} has {option} {settings[option]!r:.200}, which runs code: if you trust it, "
            f"give the same --{option} again, or add --trust-folder"
        )


def _settings(args: argparse.Namespace) -> tuple[RunFolder, dict[str, Any]]:
    """Options -> run folder and effective settings; options override a resumed run or defaults."""
    from molvae.loop.config import default_strategy

    stated = {name: getattr(args, name) for name in SETTINGS if getattr(args, name) is not None}
    filed = options.read_config(args.config, SETTINGS)
    given = filed | stated
    if unstated := [o for o in _executed(DEFAULTS | filed) if o in filed and o not in stated]:
        _refuse_code(f"{args.config}", unstated[0], filed, args.trust_folder)
    new = DEFAULTS | given
    if new["start"] and "model" not in given:
        new["model"] = options.DRUGS
    new["strategy"] = new["strategy"] or default_strategy(len(new["objective"]))
    objective = re.sub(r"[^\w.-]+", ".", "+".join(new["objective"]))[:60]
    name = f"{objective}-{new['strategy']}-seed{new['seed']}"
    folder = RunFolder(args.out or Path("runs") / name)
    if args.resume:
        required = [*(name for name in SETTINGS if name not in ADDED), "run"]
        chosen = folder.resume(given, may_change=["budget"], required=required)
        for option in _executed(chosen):
            if option not in given:
                _refuse_code(f"the run in {folder.path}", option, chosen, args.trust_folder)
        return folder, chosen
    folder.refuse_begun()
    if new["values"]:
        if not new["start"]:
            raise MolvaeError("--values names columns of the file of --start: add --start FILE")
        if len(set(new["values"])) != len(new["objective"]):
            aims, columns = (", ".join(new[name]) for name in ("objective", "values"))
            raise MolvaeError(
                f"--values needs a column for each objective, in the same order: {columns} for "
                f"{aims} will not do"
            )
    if strange := [name for name in RESULTS if (folder.path / name).exists()]:
        raise MolvaeError(f"{folder.path / strange[0]} exists already: choose another --out")
    return folder, new | {"run": f"{folder.path.name} {uuid4()}" if new["history"] else "run"}


def _load(chosen: dict[str, Any]) -> tuple[MolVAE, DataSet, pd.DataFrame]:
    """Load the model, the data of starting molecules and leads; fill in the default data set.

    The leads are a table: smiles (as given), parent (what is evaluated and encoded), changes, and
    the columns of known values.
    """
    import pandas as pd

    from molvae.chem.plausibility import fit_domain
    from molvae.chem.property_tables import load_columns
    from molvae.model.molvae import MolVAE

    model = MolVAE.load(chosen["model"], standardize=chosen.get("standardize"))
    if not chosen.get("data") and chosen["model"] == options.DRUGS:
        chosen["data"] = "zinc"  # its own data does not ship
    chosen["data"] = options.data_of(chosen.get("data"), chosen["model"], model)
    source = options.load_data(chosen["start"]) if chosen["start"] else None
    given = source.smiles if source else []
    read = [model.read_molecule(smiles) for smiles in given]
    leads = pd.DataFrame(
        {
            "smiles": given,
            "parent": [found.smiles for found in read],
            "changes": ["; ".join(found.changes) for found in read],
        }
    )
    if changed := int((leads["changes"] != "").sum()):
        options.note(f"{changed} of {len(leads)} molecules of --start changed to their parents")
    if source and chosen.get("values"):
        columns = load_columns(source, chosen["values"])
        leads = pd.concat([leads, columns.reset_index(drop=True)], axis=1)
    model.standardizes = False  # what the search decodes is encoded as it is
    data = options.load_data(chosen["data"])
    if model.domain is None and chosen.get("plausibility") != 0:
        parts = data.split("train"), data.split("validation")
        model.domain = fit_domain(*parts, options.progress())
    return model, data, leads


def _find_known(leads: pd.DataFrame, columns: int) -> dict[str, list[float]]:
    """Leads with so many columns of values -> the values of each parent that has all; says so.

    The values of several leads with the same parent are averaged.
    """
    if not columns:
        return {}
    values = leads.iloc[:, -columns:]
    whole = values.notna().all(axis=1)
    means = values[whole].groupby(leads["parent"][whole], sort=False).mean()
    options.note(
        f"{len(means)} molecules of --start have known values: they cost nothing of the budget"
    )
    if some := int((values.notna().any(axis=1) & ~whole).sum()):
        options.note(f"{some} have values in some of the columns only, and are evaluated")
    return {str(parent): row.tolist() for parent, row in means.iterrows()}


class _Terminable:
    """Inside the `with` block SIGTERM raises KeyboardInterrupt with the signal number."""

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGTERM, self._stop)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGTERM, self._before)

    @staticmethod
    def _stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt(number)


def count_reasons(errors: Iterable[str]) -> Counter[str]:
    """Reasons of failures -> how often each occurred; numbers in them do not tell them apart."""
    found: dict[str, str] = {}
    return Counter(found.setdefault(re.sub(r"\d+(\.\d+)?", "0", text), text) for text in errors)


def _show(
    result: Result, folder: Path, oracle: Oracle, known: Known, chosen: dict[str, Any]
) -> pd.DataFrame:
    """Print a summary and the best molecules, write tables and pictures, return the best."""
    from molvae.reports.judges import find_known_to_chembl, has_judge
    from molvae.reports.run_page import write_run_page
    from molvae.reports.run_report import (
        name_with_unit,
        note_guesses,
        note_noise,
        pick_best_of_clusters,
        write_run_report,
    )

    made = [record for record in result.records if not record.known]
    failed = [record.error for record in made if record.error is not None]
    rounds = max(len(result.iterations), 1)
    beside = f" beside {result.known} known values" if result.known else ""
    bred = f", {result.bred_fraction:.0%} of molecules bred" if result.bred_fraction else ""
    print(
        f"\n{len(made)} evaluations ({len(failed)} failed){beside}, {rounds} rounds of "
        f"{result.seconds / rounds:.2f} s excluding oracle calls, {result.valid_fraction:.0%} of "
        f"decoded points admissible{bred}; stopped: {result.stopped}"
    )
    if oracle.refused:
        counts = ", ".join(f"{count:,} for {text}" for text, count in oracle.refused.most_common())
        print(f"refused without being evaluated: {counts}")
    if result.valid_fraction < FEW_ADMISSIBLE and oracle.refused:
        print("few points are admissible, which narrows the search: loosen what refuses most")
    for text, count in count_reasons(failed).most_common(SHOWN_REASONS):
        print(f"{count:,} failed: {text}")
    best = write_run_report(result, folder, known)
    page = write_run_page(result, best, chosen, known, oracle.refused, oracle.history.wishes)
    write_file(folder / "report.html", page)
    several = len(result.objectives) > 1
    leaders = best if several else pick_best_of_clusters(best)
    if several:
        print(f"Pareto front of {len(best)} molecules:")
    else:
        print(f"best of each cluster of similar molecules, of {best['cluster'].max()}:")
    hidden = ["iteration", "number", "nearest", "cluster", "heavy_atoms"]
    shown = leaders.head(SHOWN).drop(columns=hidden, errors="ignore")
    shown["alerts"] = shown["alerts"].str.count(";") + (shown["alerts"] != "")
    shown = shown.rename(columns=name_with_unit(result))
    print(shown.to_string(index=False, float_format=lambda value: f"{value:.3f}"))
    if has_judge():
        share = sum(find_known_to_chembl(best["smiles"].head(JUDGED).tolist())) / min(
            len(best), JUDGED
        )
        print(f"ChEMBL knows the rings and bonds of {share:.0%} of the best (chembl-gen-check)")
    for line in (*note_guesses(best), *note_noise(result)):
        options.note(line)
    more = "front.png, " if several else ""
    more += f"{POSES}, " if (folder / POSES).exists() else ""
    print(
        f"report.html, best.csv, best.sdf, best.smi, best.png, {more}trace.png and history.sqlite "
        f"are in {folder}"
    )
    return best
