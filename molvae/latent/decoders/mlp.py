"""Arrays of numbers written by two hidden layers."""

from __future__ import annotations

import math

from torch import nn

from molvae.latent.decoders import decoders
from molvae.latent.decoders.base import ArrayDecoder
from molvae.latent.kinds import Example
from molvae.latent.protocols import Likelihood


@decoders.register("mlp")
class MLPDecoder(ArrayDecoder):
    """Two hidden layers; `dropout` is the share of their units dropped in training."""

    handles = "numbers"

    def __init__(
        self,
        example: Example,
        latent: int,
        hidden: int,
        likelihood: Likelihood,
        dropout: float = 0.0,
    ) -> None:
        layers = nn.Sequential(
            nn.Linear(latent, hidden),
            nn.SiLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, hidden),
            nn.SiLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, math.prod(example.shape)),
        )
        super().__init__(example, layers, likelihood)
