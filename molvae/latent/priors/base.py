"""What priors share."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.distributions import AffineTransform, Distribution

from molvae.latent.layers import measure_spread
from molvae.latent.protocols import Posterior


class Prior(nn.Module, ABC):
    """A prior with defaults for all but `forward`."""

    @abstractmethod
    def forward(self, posterior: Posterior) -> Distribution:
        """Return p(z), batch (), event (D,); `posterior` maps x (B, ...) to q(z|x)."""

    def initialise(self, x: Tensor, z: Tensor) -> None:
        """Start from random training examples x (n, ...) and a sample z (n, D) of their q(z|x)."""

    def gain(self, posterior: Posterior, z: Tensor) -> Tensor:
        """z (B, D) -> what fitting the prior alone maximises (B,): log p(z), or a proxy of it."""
        return self(posterior).log_prob(z)  # type: ignore[no-any-return]

    def standardise(self, mean: Tensor, scale: Tensor) -> bool:
        """Move p(z) to the coordinates (z - mean) / scale, and return whether that is possible.

        Where it is not, the whole model keeps its coordinates.
        """
        return False


class RescaledPrior(Prior):
    """A transformed standard normal that is shifted and scaled as a whole."""

    shift: Tensor
    unit: Tensor

    def __init__(self, latent: int) -> None:
        super().__init__()
        self.register_buffer("shift", torch.zeros(latent))
        self.register_buffer("unit", torch.ones(latent))

    def rescale(self) -> AffineTransform:
        """Return the map from z to the coordinates that the transform was made in."""
        return AffineTransform(-self.shift / self.unit, 1 / self.unit, event_dim=1)

    @torch.no_grad()
    def initialise(self, x: Tensor, z: Tensor) -> None:
        """Start as the Gaussian with the mean and scale of the examples."""
        self.shift.copy_(z.mean(0))
        self.unit.copy_(measure_spread(z))

    @torch.no_grad()
    def standardise(self, mean: Tensor, scale: Tensor) -> bool:
        """Move shift and scale."""
        self.shift.sub_(mean).div_(scale)
        self.unit /= scale
        return True
