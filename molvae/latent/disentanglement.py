"""How far each factor of variation has a latent dimension to itself, where the factors are known.

If one dimension of z says whether a face wears glasses and no other does, glasses are disentangled.
If two say half of it each, z knows as much, but neither can be read or turned alone.
"""

from __future__ import annotations

import torch
from torch import Tensor

from molvae.base.errors import MolvaeError

BINS = 20  # equally filled, of each dimension of z


def measure_information(z: Tensor, factors: Tensor) -> Tensor:
    """Latents z (n, D), factors (n, F) -> mutual information of each pair (F, D) in nats.

    Each dimension of z, such as the posterior mean, is cut into 20 bins with equally many examples.
    Some thousands of examples are needed: chance alone adds about levels * 20 / 2n.

    Args:
        z: one row for each example.
        factors: whole numbers from 0, the level of each factor.

    Raises:
        MolvaeError: not one row of factors for each z, or factors that are no levels.
    """
    if z.ndim != 2 or factors.ndim != 2 or len(z) != len(factors) or not len(z):
        raise MolvaeError(
            f"information needs latents (n, D) and factors (n, F), not {tuple(z.shape)} and "
            f"{tuple(factors.shape)}"
        )
    if factors.is_floating_point() or factors.min() < 0:
        raise MolvaeError("factors must be whole numbers from 0, the level of each")
    ranks = z.argsort(stable=True, dim=0).argsort(stable=True, dim=0)
    bins = (ranks * BINS) // len(z)  # (n, D)
    rows = []
    for factor in factors.t():
        levels = _one_hot(factor)  # (n, levels)
        row = []
        for column in bins.t():
            joint = _one_hot(column).t() @ levels / len(z)
            independent = joint.sum(1, keepdim=True) * joint.sum(0, keepdim=True)
            inside = joint > 0
            row.append((joint[inside] * (joint[inside] / independent[inside]).log()).sum())
        rows.append(torch.stack(row))
    return torch.stack(rows)


def mutual_information_gap(z: Tensor, factors: Tensor) -> Tensor:
    """Latents z (n, D), factors (n, F) -> the gap of each factor (F,), from 0 to 1.

    Chen et al. 2018, eq. 6: the information of the best dimension about the factor, less that of
    the second best, over the entropy of the factor. The mean over factors is the MIG. For the
    arguments and the errors see `measure_information`; D must be at least 2.

    >>> glasses = torch.arange(2000) % 2
    >>> alone = torch.stack([glasses + 0.1 * torch.rand(2000), torch.rand(2000)], 1)
    >>> float(mutual_information_gap(alone, glasses[:, None]).round(decimals=1))
    1.0
    """
    if z.ndim == 2 and z.shape[1] < 2:
        raise MolvaeError("a gap between dimensions needs at least 2 of them")
    best, second = measure_information(z, factors).topk(2, dim=1).values.t()
    entropies = []
    for factor in factors.t():
        share = _one_hot(factor).mean(0)
        entropies.append(-(share[share > 0] * share[share > 0].log()).sum())
    entropy = torch.stack(entropies)
    return torch.where(entropy > 0, (best - second) / entropy, 0.0)


def _one_hot(levels: Tensor) -> Tensor:
    """Levels (n,) -> one column for each (n, levels), float64."""
    return torch.nn.functional.one_hot(levels.long()).double()
