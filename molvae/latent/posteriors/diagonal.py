"""A Gaussian with a scale for each latent dimension."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from molvae.latent.layers import at_least_float32
from molvae.latent.posteriors import posteriors
from molvae.latent.posteriors.base import SMALLEST_SCALE, GaussianHead


@posteriors.register("diagonal")
class DiagonalGaussian(GaussianHead):
    """q(z|x) = N(mean(x), diag(scale(x)^2)), both linear in the hidden vector."""

    unit: Tensor

    def __init__(self, hidden: int, latent: int) -> None:
        super().__init__()
        self.linear = nn.Linear(hidden, 2 * latent)
        self.register_buffer("unit", torch.ones(latent))  # of the scale, see `standardise`

    def forward(self, hidden: Tensor) -> Distribution:
        """Hidden (B, H) -> Gaussian, batch (B,), event (D,), at least in float32."""
        mean, raw = at_least_float32(self.linear(hidden)).chunk(2, dim=-1)
        scale = self.unit * nn.functional.softplus(raw) + SMALLEST_SCALE
        return Independent(Normal(mean, scale, validate_args=False), 1)

    @torch.no_grad()
    def standardise(self, mean: Tensor, scale: Tensor) -> None:
        """Give (z - mean) / scale instead of z from now on; both (D,)."""
        self.rescale_mean(mean, scale)
        self.unit /= scale
