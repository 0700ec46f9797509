"""A model in a file: half-precision weights, and as JSON all else. Nothing in it can execute."""

from __future__ import annotations

import importlib.resources
from dataclasses import asdict
from pathlib import Path
from typing import Any

from molvae.base.errors import MolvaeError
from molvae.chem.tokenizers import Tokenizer, tokenizers
from molvae.latent.checkpoint import load_weights, read_tensors, write_tensors
from molvae.latent.vae import VAE, VAEConfig

FORMAT = 1


def list_shipped_models() -> dict[str, Path]:
    """The models that come with the package: name -> file."""
    folder = Path(str(importlib.resources.files("molvae") / "weights"))
    return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}


def read_model(source: str | Path) -> tuple[Tokenizer, VAE, dict[str, Any]]:
    """Read a shipped model, by name, or a file -> tokenizer, VAE and training summary.

    Raises:
        MolvaeError: no such model or file, or the file is damaged or not a molvae model.
    """
    path = list_shipped_models().get(str(source), Path(source))
    if not path.is_file():
        names = ", ".join(list_shipped_models()) or "none"
        raise MolvaeError(f"{source}: no such file, and not a shipped model ({names})")
    weights, metadata = read_tensors(path)
    try:
        config = VAEConfig(**metadata["config"])
        for registry, name in [(tokenizers, metadata["tokenizer"]), *config.parts]:
            registry.look_up_loaded(name)  # a file must not make us execute anything
        tokenizer = Tokenizer(metadata["tokenizer"], metadata["vocabulary"])
        vae = VAE(config)
        summary = dict(metadata["summary"])
    except (KeyError, TypeError, RuntimeError) as error:
        raise MolvaeError(f"{path}: not a molvae model: {error!r}") from error
    load_weights(vae, weights, path)
    return tokenizer, vae, summary


def write_model(path: Path, tokenizer: Tokenizer, vae: VAE, summary: dict[str, Any]) -> None:
    """Write what `read_model` reads.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    weights = vae.state_dict()
    write_tensors(
        path,
        {k: v.half() if v.is_floating_point() else v for k, v in weights.items()},
        {
            "format": FORMAT,
            "tokenizer": tokenizer.name,
            "vocabulary": tokenizer.vocabulary,
            "config": asdict(vae.config),
            "summary": summary,
        },
    )
