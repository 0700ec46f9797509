"""Check that a linear VAE finds the closed-form solution of probabilistic PCA.

The data come from a known PPCA. The global optimum of a linear VAE is the maximum-likelihood PPCA
(Lucas et al. 2019), so a linear VAE trained like any other must reach the same exact held-out
log p(x) and span the same subspace.

    python pipelines/ppca_vs_vae/ppca_vs_vae.py  # a minute or two
    python pipelines/ppca_vs_vae/ppca_vs_vae.py --quick  # seconds
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.linalg import subspace_angles

from molvae.latent.elbo import elbo, iwae
from molvae.latent.fit import fit
from molvae.latent.ppca import PPCA
from molvae.latent.training import FitConfig, Progress
from molvae.latent.vae import VAE, VAEConfig

Floats = NDArray[np.float64]
POSTERIORS = ("diagonal", "full")


def main() -> None:
    """Run the study; print the table, write it as CSV and the learning curves as PNG."""
    args = parse_arguments()
    torch.set_num_threads(1)  # the models are tiny
    args.out.mkdir(parents=True, exist_ok=True)
    truth, (train, validation, test) = sample_known_ppca(args)
    closed = PPCA(args.latent).fit(np.concatenate([train, validation]))
    rows = [
        make_row("the truth", truth, test),
        make_row("PPCA, closed form", closed, test),
    ]
    curves = {}
    for posterior in POSTERIORS:
        model, curves[posterior] = train_linear_vae(posterior, train, validation, test, args)
        learned = convert_to_ppca(model)
        bounds = make_row(f"linear VAE, {posterior} q", learned, test)
        with torch.no_grad():
            x = torch.from_numpy(test)
            bounds["elbo"] = float(elbo(model, x, samples=100).value().mean())
            bounds["iwae_50"] = float(iwae(model, x, 50).value().mean())
        rows.append(bounds)
    table = pd.DataFrame(rows)
    table["below_ppca"] = table.loc[1, "log_likelihood"] - table["log_likelihood"]
    table["angle_degrees"] = [compute_angle(learned, closed) for learned in table.pop("model")]
    table.to_csv(args.out / "ppca_vs_vae.csv", index=False)
    print(
        f"{args.width} dimensions, {args.latent} latents, {len(train) + len(validation)} training "
        f"and {len(test)} test examples, seed {args.seed}; nats per test example,\n"
        "largest principal angle between the span of W and that of the closed form\n"
    )
    print(table.to_string(index=False, float_format="{:.4f}".format, na_rep="-"))
    plot_curves(curves, table, args.out / "ppca_vs_vae.png")


def parse_arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--width", type=int, default=20, help="dimensions of x")
    parser.add_argument("--latent", type=int, default=4)
    parser.add_argument("--examples", type=int, default=5_000)
    parser.add_argument("--epochs", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/ppca-vs-vae"))
    parser.add_argument("--quick", action="store_true", help="less data, fewer epochs")
    args = parser.parse_args()
    if args.quick:
        args.width, args.latent, args.examples, args.epochs = 8, 2, 1_500, 30
    return args


def sample_known_ppca(args: argparse.Namespace) -> tuple[PPCA, list[Floats]]:
    """Make a PPCA with latents of different scales; sample training, validation and test sets."""
    rng = np.random.default_rng(args.seed)
    directions = np.linalg.qr(rng.standard_normal((args.width, args.latent)))[0]
    strengths = np.linspace(3.0, 1.0, args.latent)
    truth = make_ppca(directions * strengths, rng.standard_normal(args.width), 0.25)
    x = truth.sample(2 * args.examples, random_state=args.seed)
    cuts = [int(0.9 * args.examples), args.examples]
    return truth, np.split(x, cuts)


def train_linear_vae(
    posterior: str, train: Floats, validation: Floats, test: Floats, args: argparse.Namespace
) -> tuple[VAE, list[tuple[int, float]]]:
    """Train a linear VAE with the common loop; return it and its exact log p(test) by step.

    Args:
        posterior: Registered posterior of the VAE.
        train: Training rows, (n, D).
        validation: Validation rows.
        test: Test rows.
        args: Command line.
    """
    torch.manual_seed(args.seed)
    config = VAEConfig(
        shape=(args.width,),
        latent=args.latent,
        encoder="linear",
        encoder_hidden=16 * -(-args.width // 16),
        decoder="linear",
        likelihood="gaussian",
        posterior=posterior,
    )
    model, curve = VAE(config).double(), []

    def observe(progress: Progress) -> None:
        if progress.row is not None:
            curve.append((progress.state.step, convert_to_ppca(model).score(test)))

    schedule = FitConfig(
        epochs=args.epochs,
        batch=50,
        learning_rate=0.01,
        kl_weight=1.0,
        kl_warmup=0.0,
        validate_every=100,
        patience=1_000,
        seed=args.seed,
        precision="64-true",
    )
    fit(model, train, validation, schedule, observe=observe)
    return model.eval(), curve


def convert_to_ppca(model: VAE) -> PPCA:
    """Linear VAE -> the PPCA with its W, mu and sigma^2, which has the same exact log p(x)."""
    layer, likelihood = model.decoder.layers[0], model.decoder.likelihood
    with torch.no_grad():
        noise = float(likelihood.log_scale.exp() ** 2)
        return make_ppca(layer.weight.numpy().copy(), layer.bias.numpy().copy(), noise)


def make_ppca(loadings: Floats, mean: Floats, noise_variance: float) -> PPCA:
    """Make a PPCA from its parameters: W (D, K), mu (D,) and sigma^2."""
    model = PPCA(loadings.shape[1])
    model.loadings_, model.mean_, model.noise_variance_ = loadings, mean, noise_variance
    model.n_features_in_ = len(mean)
    return model


def make_row(name: str, model: PPCA, test: Floats) -> dict[str, object]:
    """Make one row of the table."""
    return {
        "name": name,
        "model": model,
        "log_likelihood": model.score(test),
        "noise_sd": model.noise_variance_**0.5,
    }


def compute_angle(model: PPCA, other: PPCA) -> float:
    """Two PPCAs -> largest principal angle between the spans of W, in degrees."""
    return float(np.degrees(subspace_angles(model.loadings_, other.loadings_).max()))


def plot_curves(
    curves: dict[str, list[tuple[int, float]]], table: pd.DataFrame, path: Path
) -> None:
    """Plot how the exact log p(x) of the linear VAEs approaches the closed form."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    best = table["log_likelihood"][1]
    for posterior, points in curves.items():
        steps, values = zip(*points, strict=True)
        axes.plot(steps, np.maximum(best - np.array(values), 1e-4), label=f"{posterior} q(z|x)")
    axes.axhline(0.05, color="grey", linestyle=":", label="0.05 nats")
    axes.set(xlabel="gradient steps", ylabel="held-out log p(x) below closed form (nats)")
    axes.set_yscale("log")
    axes.set_title("A linear VAE learns probabilistic PCA")
    axes.legend()
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
