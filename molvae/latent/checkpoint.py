"""Tensors and JSON in one safetensors file, written whole or not at all. Nothing can execute."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from molvae.base.errors import MolvaeError


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Write tensors and JSON values to `path`; a failed write leaves the old file as it was.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    text = {key: json.dumps(value) for key, value in metadata.items()}
    try:
        save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, partial, text)
        partial.chmod(0o644)  # safetensors makes it private
        os.replace(partial, path)
    except SafetensorError as error:  # how the library reports a failed write
        raise OSError(f"{path}: cannot be written: {error}") from error
    finally:
        partial.unlink(missing_ok=True)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_tensors` wrote: tensors on the CPU, and the JSON values.

    Raises:
        MolvaeError: no such file, or it is damaged or not of this kind.
    """
    if not path.is_file():
        raise MolvaeError(f"{path}: no such file")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = {key: json.loads(value) for key, value in (file.metadata() or {}).items()}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError, RecursionError, OSError) as error:
        raise MolvaeError(f"{path}: damaged, or not a molvae file: {error}") from error
    return tensors, metadata


def load_weights(module: torch.nn.Module, weights: Mapping[str, Tensor], source: Path) -> None:
    """Copy weights into a module.

    Raises:
        MolvaeError: names or shapes are not those of the module, or a weight is not finite.
    """
    wrong = [k for k, v in weights.items() if v.is_floating_point() and not v.isfinite().all()]
    if wrong:
        raise MolvaeError(f"{source}: damaged: its weights {wrong[0]} are not finite numbers")
    try:
        module.load_state_dict(dict(weights))
    except RuntimeError as error:
        first, *more = [line.strip() for line in str(error).splitlines()[1:]] or [str(error)]
        rest = f" (and {len(more)} more)" if more else ""
        raise MolvaeError(f"{source}: its weights do not fit this model: {first}{rest}") from None
