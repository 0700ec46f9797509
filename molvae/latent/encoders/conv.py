"""Token ids read by convolutions and pooled by attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from molvae.latent import PAD
from molvae.latent.encoders import encoders
from molvae.latent.kinds import Example


@encoders.register("conv")
class ConvEncoder(nn.Module):
    """Token ids (B, L) -> residual dilated convolutions, pooled by attention (B, H).

    Every position has a learned embedding, and each of `heads` learned queries attends to the
    positions that matter to it, so that the pooled vector keeps what stands where.
    """

    handles = "ids"
    heads = 8

    def __init__(self, example: Example, hidden: int, layers: int = 4) -> None:
        super().__init__()
        channels = hidden // 2
        self.symbols = nn.Embedding(example.vocabulary or 0, channels, padding_idx=PAD)
        self.positions = nn.Parameter(0.02 * torch.randn(example.shape[0], channels))
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for _ in range(layers))
        self.convolutions = nn.ModuleList(
            nn.Conv1d(channels, channels, 3, dilation=2**i, padding=2**i) for i in range(layers)
        )
        self.scores = nn.Linear(channels, self.heads)
        self.values = nn.Linear(channels, hidden)

    def forward(self, ids: Tensor) -> Tensor:
        """Ids (B, L) -> hidden (B, H)."""
        batch, length = ids.shape
        real = (ids != PAD)[..., None]  # (B, L, 1)
        x = self.symbols(ids) + self.positions[:length]  # (B, L, C)
        for norm, convolution in zip(self.norms, self.convolutions, strict=True):
            y = nn.functional.gelu(norm(x)) * real
            x = x + convolution(y.transpose(1, 2)).transpose(1, 2)
        scores = self.scores(x).float().masked_fill(~real, -torch.inf)  # (B, L, heads)
        weights = scores.softmax(dim=1)
        values = self.values(x).view(batch, length, self.heads, -1)
        pooled = torch.einsum("blq,blqc->bqc", weights.to(values.dtype), values)
        return pooled.reshape(batch, -1)
