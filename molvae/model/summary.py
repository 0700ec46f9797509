"""The summary of a training: plain values, stored as JSON in the model's file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from molvae.latent.training import FitConfig, State

MOST_STARTS = 100  # models that were fine-tuned from each other; far more would exhaust the stack


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
class FittedPosterior:
    """A posterior that was fitted after training (`latent.iterative`).

    `before` and `after` are the mean ELBO of held-out molecules, its KL weighted as in `fit`, in
    nats, with the previous and the new posterior.
    """

    iterations: int
    molecules: int
    fit: FitConfig
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
        posterior: the posterior fitted after training, if any.
        standardized: whether the training molecules are parents (`chem.standardize`), so that what
            is encoded should be one, too.
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
    posterior: FittedPosterior | None = None
    standardized: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the summary as JSON values, without those that are None."""
        return _without_none(asdict(self))

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> TrainingSummary:
        """Values from `to_json`, of this or an earlier version -> the summary.

        Raises:
            KeyError, TypeError, ValueError: a value is missing, or has the wrong type or size.
        """
        if _count_starts(values) > MOST_STARTS:
            raise ValueError(f"it has more than {MOST_STARTS} models as starts of each other")
        if not isinstance(values, Mapping):
            raise TypeError(f"{values!r:.60} is not the JSON object of a summary")
        own = {field.name for field in fields(cls)}
        given = {name: value for name, value in values.items() if name in own}
        low, high = given["heavy_atoms"]
        start, prior, posterior = (given.get(name) for name in ("start", "prior", "posterior"))
        blur = given.get("blur")
        if not 0 <= low <= high:
            raise ValueError(f"heavy_atoms is {low} to {high}")
        if blur is not None and not 0 <= blur < 1:
            raise ValueError(f"blur is {blur}")
        parts = {
            "heavy_atoms": (low, high),
            "fit": build_from_json(FitConfig, given["fit"]),
            "training": build_from_json(State, given["training"]),
            "start": None if start is None else cls.from_json(start),
            "prior": None if prior is None else build_from_json(FittedPrior, prior),
            "posterior": None if posterior is None else _read_posterior(posterior),
        }
        return build_from_json(cls, given | parts)


def _read_posterior(values: Mapping[str, Any]) -> FittedPosterior:
    fit = build_from_json(FitConfig, values["fit"])
    return build_from_json(FittedPosterior, {**values, "fit": fit})


def _count_starts(values: object) -> int:
    count = 0
    while isinstance(values, Mapping):
        values, count = values.get("start"), count + 1
        if count > MOST_STARTS:
            break
    return count


T = TypeVar("T")


def build_from_json(kind: type[T], values: Mapping[str, Any]) -> T:
    """Dataclass and JSON values of its fields -> an instance, its types checked.

    Raises:
        TypeError, ValueError: a field is missing or unknown, or its value has another type.
    """
    if not isinstance(values, Mapping):
        raise TypeError(f"{values!r:.60} is not the JSON object of a {kind.__name__}")
    hints = get_type_hints(kind)
    for name, value in values.items():
        if name in hints and not _is_a(value, hints[name]):
            raise ValueError(f"{name} is {value!r:.60}")
    return kind(**values)


def _is_a(value: object, hint: Any) -> bool:
    """Whether a JSON value is of the type that an annotation names."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is UnionType:
        return any(_is_a(value, one) for one in arguments)
    if hint is float:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return number and value == value  # not NaN
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if origin is tuple:
        return isinstance(value, (list, tuple)) and all(_is_a(v, arguments[0]) for v in value)
    if origin is Mapping:
        return isinstance(value, dict)
    return isinstance(value, NoneType if hint is None else hint)


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _without_none(value) if isinstance(value, dict) else value
        for name, value in values.items()
        if value is not None
    }
