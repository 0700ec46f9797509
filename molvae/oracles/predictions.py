"""What a model predicts, as a quantity: predicted:pIC50, say, of a model trained on measurements.

A model knows molecules that were never measured, and what it predicts for them can be searched for
or constrained like what is computed. Which model, the search says when it begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import pandas as pd
from rdkit.Chem import Mol, MolToSmiles

from molvae.base.errors import MolvaeError


class Predicts(Protocol):
    """What a prediction needs of a model."""

    def predict_molecules(self, smiles: Sequence[str]) -> pd.DataFrame:
        """SMILES (n) -> a column for each predicted property, NaN where it cannot be encoded."""
        ...


class Prediction:
    """A property as a model predicts it at the molecule's own latent point."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._model: Predicts | None = None

    def use(self, model: Predicts) -> None:
        """Take the model that predicts.

        Raises:
            MolvaeError: it does not predict this property.
        """
        known = list(map(str, model.predict_molecules([])))
        if self.name not in known:
            raise MolvaeError(
                f"this model does not predict {self.name!r}: choose from {', '.join(known)}"
            )
        self._model = model

    def __call__(self, mol: Mol) -> float:
        """Molecule -> the predicted value, NaN where the model cannot encode it.

        Raises:
            MolvaeError: there is no model.
        """
        if self._model is None:
            raise MolvaeError(
                f"predicted:{self.name} needs the model of a search, and there is none here"
            )
        return float(self._model.predict_molecules([MolToSmiles(mol)])[self.name].iloc[0])
