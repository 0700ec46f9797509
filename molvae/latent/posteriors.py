"""Posterior heads: hidden (B, H) -> q(z|x), a distribution with batch (B,) and event (D,)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from molvae.registry import Registry

posteriors: Registry[type[nn.Module]] = Registry("posterior")

SMALLEST_SCALE = 1e-4  # keeps log q finite


@posteriors.register("diagonal")
class DiagonalGaussian(nn.Module):
    """q(z|x) = N(mean(x), diag(scale(x)^2)), both linear in the hidden vector."""

    unit: Tensor

    def __init__(self, hidden: int, latent: int) -> None:
        super().__init__()
        self.linear = nn.Linear(hidden, 2 * latent)
        self.register_buffer("unit", torch.ones(latent))  # of the scale, see `standardise`

    def forward(self, hidden: Tensor) -> Distribution:
        """Hidden (B, H) -> Gaussian, batch (B,), event (D,), in float32 whatever the hidden is."""
        mean, raw = self.linear(hidden).float().chunk(2, dim=-1)
        scale = self.unit * nn.functional.softplus(raw) + SMALLEST_SCALE
        return Independent(Normal(mean, scale), 1)

    @torch.no_grad()
    def standardise(self, mean: Tensor, scale: Tensor) -> None:
        """Give (z - mean) / scale in place of z from now on; both (D,)."""
        weight, bias = self.linear.weight[: len(mean)], self.linear.bias[: len(mean)]
        weight /= scale[:, None]
        bias.sub_(mean).div_(scale)
        self.unit /= scale
