"""Reconstruction: how well a model reads and writes molecules that it was not trained on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from molvae.chem.molecules import canonicalize
from molvae.latent import PAD
from molvae.latent.refine import STEPS
from molvae.latent.vae import VAE
from molvae.model.molvae import MolVAE


def measure_reconstruction(
    model: MolVAE,
    smiles: Sequence[str],
    seed: int = 0,
    progress: bool = False,
    refine: int = STEPS,
) -> dict[str, float]:
    """A model and held-out canonical SMILES -> how well it reads and writes them.

    Args:
        model: a trained model.
        smiles: molecules that it was not trained on.
        seed: of the posterior samples behind the nats.
        progress: show progress bars.
        refine: steps of refinement at most, as in `MolVAE.encode`.

    Returns:
        molecules: their number.
        reconstruction_nats, kl_nats, elbo_nats: nats per molecule, one posterior sample each.
        token_accuracy: share of tokens, teacher-forced, from the posterior mean.
        exact_reconstruction: share of molecules that `decode` of `encode` gives back.
        exact_reconstruction_greedy: the same with greedy decoding, compared by token ids.
        exact_reconstruction_means: the same greedily and from posterior means.
    """
    rows = [model.tokenize(s) for s in smiles]
    z = model.encode_ids(rows, progress, refine)
    totals = np.zeros(6)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        for x, indices in model.batches(rows, "evaluate", progress):
            totals += _sum_figures(model.vae, x, z[indices].to(x.device))
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


def _sum_figures(vae: VAE, x: Tensor, z: Tensor) -> NDArray[np.float64]:
    """Ids (B, L) and their points (B, D) -> sums over them, in the order that the caller reads."""
    terms = vae(x)
    mean = vae.encode(x)
    target, real = x[:, 1:], x[:, 1:] != PAD
    right = (vae.sequence_decoder(mean, x).argmax(-1) == target) & real
    exact = [(vae.decoder.generate(y)[:, : x.shape[1]] == x).all(1) for y in (z, mean)]
    sums = [terms.log_likelihood, terms.kl, right, real, *exact]
    return np.array([t.sum().item() for t in sums])
