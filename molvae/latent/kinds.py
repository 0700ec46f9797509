"""The kinds of x that a model can be of: token ids, images, arrays of numbers, and any other.

A picture of a digit is an array of numbers, but a convolution also needs to know that its last two
axes are height and width. So each part says which kind of x it handles, each x says which kind it
is of, and one kind may be a special case of another: a part for numbers also takes images.

A new kind is registered beside its encoder and decoder, in a file of their own:

    kinds.register("strokes")(Kind("pen strokes (L, 5)", draw_strokes))
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from molvae.base.errors import MolvaeError
from molvae.base.registry import Registry
from molvae.latent import BOS, EOS, PAD


@dataclass(frozen=True)
class Kind:
    """A kind of x.

    Args:
        description: what such an x is, in the plural: "images (C, H, W)".
        draw: count n and seed -> an `Example` and n of them (n, *shape), tiny; the conformance
            suites run on them.
        generalises_to: the name of a more general kind that every x of this one is also of.
        has_gradient: whether x is real-valued, so that a loss can be differentiated in x.
        fits: shape and vocabulary -> whether an x of this kind can look like that.
    """

    description: str
    draw: Callable[[int, int], tuple[Example, Tensor]]
    generalises_to: str | None = None
    has_gradient: bool = True
    fits: Callable[[tuple[int, ...], int | None], bool] = lambda shape, vocabulary: True


@dataclass(frozen=True)
class Example:
    """What one x looks like.

    Args:
        shape: of one x, without the batch; of a sequence of ids, the longest (L,).
        vocabulary: the number of token ids V; None where x is not made of ids.
        kind: the name of its kind. Where it is empty, x with a vocabulary is "ids", x with three
            axes "images", and any other "numbers".

    Raises:
        MolvaeError: no such kind, or one that does not look like this.
    """

    shape: tuple[int, ...]
    vocabulary: int | None = None
    kind: str = ""

    def __post_init__(self) -> None:
        """Infer the kind, or check the one that was given."""
        if not self.kind:
            object.__setattr__(self, "kind", self._infer_kind())
        elif not kinds[self.kind].fits(self.shape, self.vocabulary):
            raise MolvaeError(
                f"x of shape {self.shape} with vocabulary {self.vocabulary} cannot be of the kind "
                f"{self.kind!r}: {kinds[self.kind].description}"
            )

    def _infer_kind(self) -> str:
        if self.vocabulary is not None:
            return "ids"
        return "images" if len(self.shape) == 3 else "numbers"

    def refuse_unless(self, kind: str, part: str) -> None:
        """Check that `part`, which handles x of `kind`, can handle this x.

        Raises:
            MolvaeError: it cannot.
        """
        if not is_a(self.kind, kind):
            raise MolvaeError(
                f"{part} handles {kinds[kind].description}, but x is of the kind {self.kind!r}: "
                "choose parts for the same kind of x"
            )


def is_a(kind: str, other: str) -> bool:
    """Return whether every x of `kind` is also of the kind `other`."""
    current: str | None = kind
    while current is not None:
        if current == other:
            return True
        current = kinds[current].generalises_to
    return False


def _check_kind(name: str, kind: Kind) -> None:
    if not isinstance(kind, Kind):
        raise MolvaeError(f"the kind of x {name!r} is not a molvae.latent.kinds.Kind")
    if kind.generalises_to is not None and kind.generalises_to not in kinds:
        raise MolvaeError(
            f"the kind of x {name!r} generalises to {kind.generalises_to!r}, which is not "
            "registered: register that one first"
        )


kinds: Registry[Kind] = Registry("kind of x", _check_kind)


def _draw_ids(n: int, seed: int) -> tuple[Example, Tensor]:
    vocabulary, longest = 9, 14
    rng = np.random.default_rng(seed)
    x = np.full((n, longest), PAD)
    for line in x:
        length = rng.integers(1, longest - 2)
        line[: length + 2] = [BOS, *rng.integers(3, vocabulary, length), EOS]
    return Example((longest,), vocabulary), torch.from_numpy(x)


def _draw_uniform(shape: tuple[int, ...], n: int, seed: int) -> tuple[Example, Tensor]:
    return Example(shape), torch.rand(n, *shape, generator=torch.Generator().manual_seed(seed))


kinds.register("ids")(
    Kind(
        "sequences of token ids (L,)",
        _draw_ids,
        has_gradient=False,
        fits=lambda shape, vocabulary: len(shape) == 1 and vocabulary is not None,
    )
)
kinds.register("numbers")(
    Kind(
        "arrays of numbers",
        lambda n, seed: _draw_uniform((5,), n, seed),
        fits=lambda shape, vocabulary: vocabulary is None,
    )
)
kinds.register("images")(
    Kind(
        "images (C, H, W)",
        lambda n, seed: _draw_uniform((1, 7, 6), n, seed),
        generalises_to="numbers",
        fits=lambda shape, vocabulary: len(shape) == 3 and vocabulary is None,
    )
)
