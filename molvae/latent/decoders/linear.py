"""Arrays of numbers written by one linear layer."""

from __future__ import annotations

import math

from torch import nn

from molvae.latent.decoders import decoders
from molvae.latent.decoders.base import ArrayDecoder
from molvae.latent.kinds import Example
from molvae.latent.protocols import Likelihood


@decoders.register("linear")
class LinearDecoder(ArrayDecoder):
    """x = W z + mu, as in probabilistic PCA; `hidden` and `dropout` are ignored."""

    handles = "numbers"

    def __init__(
        self,
        example: Example,
        latent: int,
        hidden: int,
        likelihood: Likelihood,
        dropout: float = 0.0,
    ) -> None:
        layers = nn.Sequential(nn.Linear(latent, math.prod(example.shape)))
        super().__init__(example, layers, likelihood)
