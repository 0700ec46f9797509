"""Real numbers with normally distributed noise."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from molvae.base.errors import MolvaeError
from molvae.latent.likelihoods import likelihoods


@likelihoods.register("gaussian")
class Gaussian(nn.Module):
    """x = out + noise, with one standard deviation for all values: `noise`, or learned if None."""

    handles = "numbers"
    log_scale: Tensor

    def __init__(self, noise: float | None = None) -> None:
        super().__init__()
        if noise is None:
            self.log_scale = nn.Parameter(torch.zeros(()))
        elif noise > 0:
            self.register_buffer("log_scale", torch.tensor(noise).log())
        else:
            raise MolvaeError(f"noise must be above 0, not {noise}")

    def log_prob(self, out: Tensor, x: Tensor) -> Tensor:
        """Means out and x, both (B, ...) -> log p(x|z) (B,) in nats."""
        squares = ((x - out.to(x.dtype)) * (-self.log_scale).exp()).square().flatten(1)
        constant = self.log_scale + 0.5 * math.log(2 * math.pi)
        return -0.5 * squares.sum(1) - squares.shape[1] * constant

    def generate(
        self, out: Tensor, temperature: float = 0.0, generator: torch.Generator | None = None
    ) -> Tensor:
        """Means out (B, ...) -> the means at temperature 0; above it, with noise scaled by it."""
        if temperature > 0:
            noise = torch.randn(out.shape, generator=generator, dtype=out.dtype, device=out.device)
            return out + temperature * self.log_scale.exp() * noise
        return out
