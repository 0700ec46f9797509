"""What does each linear latent-variable model see in the same table, and which explains it best?

PCA, probabilistic PCA (ours), factor analysis, independent components and non-negative factors,
fitted to the same rows with the same number of components K: what they rebuild of held-out rows,
how likely those rows are, what missing entries cost, and how many components the rows ask for.

    python pipelines/linear_models/linear_models.py                   # scikit-learn's 8x8 digits, half a minute
    python pipelines/linear_models/linear_models.py --quick           # seconds
    python pipelines/linear_models/linear_models.py --mnist openml    # or a folder of IDX files, or an .npz
    python pipelines/linear_models/linear_models.py --csv my.csv      # the numeric columns of a table, scaled

Grey levels are whole numbers, and a density could be as high as it likes on them. Each pixel
therefore gets uniform noise of one level's width, as is usual (Theis et al. 2016), before anything.

On the digits, factor analysis is far ahead at every small K: it has a noise variance for each
pixel, and those of the border are nearly constant. PPCA has one for all of them, so that it asks
for as many components as it may have, where both become the same full Gaussian.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.decomposition import NMF, PCA, FactorAnalysis, FastICA
from sklearn.model_selection import KFold, cross_val_score

from molvae.base.errors import MolvaeError
from molvae.latent.ppca import PPCA, choose_components

sys.path.insert(0, str(Path(__file__).parents[1]))  # pipelines/, which holds shared/

from shared.digits import HELP, load_digits_data

Table = NDArray[np.float64]

FOLDS = 5
HIDDEN = 0.2  # share of the entries that the study of missing values hides
PROBABILISTIC = ("PCA", "PPCA", "factor analysis")


class Study(NamedTuple):
    """Rows (n, D) to fit and to test, the classes of the latter, and the shape of one row."""

    train: Table
    test: Table
    classes: NDArray[np.int64] | None
    shape: tuple[int, int]


def main() -> None:
    """Run the study; print its tables, write them as CSV and the figures as PNG."""
    args = arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    study = table(args.csv, args.seed) if args.csv else digits(args.mnist, args.seed, args.rows)
    n, features = study.train.shape
    k = args.components
    if not 1 <= k < features:
        raise MolvaeError(f"--components must be from 1 to {features - 1}, not {k}")
    print(f"{n} rows to fit, {len(study.test)} held out, {features} columns, K = {k}\n")
    results, fitted = compare(study, k, args.seed)
    results.to_csv(args.out / "models.csv", index=False)
    print(results.to_string(index=False, na_rep="-", float_format="%.4g"))

    imputed = missing(study, k, args.seed)
    imputed.to_csv(args.out / "imputation.csv", index=False)
    print(f"\n{HIDDEN:.0%} of the entries hidden: mean squared error of those in held-out rows")
    print(imputed.to_string(index=False, float_format="%.4g"))

    grid = np.geomspace(1, min(features - 1, 200), 16).round().astype(int)
    candidates = args.candidates or [int(c) for c in np.unique(grid)]
    likelihood = against_components(study.train, candidates, args.seed)
    likelihood.to_csv(args.out / "likelihood.csv", index=False)
    print(f"\nheld-out log-likelihood, nats per row: mean and standard error of {FOLDS} folds")
    numbers = likelihood[["nats_per_row", "standard_error"]].map("{:.2f}".format)
    text = numbers.nats_per_row + " (" + numbers.standard_error + ")"
    cells = likelihood.assign(text=text).pivot(index="K", columns="model", values="text")
    print(cells[["PPCA", "factor analysis"]].to_string())
    for row in likelihood.loc[likelihood.groupby("model").nats_per_row.idxmax()].itertuples():
        print(f"{row.model}: best K = {row.K}")

    components(fitted, study.shape).savefig(args.out / "components.png", dpi=150)
    maps(study, args.seed).savefig(args.out / "maps.png", dpi=150)
    curves(likelihood).savefig(args.out / "likelihood.png", dpi=150)
    print(f"\ntables and figures: {args.out}")


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--mnist", help=HELP)
    source.add_argument("--csv", type=Path, help="a table with a header; numeric columns are used")
    parser.add_argument("--components", type=int, default=10)
    parser.add_argument("--candidates", type=int, nargs="+", help="for K (default: up to 200)")
    parser.add_argument("--rows", type=int, default=5_000, help="most images to fit")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/linear-models"))
    parser.add_argument("--quick", action="store_true", help="300 images, three candidates for K")
    args = parser.parse_args()
    if args.quick:
        args.rows, args.candidates = 300, args.candidates or [2, 5, 10]
    return args


def digits(mnist: str | None, seed: int, most: int) -> Study:
    """Digits as rows of pixels between 0 and 1, with noise in place of the steps between levels."""
    loaded, rng = load_digits_data(mnist, seed), np.random.default_rng(seed)

    def smooth(x: NDArray[np.float32]) -> Table:
        whole = x.reshape(len(x), -1).astype(np.float64) * (loaded.levels - 1)
        return (whole + rng.random(whole.shape)) / loaded.levels

    train = smooth(np.concatenate([loaded.x_train, loaded.x_validation]))
    rows = rng.permutation(len(train))[:most]
    shape = (loaded.x_test.shape[2], loaded.x_test.shape[3])
    return Study(train[rows], smooth(loaded.x_test), loaded.y_test, shape)


def table(path: Path, seed: int) -> Study:
    """The complete rows of a CSV file's numeric columns, scaled to unit variance; a fifth to test.

    Raises:
        MolvaeError: it cannot be read, or too little of it is numbers.
    """
    try:
        numbers = pd.read_csv(path).select_dtypes("number")
    except (OSError, ValueError) as error:
        raise MolvaeError(f"{path}: not a CSV table that can be read: {error}") from error
    complete = numbers[np.isfinite(numbers).all(axis=1)].to_numpy(np.float64)
    complete = complete[np.random.default_rng(seed).permutation(len(complete))]
    cut = len(complete) - len(complete) // 5
    x = complete[:, np.ptp(complete[:cut], axis=0) > 0] if cut else complete
    if len(x) < 50 or x.shape[1] < 3:
        raise MolvaeError(f"{path}: fewer than 50 complete rows, or than 3 columns that vary")
    mean, scale = x[:cut].mean(0), x[:cut].std(0)
    return Study((x[:cut] - mean) / scale, (x[cut:] - mean) / scale, None, (1, x.shape[1]))


def models(k: int, seed: int) -> dict[str, Any]:
    """The models with K components, unfitted; iterative ones with room to converge."""
    # factor analysis stops when all rows together gain less than tol nats
    return {
        "PCA": PCA(k, svd_solver="full"),
        "PPCA": PPCA(k),
        "factor analysis": FactorAnalysis(k, svd_method="lapack", tol=0.1, max_iter=5_000),
        "FastICA": FastICA(k, whiten="unit-variance", max_iter=5_000, random_state=seed),
        "NMF": NMF(k, init="nndsvda", max_iter=5_000, random_state=seed),
    }


def compare(study: Study, k: int, seed: int) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Fit each model: a row of figures for each, and the models. NMF takes no negative numbers."""
    rows, fitted = [], {}
    for name, model in models(k, seed).items():
        if name == "NMF" and min(study.train.min(), study.test.min()) < 0:
            rows.append((name, np.nan, np.nan, np.nan))
            continue
        start = time.perf_counter()
        fitted[name] = model.fit(study.train)
        seconds = time.perf_counter() - start
        z = model.transform(study.test)
        if name == "factor analysis":  # has no inverse_transform
            rebuilt = z @ model.components_ + model.mean_
        else:
            rebuilt = model.inverse_transform(z)
        nats = model.score(study.test) if name in PROBABILISTIC else np.nan
        rows.append((name, np.square(rebuilt - study.test).mean(), nats, seconds))
    return pd.DataFrame(rows, columns=["model", "held_out_mse", "nats_per_row", "fit_s"]), fitted


def missing(study: Study, k: int, seed: int) -> pd.DataFrame:
    """Hide entries of all rows; how far from the hidden ones of held-out rows is each guess?"""
    rng = np.random.default_rng(seed)
    train, test = (
        np.where(rng.random(x.shape) < HIDDEN, np.nan, x) for x in (study.train, study.test)
    )
    guesses = {
        "column means": np.broadcast_to(np.nanmean(train, 0), test.shape),
        "PPCA by EM": PPCA(k, method="em").fit(train).impute(test),
    }
    hidden = np.isnan(test)
    rows = [(name, np.square((x - study.test)[hidden]).mean()) for name, x in guesses.items()]
    return pd.DataFrame(rows, columns=["imputation", "hidden_mse"])


def against_components(x: Table, candidates: list[int], seed: int) -> pd.DataFrame:
    """Held-out nats per row of PPCA and factor analysis for each K, on the same folds."""
    _, ppca = choose_components(x, candidates, FOLDS, seed)
    rows = []
    folds = KFold(FOLDS, shuffle=True, random_state=seed)  # those of choose_components
    for k, nats in ppca.items():
        factors = cross_val_score(models(k, seed)["factor analysis"], x, cv=folds)
        for model, values in (("PPCA", nats), ("factor analysis", factors)):
            rows.append((model, k, values.mean(), values.std(ddof=1) / FOLDS**0.5))
    return pd.DataFrame(rows, columns=["model", "K", "nats_per_row", "standard_error"])


def components(fitted: dict[str, Any], shape: tuple[int, int]) -> Figure:
    """The first components of each model as images, a row each; red is positive, blue negative."""
    aspect = "equal" if shape[0] > 1 else "auto"
    columns = min(8, fitted["PPCA"].loadings_.shape[1])
    figure = Figure(figsize=(1.1 * columns + 1.2, 1.15 * len(fitted) + 0.5), layout="constrained")
    grid = figure.subplots(len(fitted), columns, squeeze=False)
    for (name, model), line in zip(fitted.items(), grid, strict=True):
        if name == "PPCA":
            images = model.loadings_.T
        else:
            images = model.mixing_.T if name == "FastICA" else model.components_
        for axes, image in zip(line, images, strict=False):
            most = np.abs(image).max()
            axes.imshow(image.reshape(shape), cmap="RdBu_r", vmin=-most, vmax=most, aspect=aspect)
            axes.set_xticks([])
            axes.set_yticks([])
        line[0].set_ylabel(name, rotation=0, ha="right", va="center")
    for number, axes in enumerate(grid[0], 1):
        axes.set_title(f"component {number}" if number == 1 else str(number), fontsize=9)
    return figure


def maps(study: Study, seed: int) -> Figure:
    """Held-out rows at the two coordinates of each model with K = 2, coloured by class."""
    _, fitted = compare(study, 2, seed)
    figure = Figure(figsize=(11, 7), layout="constrained")
    places = list(figure.subplots(2, 3).flat)
    for axes, (name, model) in zip(places, fitted.items(), strict=False):
        z = model.transform(study.test)
        colours = {} if study.classes is None else {"c": study.classes, "cmap": "tab10"}
        points = axes.scatter(z[:, 0], z[:, 1], s=9, **colours)
        axes.set_title(name)
        axes.set_xlabel("$z_1$")
        axes.set_ylabel("$z_2$")
    for axes in places[len(fitted) :]:
        axes.axis("off")
    if study.classes is not None:
        axes.legend(*points.legend_elements(), title="digit", loc="center", ncols=2)
    return figure


def curves(likelihood: pd.DataFrame) -> Figure:
    """Held-out likelihood against K, with the best K of each model marked."""
    figure = Figure(figsize=(6.5, 4.2), layout="constrained")
    axes = figure.subplots()
    for model, mine in likelihood.groupby("model", sort=False):
        best = mine.loc[mine.nats_per_row.idxmax()]
        label = f"{model}, best K = {best.K}"
        line = axes.errorbar(
            mine.K, mine.nats_per_row, mine.standard_error, marker=".", capsize=2, label=label
        )
        color = line[0].get_color()
        axes.plot(best.K, best.nats_per_row, "o", markersize=11, fillstyle="none", color=color)
    axes.set_xlabel("number of components K (circle: the best)")
    axes.set_ylabel("held-out log-likelihood, nats per row")
    axes.legend()
    return figure


if __name__ == "__main__":
    try:
        main()
    except MolvaeError as error:
        raise SystemExit(f"error: {error}") from None
