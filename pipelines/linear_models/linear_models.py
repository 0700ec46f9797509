"""Compare linear latent-variable models on the same table.

PCA, probabilistic PCA (of this package), factor analysis, independent components (ICA) and
non-negative matrix factorisation (NMF) are fitted to the same rows with K components. The study
reports the reconstruction error and likelihood of held-out rows, the error of imputed missing
entries, and the best number of components.

    python pipelines/linear_models/linear_models.py  # scikit-learn's 8x8 digits, half a minute
    python pipelines/linear_models/linear_models.py --quick  # seconds
    python pipelines/linear_models/linear_models.py --mnist openml  # or a path
    python pipelines/linear_models/linear_models.py --csv my.csv  # its numeric columns, scaled

Grey levels are integers, on which a density has no upper bound. Each pixel therefore first gets
uniform noise one level wide, as is usual (Theis et al. 2016).

On the digits, factor analysis is far ahead at small K: it has a noise variance for each pixel, and
the border pixels are nearly constant. PPCA has one variance for all pixels and therefore prefers
the largest K, where both models become the same full Gaussian.
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
HIDDEN = 0.2  # share of entries hidden to study missing values
PROBABILISTIC = ("PCA", "PPCA", "factor analysis")


class Study(NamedTuple):
    """Training and test rows (n, D), the classes of the test rows, and the image shape of a row."""

    train: Table
    test: Table
    classes: NDArray[np.int64] | None
    shape: tuple[int, int]


def main() -> None:
    """Run the study; print its tables, write them as CSV and the figures as PNG."""
    args = parse_arguments()
    args.out.mkdir(parents=True, exist_ok=True)
    if args.csv:
        study = load_table(args.csv, args.seed)
    else:
        study = load_study_digits(args.mnist, args.seed, args.rows)
    n, features = study.train.shape
    k = args.components
    if not 1 <= k < features:
        raise MolvaeError(f"--components must be from 1 to {features - 1}, not {k}")
    print(f"{n} training rows, {len(study.test)} test rows, {features} columns, K = {k}\n")
    results, fitted = compare_models(study, k, args.seed)
    results.to_csv(args.out / "models.csv", index=False)
    print(results.to_string(index=False, na_rep="-", float_format="%.4g"))

    imputed = impute_hidden(study, k, args.seed)
    imputed.to_csv(args.out / "imputation.csv", index=False)
    print(f"\n{HIDDEN:.0%} of the entries hidden: mean squared error on those of test rows")
    print(imputed.to_string(index=False, float_format="%.4g"))

    grid = np.geomspace(1, min(features - 1, 200), 16).round().astype(int)
    candidates = args.candidates or [int(c) for c in np.unique(grid)]
    likelihood = score_component_counts(study.train, candidates, args.seed)
    likelihood.to_csv(args.out / "likelihood.csv", index=False)
    print(f"\nheld-out log-likelihood, nats per row: mean (standard error) over {FOLDS} folds")
    numbers = likelihood[["nats_per_row", "standard_error"]].map("{:.2f}".format)
    text = numbers.nats_per_row + " (" + numbers.standard_error + ")"
    cells = likelihood.assign(text=text).pivot(index="K", columns="model", values="text")
    print(cells[["PPCA", "factor analysis"]].to_string())
    for row in likelihood.loc[likelihood.groupby("model").nats_per_row.idxmax()].itertuples():
        print(f"{row.model}: best K = {row.K}")

    plot_components(fitted, study.shape).savefig(args.out / "components.png", dpi=150)
    plot_maps(study, args.seed).savefig(args.out / "maps.png", dpi=150)
    plot_likelihood(likelihood).savefig(args.out / "likelihood.png", dpi=150)
    print(f"\ntables and figures: {args.out}")


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--mnist", help=HELP)
    source.add_argument("--csv", type=Path, help="a CSV table with a header")
    parser.add_argument("--components", type=int, default=10)
    parser.add_argument(
        "--candidates", type=int, nargs="+", help="values of K (default: up to 200)"
    )
    parser.add_argument("--rows", type=int, default=5_000, help="most training images")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/linear-models"))
    parser.add_argument("--quick", action="store_true", help="300 images, three candidates for K")
    args = parser.parse_args()
    if args.quick:
        args.rows, args.candidates = 300, args.candidates or [2, 5, 10]
    return args


def load_study_digits(mnist: str | None, seed: int, most: int) -> Study:
    """Load the digits as rows of dequantised pixels between 0 and 1."""
    loaded, rng = load_digits_data(mnist, seed), np.random.default_rng(seed)

    def dequantise(x: NDArray[np.float32]) -> Table:
        whole = x.reshape(len(x), -1).astype(np.float64) * (loaded.levels - 1)
        return (whole + rng.random(whole.shape)) / loaded.levels

    train = dequantise(np.concatenate([loaded.x_train, loaded.x_validation]))
    rows = rng.permutation(len(train))[:most]
    shape = (loaded.x_test.shape[2], loaded.x_test.shape[3])
    return Study(train[rows], dequantise(loaded.x_test), loaded.y_test, shape)


def load_table(path: Path, seed: int) -> Study:
    """Load the complete rows of numeric columns of a CSV file, standardised; a fifth is for test.

    Raises:
        MolvaeError: The file cannot be read, or has too few numeric rows or columns.
    """
    try:
        numbers = pd.read_csv(path).select_dtypes("number")
    except (OSError, ValueError) as error:
        raise MolvaeError(f"{path}: not a readable CSV table: {error}") from error
    complete = numbers[np.isfinite(numbers).all(axis=1)].to_numpy(np.float64)
    complete = complete[np.random.default_rng(seed).permutation(len(complete))]
    cut = len(complete) - len(complete) // 5
    x = complete[:, np.ptp(complete[:cut], axis=0) > 0] if cut else complete
    if len(x) < 50 or x.shape[1] < 3:
        raise MolvaeError(f"{path}: needs at least 50 complete rows and 3 columns that vary")
    mean, scale = x[:cut].mean(0), x[:cut].std(0)
    return Study((x[:cut] - mean) / scale, (x[cut:] - mean) / scale, None, (1, x.shape[1]))


def make_models(k: int, seed: int) -> dict[str, Any]:
    """Make the unfitted models with K components and enough iterations to converge."""
    # factor analysis stops when the total log-likelihood gains less than tol nats
    return {
        "PCA": PCA(k, svd_solver="full"),
        "PPCA": PPCA(k),
        "factor analysis": FactorAnalysis(k, svd_method="lapack", tol=0.1, max_iter=5_000),
        "FastICA": FastICA(k, whiten="unit-variance", max_iter=5_000, random_state=seed),
        "NMF": NMF(k, init="nndsvda", max_iter=5_000, random_state=seed),
    }


def compare_models(study: Study, k: int, seed: int) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Fit each model; return a row of figures for each, and the models. NMF skips negative data."""
    rows, fitted = [], {}
    for name, model in make_models(k, seed).items():
        if name == "NMF" and min(study.train.min(), study.test.min()) < 0:
            rows.append((name, np.nan, np.nan, np.nan))
            continue
        start = time.perf_counter()
        fitted[name] = model.fit(study.train)
        seconds = time.perf_counter() - start
        z = model.transform(study.test)
        if name == "factor analysis":  # without inverse_transform
            reconstruction = z @ model.components_ + model.mean_
        else:
            reconstruction = model.inverse_transform(z)
        nats = model.score(study.test) if name in PROBABILISTIC else np.nan
        rows.append((name, np.square(reconstruction - study.test).mean(), nats, seconds))
    return pd.DataFrame(rows, columns=["model", "held_out_mse", "nats_per_row", "fit_s"]), fitted


def impute_hidden(study: Study, k: int, seed: int) -> pd.DataFrame:
    """Hide entries of all rows and measure the error of each imputation on the test rows."""
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


def score_component_counts(x: Table, candidates: list[int], seed: int) -> pd.DataFrame:
    """Cross-validate PPCA and factor analysis for each K: held-out nats per row.

    Args:
        x: Rows, (n, D).
        candidates: Values of K.
        seed: Of the folds, which both models share.
    """
    _, ppca = choose_components(x, candidates, FOLDS, seed)
    rows = []
    folds = KFold(FOLDS, shuffle=True, random_state=seed)  # the folds of choose_components
    for k, nats in ppca.items():
        factors = cross_val_score(make_models(k, seed)["factor analysis"], x, cv=folds)
        for model, values in (("PPCA", nats), ("factor analysis", factors)):
            rows.append((model, k, values.mean(), values.std(ddof=1) / FOLDS**0.5))
    return pd.DataFrame(rows, columns=["model", "K", "nats_per_row", "standard_error"])


def plot_components(fitted: dict[str, Any], shape: tuple[int, int]) -> Figure:
    """Plot the first components of each model, one row a model; red is positive, blue negative."""
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


def plot_maps(study: Study, seed: int) -> Figure:
    """Plot test rows in the two coordinates of each model with K = 2, coloured by class."""
    _, fitted = compare_models(study, 2, seed)
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


def plot_likelihood(likelihood: pd.DataFrame) -> Figure:
    """Plot the held-out likelihood against K and mark the best K of each model."""
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
