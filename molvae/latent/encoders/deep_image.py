"""Larger images read by convolutions."""

from __future__ import annotations

from torch import nn

from molvae.latent.encoders import encoders
from molvae.latent.kinds import Example
from molvae.latent.layers import quarter


@encoders.register("deep-image")
class DeepImageEncoder(nn.Sequential):
    """Images (B, C, H, W) -> patches of 4 x 4, two convolutions, the second halves (B, H).

    For photographs or drawings of 32 to 128 pixels, where "image" is slow: most work is done at an
    eighth of the sides.
    """

    handles = "images"

    def __init__(self, example: Example, hidden: int) -> None:
        channels, height, width = example.shape
        few, many = max(8, hidden // 8), max(16, hidden // 4)
        low = (quarter(height) + 1) // 2 * ((quarter(width) + 1) // 2)
        super().__init__(
            nn.ZeroPad2d((0, -width % 4, 0, -height % 4)),
            nn.Conv2d(channels, few, 4, stride=4),
            nn.SiLU(),
            nn.Conv2d(few, many, 3, stride=2, padding=1),
            nn.SiLU(),
            nn.Conv2d(many, many, 3, padding=1),
            nn.SiLU(),
            nn.Flatten(),
            nn.Linear(many * low, hidden),
            nn.SiLU(),
        )
