"""A Gaussian with the same scale for every x."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from molvae.latent.layers import at_least_float32
from molvae.latent.posteriors import posteriors
from molvae.latent.posteriors.base import GaussianHead


@posteriors.register("isotropic")
class FixedNoise(GaussianHead):
    """q(z|x) = N(mean(x), 0.5^2 I): the same noise for every x and in every direction.

    The constant-variance VAE (Ghosh et al. 2020, section 3). A KL weight then limits the power of
    the mean, as in a Gaussian channel: the information about x spreads over all dimensions, and the
    decoder becomes equally robust to a step in any of them.
    """

    scale: Tensor

    def __init__(self, hidden: int, latent: int) -> None:
        super().__init__()
        self.linear = nn.Linear(hidden, latent)
        self.register_buffer("scale", torch.full((latent,), 0.5))

    def forward(self, hidden: Tensor) -> Distribution:
        """Hidden (B, H) -> Gaussian, batch (B,), event (D,), at least in float32."""
        mean = at_least_float32(self.linear(hidden))
        return Independent(Normal(mean, self.scale.expand_as(mean), validate_args=False), 1)

    @torch.no_grad()
    def standardise(self, mean: Tensor, scale: Tensor) -> None:
        """Give (z - mean) / scale instead of z from now on; both (D,)."""
        self.rescale_mean(mean, scale)
        self.scale /= scale
