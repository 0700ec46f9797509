"""Decoders: z -> p(x|z), one file each. `Decoder` in `latent.protocols` is their protocol.

z enters each decoder through linear layers only, so that a change of the latent coordinates can be
folded into their weights (`standardise`).
"""

from __future__ import annotations

from molvae.base.registry import Registry, import_modules
from molvae.latent.kinds import is_a
from molvae.latent.protocols import ArrayWriter, Decoder, SequenceDecoder, check_part

_check_decoder = check_part("decoder", Decoder)
_check_sequence_decoder = check_part("decoder of token ids", SequenceDecoder)
_check_array_decoder = check_part("decoder of arrays", ArrayWriter)


def _check(name: str, part: type[Decoder]) -> None:
    _check_decoder(name, part)
    if is_a(part.handles, "ids"):
        _check_sequence_decoder(name, part)
    elif is_a(part.handles, "numbers"):
        _check_array_decoder(name, part)


decoders: Registry[type[Decoder]] = Registry("decoder", _check)

import_modules(__name__)
