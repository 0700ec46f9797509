"""Likelihoods: what a decoder puts out -> p(x|z), its log density and what it generates."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from molvae.base.errors import MolvaeError
from molvae.base.registry import Registry
from molvae.latent import PAD, Kind

likelihoods: Registry[type[nn.Module]] = Registry("likelihood")


@likelihoods.register("bernoulli")
class Bernoulli(nn.Module):
    """Each value of x is 1 with probability sigmoid(out), else 0.

    An x between 0 and 1 counts as the share of ones; log p(x|z) is then their mean.
    """

    handles: Kind = "numbers"

    def __init__(self, noise: float | None = None) -> None:
        super().__init__()
        if noise is not None:
            raise MolvaeError("the bernoulli likelihood takes no noise")

    def log_prob(self, out: Tensor, x: Tensor) -> Tensor:
        """Logits out and x, both (B, ...) -> log p(x|z) (B,) in nats."""
        logits = out.to(x.dtype)  # which is bfloat16 under autocast
        loss = nn.functional.binary_cross_entropy_with_logits(logits, x, reduction="none")
        return -loss.flatten(1).sum(1)

    def generate(
        self, out: Tensor, temperature: float = 0.0, generator: torch.Generator | None = None
    ) -> Tensor:
        """Logits out (B, ...) -> mean of x at temperature 0; above it, draws of zeros and ones."""
        if temperature > 0:
            return torch.bernoulli(torch.sigmoid(out / temperature), generator=generator)
        return torch.sigmoid(out)


@likelihoods.register("gaussian")
class Gaussian(nn.Module):
    """x = out + noise of one standard deviation for all values: `noise`, or learned where None."""

    handles: Kind = "numbers"
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


@likelihoods.register("categorical")
class CategoricalSequence(nn.Module):
    """p(x|z) = prod_t p(x_t | x_<t, z), a softmax over the vocabulary at each step.

    The decoder, which knows what comes before, generates.
    """

    handles: Kind = "ids"

    def __init__(self, noise: float | None = None) -> None:
        super().__init__()
        if noise is not None:
            raise MolvaeError("the categorical likelihood takes no noise")

    def log_prob(self, out: Tensor, x: Tensor) -> Tensor:
        """Logits out (B, L - 1, V) of ids x[:, 1:], x (B, L) -> log p(x|z) (B,) in nats, EOS in."""
        loss = nn.functional.cross_entropy(
            out.float().flatten(0, 1), x[:, 1:].flatten(), ignore_index=PAD, reduction="none"
        )
        return -loss.view(len(x), -1).sum(1)
