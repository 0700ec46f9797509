"""Larger images written by convolutions."""

from __future__ import annotations

import math

from torch import Tensor, nn

from molvae.latent.decoders import decoders
from molvae.latent.decoders.base import ArrayDecoder
from molvae.latent.kinds import Example
from molvae.latent.layers import quarter
from molvae.latent.protocols import Likelihood


class Cut(nn.Module):
    """Images (B, C, ...) -> their upper left corner (B, C, height, width)."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.height, self.width = height, width

    def forward(self, x: Tensor) -> Tensor:
        """Cut."""
        return x[:, :, : self.height, : self.width]


@decoders.register("deep-image")
class DeepImageDecoder(ArrayDecoder):
    """One layer, then convolutions at an eighth and a quarter of the sides; `dropout` of channels.

    The last channels are rearranged into patches of 4 x 4 pixels (Shi et al. 2016, sub-pixel
    convolution), so that no convolution runs at full size, which is most of the cost of "image".
    """

    handles = "images"

    def __init__(
        self,
        example: Example,
        latent: int,
        hidden: int,
        likelihood: Likelihood,
        dropout: float = 0.0,
    ) -> None:
        channels, height, width = example.shape
        few, many = max(8, hidden // 8), max(16, hidden // 4)
        low = (many, (quarter(height) + 1) // 2, (quarter(width) + 1) // 2)
        layers = nn.Sequential(
            nn.Linear(latent, math.prod(low)),
            nn.Unflatten(1, low),
            nn.SiLU(),
            nn.Dropout2d(dropout),
            nn.Conv2d(many, many, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(many, 4 * few, 3, padding=1),
            nn.PixelShuffle(2),
            nn.SiLU(),
            nn.Conv2d(few, 16 * channels, 3, padding=1),
            nn.PixelShuffle(4),
            Cut(height, width),
        )
        super().__init__(example, layers, likelihood)

    def forward(self, z: Tensor) -> Tensor:
        """z (B, D) -> what the likelihood reads (B, C, H, W)."""
        out: Tensor = self.layers(z)
        return out
