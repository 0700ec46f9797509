"""Examples in memory -> the minibatches of an epoch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from molvae.latent import PAD

BUCKET = 50  # batches whose sequences are sorted by length together

Array = NDArray[Any]


class Table:
    """Examples x (N, ...), and what goes with each, such as labels (N,), side by side.

    An x of whole numbers (N, L) is sequences of token ids: those of similar length share a batch,
    and no batch is wider than its longest.
    """

    def __init__(self, *arrays: Array) -> None:
        self.arrays = arrays
        x = arrays[0]
        is_ids = x.ndim == 2 and np.issubdtype(x.dtype, np.integer)
        self.lengths = (x != PAD).sum(1) if is_ids else None

    def __len__(self) -> int:
        return len(self.arrays[0])

    def shuffled(self, batch: int, rng: np.random.Generator) -> list[NDArray[np.intp]]:
        """Cut a shuffled epoch into the rows of its batches."""
        order = rng.permutation(len(self))
        if self.lengths is None:
            return [order[i : i + batch] for i in range(0, len(order), batch)]
        parts = []
        for i in range(0, len(order), BUCKET * batch):
            bucket = order[i : i + BUCKET * batch]
            bucket = bucket[np.argsort(self.lengths[bucket], kind="stable")]
            cut = [bucket[j : j + batch] for j in range(0, len(bucket), batch)]
            parts += [cut[k] for k in rng.permutation(len(cut))]
        return parts

    def take(self, rows: NDArray[np.intp], device: torch.device) -> tuple[Tensor, ...]:
        """Rows (B,) -> their tensors on a device: ids int64, as wide as the longest of them."""
        parts = [array[rows] for array in self.arrays]
        if self.lengths is not None:
            parts[0] = parts[0][:, : self.lengths[rows].max()].astype(np.int64)
        return tuple(torch.from_numpy(np.ascontiguousarray(part)).to(device) for part in parts)
