"""Encoders: x -> hidden vector (B, H). The posterior head on top of it belongs to the VAE."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from molvae.base.registry import Registry
from molvae.latent import PAD, Example, Kind

encoders: Registry[type[nn.Module]] = Registry("encoder")


class Symbols(nn.Module):
    """Ids (...,) -> vectors (..., width): one-hot where they are few, else learned ones.

    A product with one-hot vectors is a look-up whose gradient is fast on every device.
    """

    widest = 64
    unit: Tensor

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.vocabulary, self.width = vocabulary, min(vocabulary, self.widest)
        few = vocabulary <= self.widest
        self.vectors = nn.Identity() if few else nn.Linear(vocabulary, self.widest, bias=False)
        self.register_buffer("unit", torch.ones(()), persistent=False)  # knows the precision

    def forward(self, ids: Tensor) -> Tensor:
        """Ids (...,) -> vectors (..., width)."""
        one_hot = nn.functional.one_hot(ids, self.vocabulary).to(self.unit.dtype)
        vectors: Tensor = self.vectors(one_hot)
        return vectors


@encoders.register("gru")
class GRUEncoder(nn.Module):
    """Token ids (B, L) -> the two final states of a bidirectional GRU side by side (B, H).

    Each direction has H / 2 units. Padding is never read: the backward direction starts at the
    last symbol, and the forward state is taken there.
    """

    handles: Kind = "ids"

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


@encoders.register("conv")
class ConvEncoder(nn.Module):
    """Token ids (B, L) -> residual dilated convolutions, pooled by attention (B, H).

    Every position carries a learned position vector; `heads` learned queries each attend to the
    positions that matter to them, so that the pooled vector can say what stands where.
    """

    handles: Kind = "ids"
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


@encoders.register("mlp")
class MLPEncoder(nn.Sequential):
    """Numbers (B, ...) -> two hidden layers (B, H)."""

    handles: Kind = "numbers"

    def __init__(self, example: Example, hidden: int) -> None:
        super().__init__(
            nn.Flatten(),
            nn.Linear(math.prod(example.shape), hidden),
            nn.SiLU(),
            nn.Linear(hidden, hidden),
            nn.SiLU(),
        )


@encoders.register("linear")
class LinearEncoder(nn.Sequential):
    """Numbers (B, ...) -> one linear layer (B, H): with a linear decoder, a linear VAE."""

    handles: Kind = "numbers"

    def __init__(self, example: Example, hidden: int) -> None:
        super().__init__(nn.Flatten(), nn.Linear(math.prod(example.shape), hidden))


@encoders.register("image")
class ImageEncoder(nn.Sequential):
    """Images (B, C, H, W) -> two convolutions that halve the sides, then one layer (B, H)."""

    handles: Kind = "images"

    def __init__(self, example: Example, hidden: int) -> None:
        channels, height, width = example.shape
        small, wide = max(8, hidden // 8), max(16, hidden // 4)
        super().__init__(
            nn.Conv2d(channels, small, 3, stride=2, padding=1),
            nn.SiLU(),
            nn.Conv2d(small, wide, 3, stride=2, padding=1),
            nn.SiLU(),
            nn.Flatten(),
            nn.Linear(wide * quarter(height) * quarter(width), hidden),
            nn.SiLU(),
        )


def quarter(side: int) -> int:
    """A side of an image -> its length after two halvings that round up."""
    return -(-side // 4)
