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
    """Parallel arrays: examples x (N, ...), and what belongs to each, such as labels (N,).

    Integer arrays (N, ..., L) are sequences of token ids: those of similar length share a batch,
    which is only as wide as its longest.
    """

    def __init__(self, *arrays: Array) -> None:
        self.arrays = arrays
        self.all_lengths = [_lengths(array) for array in arrays]
        self.lengths = self.all_lengths[0]

    def __len__(self) -> int:
        return len(self.arrays[0])

    def shuffle(self, batch: int, rng: np.random.Generator) -> list[NDArray[np.intp]]:
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
        parts = []
        for array, lengths in zip(self.arrays, self.all_lengths, strict=True):
            part = array[rows]
            if lengths is not None:
                part = part[..., : lengths[rows].max()].astype(np.int64)
            tensor = torch.from_numpy(np.ascontiguousarray(part))
            if device.type == "cuda":  # only copies from pinned memory are asynchronous
                tensor = tensor.pin_memory()
            parts.append(tensor.to(device, non_blocking=True))
        return tuple(parts)


def _lengths(array: Array) -> NDArray[np.intp] | None:
    """How many symbols the longest sequence of each row has (N,); None where there are none."""
    if array.ndim < 2 or not np.issubdtype(array.dtype, np.integer):
        return None
    counts = (array != PAD).sum(-1)
    return np.asarray(counts.max(axis=tuple(range(1, counts.ndim))))
