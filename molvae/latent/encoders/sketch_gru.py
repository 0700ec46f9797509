"""Sketches read in both directions by a GRU."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from molvae.latent.encoders import encoders
from molvae.latent.kinds import Example
from molvae.latent.sketches import POSITION, WIDTH, count_rows, locate


@encoders.register("sketch-gru")
class SketchGRUEncoder(nn.Module):
    """Sketches (B, L, 5) -> what a bidirectional GRU of H / 2 units a direction read (B, H).

    As the encoder of SketchRNN (Ha & Eck 2018, section 3.2), which reads the two last states, with
    two changes: each point is read with its place on the sheet, which a GRU would have to sum up,
    and the mean of all states is read beside the last ones, which alone forget where a long sketch
    began. Rows after the first end are not read.
    """

    handles = "sketches"

    def __init__(self, example: Example, hidden: int) -> None:
        super().__init__()
        self.ahead = nn.GRU(WIDTH + POSITION, hidden // 2)
        self.back = nn.GRU(WIDTH + POSITION, hidden // 2)
        self.out = nn.Linear(2 * hidden, hidden)

    def forward(self, x: Tensor) -> Tensor:
        """Sketches (B, L, 5) -> hidden (B, H)."""
        rows = count_rows(x)
        steps = torch.arange(int(rows.max()), device=x.device)  # l of the longest sketch
        points = torch.cat([x, locate(x)], dim=-1)[:, : len(steps)]
        reverse = (rows[:, None] - 1 - steps).clamp(min=0)  # (B, l): last row first
        turned = points.gather(1, reverse[..., None].expand_as(points))
        read = (steps < rows[:, None]).t()[..., None]  # (l, B, 1)
        parts = []
        for layer, order in ((self.ahead, points), (self.back, turned)):
            states = layer(order.transpose(0, 1))[0]  # (l, B, H / 2)
            parts.append(states[rows - 1, torch.arange(len(x), device=x.device)])
            parts.append((states * read).sum(0) / rows[:, None])
        hidden: Tensor = nn.functional.silu(self.out(torch.cat(parts, dim=-1)))
        return hidden
