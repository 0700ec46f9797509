"""Priors p(z): modules whose call returns a distribution over latents, event shape (D,)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from molvae.registry import Registry

priors: Registry[type[nn.Module]] = Registry("prior")


@priors.register("standard-normal")
class StandardNormal(nn.Module):
    """p(z) = N(0, I)."""

    mean: Tensor

    def __init__(self, latent: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(latent), persistent=False)

    def forward(self) -> Distribution:
        """Return the prior, batch (), event (D,)."""
        return Independent(Normal(self.mean, torch.ones_like(self.mean)), 1)
