"""Zeros and ones."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import constraints

from molvae.base.errors import MolvaeError
from molvae.latent.inputs import check_support
from molvae.latent.likelihoods import likelihoods


@likelihoods.register("bernoulli")
class Bernoulli(nn.Module):
    """Each value of x is 1 with probability sigmoid(out), else 0.

    An x between 0 and 1 is read as the probability of a one, and log p(x|z) is the expected value.
    """

    handles = "numbers"

    def __init__(self, noise: float | None = None) -> None:
        super().__init__()
        if noise is not None:
            raise MolvaeError("the bernoulli likelihood takes no noise")

    def log_prob(self, out: Tensor, x: Tensor) -> Tensor:
        """Logits out and x, both (B, ...) -> log p(x|z) (B,) in nats.

        Raises:
            MolvaeError: x is not between 0 and 1.
        """
        check_support(x, constraints.unit_interval, "the bernoulli likelihood")
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
