"""Arrays of numbers read by one linear layer."""

from __future__ import annotations

import math

from torch import nn

from molvae.latent.encoders import encoders
from molvae.latent.kinds import Example


@encoders.register("linear")
class LinearEncoder(nn.Sequential):
    """Numbers (B, ...) -> one linear layer (B, H): with a linear decoder, a linear VAE."""

    handles = "numbers"

    def __init__(self, example: Example, hidden: int) -> None:
        super().__init__(nn.Flatten(), nn.Linear(math.prod(example.shape), hidden))
