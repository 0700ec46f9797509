"""The models that ship with the package."""

from __future__ import annotations

import importlib.resources
from pathlib import Path


def list_shipped_models() -> dict[str, Path]:
    """Return the models that ship with the package: name -> file."""
    folder = Path(str(importlib.resources.files("molvae") / "weights"))
    return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}
