"""Directions of the latent space that change one property of x and leave the others alone.

Faces with glasses differ from those without by the glasses, and by whatever else goes with them in
the data. The difference of the two mean latents holds both. A regression of z on all properties
that are known tells them apart: the effect of one with the others held.
"""

from __future__ import annotations

import torch
from torch import Tensor

from molvae.base.errors import MolvaeError


def estimate_effects(z: Tensor, properties: Tensor) -> Tensor:
    """Latents z (n, D) and what is known of each (n, P) -> the effect of each property (P, D).

    Least squares, z = c + properties @ effects + rest; of all solutions the smallest, so that
    properties may be redundant, as one-hot columns are. To change an example from properties a to b
    add (b - a) @ effects to its z.

    >>> properties = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    >>> z = 5 + properties @ torch.tensor([[1.0, 0.0, 2.0], [0.0, -1.0, 0.0]])
    >>> estimate_effects(z, properties).round(decimals=4) + 0.0
    tensor([[ 1.,  0.,  2.],
            [ 0., -1.,  0.]])

    Raises:
        MolvaeError: not one row of properties for each z.
    """
    if z.ndim != 2 or properties.ndim != 2 or len(z) != len(properties):
        raise MolvaeError(
            f"effects need latents (n, D) and properties (n, P), not {tuple(z.shape)} and "
            f"{tuple(properties.shape)}"
        )
    known = properties.to(z.dtype)
    effects: Tensor = torch.linalg.pinv(known - known.mean(0)) @ (z - z.mean(0))
    return effects
