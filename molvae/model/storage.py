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
    """Return the models that ship with the package: name -> file."""
    folder = Path(str(importlib.resources.files("molvae") / "weights"))
    return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}


def read_model(source: str | Path) -> Trained:
    """Name of a shipped model, or a file -> tokenizer, VAE and training summary.

    Raises:
        MolvaeError: the model does not exist, or the file is damaged or not a molvae model.
    """
    path = list_shipped_models().get(str(source), Path(source))
    if not path.is_file():
        names = ", ".join(list_shipped_models()) or "none"
        raise MolvaeError(f"{source}: no such file or shipped model ({names})")
    weights, metadata = read_tensors(path)
    _check_format(path, metadata)
    try:
        values = dict(metadata["config"])
        blur = values.pop("blur", 0.0)  # where the first versions stored it
        config = VAEConfig(**values)
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
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise MolvaeError(f"{path}: not a molvae model: {error!r}") from error
    load_weights(vae, weights, path)
    return Trained(tokenizer, vae, summary)


def _check_format(path: Path, metadata: Mapping[str, Any]) -> None:
    """Refuse a file whose format this version cannot read.

    Raises:
        MolvaeError: the format number is missing or differs.
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
    """Write tokenizer, VAE and training summary to a .safetensors file; see `read_model`.

    Args:
        path: the output file.
        tokenizer: stored by name and vocabulary.
        vae: stored as config and half-precision weights.
        summary: stored as JSON.

    Raises:
        OSError: the file cannot be written.
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
            "atoms": None if tokenizer.atoms is None else sorted(tokenizer.atoms),
            "config": asdict(vae.config),
            "summary": summary.to_json(),
        },
    )
