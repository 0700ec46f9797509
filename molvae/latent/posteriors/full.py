"""A Gaussian with a full covariance matrix."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, MultivariateNormal

from molvae.latent.layers import at_least_float32
from molvae.latent.posteriors import posteriors
from molvae.latent.posteriors.base import SMALLEST_SCALE, GaussianHead


@posteriors.register("full")
class FullGaussian(GaussianHead):
    """q(z|x) = N(mean(x), L(x) L(x)^T): every pair of latent dimensions has a covariance.

    L is lower triangular with a positive diagonal; training starts from a diagonal one.
    """

    unit: Tensor

    def __init__(self, hidden: int, latent: int) -> None:
        super().__init__()
        self.linear = nn.Linear(hidden, 2 * latent)
        pairs = latent * (latent - 1) // 2
        self.below_weight = nn.Parameter(torch.zeros(pairs, hidden))
        self.below_bias = nn.Parameter(torch.zeros(pairs))
        self.register_buffer("unit", torch.ones(latent))  # of the scale, see `standardise`

    def forward(self, hidden: Tensor) -> Distribution:
        """Hidden (B, H) -> Gaussian, batch (B,), event (D,), at least in float32."""
        mean, raw = at_least_float32(self.linear(hidden)).chunk(2, dim=-1)
        factor = torch.diag_embed(nn.functional.softplus(raw) + SMALLEST_SCALE)
        rows, columns = torch.ones_like(factor[0]).tril(-1).nonzero(as_tuple=True)
        below = nn.functional.linear(hidden, self.below_weight, self.below_bias)
        factor[:, rows, columns] = at_least_float32(below)
        # positive by construction: no need to check each
        return MultivariateNormal(mean, scale_tril=self.unit[:, None] * factor, validate_args=False)

    @torch.no_grad()
    def standardise(self, mean: Tensor, scale: Tensor) -> None:
        """Give (z - mean) / scale instead of z from now on; both (D,)."""
        self.rescale_mean(mean, scale)
        self.unit /= scale
