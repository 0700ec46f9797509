"""The summary of a training: plain values, stored as JSON in the model's file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from molvae.latent.training import FitConfig, State


@dataclass(frozen=True)
class FittedPrior:
    """A prior that was fitted after training.

    `before` and `after` are the mean log p(z) of held-out posterior samples, in nats, under the
    previous and the new prior.
    """

    name: str
    before: float
    after: float


@dataclass(frozen=True)
class TrainingSummary:
    """The training data and settings of a model.

    Attributes:
        molecules: number of training molecules.
        left_out: number of molecules that the tokenizer or the model cannot represent.
        heavy_atoms: minimum and maximum number of heavy atoms of the training molecules.
        fit: training settings.
        training: final state of the training.
        torch: version of PyTorch.
        data: name of the data set, if given.
        blur: fraction of the molecules that were decoded from a blurred z (`latent.elbo`), if
            known; the first versions did not store it for `start`.
        start: summary of the model that was fine-tuned, if any.
        prior: the prior fitted after training, if any.
    """

    molecules: int
    left_out: int
    heavy_atoms: tuple[int, int]
    fit: FitConfig
    training: State
    torch: str
    data: str | None = None
    blur: float | None = None
    start: TrainingSummary | None = None
    prior: FittedPrior | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the summary as JSON values, without those that are None."""
        return _without_none(asdict(self))

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> TrainingSummary:
        """Values from `to_json`, of this or an earlier version -> the summary.

        Raises:
            KeyError, TypeError: a value is missing or has the wrong type.
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
