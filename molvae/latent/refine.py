"""Latents that represent an example more exactly than the encoder's output."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from molvae.base.errors import MolvaeError
from molvae.latent.protocols import LatentModel

STEPS = 32  # eight suffice for nearly all of ZINC, but not for large molecules
LENGTH = 0.06  # of a step, rms over dimensions; latents have a standard deviation of about 1


@torch.no_grad()
def refine_latents(
    model: LatentModel,
    x: Tensor,
    z: Tensor,
    settled: Callable[[Tensor, Tensor], Tensor],
    steps: int = STEPS,
) -> Tensor:
    """Latents z (B, D) of x (B, ...) -> latents (B, D) near them that represent x better.

    An encoder is one function for every x, and misses the best latents of each: the amortization
    gap (Cremer et al. 2018). A few steps of fixed length up the gradient of log p(x|z) close much
    of it, as in semi-amortized autoencoders (Kim et al. 2018), which also train with them.

    Args:
        model: gives log p(x|z).
        x: examples.
        z: where to start.
        settled: x, z -> which rows are good enough (B,); only the others are changed.
        steps: at most.

    Raises:
        MolvaeError: a negative number of steps.
    """
    if steps < 0:
        raise MolvaeError(f"the number of refining steps must not be negative, got {steps}")
    z, rows = z.clone(), torch.arange(len(z), device=z.device)
    for _ in range(steps):
        rows = rows[~settled(x[rows], z[rows])]
        if len(rows) == 0:
            break
        _, slope = find_slope(partial(model.log_likelihood, x[rows]), z[rows])
        norm = slope.square().mean(dim=1, keepdim=True).sqrt()
        z[rows] += LENGTH * slope / norm.clamp_min(torch.finfo(norm.dtype).tiny)
    return z


def find_slope(log_likelihood: Callable[[Tensor], Tensor], z: Tensor) -> tuple[Tensor, Tensor]:
    """z (B, D) -> log p(x|z) (B,) in nats and its gradient (B, D), as constants.

    Args:
        log_likelihood: z -> log p(x|z), each row from its own z alone.
        z: where.
    """
    start = z.detach().requires_grad_()
    # a recurrent layer of cuDNN has gradients in training mode only
    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
        value = log_likelihood(start)
        (slope,) = torch.autograd.grad(value.sum(), start)
    return value.detach(), slope
