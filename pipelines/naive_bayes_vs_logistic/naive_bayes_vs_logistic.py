"""Compare a generative and a discriminative classifier, after Ng & Jordan (2001), on real data.

Naive Bayes with Gaussian features and logistic regression draw the same kind of boundary. Naive
Bayes models p(x, y); it is biased if the features depend on each other, but needs few examples to
reach its asymptotic error. Logistic regression models p(y|x) alone; its asymptotic error is lower,
but it needs more examples. So naive Bayes should win with few training examples m and lose with
many. Test errors over random splits show where this holds, and where the curves cross.

    python pipelines/naive_bayes_vs_logistic/naive_bayes_vs_logistic.py  # 200 splits, minutes
    python pipelines/naive_bayes_vs_logistic/naive_bayes_vs_logistic.py --quick  # seconds

The compared pair is naive Bayes with one variance per feature shared by the classes, as in the
paper (its boundary is linear), and logistic regression with a weak penalty, C = 100. Also shown are
scikit-learn's GaussianNB, which has variances per class (a quadratic boundary), and logistic
regression with the default C = 1. Features are standardised with the training examples. The
variances of naive Bayes are raised by 0.01, so that a feature that happens to be constant in few
examples does not decide alone.

Not every data set shows both regimes: between classes 1 and 2 of wine, logistic regression never
gets ahead, and on iris the lead of naive Bayes is slight and short. The standard errors are those
of the splits; each data set is a single sample.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.preprocessing import StandardScaler

Table = NDArray[np.float64]
Labels = NDArray[np.int64]

SHARED, OWN = "naive Bayes, shared variances", "naive Bayes, own variances"
WEAK, USUAL = "logistic regression, C = 100", "logistic regression, C = 1"
CLASSIFIERS = (SHARED, OWN, WEAK, USUAL)
FEWEST = 6  # smallest number of training examples
RARE = 2  # smallest number of each class among them


def main() -> None:
    """Run the study; print the table of crossings, write tables as CSV and the figure as PNG."""
    args = parse_arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    problems = load_problems()
    names = list(problems)[:2] if args.quick else list(problems)
    curves, crossings = [], []
    for name in names:
        x, y = problems[name]
        sizes = np.unique(np.geomspace(FEWEST, 2 * len(y) // 3, args.sizes).round().astype(int))
        wrong = measure_errors(x, y, sizes, args.splits, args.seed)  # (classifiers, splits, sizes)
        crossings.append(
            {"data": name, "n": len(y), "features": x.shape[1]} | find_crossing(sizes, wrong)
        )
        for classifier, mine in zip(CLASSIFIERS, wrong, strict=True):
            mean, deviation = mine.mean(0), mine.std(0, ddof=1) / args.splits**0.5
            curves += [(name, classifier, *row) for row in zip(sizes, mean, deviation, strict=True)]
    table = pd.DataFrame(curves, columns=["data", "classifier", "m", "error", "standard_error"])
    table.to_csv(args.out / "curves.csv", index=False)
    summary = pd.DataFrame(crossings)
    summary.to_csv(args.out / "crossings.csv", index=False)
    print(f"test error in percent, mean (standard error) over {args.splits} splits")
    percent = (100 * table[["error", "standard_error"]]).map("{:.1f}".format)
    table["text"] = percent["error"] + " (" + percent["standard_error"] + ")"
    for name in names:
        cells = table[table["data"] == name].pivot(index="classifier", columns="m", values="text")
        print(f"\n{name}\n{cells.loc[list(CLASSIFIERS)].to_string()}")
    print(f"\n{SHARED} (NB) against {WEAK} (LR); better: by more than two standard errors")
    print(summary.to_string(index=False, na_rep="-", float_format="%.1f"))
    plot_curves(table, summary).savefig(args.out / "curves.png", dpi=150)
    print(f"\ntables and figure: {args.out}")


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--splits", type=int, default=200, help="random splits of each data set")
    parser.add_argument("--sizes", type=int, default=9, help="how many values of m")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/naive-bayes-vs-logistic"))
    parser.add_argument("--quick", action="store_true", help="two data sets, 10 splits, 5 sizes")
    args = parser.parse_args()
    if args.quick:
        args.splits, args.sizes = 10, 5
    if args.splits < 2 or args.sizes < 2:
        parser.error("--splits and --sizes must be at least 2")
    return args


def load_problems() -> dict[str, tuple[Table, Labels]]:
    """Load two-class problems with continuous features that come with scikit-learn."""

    def pair(load: Callable[..., tuple[Table, Labels]], *classes: int) -> tuple[Table, Labels]:
        x, y = load(return_X_y=True)
        kept = np.isin(y, classes)
        return x[kept], (y[kept] == classes[1]).astype(np.int64)

    x, progression = load_diabetes(return_X_y=True)
    return {
        "digits: 8 or 9": pair(load_digits, 8, 9),
        "diabetes: progression above median": (
            x,
            (progression > np.median(progression)).astype(np.int64),
        ),
        "breast cancer: malignant or benign": pair(load_breast_cancer, 0, 1),
        "wine: class 0 or 1": pair(load_wine, 0, 1),
        "wine: class 1 or 2": pair(load_wine, 1, 2),
        "iris: versicolor or virginica": pair(load_iris, 1, 2),
    }


def measure_errors(x: Table, y: Labels, sizes: NDArray[np.int64], splits: int, seed: int) -> Table:
    """Rows and classes -> test errors (classifiers, splits, sizes).

    Each split holds out a third and trains on the first m of the other rows, so all sizes and
    classifiers share the same rows. A split whose first examples lack a class is drawn again.

    Args:
        x: Rows, (n, D).
        y: Classes 0 and 1, (n,).
        sizes: Numbers of training examples m, ascending.
        splits: Number of random splits.
        seed: Of the splits.
    """
    rng, wrong = np.random.default_rng(seed), np.empty((len(CLASSIFIERS), splits, len(sizes)))
    for split in range(splits):
        while True:
            order = rng.permutation(len(y))
            if np.bincount(y[order[:FEWEST]], minlength=2).min() >= RARE:
                break
        test = order[sizes[-1] :]
        for place, m in enumerate(sizes):
            train = order[:m]
            scale = StandardScaler().fit(x[train])
            predictions = classify(scale.transform(x[train]), y[train], scale.transform(x[test]))
            wrong[:, split, place] = [(guess != y[test]).mean() for guess in predictions]
    return wrong


def classify(x: Table, y: Labels, x_test: Table) -> list[Labels]:
    """Training rows and classes, test rows -> predictions of each of CLASSIFIERS."""
    own = GaussianNB(var_smoothing=0.01).fit(x, y)
    own_guess = own.predict(x_test)
    own.var_ = np.tile(own.class_prior_ @ own.var_, (2, 1))  # the pooled within-class variance
    logistic = [LogisticRegression(C=c, max_iter=5_000).fit(x, y) for c in (100.0, 1.0)]
    return [own.predict(x_test), own_guess, *(model.predict(x_test) for model in logistic)]


def find_crossing(sizes: NDArray[np.int64], wrong: Table) -> dict[str, object]:
    """Test errors (classifiers, splits, sizes) -> where each is better, and where the curves cross.

    They cross where logistic regression finally gets ahead, interpolated on a log scale.
    """
    lead = wrong[CLASSIFIERS.index(WEAK)] - wrong[CLASSIFIERS.index(SHARED)]  # of naive Bayes
    mean, deviation = lead.mean(0), lead.std(0, ddof=1) / len(lead) ** 0.5
    better = np.where(mean > 2 * deviation, "NB", np.where(mean < -2 * deviation, "LR", "neither"))
    ahead = np.flatnonzero(mean > 0)
    cross = np.nan
    if len(ahead) and ahead[-1] + 1 < len(sizes):
        before, after = ahead[-1], ahead[-1] + 1
        share = mean[before] / (mean[before] - mean[after])
        cross = float(np.exp((1 - share) * np.log(sizes[before]) + share * np.log(sizes[after])))
    return {
        "NB better at m": " ".join(map(str, sizes[better == "NB"])) or "none",
        "LR better at m": " ".join(map(str, sizes[better == "LR"])) or "none",
        "they cross at m": cross,
    }


def plot_curves(table: pd.DataFrame, summary: pd.DataFrame) -> Figure:
    """Plot test error against training examples, one panel per data set; dashed at the crossing."""
    names = list(summary["data"])
    columns = min(3, len(names))
    lines = -(-len(names) // columns)
    picture = Figure(figsize=(4.2 * columns, 3.4 * lines + 0.7), layout="constrained")
    panels = picture.subplots(lines, columns, squeeze=False).ravel()
    styles = {SHARED: ("C0", "-"), OWN: ("C0", ":"), WEAK: ("C1", "-"), USUAL: ("C1", ":")}
    for axes, name in zip(panels, names, strict=False):
        for classifier, mine in table[table["data"] == name].groupby("classifier", sort=False):
            colour, style = styles[str(classifier)]
            error, spread = 100 * mine.error, 100 * mine.standard_error
            axes.plot(mine.m, error, style, color=colour, marker=".", label=classifier)
            axes.fill_between(mine.m, error - spread, error + spread, color=colour, alpha=0.15)
        where = summary.loc[summary["data"] == name, "they cross at m"].item()
        if np.isfinite(where):
            axes.axvline(where, color="grey", linewidth=0.8, linestyle="--")
        axes.set_xscale("log")
        axes.set_xticks([6, 10, 20, 50, 100, 200], labels=["6", "10", "20", "50", "100", "200"])
        axes.minorticks_off()
        axes.set_xlim(0.9 * mine.m.min(), 1.1 * mine.m.max())
        axes.set_title(name, fontsize=10)
        axes.set_xlabel("training examples m")
        axes.set_ylabel("test error, percent")
    picture.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return picture


if __name__ == "__main__":
    main()
