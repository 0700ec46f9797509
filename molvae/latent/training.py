"""A training as plain values: its settings, its state, and the progress that it reports."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from molvae.base.errors import MolvaeError

OPTIMIZERS = ("muon", "adam")
EPOCHS = 20.0  # of a training without a limit of its own


@dataclass(frozen=True)
class FitConfig:
    """How to train. Losses are nats per example.

    `epochs` and `minutes` limit the length. With both, the schedule follows the one that is nearer
    to its end; with neither, it is `EPOCHS`.
    """

    epochs: float | None = None
    minutes: float | None = None
    batch: int = 128
    learning_rate: float = 3e-3  # peak, after a short linear warm-up; then a cosine down to zero
    kl_weight: float = 0.08  # final weight of the KL term
    kl_warmup: float = 0.6  # share of the training over which that weight grows from zero
    clip: float = 5.0  # largest norm of the gradient
    validate_every: int = 500  # steps
    patience: int = 20  # validations without improvement before training stops early
    keep_best: bool = True  # end with the best validated weights, those of the start among them;
    # else with the last ones, and without early stopping
    checkpoint_minutes: float = 2.0
    seed: int = 0
    optimizer: str = "muon"  # see `latent.optimizers`
    precision: str = "auto"  # or a Lightning Fabric precision, such as 32-true; not float16
    devices: int = 1  # in each node
    nodes: int = 1

    def __post_init__(self) -> None:
        """Refuse values that cannot work.

        Raises:
            MolvaeError: naming the field.
        """
        for name in ("batch", "validate_every", "patience", "devices", "nodes"):
            if getattr(self, name) < 1:
                raise MolvaeError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("epochs", "minutes", "clip"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise MolvaeError(f"{name} must be above 0, not {value}")
        for name in ("learning_rate", "kl_weight", "kl_warmup", "checkpoint_minutes", "seed"):
            if not getattr(self, name) >= 0:
                raise MolvaeError(f"{name} must not be negative, got {getattr(self, name)}")
        if self.optimizer not in OPTIMIZERS:
            raise MolvaeError(f"the optimizer is {' or '.join(OPTIMIZERS)}, not {self.optimizer!r}")
        if self.precision in ("16-mixed", "16-true"):  # small gradients vanish without scaling
            raise MolvaeError("training in float16 is not supported: use bf16-mixed or 32-true")

    def share(self, epochs: float, seconds: float) -> float:
        """Epochs and seconds of training -> the part of the training that is done, 0 to 1."""
        limit = EPOCHS if self.epochs is None and self.minutes is None else self.epochs
        of_epochs = 0.0 if limit is None else epochs / limit
        of_minutes = 0.0 if self.minutes is None else seconds / (60 * self.minutes)
        return min(1.0, max(of_epochs, of_minutes))

    def validate_each_epoch(self, examples: int) -> FitConfig:
        """Return the settings with at least one validation in each epoch of so many examples."""
        steps = max(1, examples // (self.batch * self.devices * self.nodes))
        return replace(self, validate_every=min(self.validate_every, steps))


@dataclass
class State:
    """State of a training; kept in the checkpoint."""

    step: int = 0
    examples: int = 0
    seconds: float = 0.0
    best_loss: float = math.inf  # lowest validation loss, nats
    best_step: int = 0  # 0 where no step was better than the start
    stale: int = 0  # validations since then
    start_loss: float | None = None  # validation loss before the first step
    best_error: float | None = None  # standard errors of the two over the validation examples
    start_error: float | None = None
    validated: int = 0  # validation examples


@dataclass(frozen=True)
class Row:
    """One row of metrics.csv; losses are nats per example, means since the last row."""

    step: int
    epoch: float
    seconds: float
    examples_per_second: float
    learning_rate: float
    kl_weight: float
    loss: float
    reconstruction_nats: float
    kl_nats: float
    validation_loss: float | None = None
    validation_reconstruction_nats: float | None = None
    validation_kl_nats: float | None = None


@dataclass(frozen=True)
class Progress:
    """What an observer of `fit` is told after every step."""

    state: State
    share: float  # of the training that is done, 0 to 1
    row: Row | None  # the new row of metrics.csv, at the steps that have one


Observer = Callable[[Progress], bool | None]
