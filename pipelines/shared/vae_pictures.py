"""Plot VAEs of images: samples, reconstructions, the latent plane, and gains in log-likelihood."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor
from torch.distributions import Normal

from molvae.latent.vae import VAE

SIDE = 8  # samples along the side of a panel
GRID = 15  # decoded points along the side of the latent plane


def tiles(images: Tensor, columns: int) -> NDArray[np.float32]:
    """Images (n, 1, H, W), n a multiple of `columns` -> one image with white borders."""
    padded = torch.nn.functional.pad(images[:, 0], (1, 1, 1, 1)).cpu()
    n, height, width = padded.shape
    laid = padded.view(n // columns, columns, height, width).transpose(1, 2)
    return laid.reshape(n // columns * height, columns * width).numpy()


def lay(images: Tensor, columns: int) -> NDArray[np.float32]:
    """Images (n, 3, H, W) -> one image (rows H, columns W, 3); the last row ends in white."""
    padded = torch.nn.functional.pad(images, (1, 1, 1, 1), value=1.0)
    white = padded.new_ones((-len(padded) % columns, *padded.shape[1:]))
    padded = torch.cat([padded, white])
    n, channels, height, width = padded.shape
    laid = padded.view(n // columns, columns, channels, height, width).permute(0, 3, 1, 4, 2)
    return laid.reshape(n // columns * height, columns * width, channels).clamp(0, 1).numpy()


def show(axes: Axes, image: NDArray[np.float32], title: str = "") -> None:
    """Draw an image as dark ink on white, without ticks."""
    axes.imshow(image, cmap="gray_r", vmin=0, vmax=1)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(title, fontsize=10)


def plot_samples(models: dict[str, VAE]) -> Figure:
    """Plot the decoded means of samples from the prior of each model, one panel per model."""
    columns = min(5, len(models))
    rows = -(-len(models) // columns)
    figure = Figure(figsize=(2.6 * columns, 2.8 * rows + 0.3), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes, (name, model) in zip(panels, models.items(), strict=False):
        z = model.prior().sample(torch.Size([SIDE**2]))
        show(axes, tiles(model.decoder.generate(z), SIDE), name)
    for axes in panels[len(models) :]:
        axes.set_axis_off()
    figure.suptitle("decoded samples of the prior: probability of each pixel", fontsize=11)
    return figure


def plot_reconstructions(x: Tensor, models: dict[str, VAE]) -> Figure:
    """Plot test images x (n, 1, H, W) and, below them, their reconstruction by each model."""
    lines = {"test images": x}
    lines |= {name: model.decoder.generate(model.encode(x)) for name, model in models.items()}
    figure = Figure(figsize=(0.6 * len(x) + 1.2, 0.66 * len(lines) + 0.4), layout="constrained")
    for axes, (name, images) in zip(figure.subplots(len(lines), 1), lines.items(), strict=True):
        show(axes, tiles(images, len(x)))
        axes.set_yticks([images.shape[2] / 2], [name])
        axes.tick_params(length=0)
    figure.suptitle("decoded posterior means: probability of each pixel", fontsize=11)
    return figure


def plot_manifold(model: VAE, z: Tensor, digits: NDArray[np.int64]) -> Figure:
    """Plot the decoded latent plane of a model with D = 2, and image codes z (n, 2) in it.

    The tiles lie at equally spaced quantiles of N(0, 1), so each stands for the same probability
    (Kingma & Welling 2014, figure 4).
    """
    shares = (torch.arange(GRID, device=z.device) + 0.5) / GRID
    cuts = Normal(0.0, 1.0).icdf(shares)
    down, right = torch.meshgrid(cuts.flip(0), cuts, indexing="ij")  # z_2 grows upwards
    plane = model.decoder.generate(torch.stack([right, down], dim=-1).flatten(0, 1))
    figure = Figure(figsize=(12, 5.8), layout="constrained")
    left, other = figure.subplots(1, 2)
    left.imshow(tiles(plane, GRID), cmap="gray_r", vmin=0, vmax=1, extent=(0, 1, 0, 1))
    left.set(xlabel="quantile of $z_1$", ylabel="quantile of $z_2$", title="decoded latent plane")
    points = other.scatter(*z.cpu().numpy().T, c=digits, cmap="tab10", s=12, vmin=0, vmax=9)
    other.legend(*points.legend_elements(), title="digit", loc="upper left", bbox_to_anchor=(1, 1))
    other.set(xlabel="$z_1$", ylabel="$z_2$", title="posterior means of the test images")
    other.set_aspect("equal", "datalim")
    return figure


def plot_gains(table: pd.DataFrame) -> Figure:
    """Plot the gain in log-likelihood over the plain VAE; bars are two standard errors each way.

    The columns gain and gain_se are nats per image; the index names the models. The right panel
    zooms in on 0, where large losses would hide the other models.
    """
    figure = Figure(figsize=(10, 0.33 * len(table) + 1.4), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    places = np.arange(len(table))
    for axes in (left, right):
        axes.axvline(0, color="gray", linewidth=1)
        axes.errorbar(table.gain, places, xerr=2 * table.gain_se, fmt="o", capsize=3)
        axes.grid(axis="x", alpha=0.3)
    left.set_yticks(places, table.index)
    left.set_ylim(len(table) - 0.5, -0.5)
    left.set_title("all", fontsize=10)
    near = 3 * table.gain.abs().median()
    right.set_xlim(-near, near)
    right.set_title("near 0", fontsize=10)
    figure.supxlabel(
        "gain in log-likelihood of a held-out image over the plain VAE, nats (bars: ± 2 se)",
        fontsize=10,
    )
    return figure
