"""A model in one file: half-precision weights and JSON. Nothing in it can execute."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from molvae.base.errors import MolvaeError, MolvaeWarning
from molvae.chem.plausibility import Domain
from molvae.chem.tokenizers import SPECIAL, Tokenizer, tokenizers
from molvae.latent.checkpoint import load_weights, read_tensors, write_tensors
from molvae.latent.kinds import is_a
from molvae.latent.vae import VAE, VAEConfig
from molvae.model.shipped import list_shipped_models
from molvae.model.summary import TrainingSummary, build_from_json
from molvae.model.training import Trained

# the second has the domain, which a model of the first lacks; the third has iterative inference
FORMAT, READ = 3, (1, 2, 3)
DOMAIN = "domain."  # in front of the names of its arrays
WIDEST, LONGEST = 1_024, 10_000  # sizes, and lengths of a sequence, that need no evidence

# what a file with wrong values can raise
DAMAGE = (KeyError, TypeError, ValueError, RuntimeError, MemoryError, ArithmeticError)


def read_model(source: str | Path) -> Trained:
    """Name of a shipped model, or a file -> tokenizer, VAE, training summary and domain.

    Raises:
        MolvaeError: the model does not exist, or the file is damaged or not a molvae model.
    """
    path = list_shipped_models().get(str(source), Path(source))
    if not path.is_file():
        names = ", ".join(list_shipped_models()) or "none"
        raise MolvaeError(f"{source}: no such file or shipped model ({names})")
    tensors, metadata = read_tensors(path)
    _check_format(path, metadata)
    weights = {k: v for k, v in tensors.items() if not k.startswith(DOMAIN)}
    parts = {k.removeprefix(DOMAIN): v.numpy() for k, v in tensors.items() if k not in weights}
    try:
        domain = Domain.from_arrays(parts) if parts else None
        values = dict(metadata["config"])
        blur = values.pop("blur", 0.0)  # where the first versions stored it
        config = build_from_json(VAEConfig, values)
        _check_sizes(config, weights)
        _check_vocabulary(config, metadata["vocabulary"])
        if not isinstance(metadata["tokenizer"], str):
            raise TypeError(f"the tokenizer is {metadata['tokenizer']!r:.60}")
        for registry, name in [(tokenizers, metadata["tokenizer"]), *config.parts]:
            registry.look_up_loaded(
                name
            )  # only parts that are already loaded: a file must not trigger imports
        tokenizer = Tokenizer(
            metadata["tokenizer"], metadata["vocabulary"], metadata.get("atoms")
        )  # the first versions did not store the atoms
        vae = VAE(config)
        summary = TrainingSummary.from_json({"blur": blur, **metadata["summary"]})
    except MolvaeError:  # unknown names raise one that is also a KeyError
        raise
    except DAMAGE as error:
        raise MolvaeError(
            f"{path}: damaged, or not a molvae model: {type(error).__name__}: {error}"
        ) from error
    load_weights(vae, weights, path)
    if parts and domain is None:
        warnings.warn(
            f"{path.name}: its plausibility was counted with an RDKit that numbers the parts of "
            "molecules in another way, and is not used",
            MolvaeWarning,
            stacklevel=2,
        )
    return Trained(tokenizer, vae, summary, domain)


def _check_sizes(config: VAEConfig, weights: Mapping[str, Tensor]) -> None:
    """Refuse sizes that no model of molecules has, before memory is taken for them.

    A weight has one dimension for each of the sizes, so none is much larger than the largest.

    Raises:
        ValueError: naming the size.
    """
    largest = max(WIDEST, *(n for weight in weights.values() for n in weight.shape), 0)
    sizes = {
        name: getattr(config, name)
        for name in ("vocabulary", "latent", "encoder_hidden", "decoder_hidden")
    } | {k: v for k, v in config.prior_options.items() if isinstance(v, int)}
    for name, size in sizes.items():
        if not 1 <= size <= largest:
            raise ValueError(f"{name} is {size}")
    if not 3 <= config.max_length <= LONGEST:
        raise ValueError(f"max_length is {config.max_length}")
    if not is_a(config.example.kind, "ids"):
        raise ValueError(f"x is of the kind {config.example.kind}")


def _check_vocabulary(config: VAEConfig, vocabulary: object) -> None:
    """Refuse a vocabulary that is not one token for each id of the model.

    Raises:
        ValueError: what is wrong with it.
    """
    if not isinstance(vocabulary, list) or not all(isinstance(t, str) and t for t in vocabulary):
        raise ValueError("the vocabulary is not a list of tokens")
    if len(set(vocabulary)) < len(vocabulary):
        raise ValueError("the vocabulary has a token twice")
    if len(vocabulary) + SPECIAL != config.vocabulary:
        raise ValueError(
            f"the vocabulary has {len(vocabulary)} tokens, the model {config.vocabulary - SPECIAL}"
        )
    if len(set(config.properties)) < len(config.properties):
        raise ValueError("a property is predicted twice")


def _check_format(path: Path, metadata: Mapping[str, Any]) -> None:
    """Refuse a file whose format this version cannot read.

    Raises:
        MolvaeError: the format number is missing or differs.
    """
    found = metadata.get("format")
    if found in READ and not isinstance(found, bool):
        return
    if "vocabulary" not in metadata:
        raise MolvaeError(f"{path}: not a molvae model")
    writer = metadata.get("molvae", "another version")
    raise MolvaeError(
        f"{path}: has format {found!r}, written by molvae {writer}, and molvae {version('molvae')} "
        f"reads formats {READ[0]} to {FORMAT}: install molvae {writer} or later"
    )


def write_model(
    path: Path,
    tokenizer: Tokenizer,
    vae: VAE,
    summary: TrainingSummary,
    domain: Domain | None = None,
) -> None:
    """Write the parts of a model to a .safetensors file; see `read_model`.

    Args:
        path: the output file.
        tokenizer: stored by name and vocabulary.
        vae: stored as config and half-precision weights.
        summary: stored as JSON.
        domain: stored as arrays, if there is one.

    Raises:
        MolvaeError: a weight is not finite, or too large for half precision.
        OSError: the file cannot be written.
    """
    weights = {k: v.half() if v.is_floating_point() else v for k, v in vae.state_dict().items()}
    if wrong := [k for k, v in weights.items() if not v.isfinite().all()]:
        raise MolvaeError(f"{path} is not written: the weights {wrong[0]} are not finite")
    if domain is not None:
        weights |= {f"{DOMAIN}{k}": torch.from_numpy(v) for k, v in domain.to_arrays().items()}
    write_tensors(
        path,
        weights,
        {
            "format": FORMAT,
            "molvae": version("molvae"),
            "tokenizer": tokenizer.name,
            "vocabulary": tokenizer.vocabulary,
            "atoms": None if tokenizer.atoms is None else sorted(tokenizer.atoms),
            "config": asdict(vae.config),
            "summary": summary.to_json(),
        },
    )
