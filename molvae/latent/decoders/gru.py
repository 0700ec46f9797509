"""Token ids written by a GRU."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from molvae.latent.decoders import decoders
from molvae.latent.decoders.base import AutoregressiveDecoder, mask_symbols
from molvae.latent.kinds import Example
from molvae.latent.layers import Symbols, fold
from molvae.latent.protocols import Likelihood


@decoders.register("gru")
class GRUDecoder(AutoregressiveDecoder):
    """Autoregressive p(x|z) = prod_t p(x_t | x_<t, z) with one GRU layer.

    z sets the initial state and is part of the input at every step. During training a share
    `dropout` of the previous symbols is masked, so that the decoder has to use z (word dropout,
    Bowman et al. 2016).
    """

    handles = "ids"

    def __init__(
        self,
        example: Example,
        latent: int,
        hidden: int,
        likelihood: Likelihood,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(example, likelihood, dropout)
        self.symbols = Symbols(self.vocabulary)
        self.start = nn.Linear(latent, hidden)
        self.gru = nn.GRU(self.symbols.width + latent, hidden)
        self.out = nn.Linear(hidden, self.vocabulary)

    def forward(self, z: Tensor, ids: Tensor) -> Tensor:
        """z (B, D), ids (B, L) -> logits of ids[:, 1:] given what comes before, (B, L - 1, V)."""
        share = self.dropout if self.training else 0.0
        symbols = mask_symbols(self.symbols(ids[:, :-1].t()), share)
        inputs = torch.cat([symbols, z.expand(len(symbols), *z.shape)], dim=-1)
        states, _ = self.gru(inputs, torch.tanh(self.start(z))[None].to(inputs.dtype))
        logits: Tensor = self.out(states)
        return logits.transpose(0, 1)

    def standardise(self, mean: Tensor, scale: Tensor) -> None:
        """Take (z - mean) / scale instead of z from now on; both (D,)."""
        fold(self.start.weight, self.start.bias, mean, scale)
        weight = self.gru.get_parameter("weight_ih_l0")[:, self.symbols.width :]
        fold(weight, self.gru.get_parameter("bias_ih_l0"), mean, scale)

    def begin(self, z: Tensor) -> list[Tensor]:
        """z (B, D) -> the state before the first symbol."""
        return [torch.tanh(self.start(z))]

    def step(self, symbols: Tensor, z: Tensor, rows: Tensor, state: list[Tensor]) -> Tensor:
        """Symbols (b,), z (b, D) of some rows (b,) -> next logits (b, V); moves their state on.

        Args:
            symbols: what was written last.
            z: latents of these rows.
            rows: their places in the state.
            state: from `begin`, of all rows.
        """
        inputs = torch.cat([self.symbols(symbols), z], dim=-1)
        out, last = self.gru(inputs[None], state[0][rows][None])
        state[0][rows] = last[0]
        logits: Tensor = self.out(out[0])
        return logits
