"""Images of one thing in front of another, such as a digit on a wall."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from molvae.latent.decoders import decoders
from molvae.latent.decoders.base import ArrayDecoder
from molvae.latent.kinds import Example
from molvae.latent.layers import quarter
from molvae.latent.protocols import Likelihood

FAINT = -2.0  # log-odds of the mask of an untrained model: most of an image is background


class Layers(nn.Module):
    """Hidden units (B, 3 H) -> ink of one value a channel over a background, (B, C, H, W).

    A third of the units writes the mask, which says where the ink is, at full size; a third its
    value in each channel; and a third the background, at a quarter of the sides.
    """

    def __init__(self, example: Example, hidden: int) -> None:
        super().__init__()
        channels, *self.size = example.shape
        height, width = self.size
        self.mask = nn.Sequential(
            nn.Linear(hidden, 2 * hidden), nn.SiLU(), nn.Linear(2 * hidden, height * width)
        )
        self.ink = nn.Linear(hidden, channels)
        low = (channels, quarter(height), quarter(width))
        self.background = nn.Sequential(
            nn.Linear(hidden, low[0] * low[1] * low[2]), nn.Unflatten(1, low)
        )

    def forward(self, hidden: Tensor) -> Tensor:
        """Blend."""
        for_mask, for_ink, for_background = hidden.chunk(3, dim=1)
        mask = torch.sigmoid(self.mask(for_mask) + FAINT).view(-1, 1, *self.size)
        ink = self.ink(for_ink)[..., None, None]
        low = self.background(for_background)
        background = nn.functional.interpolate(low, self.size, mode="bilinear")
        blended: Tensor = background + mask * (ink - background)
        return blended


@decoders.register("layered-image")
class LayeredImageDecoder(ArrayDecoder):
    """One layer, then ink over a smooth background, through a mask; `dropout` of hidden units.

    As in layered models of images (Wang & Adelson 1994; with a VAE: Yan et al. 2016,
    "Attribute2Image"): shape, colour and background come from units of their own, so that a label
    that says which shape it is, as in `M2`, changes the shape in whatever colours.
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
        layers = nn.Sequential(
            nn.Linear(latent, 3 * hidden),
            nn.SiLU(),
            nn.Dropout(dropout),
            Layers(example, hidden),
        )
        super().__init__(example, layers, likelihood)
