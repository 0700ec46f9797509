"""Latent points given an event: annealed importance resampling with Metropolis moves.

Which z make a molecule begin with "CCOC(=O)c1"? Nearly none of those drawn from the prior: among
5,000 draws weighted by p(event|z), a handful carry all the weight. So the event is imposed little
by little. The weights are p(event|z)^b with b rising from 0 to 1; at each stage the points are
resampled by their weights, and then spread again by moves that leave p(z) p(event|z)^b as it is. At
b = 1 they are draws of p(z|event).

This is annealed importance sampling with resampling (Neal 2001; Del Moral, Doucet & Jasra 2006),
with the moves of Cotter et al. 2013, which fit a Gaussian p(z) in any number of dimensions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

MOVES = 5  # Metropolis moves per stage
SHARE = 0.5  # each stage resamples from weights with this effective share of the points
ACCEPT = 0.25  # share of accepted moves that the step size is adjusted to
FIRST_STEP = 0.3  # step size of the first stage, in standard deviations of p(z)
LEAST_RISE = 1e-3  # of the power per stage, so that it ends
BISECTIONS = 30

Weigh = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class Population(NamedTuple):
    """Draws of p(z|event) for each of G events."""

    z: Tensor
    """(G, P, D)."""
    labels: Tensor
    """(G, P), of the draws that they descend from."""
    drawn: Tensor
    """(G, P, ...), what `weigh` drew with them."""
    log_evidence: Tensor
    """Estimates of log p(event) (G,) in nats."""


@torch.no_grad()
def anneal_latents(
    weigh: Weigh, labels: Tensor, mean: Tensor, scale: float, generator: torch.Generator
) -> Population:
    """Draw P latents of p(z|event) for each of G events, where p(z) = N(mean, scale^2 I).

    Args:
        weigh: z (n, D) and their labels (n,) -> anything (n, ...) drawn given z, and log p(event|z)
            (n,), finite, or the log of an unbiased estimate of it that belongs to what was drawn.
        labels: (G, P) int64; tells `weigh` which event it is, or which variant of it: the variants
            of one event compete, those of different events do not.
        mean: of p(z), (D,).
        scale: of p(z).
        generator: of all draws here.
    """
    groups, count = labels.shape
    dimension = len(mean)

    def measure(z: Tensor) -> tuple[Tensor, Tensor]:
        drawn, log_w = weigh(z.flatten(0, 1), labels.flatten())
        return drawn.view(groups, count, *drawn.shape[1:]), log_w.view(groups, count)

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, dimension, generator=generator, device=mean.device)

    z = mean + scale * noise(groups, count)
    drawn, log_w = measure(z)
    done, evidence = log_w.new_zeros(groups), log_w.new_zeros(groups)
    step = torch.full_like(done, FIRST_STEP)
    while (done < 1).any():
        rise = _find_rise(log_w, 1 - done)
        evidence += (rise[:, None] * log_w).logsumexp(dim=1) - log_w.new_tensor(count).log()
        chosen = resample(rise[:, None] * log_w, generator)
        z, drawn = (_take(rows, chosen) for rows in (z, drawn))
        log_w, labels = log_w.gather(1, chosen), labels.gather(1, chosen)
        done = torch.where(rise == 1 - done, 1.0, done + rise)
        for _ in range(MOVES):
            r = step[:, None, None]
            moved = mean + (1 - r**2).sqrt() * (z - mean) + r * scale * noise(groups, count)
            other, log_other = measure(moved)
            u = torch.rand(groups, count, generator=generator, device=mean.device)
            accepted = u.log() < done[:, None] * (log_other - log_w)
            log_w = log_other.where(accepted, log_w)
            z, drawn = (_choose(accepted, new, old) for new, old in ((moved, z), (other, drawn)))
            rate = accepted.float().mean(dim=1)
            step = (step * (2 * (rate - ACCEPT)).exp()).clamp(1e-3, 0.9)
    return Population(z, labels, drawn, evidence)


def resample(log_w: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Log weights (G, P) -> P indices (G, P) drawn in proportion to the weights of each row.

    Systematic resampling: a weight of w draws takes floor(w) or ceil(w) of them.
    """
    groups, count = log_w.shape
    upper = log_w.softmax(dim=1).cumsum(dim=1)
    u = torch.rand(groups, 1, generator=generator, device=log_w.device)
    places = (torch.arange(count, device=log_w.device) + u) / count * upper[:, -1:]
    return torch.searchsorted(upper, places).clamp(max=count - 1)


def _find_rise(log_w: Tensor, most: Tensor) -> Tensor:
    """Log weights (G, P) -> the largest power (G,) up to `most` with enough effective points."""

    def share(power: Tensor) -> Tensor:
        weights = (power[:, None] * log_w).softmax(dim=1)
        return 1 / (log_w.shape[1] * weights.square().sum(dim=1))

    low, high = torch.zeros_like(most), most
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        enough = share(middle) >= SHARE
        low, high = middle.where(enough, low), high.where(enough, middle)
    return torch.where(share(most) >= SHARE, most, low.maximum(most.clamp(max=LEAST_RISE)))


def _take(rows: Tensor, chosen: Tensor) -> Tensor:
    """Rows (G, P, ...) and indices (G, P) -> the chosen rows of each group."""
    return rows[torch.arange(len(rows), device=rows.device)[:, None], chosen]


def _choose(which: Tensor, new: Tensor, old: Tensor) -> Tensor:
    """(G, P) bool, rows (G, P, ...) twice -> the new ones where True."""
    return new.where(which.view(*which.shape, *(1,) * (new.ndim - 2)), old)
