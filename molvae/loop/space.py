"""What a search needs of a latent model. `MolVAE` provides it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from molvae.chem.plausibility import Domain
from molvae.search.protocols import Floats


class LatentSpace(Protocol):
    """Molecules to points and back, the same every time."""

    domain: Domain | None
    """The parts of its training molecules, if they were counted."""

    @property
    def latent(self) -> int:
        """The latent dimension D."""
        ...

    @property
    def heavy_atoms(self) -> tuple[int, int] | None:
        """Least and greatest number of heavy atoms in the training data, None where unknown."""
        ...

    def can_encode_canonical(self, form: str) -> bool:
        """Tell whether a canonical SMILES can be encoded."""
        ...

    def encode_means(self, smiles: Sequence[str]) -> NDArray[np.float32]:
        """SMILES (n) -> posterior means (n, D)."""
        ...

    def decode_greedily(self, z: NDArray[np.floating]) -> list[str]:
        """Latent points (n, D) -> n strings, valid or not."""
        ...

    def predict(self, z: NDArray[np.floating]) -> tuple[Floats, Floats]:
        """Latent points (n, D) -> P predicted properties (n, P), their gradients (n, P, D)."""
        ...

    def predict_molecules(self, smiles: Sequence[str]) -> pd.DataFrame:
        """SMILES (n) -> a column for each predicted property, NaN where it cannot be encoded."""
        ...


# the best molecules found so far, other molecules, a seed -> the fine-tuned model
FineTune: TypeAlias = Callable[[Sequence[str], Sequence[str], int], LatentSpace]
