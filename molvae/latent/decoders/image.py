"""Images written by convolutions."""

from __future__ import annotations

import math

from torch import nn

from molvae.latent.decoders import decoders
from molvae.latent.decoders.base import ArrayDecoder
from molvae.latent.kinds import Example
from molvae.latent.layers import quarter
from molvae.latent.protocols import Likelihood


@decoders.register("image")
class ImageDecoder(ArrayDecoder):
    """One layer, then two convolutions that double the sides; `dropout` drops channels."""

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
        small, wide = max(8, hidden // 8), max(16, hidden // 4)
        low = (wide, quarter(height), quarter(width))
        layers = nn.Sequential(
            nn.Linear(latent, math.prod(low)),
            nn.Unflatten(1, low),
            nn.SiLU(),
            nn.Dropout2d(dropout),
            nn.Upsample((-(-height // 2), -(-width // 2))),
            nn.Conv2d(wide, small, 3, padding=1),
            nn.SiLU(),
            nn.Upsample((height, width)),
            nn.Conv2d(small, small, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(small, channels, 3, padding=1),
        )
        super().__init__(example, layers, likelihood)
