"""Reconstruction accuracy and ELBO of a model on held-out molecules."""

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
    """Model and held-out canonical SMILES -> reconstruction metrics and ELBO.

    Args:
        model: a trained model.
        smiles: molecules that the model was not trained on.
        seed: random seed of the posterior samples for the ELBO.
        progress: show progress bars.
        refine: maximum number of refinement steps, as in `MolVAE.encode`.

    Returns:
        molecules: number of molecules.
        reconstruction_nats, kl_nats, elbo_nats: nats per molecule, from one posterior sample each.
        token_accuracy: fraction of tokens predicted from the posterior mean, teacher-forced.
        exact_reconstruction: fraction of molecules recovered by encoding and decoding.
        exact_reconstruction_greedy: the same with greedy decoding, compared by token ids.
        exact_reconstruction_means: the same with greedy decoding from unrefined posterior means.
        exact_reconstruction_encoder: the same from means without the posterior's learned steps.
        learned_steps: number of these steps (`latent.iterative`).
    """
    rows = [model.tokenize(s) for s in smiles]
    z = model.encode_ids(rows, progress, refine)
    totals = np.zeros(7)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        for x, indices in model.batches(rows, "evaluate", progress):
            totals += _sum_figures(model.vae, x, z[indices].to(x.device))
    log_likelihood, kl, right, tokens, greedy, means, encoder = totals.tolist()
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
        "exact_reconstruction_encoder": encoder / n,
        "learned_steps": model.vae.config.iterations,
    }


def _sum_figures(vae: VAE, x: Tensor, z: Tensor) -> NDArray[np.float64]:
    """Ids (B, L) and latent points (B, D) -> sums over the batch of the seven metrics (7,)."""
    terms = vae(x)
    mean = vae.encode(x)
    target, real = x[:, 1:], x[:, 1:] != PAD
    right = (vae.sequence_decoder(mean, x).argmax(-1) == target) & real
    points = (z, mean, vae.encode_once(x))
    exact = [(vae.decoder.generate(y)[:, : x.shape[1]] == x).all(1) for y in points]
    sums = [terms.log_likelihood, terms.kl, right, real, *exact]
    return np.array([t.sum().item() for t in sums])
