"""Transfer learning: a new model begins with the weights of a trained one where they fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from molvae.base.errors import MolvaeError
from molvae.chem.tokenizers import SPECIAL, Tokenizer
from molvae.latent.layers import Symbols
from molvae.latent.vae import VAE, VAEConfig

KEPT = ("decoder", "decoder_hidden", "posterior")  # the trained model decides
GATES = 3  # of a GRU, whose weights are one below the other
DIRECTIONS = 2  # of the encoder `gru`, whose states are one beside the other


def shape_to_transfer(old: VAEConfig, shape: Mapping[str, Any]) -> dict[str, Any]:
    """Config of a trained model and fields given for a new one -> the fields of the new one.

    Where nothing is given, the new model has the shape of the trained one. The latent space may be
    larger, the encoder `gru` wider, and the encoder another one that contains the old one.

    Raises:
        MolvaeError: a field differs with which no weights can be transferred.
    """
    for name in KEPT:
        if name in shape and shape[name] != getattr(old, name):
            raise MolvaeError(
                f"{name} must be that of the model in --transfer, {getattr(old, name)}"
            )
    if shape.get("latent", old.latent) < old.latent:
        raise MolvaeError(f"latent must be at least that of the model in --transfer, {old.latent}")
    width = shape.get("encoder_hidden", old.encoder_hidden)
    if width < old.encoder_hidden or (width > old.encoder_hidden and old.encoder != "gru"):
        raise MolvaeError(
            f"encoder_hidden must be that of the model in --transfer, {old.encoder_hidden}, or "
            "with the encoder 'gru' larger"
        )
    if old.posterior != "isotropic" and shape.get("latent", old.latent) != old.latent:
        raise MolvaeError("latent can only be larger with the posterior 'isotropic'")
    names = {"latent", "encoder", "encoder_hidden", "dropout", *KEPT}
    return {name: getattr(old, name) for name in names} | dict(shape)


@torch.no_grad()
def transfer_weights(old: VAE, words: Tokenizer, vae: VAE, new_words: Tokenizer) -> int:
    """Copy into the untrained `vae` what the trained model knows; return how many tokens it shares.

    Tokens are matched by their text. Further latent dimensions are at first not read by the decoder
    and the property head, nor are further units of the encoder by what follows; their own weights,
    and those of further layers of the encoder, stay random. So a wider model of the same tokens
    begins with the same posterior means. The prior is that of the new model. Properties are
    transferred where both models predict the same.

    Args:
        old: the trained VAE.
        words: its tokenizer.
        vae: a new VAE, whose shape is from `shape_to_transfer`; changed in place.
        new_words: its tokenizer.

    Raises:
        MolvaeError: the encoder has none of the weights of the old one.
    """
    places = {token: i + SPECIAL for i, token in enumerate(words.vocabulary)}
    shared = [(i, places[t]) for i, t in enumerate(new_words.vocabulary, SPECIAL) if t in places]
    pairs = [(i, i) for i in range(SPECIAL)] + shared
    new_ids, old_ids = map(list, zip(*pairs, strict=True))
    read_by = {
        f"{name}.vectors.weight"
        for name, module in vae.named_modules()
        if isinstance(module, Symbols) and not isinstance(module.vectors, nn.Identity)
    }
    left_out = ["prior_module."]
    if vae.config.properties != old.config.properties:
        left_out.append("property_head.")
    recurrent = tuple(f"{n}." for n, m in vae.named_modules() if isinstance(m, nn.GRU))
    read = DIRECTIONS if old.config.encoder == "gru" else 1
    source, target = old.state_dict(), vae.state_dict()
    if not any(name.startswith("encoder.") for name in source.keys() & target.keys()):
        raise MolvaeError(
            f"encoder {vae.config.encoder!r} has no weights of {old.config.encoder!r}"
        )
    for name in source.keys() & target.keys():
        given, taken = source[name], target[name]
        if name.startswith(tuple(left_out)):
            continue
        if name in read_by:
            taken[:, new_ids] = given[:, old_ids]
        elif name.startswith("decoder.out."):
            taken[new_ids] = given[old_ids]
        else:
            rows = GATES if name.startswith(recurrent) else 1
            _copy_blocks(given, taken, rows, read if name == "head.linear.weight" else 1)
    return len(shared)


def _copy_blocks(given: Tensor, taken: Tensor, rows: int, columns: int) -> None:
    """Copy each block of a tensor into the beginning of a larger one; further inputs get zeros.

    Args:
        given: (), (R,) or (R, C, ...).
        taken: the larger one, changed in place.
        rows: number of blocks one below the other.
        columns: number of blocks one beside the other; the columns are the inputs.
    """
    small, large = (_split(t, rows, columns) for t in (given, taken))
    if given.ndim > 1:
        large[:, : small.shape[1]] = 0
    large[tuple(slice(0, n) for n in small.shape)] = small


def _split(t: Tensor, rows: int, columns: int) -> Tensor:
    if t.ndim < 2:
        return t.view(rows, -1)
    return t.view(rows, len(t) // rows, columns, t.shape[1] // columns, *t.shape[2:])
