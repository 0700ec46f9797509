"""Layers, and changes of layers, that several parts share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Symbols(nn.Module):
    """Ids (...,) -> vectors (..., width): one-hot for small vocabularies, else learned.

    In training it is a product with one-hot vectors, whose gradient is fast on every device.
    Otherwise it is a look-up, which gives the same numbers in less time and memory.
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
        learned = self.vectors
        if isinstance(learned, nn.Linear) and not self.training:
            return nn.functional.embedding(ids, learned.weight.t())
        one_hot = self.unit.new_zeros((*ids.shape, self.vocabulary))
        one_hot.scatter_(-1, ids[..., None], 1)  # `one_hot` of torch makes integers of 64 bits
        vectors: Tensor = self.vectors(one_hot)
        return vectors


class FullPrecision(nn.Sequential):
    """Layers that autocast leaves alone: bfloat16 is too coarse for a log density."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layers in the precision of x."""
        with torch.autocast(x.device.type, enabled=False):
            for layer in self:
                x = layer(x)
        return x


@torch.no_grad()
def start_near_identity(transform: Any) -> None:
    """Make a zuko autoregressive transform start near the identity, and run in full precision."""
    last = transform.hyper[-1]
    last.weight.mul_(0.01)
    last.bias.zero_()
    transform.hyper = FullPrecision(*transform.hyper)


@torch.no_grad()
def fold(weight: Tensor, bias: Tensor, mean: Tensor, scale: Tensor) -> None:
    """Make weight @ z + bias take (z - mean) / scale instead of z.

    Args:
        weight: (..., D), changed in place.
        bias: (...,), changed in place.
        mean: (D,).
        scale: (D,).
    """
    bias.add_(weight @ mean)
    weight.mul_(scale)


def measure_spread(x: Tensor) -> Tensor:
    """Rows (n, D) -> the standard deviation of each column (D,); 1 where there is no variation.

    So what is scaled by it stays finite, also after a single row.
    """
    if len(x) < 2:
        return torch.ones_like(x[0])
    spread = x.std(0)
    return torch.where(spread > 0, spread, 1.0)


def at_least_float32(x: Tensor) -> Tensor:
    """Convert bfloat16, which autocast produces, to float32; leave float64."""
    return x if x.dtype == torch.float64 else x.float()


def quarter(side: int) -> int:
    """Side of an image -> its length after two halvings that round up."""
    return -(-side // 4)
