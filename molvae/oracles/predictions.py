"""What a model knows about a molecule, as a quantity: predicted:pIC50, plausibility, known_rings.

A model predicts properties of molecules that were never measured, and knows the parts of the
molecules that it was trained on. Both can be searched for or constrained like what is computed.
Which model, the search says when it begins.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import pandas as pd
from rdkit.Chem import Mol, MolToSmiles

from molvae.base.errors import MolvaeError
from molvae.chem.plausibility import Domain


class Predicts(Protocol):
    """What a prediction needs of a model."""

    domain: Domain | None
    """The parts of its training molecules, if they were counted."""

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


class OfDomain:
    """A quantity that the parts of the model's training molecules decide."""

    def __init__(self, name: str, measure: Callable[[Domain, Mol], float]) -> None:
        self.name, self._measure = name, measure
        self._domain: Domain | None = None

    def use(self, model: Predicts) -> None:
        """Take the model whose training molecules count.

        Raises:
            MolvaeError: their parts were not counted.
        """
        if model.domain is None:
            raise MolvaeError(
                f"{self.name} needs a model that stores the parts of its training molecules, as "
                "molvae train has written since version 0.3"
            )
        self._domain = model.domain

    def __call__(self, mol: Mol) -> float:
        """Molecule -> the value.

        Raises:
            MolvaeError: there is no model.
        """
        if self._domain is None:
            raise MolvaeError(f"{self.name} needs the model of a search, and there is none here")
        return float(self._measure(self._domain, mol))


OF_DOMAIN: dict[str, tuple[Callable[[Domain, Mol], float], str]] = {
    "plausibility": (
        Domain.find_plausibility,
        "0 to 1: whether the parts of the molecule are common in the model's training data",
    ),
    "known_rings": (
        Domain.knows_rings,
        "1 where all ring systems of the molecule are in the model's training data, else 0",
    ),
}
