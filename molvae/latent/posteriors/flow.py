"""A Gaussian transformed by a normalising flow."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.distributions import AffineTransform, Distribution, Independent, Normal
from zuko.distributions import NormalizingFlow
from zuko.flows import MAF
from zuko.transforms import ComposedTransform

from molvae.latent.layers import at_least_float32, start_near_identity
from molvae.latent.posteriors import posteriors
from molvae.latent.posteriors.base import SMALLEST_SCALE


@posteriors.register("flow")
class FlowPosterior(nn.Module):
    """A diagonal Gaussian, transformed by a normalising flow whose parameters depend on x.

    Rezende & Mohamed 2015; the flow is `transforms` affine coupling layers (Dinh et al. 2017), so
    that both sampling and density take one pass each. It has no closed-form mean.
    """

    shift: Tensor
    unit: Tensor

    def __init__(self, hidden: int, latent: int, transforms: int = 4, width: int = 64) -> None:
        super().__init__()
        self.linear = nn.Linear(hidden, 2 * latent)
        self.context = nn.Linear(hidden, width)
        self.flow = coupling = MAF(
            latent, width, transforms=transforms, passes=2, hidden_features=(2 * width, 2 * width)
        )
        for transform in coupling.transform.transforms:
            start_near_identity(transform)
        self.register_buffer("shift", torch.zeros(latent))
        self.register_buffer("unit", torch.ones(latent))

    def forward(self, hidden: Tensor) -> Distribution:
        """Hidden (B, H) -> flow, batch (B,), event (D,), at least in float32."""
        mean, raw = at_least_float32(self.linear(hidden)).chunk(2, dim=-1)
        base = Independent(Normal(mean, nn.functional.softplus(raw) + SMALLEST_SCALE), 1)
        bend = self.flow.transform(at_least_float32(self.context(hidden)))
        back = AffineTransform(self.shift, self.unit, event_dim=1)  # see `standardise`
        return Flow(ComposedTransform(back, *bend.transforms), base)

    def point(self, q: Distribution) -> Tensor:
        """Return the image of the Gaussian's mean under the flow (B, D)."""
        flow = cast(Flow, q)
        point: Tensor = flow.transform.inv(flow.base.mean)
        return point

    @torch.no_grad()
    def standardise(self, mean: Tensor, scale: Tensor) -> None:
        """Give (z - mean) / scale instead of z from now on; both (D,)."""
        self.shift += self.unit * mean
        self.unit *= scale


class Flow(NormalizingFlow):  # type: ignore[misc]
    """A flow for each example of a batch, whose density broadcasts over further points."""

    def log_prob(self, x: Tensor) -> Tensor:
        """x (..., B or 1, D) -> log density (..., B)."""
        full = self.batch_shape + self.event_shape
        shape = torch.broadcast_shapes(x.shape, full)  # type: ignore[no-untyped-call]
        result: Tensor = super().log_prob(x.expand(shape))
        return result
