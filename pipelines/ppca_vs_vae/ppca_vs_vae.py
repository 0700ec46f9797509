"""Does a linear VAE find what probabilistic PCA knows in closed form?

Data are drawn from a known PPCA. The global optimum of a linear VAE is the maximum-likelihood PPCA
(Lucas et al. 2019), so a linear VAE trained like any other must reach the same exact held-out
log p(x) and span the same subspace.

    python pipelines/ppca_vs_vae/ppca_vs_vae.py                # a minute or two
    python pipelines/ppca_vs_vae/ppca_vs_vae.py --quick        # seconds
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
    args = arguments()
    torch.set_num_threads(1)  # the models are tiny
    args.out.mkdir(parents=True, exist_ok=True)
    truth, (train, validation, test) = known_ppca(args)
    closed = PPCA(args.latent).fit(np.concatenate([train, validation]))
    rows = [
        row("the truth", truth, test),
        row("PPCA, closed form", closed, test),
    ]
    curves = {}
    for posterior in POSTERIORS:
        model, curves[posterior] = linear_vae(posterior, train, validation, test, args)
        learned = as_ppca(model)
        bounds = row(f"linear VAE, {posterior} q", learned, test)
        with torch.no_grad():
            x = torch.from_numpy(test)
            bounds["elbo"] = float(elbo(model, x, samples=100).value().mean())
            bounds["iwae_50"] = float(iwae(model, x, 50).value().mean())
        rows.append(bounds)
    table = pd.DataFrame(rows)
    table["below_ppca"] = table.loc[1, "log_likelihood"] - table["log_likelihood"]
    table["angle_degrees"] = [angle(learned, closed) for learned in table.pop("model")]
    table.to_csv(args.out / "ppca_vs_vae.csv", index=False)
    print(
        f"{args.width} dimensions, {args.latent} latents, {len(train) + len(validation)} examples "
        f"to fit, {len(test)} held out, seed {args.seed}; nats per held-out example,\n"
        "largest principal angle between the spans of W and of the closed form's\n"
    )
    print(table.to_string(index=False, float_format="{:.4f}".format, na_rep="-"))
    draw(curves, table, args.out / "ppca_vs_vae.png")


def arguments() -> argparse.Namespace:
    """Read the command line."""
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


def known_ppca(args: argparse.Namespace) -> tuple[PPCA, list[Floats]]:
    """Make a PPCA with latents of different strength, and draw train, validation and test sets."""
    rng = np.random.default_rng(args.seed)
    directions = np.linalg.qr(rng.standard_normal((args.width, args.latent)))[0]
    strengths = np.linspace(3.0, 1.0, args.latent)
    truth = ppca_of(directions * strengths, rng.standard_normal(args.width), 0.25)
    x = truth.sample(2 * args.examples, random_state=args.seed)
    cuts = [int(0.9 * args.examples), args.examples]
    return truth, np.split(x, cuts)


def linear_vae(
    posterior: str, train: Floats, validation: Floats, test: Floats, args: argparse.Namespace
) -> tuple[VAE, list[tuple[int, float]]]:
    """Train a linear VAE by the common loop; also return its exact log p(test) as it learned."""
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
            curve.append((progress.state.step, as_ppca(model).score(test)))

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


def as_ppca(model: VAE) -> PPCA:
    """Read W, mu and sigma^2 off a linear decoder: its exact log p(x) is then that of a PPCA."""
    layer, likelihood = model.decoder.layers[0], model.decoder.likelihood
    with torch.no_grad():
        noise = float(likelihood.log_scale.exp() ** 2)
        return ppca_of(layer.weight.numpy().copy(), layer.bias.numpy().copy(), noise)


def ppca_of(loadings: Floats, mean: Floats, noise_variance: float) -> PPCA:
    """Make a PPCA with these parameters."""
    model = PPCA(loadings.shape[1])
    model.loadings_, model.mean_, model.noise_variance_ = loadings, mean, noise_variance
    model.n_features_in_ = len(mean)
    return model


def row(name: str, model: PPCA, test: Floats) -> dict[str, object]:
    """One row of the table."""
    return {
        "name": name,
        "model": model,
        "log_likelihood": model.score(test),
        "noise_sd": model.noise_variance_**0.5,
    }


def angle(model: PPCA, other: PPCA) -> float:
    """Return the largest principal angle between the spans of W, in degrees."""
    return float(np.degrees(subspace_angles(model.loadings_, other.loadings_).max()))


def draw(curves: dict[str, list[tuple[int, float]]], table: pd.DataFrame, path: Path) -> None:
    """Plot how the exact log p(x) of the linear VAEs approaches that of the closed form."""
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
