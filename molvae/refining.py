"""Making more of a model's latent points molecules: `latent.refine` with a chemist's check."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from molvae.errors import MolvaeError
from molvae.latent.refine import refine as refine_decoder
from molvae.latent.training import FitConfig, Observer

if TYPE_CHECKING:
    from molvae.model import MolVAE

REFINING = FitConfig(epochs=1.0, batch=64, learning_rate=5e-4)


def refine(
    model: MolVAE,
    train: Sequence[str],
    validation: Sequence[str],
    weight: float = 1.0,
    config: FitConfig = REFINING,
    observe: Observer = lambda progress: None,
) -> None:
    """Train a model's decoder to write valid molecules at points that no data is encoded to.

    It learns the SMILES of `train` as before, and with `weight` the canonical form of the valid
    ones that it writes at points of its prior and near the data. Validity is bought with
    reconstruction. Encoder, prior and properties stay as they are. Molecules that the model cannot
    encode are left out. See `latent.refine`.

    Raises:
        MolvaeError: no molecules, a weight below 0.
    """
    x, held_out = (
        model.tokenizer.encode([s for s in part if model.encodable(s)])
        for part in (train, validation)
    )

    def check(written: Tensor) -> tuple[Tensor, Tensor]:
        rows, right = [], []
        for i, smiles in enumerate(model.tokenizer.decode(written.cpu().numpy())):
            with suppress(MolvaeError):
                right.append(model.ids(smiles))
                rows.append(i)
        ids = torch.from_numpy(model.tokenizer.pad(right).astype(np.int64))
        return ids.to(written.device), torch.tensor(rows, dtype=torch.long, device=written.device)

    state = refine_decoder(model.vae, x, held_out, check, weight, config, observe)
    model.summary["refined"] = {"weight": weight, **asdict(state), "fit": asdict(config)}
