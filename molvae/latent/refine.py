"""Latents that represent an example more exactly than the encoder's output."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from molvae.base.errors import MolvaeError

STEPS = 32  # eight suffice for nearly all of ZINC, but not for large molecules
LENGTH = 0.06  # of a step, rms over dimensions; latents have a standard deviation of about 1


@torch.no_grad()
def refine_latents(
    judge: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    x: Tensor,
    z: Tensor,
    steps: int = STEPS,
) -> Tensor:
    """Latents z (B, D) of x (B, ...) -> latents (B, D) near them that represent x better.

    An encoder is one function for every x, and misses the best latents of each: the amortization
    gap (Cremer et al. 2018). A few steps of fixed length up the gradient of log p(x|z) close much
    of it, as in semi-amortized autoencoders (Kim et al. 2018), which also train with them.

    Args:
        judge: x, z -> log p(x|z) (B,) in nats, and which rows are good enough (B,); only the others
            are changed. Both from one pass, since most of the time goes into passes.
        x: examples.
        z: where to start.
        steps: at most.

    Raises:
        MolvaeError: a negative number of steps.
    """
    if steps < 0:
        raise MolvaeError(f"the number of refining steps must not be negative, got {steps}")
    z, rows = z.clone(), torch.arange(len(z), device=z.device)
    for _ in range(steps):
        start = z[rows].requires_grad_()
        with _gradients():
            value, settled = judge(x[rows], start)
            going = ~settled
            if not going.any():
                break
            (slope,) = torch.autograd.grad(value[going].sum(), start)
        rows, slope = rows[going], slope[going]
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
    with _gradients():
        value = log_likelihood(start)
        (slope,) = torch.autograd.grad(value.sum(), start)
    return value.detach(), slope


@contextmanager
def _gradients() -> Iterator[None]:
    """Record operations inside a `with` block, so that they can be differentiated."""
    # a recurrent layer of cuDNN has gradients in training mode only
    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
        yield
