"""A model in one file: half-precision weights and JSON. Nothing in it can execute."""

from __future__ import annotations

import importlib.resources
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from molvae.base.errors import MolvaeError
from molvae.chem.tokenizers import Tokenizer, tokenizers
from molvae.latent.checkpoint import load_weights, read_tensors, write_tensors
from molvae.latent.vae import VAE, VAEConfig
from molvae.model.summary import TrainingSummary
from molvae.model.training import Trained

FORMAT = 1


def list_shipped_models() -> dict[str, Path]:
    """The models that come with the package: name -> file."""
    folder = Path(str(importlib.resources.files("molvae") / "weights"))
    return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}


def read_model(source: str | Path) -> Trained:
    """Read a shipped model, by name, or a file -> tokenizer, VAE and training summary.

    Raises:
        MolvaeError: no such model or file, or the file is damaged or not a molvae model.
    """
    path = list_shipped_models().get(str(source), Path(source))
    if not path.is_file():
        names = ", ".join(list_shipped_models()) or "none"
        raise MolvaeError(f"{source}: no such file, and not a shipped model ({names})")
    weights, metadata = read_tensors(path)
    _check_format(path, metadata)
    try:
        values = dict(metadata["config"])
        blur = values.pop("blur", 0.0)  # where the first versions kept it
        config = VAEConfig(**values)
        for registry, name in [(tokenizers, metadata["tokenizer"]), *config.parts]:
            registry.look_up_loaded(name)  # a file must not make us execute anything
        tokenizer = Tokenizer(metadata["tokenizer"], metadata["vocabulary"])
        vae = VAE(config)
        summary = TrainingSummary.from_json({"blur": blur, **metadata["summary"]})
    except MolvaeError:  # an unknown name among them is a KeyError, too
        raise
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise MolvaeError(f"{path}: not a molvae model: {error!r}") from error
    load_weights(vae, weights, path)
    return Trained(tokenizer, vae, summary)


def _check_format(path: Path, metadata: Mapping[str, Any]) -> None:
    """Refuse a file of another format than this version reads.

    Raises:
        MolvaeError: it is, or the file says nothing of a format.
    """
    found = metadata.get("format")
    if found == FORMAT:
        return
    if "vocabulary" not in metadata:
        raise MolvaeError(f"{path}: not a molvae model")
    writer = metadata.get("molvae", "another version")
    raise MolvaeError(
        f"{path}: has format {found!r}, written by molvae {writer}, and molvae {version('molvae')} "
        f"reads format {FORMAT}: install molvae {writer} or later"
    )


def write_model(path: Path, tokenizer: Tokenizer, vae: VAE, summary: TrainingSummary) -> None:
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
            "molvae": version("molvae"),
            "tokenizer": tokenizer.name,
            "vocabulary": tokenizer.vocabulary,
            "config": asdict(vae.config),
            "summary": summary.to_json(),
        },
    )
