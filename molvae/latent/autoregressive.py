"""Writing a sequence one symbol at a time, for every decoder that can."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from molvae.latent import BOS, EOS, PAD


class Autoregressive(Protocol):
    """A decoder that writes one symbol at a time."""

    max_length: int

    def begin(self, z: Tensor) -> list[Tensor]:
        """Return the state before the first symbol, each tensor (B, ...)."""
        ...

    def step(self, symbols: Tensor, z: Tensor, rows: Tensor, state: list[Tensor]) -> Tensor:
        """Return the next logits (b, V) of some rows (b,), and move their state on."""
        ...


@torch.no_grad()
def autoregress(
    decoder: Autoregressive, z: Tensor, temperature: float, generator: torch.Generator | None
) -> Tensor:
    """Latents z (B, D) -> ids (B, L): the likeliest symbol at each step, or a sampled one.

    Temperature 0 is greedy; above it, symbols are drawn from softmax(logits / temperature) with
    `generator`. Finished sequences leave the batch, so a step costs what is still open.
    """
    ids = torch.full((len(z), decoder.max_length), PAD, device=z.device)
    ids[:, 0] = BOS
    rows = torch.arange(len(z), device=z.device)  # sequences that are still open
    state = decoder.begin(z)
    for t in range(1, decoder.max_length):
        if len(rows) == 0:
            break
        logits = decoder.step(ids[rows, t - 1], z[rows], rows, state)
        logits[:, [PAD, BOS]] = -torch.inf
        if temperature > 0:
            weights = (logits / temperature).softmax(dim=-1)
            symbols = torch.multinomial(weights, 1, generator=generator)[:, 0]
        else:
            symbols = logits.argmax(dim=-1)
        ids[rows, t] = symbols
        rows = rows[symbols != EOS]
    return ids
