"""The standard normal."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from molvae.latent.kinds import Example
from molvae.latent.priors import priors
from molvae.latent.priors.base import Prior
from molvae.latent.protocols import Posterior


@priors.register("standard-normal")
class StandardNormal(Prior):
    """p(z) = N(0, I)."""

    mean: Tensor

    def __init__(self, latent: int, example: Example) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(latent), persistent=False)

    def forward(self, posterior: Posterior) -> Distribution:
        """Return the prior, batch (), event (D,)."""
        ones = torch.ones_like(self.mean)
        return Independent(Normal(self.mean, ones, validate_args=False), 1)

    def standardise(self, mean: Tensor, scale: Tensor) -> bool:
        """Stay as it is: the coordinates change to match it."""
        return True
