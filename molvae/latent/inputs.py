"""What the public functions of this room accept: one check for each kind of input, one clear line.

A batch with one row of NaN trains to nothing, and the loss that is then NaN tells nobody which row
it was. So data are checked where they come in: arrays once before a training (`check_arrays`), and
a batch x when a model is called with it (`check_batch`).
"""

from __future__ import annotations

from numbers import Integral

import numpy as np
import torch
from torch import Tensor
from torch.distributions.constraints import Constraint

from molvae.base.errors import MolvaeError
from molvae.latent.batches import Array
from molvae.latent.kinds import Example, kinds


def check_arrays(name: str, arrays: tuple[Array, ...]) -> tuple[Array, ...]:
    """Parallel arrays to train on, x (N, ...) first -> the same, float64 as float32.

    In x no number may be missing. In the other arrays NaN marks what is not known.

    Args:
        name: what the arrays are, for messages: "validation".
        arrays: x, and what belongs to each, such as labels (N,).

    Raises:
        MolvaeError: no examples, arrays of different lengths or not of numbers, or a row that is
            not finite, with its place.
    """
    lengths = [len(array) for array in arrays]
    if not all(lengths):
        raise MolvaeError(f"the {name} data hold no examples: give at least one")
    if len(set(lengths)) > 1:
        raise MolvaeError(f"the {name} arrays have different numbers of rows: {lengths}")
    for place, array in enumerate(arrays):
        if array.dtype.kind not in "biuf":
            raise MolvaeError(f"{name} array {place} holds {array.dtype}, not numbers")
        if array.dtype.kind == "f":
            wrong = np.isinf(array) if place else ~np.isfinite(array)
            rows = np.flatnonzero(wrong.reshape(len(array), -1).any(axis=1))
            if len(rows):
                raise MolvaeError(_not_finite(f"{name} array {place}", int(rows[0]), len(rows)))
    return tuple(a.astype(np.float32) if a.dtype == np.float64 else a for a in arrays)


def check_batch(x: Tensor, example: Example, dtype: torch.dtype) -> None:
    """Refuse a batch x (B, ...) that does not look like `example`; ids may be cut short.

    Args:
        x: examples.
        example: what one of them looks like.
        dtype: of the weights, and so of an x that is real-valued.

    Raises:
        MolvaeError: another shape or type, no example, an unknown id, or a row that is not finite.
    """
    real, shape = kinds[example.kind].has_gradient, tuple(x.shape[1:])
    fits = shape == example.shape
    if not real and len(shape) == len(example.shape):
        fits = shape[:-1] == example.shape[:-1] and shape[-1] <= example.shape[-1]
    if not fits:
        expected = ", ".join(["B", *(f"up to {n}" if not real else f"{n}" for n in example.shape)])
        raise MolvaeError(f"x must have shape ({expected}), not {tuple(x.shape)}")
    if len(x) == 0:
        raise MolvaeError("x holds no examples: give at least one")
    if real and x.dtype != dtype:
        raise MolvaeError(f"x holds {_name(x.dtype)}, and the model reads {_name(dtype)}")
    if not real and x.dtype != torch.int64:
        raise MolvaeError(f"x holds {_name(x.dtype)}, and the model reads ids as int64")
    if not _can_be_read(x):
        return
    if real:
        refuse_not_finite("x", x)
    elif example.vocabulary is not None and (x.min() < 0 or x.max() >= example.vocabulary):
        raise MolvaeError(f"x holds ids that are not in 0 .. {example.vocabulary - 1}")


def check_support(x: Tensor, support: Constraint, part: str) -> None:
    """Refuse an x (B, ...) that a likelihood cannot have given.

    Args:
        x: examples.
        support: the values that are possible.
        part: what has this support, for messages.

    Raises:
        MolvaeError: a value is outside it.
    """
    if _can_be_read(x):
        wrong = (~support.check(x)).flatten(1).any(1).nonzero()[:, 0]  # type: ignore[no-untyped-call]
        if len(wrong):
            raise MolvaeError(
                f"row {int(wrong[0])} of x has values that {part} cannot have given: they must "
                f"satisfy {support}"
            )


def check_samples(samples: int) -> torch.Size:
    """Number of draws -> the shape that `Distribution.sample` takes.

    Raises:
        MolvaeError: no whole number, or fewer than 1.
    """
    if not isinstance(samples, Integral) or samples < 1:
        raise MolvaeError(f"an estimate needs at least 1 sample, not {samples}")
    return torch.Size([int(samples)])


def refuse_not_finite(name: str, x: Tensor) -> None:
    """Refuse rows (B, ...) with NaN or infinity in them.

    Raises:
        MolvaeError: with the place of the first.
    """
    rows = (~x.isfinite()).flatten(1).any(1).nonzero()[:, 0]
    if len(rows):
        raise MolvaeError(_not_finite(name, int(rows[0]), len(rows)))


def _can_be_read(x: Tensor) -> bool:
    """Whether values can be looked at: in training, a GPU would be waited for at every step."""
    return not (x.is_cuda and torch.is_grad_enabled())


def _not_finite(name: str, row: int, count: int) -> str:
    more = f" (and {count - 1:,} more rows)" if count > 1 else ""
    return f"row {row} of {name} is not finite{more}: remove or complete it"


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
