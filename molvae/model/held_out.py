"""How well a model reads and writes molecules that it was not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from molvae.chem.molecules import canonicalize
from molvae.latent import PAD
from molvae.latent.vae import VAE

if TYPE_CHECKING:
    from molvae.model.molvae import MolVAE


def evaluate(
    model: MolVAE, smiles: Sequence[str], seed: int, progress: bool, refine: int
) -> dict[str, float]:
    """Figures of `MolVAE.evaluate`, which describes them."""
    rows = [model.ids(s) for s in smiles]
    z = model.encode_ids(rows, progress, refine)
    totals = np.zeros(6)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        for x, indices in model.batches(rows, "evaluate", progress):
            totals += _measure(model.vae, x, z[indices].to(x.device))
    log_likelihood, kl, right, tokens, greedy, means = totals.tolist()
    n = len(rows)
    back = model.decode(z, progress=progress)
    found = sum(canonicalize(b) == s for s, b in zip(smiles, back, strict=True))
    return {
        "molecules": n,
        "reconstruction_nats": -log_likelihood / n,
        "kl_nats": kl / n,
        "elbo_nats": (log_likelihood - kl) / n,
        "token_accuracy": right / tokens,
        "exact_reconstruction": found / n,
        "exact_reconstruction_greedy": greedy / n,
        "exact_reconstruction_means": means / n,
    }


def _measure(vae: VAE, x: Tensor, z: Tensor) -> NDArray[np.float64]:
    """Ids (B, L) and their points (B, D) -> sums over them, in the order that `evaluate` reads."""
    terms = vae(x)
    mean = vae.encode(x)
    target, real = x[:, 1:], x[:, 1:] != PAD
    right = (vae.sequence_decoder(mean, x).argmax(-1) == target) & real
    exact = [(vae.decoder.generate(y)[:, : x.shape[1]] == x).all(1) for y in (z, mean)]
    sums = [terms.log_likelihood, terms.kl, right, real, *exact]
    return np.array([t.sum().item() for t in sums])
