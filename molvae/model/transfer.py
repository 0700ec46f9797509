"""Transfer learning: a new model begins with the weights of a trained one where they fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor, nn

from molvae.base.errors import MolvaeError
from molvae.chem.tokenizers import SPECIAL, Tokenizer
from molvae.latent.layers import Symbols
from molvae.latent.vae import VAE, VAEConfig

KEPT = ("encoder_hidden", "decoder", "decoder_hidden", "posterior")  # the trained model decides


def shape_to_transfer(old: VAEConfig, shape: Mapping[str, Any]) -> dict[str, Any]:
    """Config of a trained model and fields given for a new one -> the fields of the new one.

    Where nothing is given, the new model has the shape of the trained one. The latent space may be
    larger, and the encoder another one that contains the old one.

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
    if old.posterior != "isotropic" and shape.get("latent", old.latent) != old.latent:
        raise MolvaeError("latent can only be larger with the posterior 'isotropic'")
    names = {"latent", "encoder", "dropout", *KEPT} & {field.name for field in fields(old)}
    return {name: getattr(old, name) for name in names} | dict(shape)


@torch.no_grad()
def transfer_weights(old: VAE, words: Tokenizer, vae: VAE, new_words: Tokenizer) -> int:
    """Copy into the untrained `vae` what the trained model knows; return how many tokens it shares.

    Tokens are matched by their text. Further latent dimensions are at first not read by the decoder
    and the property head; further layers of the encoder keep their random weights. The prior is
    that of the new model. Properties are transferred where both models predict the same.

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
            _copy_block(given, taken)
    return len(shared)


def _copy_block(given: Tensor, taken: Tensor) -> None:
    """Copy a tensor into the beginning of a larger one; further inputs, its columns, get zeros."""
    if given.ndim > 1:
        taken[: len(given)] = 0
    taken[tuple(slice(0, n) for n in given.shape)] = given
