"""A training job as arrays of token ids, independent of molecules.

A job can be saved and run on another machine, such as a GPU node without RDKit.
"""

from __future__ import annotations

import io
import json
import zlib
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch

from molvae.base.errors import MolvaeError
from molvae.base.files import write_file
from molvae.latent.batches import Array
from molvae.latent.checkpoint import load_weights
from molvae.latent.elbo import blurred_elbo, elbo
from molvae.latent.fit import fit
from molvae.latent.training import FitConfig, Observer, State
from molvae.latent.vae import VAE, VAEConfig

Arrays = tuple[Array, ...]

# what numpy, zipfile and json raise for a file that is not a job, or a damaged one
DAMAGE = (ValueError, KeyError, TypeError, AttributeError, BadZipFile, EOFError, zlib.error)


def make_vae(config: VAEConfig, blur: float) -> VAE:
    """Config and fraction of examples decoded from a blurred z -> an untrained VAE.

    Validation uses the ELBO without blur.

    Raises:
        MolvaeError: a name is unknown, `blur` is not in [0, 1), or parts are incompatible.
    """
    if not 0 <= blur < 1:
        raise MolvaeError(f"blur must be at least 0 and below 1, not {blur}")
    bound = partial(blurred_elbo, share=blur) if blur else elbo
    return VAE(config, bound, validation_bound=elbo)


@dataclass(frozen=True)
class TrainingJob:
    """An initialised VAE, its training and validation arrays, and the training settings.

    Attributes:
        vae: the VAE, which is trained in place.
        train: ids (N, L); optionally properties (N, P) and ids of randomised SMILES (N, K, L).
        validation: the same without randomised SMILES.
        config: training settings.
        blur: fraction of the molecules that are decoded from a blurred z.
    """

    vae: VAE
    train: Arrays
    validation: Arrays
    config: FitConfig
    blur: float

    def run(self, folder: Path | None = None, observe: Observer = lambda progress: None) -> State:
        """Train the VAE and return its final state; arguments and errors as in `latent.fit.fit`."""
        return fit(self.vae, self.train, self.validation, self.config, folder, observe)

    def save(self, path: Path) -> None:
        """Write the job to an .npz file of arrays and JSON.

        Raises:
            OSError: the file cannot be written.
        """
        arrays = {f"weights.{k}": v.numpy() for k, v in self.vae.state_dict().items()}
        for name, tables in (("train", self.train), ("validation", self.validation)):
            arrays |= {f"{name}.{i}": table for i, table in enumerate(tables)}
        plain = {"vae": asdict(self.vae.config), "fit": asdict(self.config), "blur": self.blur}
        content = io.BytesIO()
        np.savez_compressed(content, plain=np.array(json.dumps(plain)), **arrays)
        write_file(path, content.getvalue())

    @classmethod
    def load(cls, path: Path) -> TrainingJob:
        """File written by `save` -> the job.

        Raises:
            MolvaeError: the file is damaged or is not a training job.
            OSError: the file cannot be read.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            plain = json.loads(str(arrays.pop("plain")))
            vae = make_vae(VAEConfig(**plain["vae"]), plain["blur"])
            config = FitConfig(**plain["fit"])
            weights = {k: torch.from_numpy(v) for k, v in _select(arrays, "weights.").items()}
        except DAMAGE as error:
            raise MolvaeError(f"{path}: damaged, or not a training job: {error!r}") from error
        load_weights(vae, weights, path)
        train, held_out = (
            tuple(_select(arrays, f"{n}.").values()) for n in ("train", "validation")
        )
        return cls(vae, train, held_out, config, plain["blur"])


def _select(arrays: dict[str, Any], prefix: str) -> dict[str, Any]:
    """Arrays and a prefix -> the arrays with that prefix, which is removed, in file order."""
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
