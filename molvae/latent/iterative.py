"""Iterative inference: learned steps that improve the mean of q(z|x)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from molvae.base.errors import MolvaeError
from molvae.latent.layers import FullPrecision
from molvae.latent.refine import find_slope

HIDDEN = 256
LOG_LENGTH = -3.0  # of a step before training, rms over dimensions; latents vary by about 1


class IterativeInference(nn.Module):
    """q(z|x) and log p(x|z) -> a better q of the same spread.

    An encoder is one function for every x, and misses the best q of each: the amortization gap. The
    gradient of log p(x|z) at its mean says in which direction the best one lies, and how far to go
    is learned (iterative amortized inference, Marino et al. 2018). The same weights make every
    step. A step is a multiple of the normalised gradient plus a vector of its own, both read from
    the mean, the gradient and log p(x|z); the gradient itself is not differentiated.
    """

    centre: Tensor
    spread: Tensor

    def __init__(self, latent: int) -> None:
        super().__init__()
        last = nn.Linear(HIDDEN, 2 * latent)
        with torch.no_grad():
            last.weight.mul_(0.01)
            last.bias.zero_()
            last.bias[:latent] = LOG_LENGTH
        self.layers = FullPrecision(
            nn.Linear(2 * latent + 2, HIDDEN),
            nn.SiLU(),
            nn.Linear(HIDDEN, HIDDEN),
            nn.SiLU(),
            last,
        )
        # of the coordinates that the layers know: spread * z + centre
        self.register_buffer("centre", torch.zeros(latent))
        self.register_buffer("spread", torch.ones(latent))

    def forward(self, q: Distribution, log_likelihood: Callable[[Tensor], Tensor]) -> Distribution:
        """Take one step.

        Args:
            q: batch (B,), event (D,), independent Gaussians.
            log_likelihood: z (B, D) -> log p(x|z) (B,) in nats.

        Raises:
            MolvaeError: q is of another kind.
        """
        if not (isinstance(q, Independent) and isinstance(q.base_dist, Normal)):
            raise MolvaeError(
                "iterative inference needs a posterior of independent Gaussians, such as "
                "'isotropic' or 'diagonal'"
            )
        value, slope = find_slope(log_likelihood, q.mean)
        slope = slope.to(q.mean) / self.spread
        length = slope.square().mean(dim=1, keepdim=True).sqrt()
        length = length.clamp_min(torch.finfo(length.dtype).tiny)
        read = [q.mean * self.spread + self.centre, slope / length, length.log()]
        read.append(value.to(q.mean).asinh()[:, None])
        log_scale, shift = self.layers(torch.cat(read, dim=1)).chunk(2, dim=1)
        step = (log_scale.exp() * slope / length + shift) / self.spread
        return Independent(Normal(q.mean + step, q.stddev, validate_args=False), 1)

    @torch.no_grad()
    def standardise(self, mean: Tensor, scale: Tensor) -> None:
        """Take and give (z - mean) / scale instead of z from now on; both (D,)."""
        self.centre += mean * self.spread
        self.spread *= scale
