"""Random sequences of token ids: the examples of the kind "ids"."""

from torch import Tensor

from molvae.latent.kinds import kinds

IDS = kinds["ids"].draw(1, 0)[0]
VOCABULARY, LONGEST = IDS.vocabulary, IDS.shape[0]


def sequences(n: int, seed: int = 0) -> Tensor:
    """Sequences of different lengths: ids (n, LONGEST)."""
    return kinds["ids"].draw(n, seed)[1]
