"""Posterior heads: hidden (B, H) -> q(z|x), a distribution with batch (B,) and event (D,).

`standardise` makes a head give (z - mean) / scale in place of z; `point` is the z that stands for
an example where one is wanted.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import (
    AffineTransform,
    Distribution,
    Independent,
    MultivariateNormal,
    Normal,
)
from zuko.distributions import NormalizingFlow
from zuko.flows import MAF
from zuko.transforms import ComposedTransform

from molvae.base.registry import Registry

posteriors: Registry[type[nn.Module]] = Registry("posterior")

SMALLEST_SCALE = 1e-4  # keeps log q finite
# distributions do not check what networks give them: each check waits for the GPU


@posteriors.register("diagonal")
class DiagonalGaussian(nn.Module):
    """q(z|x) = N(mean(x), diag(scale(x)^2)), both linear in the hidden vector."""

    unit: Tensor

    def __init__(self, hidden: int, latent: int) -> None:
        super().__init__()
        self.linear = nn.Linear(hidden, 2 * latent)
        self.register_buffer("unit", torch.ones(latent))  # of the scale, see `standardise`

    def forward(self, hidden: Tensor) -> Distribution:
        """Hidden (B, H) -> Gaussian, batch (B,), event (D,), at least in float32."""
        mean, raw = at_least_float32(self.linear(hidden)).chunk(2, dim=-1)
        scale = self.unit * nn.functional.softplus(raw) + SMALLEST_SCALE
        return Independent(Normal(mean, scale, validate_args=False), 1)

    @staticmethod
    def point(q: Any) -> Tensor:
        """Return the mean (B, D)."""
        mean: Tensor = q.mean
        return mean

    @torch.no_grad()
    def standardise(self, mean: Tensor, scale: Tensor) -> None:
        """Give (z - mean) / scale in place of z from now on; both (D,)."""
        _rescale_mean(self.linear, mean, scale)
        self.unit /= scale


@posteriors.register("isotropic")
class FixedNoise(nn.Module):
    """q(z|x) = N(mean(x), 0.5^2 I): the same noise for every x and in every direction.

    The constant-variance VAE (Ghosh et al. 2020, section 3). A KL weight then limits the power of
    the mean, as in a Gaussian channel, so that what is known of x is spread over all dimensions and
    the decoder learns to stand the same step in any of them.
    """

    scale: Tensor

    def __init__(self, hidden: int, latent: int) -> None:
        super().__init__()
        self.linear = nn.Linear(hidden, latent)
        self.register_buffer("scale", torch.full((latent,), 0.5))

    def forward(self, hidden: Tensor) -> Distribution:
        """Hidden (B, H) -> Gaussian, batch (B,), event (D,), at least in float32."""
        mean = at_least_float32(self.linear(hidden))
        return Independent(Normal(mean, self.scale.expand_as(mean), validate_args=False), 1)

    point = staticmethod(DiagonalGaussian.point)

    @torch.no_grad()
    def standardise(self, mean: Tensor, scale: Tensor) -> None:
        """Give (z - mean) / scale in place of z from now on; both (D,)."""
        _rescale_mean(self.linear, mean, scale)
        self.scale /= scale


@posteriors.register("full")
class FullGaussian(DiagonalGaussian):
    """q(z|x) = N(mean(x), L(x) L(x)^T): every pair of latent dimensions has a covariance.

    L is lower triangular with a positive diagonal; training starts from a diagonal one.
    """

    def __init__(self, hidden: int, latent: int) -> None:
        super().__init__(hidden, latent)
        pairs = latent * (latent - 1) // 2
        self.below_weight = nn.Parameter(torch.zeros(pairs, hidden))
        self.below_bias = nn.Parameter(torch.zeros(pairs))

    def forward(self, hidden: Tensor) -> Distribution:
        """Hidden (B, H) -> Gaussian, batch (B,), event (D,), at least in float32."""
        mean, raw = at_least_float32(self.linear(hidden)).chunk(2, dim=-1)
        factor = torch.diag_embed(nn.functional.softplus(raw) + SMALLEST_SCALE)
        rows, columns = torch.ones_like(factor[0]).tril(-1).nonzero(as_tuple=True)
        below = nn.functional.linear(hidden, self.below_weight, self.below_bias)
        factor[:, rows, columns] = at_least_float32(below)
        # positive by construction: no need to check each
        return MultivariateNormal(mean, scale_tril=self.unit[:, None] * factor, validate_args=False)


@posteriors.register("flow")
class FlowPosterior(nn.Module):
    """A diagonal Gaussian bent by a normalising flow whose parameters depend on x.

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

    @staticmethod
    def point(q: Any) -> Tensor:
        """Return the image of the mean of the Gaussian (B, D)."""
        point: Tensor = q.transform.inv(q.base.mean)
        return point

    @torch.no_grad()
    def standardise(self, mean: Tensor, scale: Tensor) -> None:
        """Give (z - mean) / scale in place of z from now on; both (D,)."""
        self.shift += self.unit * mean
        self.unit *= scale


class Flow(NormalizingFlow):  # type: ignore[misc]
    """A flow for each example of a batch, which also scores points that are not laid out so."""

    def log_prob(self, x: Tensor) -> Tensor:
        """x (..., B or 1, D) -> log density (..., B)."""
        full = self.batch_shape + self.event_shape
        shape = torch.broadcast_shapes(x.shape, full)  # type: ignore[no-untyped-call]
        result: Tensor = super().log_prob(x.expand(shape))
        return result


class FullPrecision(nn.Sequential):
    """Layers that autocast leaves alone: a density in bfloat16 is no density."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layers in the precision of x."""
        with torch.autocast(x.device.type, enabled=False):
            for layer in self:
                x = layer(x)
        return x


@torch.no_grad()
def start_near_identity(transform: Any) -> None:
    """Make a zuko autoregressive transform change little before training, in full precision."""
    last = transform.hyper[-1]
    last.weight.mul_(0.01)
    last.bias.zero_()
    transform.hyper = FullPrecision(*transform.hyper)


def at_least_float32(x: Tensor) -> Tensor:
    """Bring bfloat16, which autocast makes, to float32; leave float64."""
    return x if x.dtype == torch.float64 else x.float()


def _rescale_mean(linear: nn.Linear, mean: Tensor, scale: Tensor) -> None:
    """Rescale the rows of a linear layer that give the mean."""
    weight, bias = linear.weight[: len(mean)], linear.bias[: len(mean)]
    weight /= scale[:, None]
    bias.sub_(mean).div_(scale)
