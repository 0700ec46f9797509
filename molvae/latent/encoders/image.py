"""Images read by convolutions."""

from __future__ import annotations

from torch import nn

from molvae.latent.encoders import encoders
from molvae.latent.kinds import Example
from molvae.latent.layers import quarter


@encoders.register("image")
class ImageEncoder(nn.Sequential):
    """Images (B, C, H, W) -> two convolutions that halve the sides, then one layer (B, H)."""

    handles = "images"

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
