"""Token ids written by causal convolutions."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from molvae.latent.decoders import decoders
from molvae.latent.decoders.base import AutoregressiveDecoder, mask_symbols
from molvae.latent.kinds import Example
from molvae.latent.layers import Symbols, fold
from molvae.latent.protocols import Likelihood


@decoders.register("conv")
class ConvDecoder(AutoregressiveDecoder):
    """Autoregressive p(x|z) with causal dilated convolutions (van den Oord et al. 2016, WaveNet).

    z is added to every layer. Six layers of kernel size 3 have a receptive field of 127
    symbols. `dropout` as in "gru".
    """

    handles = "ids"
    layers = 6

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
        self.first = nn.Linear(self.symbols.width, hidden)
        self.latents = nn.ModuleList(nn.Linear(latent, hidden) for _ in range(self.layers))
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in range(self.layers))
        self.convolutions = nn.ModuleList(
            nn.Conv1d(hidden, hidden, 3, dilation=2**i) for i in range(self.layers)
        )
        self.out = nn.Linear(hidden, self.vocabulary)

    def forward(self, z: Tensor, ids: Tensor) -> Tensor:
        """z (B, D), ids (B, L) -> logits of ids[:, 1:] given what comes before, (B, L - 1, V)."""
        share = self.dropout if self.training else 0.0
        symbols = mask_symbols(self.symbols(ids[:, :-1].t()), share)
        x = self.first(symbols)
        x = x.transpose(0, 1)  # (B, L - 1, H)
        for i, convolution in enumerate(self.convolutions):
            y = nn.functional.gelu(self.norms[i](x) + self.latents[i](z)[:, None])
            y = nn.functional.pad(y.transpose(1, 2), (2 * 2**i, 0))
            x = x + convolution(y).transpose(1, 2)
        logits: Tensor = self.out(x)
        return logits

    def standardise(self, mean: Tensor, scale: Tensor) -> None:
        """Take (z - mean) / scale instead of z from now on; both (D,)."""
        for layer in self.latents:
            assert isinstance(layer, nn.Linear)
            fold(layer.weight, layer.bias, mean, scale)

    def begin(self, z: Tensor) -> list[Tensor]:
        """z (B, D) -> for each layer, the inputs that its next steps will look back on."""
        width = self.out.in_features
        return [z.new_zeros(len(z), 2 * 2**i + 1, width) for i in range(self.layers)]

    def step(self, symbols: Tensor, z: Tensor, rows: Tensor, state: list[Tensor]) -> Tensor:
        """Symbols (b,), z (b, D) of some rows (b,) -> next logits (b, V); moves their state on.

        Args:
            symbols: what was written last.
            z: latents of these rows.
            rows: their places in the state.
            state: from `begin`, of all rows.
        """
        x = self.first(self.symbols(symbols))
        for i, convolution in enumerate(self.convolutions):
            y = nn.functional.gelu(self.norms[i](x) + self.latents[i](z))
            seen = torch.cat([state[i][rows, 1:], y[:, None]], dim=1)
            state[i][rows] = seen
            x = x + convolution(seen.transpose(1, 2))[..., 0]
        logits: Tensor = self.out(x)
        return logits
