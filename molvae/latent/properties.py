"""Properties y that each x may have: a regression on z, trained jointly with the model of x."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from molvae.latent.layers import fold
from molvae.latent.protocols import LatentModel


class PropertyHead(nn.Module):
    """p(y|z): one independent Gaussian for each property, its mean from two layers on z.

    Trained together with the decoder it orders the latent space along the properties
    (Gomez-Bombarelli et al. 2018). y is standardised with `centre` and `spread`, those of the
    training examples; NaN marks an unknown value.
    """

    centre: Tensor
    spread: Tensor

    def __init__(self, latent: int, properties: int, hidden: int = 128) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(latent, hidden), nn.SiLU(), nn.Linear(hidden, properties)
        )
        self.log_scale = nn.Parameter(torch.zeros(properties))
        self.register_buffer("centre", torch.zeros(properties))
        self.register_buffer("spread", torch.ones(properties))

    def forward(self, z: Tensor) -> Tensor:
        """z (B, D) -> expected properties (B, P), in their own units; differentiable in z."""
        out: Tensor = self.layers(z)
        return out * self.spread + self.centre

    def log_likelihood(self, y: Tensor, z: Tensor) -> Tensor:
        """y (B, P), z (B, D) -> log p(y|z) (B,) in nats of the standardised y where it is known."""
        known = ~y.isnan()
        target = (torch.where(known, y, self.centre) - self.centre) / self.spread
        error = (target - self.layers(z).float()) * (-self.log_scale).exp()
        nats = -0.5 * error.square() - self.log_scale - 0.5 * math.log(2 * math.pi)
        result: Tensor = (nats * known).sum(-1)
        return result

    @torch.no_grad()
    def initialise(self, y: Tensor) -> None:
        """Take centre and spread from examples y (n, P); a constant property has spread 1."""
        for i, column in enumerate(y.t()):
            known = column[~column.isnan()]
            if len(known):
                self.centre[i] = known.mean()
            if len(known) > 1 and known.std() > 0:
                self.spread[i] = known.std()

    def standardise(self, mean: Tensor, scale: Tensor) -> None:
        """Take (z - mean) / scale instead of z from now on; both (D,)."""
        first = self.layers[0]
        assert isinstance(first, nn.Linear)
        fold(first.weight, first.bias, mean, scale)


class WithProperties(NamedTuple):
    """A model of x and y together: the `LatentModel` whose likelihood is p(x|z) p(y|z)."""

    model: LatentModel
    head: PropertyHead
    y: Tensor

    def prior(self) -> Distribution:
        """Return p(z)."""
        return self.model.prior()

    def posterior(self, x: Tensor) -> Distribution:
        """x (B, ...) -> q(z|x): y is not read, so that it need not be known."""
        return self.model.posterior(x)

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """x (B, ...), z (B, D) -> log p(x|z) + log p(y|z) (B,) in nats."""
        y = self.y.repeat(len(z) // len(self.y), 1)  # where there are several samples of z
        return self.model.log_likelihood(x, z) + self.head.log_likelihood(y, z)
