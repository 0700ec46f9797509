"""A mixture of Gaussians."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import (
    Categorical,
    Distribution,
    Independent,
    MixtureSameFamily,
    Normal,
)

from molvae.latent.kinds import Example
from molvae.latent.layers import measure_spread
from molvae.latent.priors import priors
from molvae.latent.priors.base import Prior
from molvae.latent.protocols import Posterior


@priors.register("mixture")
class Mixture(Prior):
    """p(z) = sum_c w_c N(mean_c, diag(scale_c^2)) with learned weights, means and scales."""

    def __init__(self, latent: int, example: Example, components: int = 50) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(components))
        self.means = nn.Parameter(torch.randn(components, latent))
        self.log_scales = nn.Parameter(torch.zeros(components, latent))

    def forward(self, posterior: Posterior) -> Distribution:
        """Return the prior, batch (), event (D,)."""
        components = Independent(Normal(self.means, self.log_scales.exp()), 1)
        return MixtureSameFamily(Categorical(logits=self.logits), components)

    @torch.no_grad()
    def initialise(self, x: Tensor, z: Tensor) -> None:
        """Start with components around examples: a kernel density estimate of the right width.

        Bandwidth of Scott 1992. The examples are shrunk towards their mean accordingly, so that the
        mixture has the mean and variance of the examples in each dimension (the smoothed bootstrap
        of Silverman & Young 1987).
        """
        width = len(self.means) ** (-1 / (z.shape[1] + 4))
        rows, mean = torch.arange(len(self.means)) % len(z), z.mean(0)
        self.means.copy_(mean + (1 - width**2) ** 0.5 * (z[rows] - mean))
        self.log_scales.copy_((width * measure_spread(z)).log().expand_as(self.log_scales))

    @torch.no_grad()
    def standardise(self, mean: Tensor, scale: Tensor) -> bool:
        """Move the components."""
        self.means.sub_(mean).div_(scale)
        self.log_scales.sub_(scale.log())
        return True
