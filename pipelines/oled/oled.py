"""Dyes that emit fast: how good the computed rates are, and a search for better emitters.

dyes      computed rates of fluorescence and energies of the first excited singlet against
          experiments (dyes.csv), and the HOMO-LUMO gap against the one that QM9 lists
search    a model is trained on molecules of donor, bridge and acceptor; a search in its latent
          space, a genetic algorithm and random molecules of the same library spend the same
          number of evaluations on the rate of fluorescence

The model and the histories are kept in --out: rerun the same command to resume.

    python pipelines/oled/oled.py --jobs 8
    python pipelines/oled/oled.py --parts dyes  # two minutes
    python pipelines/oled/oled.py --quick  # a minute
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from donor_bridge_acceptor import make_library
from matplotlib.figure import Figure

from molvae import History, MolVAE, Oracle
from molvae.base.errors import MolvaeError
from molvae.base.files import write_file
from molvae.chem.datasets import assign_part, qm9_table
from molvae.chem.molecules import canonicalize
from molvae.chem.pictures import draw_molecules
from molvae.latent.training import FitConfig
from molvae.oracles.evaluation import Effort, evaluate_molecules
from molvae.oracles.given import as_objective
from molvae.reports.metrics import measure_samples, top_mean

sys.path.insert(0, str(Path(__file__).parents[1]))  # pipelines/, which holds shared/

from shared.methods import RANDOM, spend_budget

DYES = Path(__file__).with_name("dyes.csv")
PARTS = ("dyes", "search")
METHODS = ("neighbourhood", "ga", RANDOM)
NAMES = ("s1_energy", "fluorescence")


def main() -> None:
    """Run the parts; print their tables, write them as CSV and draw the figures."""
    args = parse_arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    missing = None
    try:
        as_objective("fluorescence")
    except MolvaeError as error:
        if not args.quick:
            raise
        missing = str(error)
    if "dyes" in args.parts and missing is None:
        compare_with_experiments(args)
        compare_gaps(args)
    if "search" in args.parts:
        library = make_library(args.library)
        model = train_model(args, library)
        if missing is None:
            compare_methods(args, model, library)
    if missing is not None:
        print(f"left out what needs quantum chemistry: {missing}")


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--library", type=int, default=30_000, help="molecules to train on")
    parser.add_argument("--minutes", type=float, default=20, help="of training")
    parser.add_argument("--budget", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--gaps", type=int, default=200, help="molecules of QM9")
    parser.add_argument("--jobs", type=int, default=1, help="evaluations at once")
    parser.add_argument("--time-limit", type=float, default=300, metavar="SECONDS")
    parser.add_argument("--out", type=Path, default=Path("runs/oled"))
    parser.add_argument(
        "--quick", action="store_true", help="six dyes; a small model, four evaluations a method"
    )
    args = parser.parse_args()
    args.dyes, args.shape = None, {"latent": 32}
    if args.quick:
        args.dyes, args.gaps, args.library, args.minutes = 6, 5, 400, 0.2
        args.budget, args.seeds, args.methods = 4, 1, ["neighbourhood", RANDOM]
        args.shape = {"latent": 8, "encoder_hidden": 64, "decoder_hidden": 64}
    return args


def compare_with_experiments(args: argparse.Namespace) -> None:
    """Compute the dyes of the table; print both columns, rank correlations and errors."""
    table = pd.read_csv(DYES)
    if args.dyes is not None:  # benzene and what else has both a rate and an energy
        table = table.dropna(subset=["quantum_yield", "s1_ev"]).head(args.dyes)
    table["smiles"] = table["smiles"].map(canonicalize)
    table["log_rate"] = np.log10(table["quantum_yield"] / (table["lifetime_ns"] * 1e-9))
    objectives = [as_objective(name) for name in NAMES]
    outcomes = evaluate_molecules(
        objectives, table["smiles"].tolist(), Effort(args.jobs, args.time_limit)
    )
    found = {o.smiles: (*o.values, o.seconds, o.error) for o in outcomes}
    columns = [*NAMES, "seconds", "error"]
    table[columns] = [found[smiles] for smiles in table["smiles"]]
    table.to_csv(args.out / "dyes.csv", index=False)
    shown = table[["name", "s1_ev", "s1_energy", "log_rate", "fluorescence", "seconds"]]
    print(shown.to_string(index=False, float_format="{:.2f}".format, na_rep=""))
    print(f"{table['error'].notna().sum()} of {len(table)} failed")
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    for axes, known, own, unit in zip(
        figure.subplots(1, 2), ("s1_ev", "log_rate"), NAMES, ("eV", "log10 s⁻¹"), strict=True
    ):
        pairs = table.dropna(subset=[known, own])
        rank = pairs[known].corr(pairs[own], method="spearman")
        error = np.sqrt(((pairs[own] - pairs[known]) ** 2).mean())
        print(
            f"{own}: rank correlation {rank:.3f}, root mean square error {error:.2f} {unit}, "
            f"{len(pairs)} dyes"
        )
        ends = [pairs[[known, own]].min().min(), pairs[[known, own]].max().max()]
        axes.plot(ends, ends, color="#b0b8c4")
        axes.plot(pairs[known], pairs[own], "o", color="#2a7fb8")
        axes.set(xlabel=f"experiment, {unit}", ylabel=f"{own}, {unit}")
        axes.set_title(f"rank correlation {rank:.2f}")
    figure.savefig(args.out / "dyes.png", dpi=120)


def compare_gaps(args: argparse.Namespace) -> None:
    """Compute the gaps of random molecules of QM9, whose table has those of B3LYP."""
    if importlib.util.find_spec("qm9pack") is None:
        print("gap: left out, needs pip install 'molvae[qm9]'")
        return
    rows = qm9_table().sample(args.gaps, random_state=0)
    known = {
        smiles: gap * 27.2114
        for text, gap in zip(rows["SMILES"], rows["HOMO_LUMO_gap_au"], strict=True)
        if (smiles := canonicalize(str(text))) is not None
    }
    effort = Effort(args.jobs, args.time_limit)
    outcomes = list(evaluate_molecules([as_objective("gap")], list(known), effort))
    table = pd.DataFrame(
        [(o.smiles, known[o.smiles], o.values[0]) for o in outcomes],
        columns=["smiles", "qm9", "gap"],
    )
    table.to_csv(args.out / "gaps.csv", index=False)
    rank = table["qm9"].corr(table["gap"], method="spearman")
    failed = table["gap"].isna().sum()
    print(f"gap: rank correlation {rank:.3f}, {len(table)} molecules of QM9, {failed} failed")


def train_model(args: argparse.Namespace, library: list[str]) -> MolVAE:
    """Train on the library, or load the model that was trained before; print what it decodes to."""
    path = args.out / "model.safetensors"
    if not path.exists():
        train = [smiles for smiles in library if assign_part(smiles) == "train"]
        validation = [smiles for smiles in library if assign_part(smiles) == "validation"]
        config = FitConfig(minutes=args.minutes)
        MolVAE.fit(
            train, validation, shape=args.shape, config=config, data="donor-bridge-acceptor"
        ).save(path)
    model = MolVAE.load(path)
    held_out = [smiles for smiles in library if assign_part(smiles) == "test"][:500]
    held_out = [smiles for smiles in held_out if model.can_encode(smiles)]
    back = model.decode(model.encode_means(held_out))
    same = np.mean([canonicalize(b) == s for s, b in zip(held_out, back, strict=True)])
    samples = measure_samples(model.sample(1_000, seed=0), library)
    print(
        f"model: {same:.1%} of {len(held_out)} held-out molecules decode to themselves; of 1,000 "
        f"samples {samples.validity:.1%} are valid, {samples.novelty:.1%} of these are new"
    )
    return model


def compare_methods(args: argparse.Namespace, model: MolVAE, library: list[str]) -> None:
    """Spend the budget with each method; print and draw what was found."""
    start = [smiles for smiles in library if assign_part(smiles) == "train"]
    rows = []
    for seed in range(args.seeds):
        for method in args.methods:
            name = f"{method}-{args.budget}-seed{seed}"
            with History(args.out / f"{name}.sqlite") as history:
                oracle = Oracle(
                    "fluorescence",
                    args.budget,
                    history,
                    model.heavy_atoms,
                    effort=Effort(args.jobs, args.time_limit),
                )
                valid = spend_budget(oracle, method, seed, None, model, start)
                records = history.records()
            y = np.array([record.y for record in records])
            rows.append(
                {
                    "method": method,
                    "seed": seed,
                    "best_half": np.nanmax(y[: max(1, args.budget // 2)]),
                    "best": np.nanmax(y),
                    "top_10": top_mean(y),
                    "valid": valid if method == "neighbourhood" else np.nan,
                    "failed": int(np.isnan(y).sum()),
                    "seconds": np.mean([record.seconds for record in records]),
                }
            )
            print("{method} seed {seed}: best {best:.2f}, top 10 {top_10:.2f}".format(**rows[-1]))
            best = sorted(records, key=lambda record: -np.nan_to_num(record.y, nan=-np.inf))[:10]
            captions = [f"{record.y:.2f}" for record in best]
            picture = draw_molecules([record.smiles for record in best], captions)
            write_file(args.out / f"{name}.png", picture)
    table = pd.DataFrame(rows)
    table.to_csv(args.out / "search.csv", index=False)
    print(f"\nlog10 of the rate in s⁻¹, {args.budget} evaluations, mean over {args.seeds} seeds")
    means = table.drop(columns="seed").groupby("method", sort=False).mean()
    print(means.to_string(float_format="{:.2f}".format, na_rep=""))


if __name__ == "__main__":
    try:
        main()
    except MolvaeError as error:
        raise SystemExit(f"error: {error}") from None
