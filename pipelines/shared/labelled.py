"""Classifiers that learn from the labelled images alone, and which images are labelled."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from molvae.base.errors import MolvaeError
from molvae.latent.elbo import Bound
from molvae.latent.encoders import encoders
from molvae.latent.kinds import Example

CLASSES = 10

Rows = NDArray[np.intp]
Labels = NDArray[np.int64]


class Classifier(nn.Module):
    """The classifier of M2 with dropout, to be trained on labelled images alone.

    Args:
        shape: of an image (C, H, W).
        encoder: by name, as that of M2.
        hidden: its width H.
        dropout: share of its hidden units that are dropped in training.
    """

    def __init__(self, shape: tuple[int, ...], encoder: str, hidden: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            encoders[encoder](Example(shape), hidden),
            nn.Dropout(dropout),
            nn.Linear(hidden, CLASSES),
        )

    def forward(self, x: Tensor, y: Tensor) -> Bound:
        """x (B, C, H, W), y (B,) -> log q(y|x) in nats, the objective of training."""
        log_q = -nn.functional.cross_entropy(self.layers(x), y, reduction="none")
        return Bound(log_q, torch.zeros_like(log_q))

    @torch.no_grad()
    def predict(self, x: NDArray[np.float32]) -> Labels:
        """Images (n, C, H, W) -> the most likely digits (n,)."""
        parts = torch.from_numpy(x).split(500)
        return torch.cat([self.layers(part).argmax(1) for part in parts]).numpy()


def draw_labelled_rows(y: Labels, count: int, seed: int) -> Rows:
    """Digits y (n,) -> `count` rows, equally many of each class; all rows if count is n.

    Raises:
        MolvaeError: A class has too few images.
    """
    if count == len(y):
        return np.arange(count)
    rng = np.random.default_rng(seed)
    rows = [rng.permutation(np.flatnonzero(y == c))[: count // CLASSES] for c in range(CLASSES)]
    if min(map(len, rows)) < count // CLASSES:
        raise MolvaeError(f"{count} labels are too many for a balanced draw: give smaller --labels")
    return np.concatenate(rows)
