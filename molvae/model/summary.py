"""The summary of a training: plain values, stored as JSON in the model's file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from molvae.latent.training import FitConfig, State


@dataclass(frozen=True)
class FittedPrior:
    """A prior that was fitted after the training.

    `before` and `after` are mean log p(z) of held-out posterior samples, nats.
    """

    name: str
    before: float
    after: float


@dataclass(frozen=True)
class TrainingSummary:
    """What a model was trained on, and how.

    Attributes:
        molecules: number of molecules trained on.
        left_out: molecules that the tokenizer cannot write or the model cannot read.
        heavy_atoms: least and greatest number of heavy atoms among the molecules.
        fit: the settings of the training.
        training: where it ended.
        torch: the version of PyTorch.
        data: name of the data set, None where the caller gave none.
        blur: share of the molecules that were decoded from a blurred z (`latent.elbo`).
        start: the summary of the model that the training started from.
        prior: the prior that was fitted afterwards.
    """

    molecules: int
    left_out: int
    heavy_atoms: tuple[int, int]
    fit: FitConfig
    training: State
    torch: str
    data: str | None = None
    blur: float = 0.0
    start: TrainingSummary | None = None
    prior: FittedPrior | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the values as JSON has them, without those that are None."""
        return _without_none(asdict(self))

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> TrainingSummary:
        """Make a summary of what `to_json` gave, or an earlier version.

        Raises:
            KeyError, TypeError: a value is missing or has the wrong form.
        """
        own = {field.name for field in fields(cls)}
        given = {name: value for name, value in values.items() if name in own}
        low, high = given["heavy_atoms"]
        start, prior = given.get("start"), given.get("prior")
        return cls(
            **given
            | {
                "heavy_atoms": (int(low), int(high)),
                "fit": FitConfig(**given["fit"]),
                "training": State(**given["training"]),
                "start": None if start is None else cls.from_json(start),
                "prior": None if prior is None else FittedPrior(**prior),
            }
        )


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _without_none(value) if isinstance(value, dict) else value
        for name, value in values.items()
        if value is not None
    }
