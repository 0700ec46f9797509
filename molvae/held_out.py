"""How well a model reads and writes molecules that it was not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from molvae.chem.molecules import canonical
from molvae.latent import PAD
from molvae.latent.refine import STEPS, refined
from molvae.latent.vae import VAE

if TYPE_CHECKING:
    from molvae.model import MolVAE


def evaluate(
    model: MolVAE, smiles: Sequence[str], seed: int = 0, progress: bool = False
) -> dict[str, float]:
    """Figures of `MolVAE.evaluate`, which describes them."""
    rows = [model.ids(s) for s in smiles]
    totals = np.zeros(6)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        for x, _ in model.batches(rows, "evaluate", progress):
            totals += _measure(model.vae, x)
    log_likelihood, kl, right, tokens, exact, found_again = totals.tolist()
    n = len(rows)
    back = model.decode(model.means(rows), progress=progress)
    found = sum(canonical(b) == s for s, b in zip(smiles, back, strict=True))
    return {
        "molecules": n,
        "reconstruction_nats": -log_likelihood / n,
        "kl_nats": kl / n,
        "elbo_nats": (log_likelihood - kl) / n,
        "token_accuracy": right / tokens,
        "exact_reconstruction": found / n,
        "exact_reconstruction_greedy": exact / n,
        "exact_reconstruction_refined": found_again / n,
    }


def _measure(vae: VAE, x: Tensor) -> NDArray[np.float64]:
    """Ids (B, L) -> sums over the batch, in the order that `evaluate` reads."""
    terms = vae(x)
    mean = vae.encode(x)
    target, real = x[:, 1:], x[:, 1:] != PAD
    right = (vae.decoder(mean, x).argmax(-1) == target) & real
    exact = [
        (vae.decoder.generate(z)[:, : x.shape[1]] == x).all(1)
        for z in (mean, refined(vae, x, mean, STEPS))
    ]
    sums = [terms.log_likelihood, terms.kl, right, real, *exact]
    return np.array([t.sum().item() for t in sums])
