"""A model that the workers of a test run share."""

import os
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from molvae.model.molvae import MolVAE


def fit_once(name: str, fit: Callable[[], MolVAE]) -> MolVAE:
    """Load the model that one of the workers has fitted and saved."""
    path = Path(os.environ["MOLVAE_CACHE"]) / f"{name}.safetensors"
    with FileLock(path.with_suffix(".lock")):
        if not path.exists():
            fit().save(path)
    return MolVAE.load(path)
