"""Random sequences of token ids for the tests of the latent room."""

import numpy as np
import torch
from torch import Tensor

from molvae.latent import BOS, EOS, PAD

VOCABULARY, LONGEST = 9, 14


def sequences(n: int, seed: int = 0) -> Tensor:
    """Sequences of different lengths: ids (n, LONGEST)."""
    rng = np.random.default_rng(seed)
    x = np.full((n, LONGEST), PAD)
    for line in x:
        length = rng.integers(1, LONGEST - 2)
        line[: length + 2] = [BOS, *rng.integers(3, VOCABULARY, length), EOS]
    return torch.from_numpy(x)
