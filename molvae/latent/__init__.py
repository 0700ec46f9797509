"""Latent-variable models for any x. PyTorch only: nothing in this room knows what a molecule is.

Token sequences, where a model has them, are int64 ids (B, L): BOS, symbols, EOS, then PAD. Any
other x is an array of numbers (B, *shape); three dimensions (C, H, W) make it an image.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from molvae.base.errors import MolvaeError

PAD, BOS, EOS = 0, 1, 2

Kind = Literal["ids", "numbers", "images"]


class Example(NamedTuple):
    """What one x looks like: its shape and, where it is a sequence of token ids, their number V."""

    shape: tuple[int, ...]
    vocabulary: int | None = None

    def refuse_unless(self, kind: Kind, name: str) -> None:
        """Check that a part called `name`, which handles x of `kind`, can handle this one.

        Raises:
            MolvaeError: it cannot.
        """
        own = "ids" if self.vocabulary is not None else "numbers"
        if kind == "images" and own == "numbers" and len(self.shape) == 3:
            own = "images"
        if own != kind:
            what = {
                "ids": "sequences of token ids",
                "numbers": "arrays of numbers",
                "images": "images (C, H, W)",
            }[kind]
            raise MolvaeError(f"{name} is made for {what}, which this model's x is not")
