"""Token ids."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from molvae.base.errors import MolvaeError
from molvae.latent import PAD
from molvae.latent.likelihoods import likelihoods


@likelihoods.register("categorical")
class CategoricalSequence(nn.Module):
    """p(x|z) = prod_t p(x_t | x_<t, z), a softmax over the vocabulary at each step.

    The decoder feeds each generated symbol back to itself, so `generate` takes one step at a time.
    """

    handles = "ids"

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

    def generate(
        self, out: Tensor, temperature: float = 0.0, generator: torch.Generator | None = None
    ) -> Tensor:
        """Logits out (..., V) -> symbols (...): the likeliest at temperature 0; above it, draws."""
        if temperature > 0:
            weights = (out / temperature).softmax(dim=-1)
            drawn = torch.multinomial(weights.flatten(0, -2), 1, generator=generator)
            return drawn.view(out.shape[:-1])
        return out.argmax(dim=-1)
