"""Points of a sketch: where the pen goes, and what it does there."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from molvae.base.errors import MolvaeError
from molvae.latent.layers import at_least_float32
from molvae.latent.likelihoods import likelihoods
from molvae.latent.sketches import END, WIDTH

STATES = 3  # of the pen
SMALLEST_SCALE = 0.01  # of a Gaussian, where moves have a standard deviation of about 1
LARGEST_CORRELATION = 0.98


class Mixture(NamedTuple):
    """p(point): a mixture of M bivariate Gaussians for the move, a softmax for the pen."""

    weight: Tensor
    """Logits (..., M)."""
    mean: Tensor
    """(..., M, 2)."""
    scale: Tensor
    """(..., M, 2)."""
    correlation: Tensor
    """(..., M)."""
    pen: Tensor
    """Logits (..., 3)."""


@likelihoods.register("mixture-density")
class MixtureDensity(nn.Module):
    """A mixture-density output (Bishop 1994) as in SketchRNN (Ha & Eck 2018, equations 3 to 6).

    A move (dx, dy) comes from one of M Gaussians with correlated coordinates, the state of the pen
    from a softmax. So log p(x|z) is the log density of a sketch of any length: the moves and states
    of all points, and the state of the first end. The ends after it are certain, and are not
    counted; the published loss counts them.
    """

    handles = "sketches"
    components = 20  # M
    width = 6 * components + STATES  # numbers that the decoder puts out for each point

    def __init__(self, noise: float | None = None) -> None:
        super().__init__()
        if noise is not None:
            raise MolvaeError("the mixture-density likelihood takes no noise")

    def read(self, out: Tensor) -> Mixture:
        """Out (..., width) -> the mixture that it stands for, at least in float32."""
        out = at_least_float32(out)
        m = self.components
        parts = torch.split(out, [m, 2 * m, 2 * m, m, STATES], dim=-1)
        weight, mean, scale, correlation, pen = parts
        pairs = (*out.shape[:-1], m, 2)
        return Mixture(
            weight,
            mean.reshape(pairs),
            SMALLEST_SCALE + scale.clamp(max=5).exp().reshape(pairs),
            LARGEST_CORRELATION * correlation.tanh(),
            pen,
        )

    def log_prob_points(self, out: Tensor, x: Tensor) -> Tensor:
        """Out (B, l, width), x (B, L, 5), l <= L -> log p of each row (B, l) in nats.

        Rows after the first end have 0; with l < L, all those that are left out.
        """
        x = x[:, : out.shape[1]]
        p = self.read(out)
        a, b = ((x[..., None, :2].to(p.mean.dtype) - p.mean) / p.scale).unbind(-1)
        free = 1 - p.correlation.square()
        density = (
            -0.5 * (a.square() + b.square() - 2 * p.correlation * a * b) / free
            - 0.5 * free.log()
            - p.scale.log().sum(-1)
            - math.log(2 * math.pi)
        )
        move = (p.weight.log_softmax(-1) + density).logsumexp(-1)
        pen = (x[..., 2:] * p.pen.log_softmax(-1)).sum(-1)
        ended = x[..., END]
        before = ended.cumsum(1) - ended  # ends before this row
        return torch.where(before > 0, 0.0, pen + torch.where(ended > 0, 0.0, move))

    def log_prob(self, out: Tensor, x: Tensor) -> Tensor:
        """Out (B, l, width), x (B, L, 5), l <= L -> log p(x|z) (B,) in nats."""
        return self.log_prob_points(out, x).sum(1)

    def generate(
        self, out: Tensor, temperature: float = 0.0, generator: torch.Generator | None = None
    ) -> Tensor:
        """Out (..., width) -> points (..., 5): the likeliest mean and state at temperature 0.

        Above it, draws: logits are divided by the temperature, variances multiplied by it (Ha &
        Eck 2018, equation 8).
        """
        p = self.read(out)
        if temperature > 0:
            component, pen = (
                torch.multinomial(
                    (logits / temperature).softmax(-1).flatten(0, -2), 1, generator=generator
                ).view(logits.shape[:-1])
                for logits in (p.weight, p.pen)
            )
        else:
            component, pen = p.weight.argmax(-1), p.pen.argmax(-1)
        at = component[..., None, None]
        move = p.mean.gather(-2, at.expand(*at.shape[:-1], 2))[..., 0, :]
        if temperature > 0:
            scale = p.scale.gather(-2, at.expand(*at.shape[:-1], 2))[..., 0, :]
            r = p.correlation.gather(-1, at[..., 0])[..., 0]
            a, b = torch.randn(
                move.shape, generator=generator, dtype=move.dtype, device=move.device
            ).unbind(-1)
            noise = torch.stack([a, r * a + (1 - r.square()).sqrt() * b], dim=-1)
            move = move + math.sqrt(temperature) * scale * noise
        points = torch.zeros(*move.shape[:-1], WIDTH, dtype=move.dtype, device=move.device)
        points[..., 2:] = nn.functional.one_hot(pen, STATES)
        points[..., :2] = torch.where(points[..., END:] > 0, 0.0, move)
        return points
