"""A place in an image, as the mean of a heatmap."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from molvae.latent.kinds import Example
from molvae.latent.layers import quarter
from molvae.latent.locators import locators


@locators.register("heatmap")
class Heatmap(nn.Module):
    """Convolutions give each cell of 4 x 4 pixels a weight; the place is the mean of the cells.

    Where the image moves, so does the heatmap: what is learned at one place holds at every other,
    which a layer that gives two coordinates has to learn place by place. The features are those of
    the cells, averaged once by the heatmap's weights and once evenly (Levine et al. 2016, the
    spatial softmax).
    """

    handles = "images"
    cells_down: Tensor
    cells_right: Tensor

    def __init__(self, example: Example, hidden: int) -> None:
        super().__init__()
        channels, height, width = example.shape
        self.features = nn.Sequential(
            nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False),
            nn.Conv2d(channels, hidden // 4, 5, stride=2, padding=2),
            nn.SiLU(),
            nn.Conv2d(hidden // 4, hidden // 2, 3, dilation=2, padding=2),
            nn.SiLU(),
        )
        self.weights = nn.Conv2d(hidden // 2, 1, 3, padding=1)
        for name, side in (("cells_down", height), ("cells_right", width)):
            # the middle of the input pixels that the middle of a cell's filter reads
            cells = 4.0 * torch.arange(quarter(side)) + 0.5
            self.register_buffer(name, cells.clamp(max=side - 1.0), persistent=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, C, H, W) -> row and column (B, 2) in pixels, features (B, H)."""
        features = self.features(x)  # (B, H / 2, rows, columns)
        weights = self.weights(features).flatten(1).softmax(1).view(-1, 1, *features.shape[2:])
        down = (weights.sum((1, 3)) * self.cells_down).sum(1)
        right = (weights.sum((1, 2)) * self.cells_right).sum(1)
        seen = [(features * weights).sum((2, 3)), features.mean((2, 3))]
        return torch.stack([down, right], 1), torch.cat(seen, 1)
