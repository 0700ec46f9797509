"""Arrays of numbers read by two hidden layers."""

from __future__ import annotations

import math

from torch import nn

from molvae.latent.encoders import encoders
from molvae.latent.kinds import Example


@encoders.register("mlp")
class MLPEncoder(nn.Sequential):
    """Numbers (B, ...) -> two hidden layers (B, H)."""

    handles = "numbers"

    def __init__(self, example: Example, hidden: int) -> None:
        super().__init__(
            nn.Flatten(),
            nn.Linear(math.prod(example.shape), hidden),
            nn.SiLU(),
            nn.Linear(hidden, hidden),
            nn.SiLU(),
        )
