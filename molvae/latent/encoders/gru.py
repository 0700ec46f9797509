"""Token ids read in both directions by a GRU."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from molvae.latent import PAD
from molvae.latent.encoders import encoders
from molvae.latent.kinds import Example
from molvae.latent.layers import Symbols


@encoders.register("gru")
class GRUEncoder(nn.Module):
    """Token ids (B, L) -> the two final states of a bidirectional GRU, concatenated (B, H).

    Each direction has H / 2 units. Padding is never read: the backward direction starts at the
    last symbol, and the final forward state is the one there.
    """

    handles = "ids"

    def __init__(self, example: Example, hidden: int) -> None:
        super().__init__()
        self.symbols = Symbols(example.vocabulary or 0)
        self.ahead = nn.GRU(self.symbols.width, hidden // 2)
        self.back = nn.GRU(self.symbols.width, hidden // 2)

    def forward(self, ids: Tensor) -> Tensor:
        """Ids (B, L) -> hidden (B, H)."""
        lengths = (ids != PAD).sum(1)  # (B,)
        steps = torch.arange(ids.shape[1], device=ids.device)
        reverse = (lengths[:, None] - 1 - steps).clamp(min=0)  # (B, L): last symbol first
        final = []
        for layer, order in ((self.ahead, ids), (self.back, ids.gather(1, reverse))):
            states = layer(self.symbols(order.t()))[0]  # (L, B, H / 2)
            final.append(states[lengths - 1, torch.arange(len(ids), device=ids.device)])
        return torch.cat(final, dim=1)
