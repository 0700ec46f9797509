"""Fitting a prior to the aggregate posterior of a model that is already trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from molvae.latent.batches import Array, Table
from molvae.latent.elbo import Bound
from molvae.latent.fit import fit
from molvae.latent.inputs import check_arrays
from molvae.latent.training import FitConfig, Observer
from molvae.latent.vae import VAE

BATCH = 512  # examples encoded together
INITIALISE_ON = 1_000  # examples that the prior starts from
SCORE_ON = 500  # held-out points whose density is reported


class PriorFit(NamedTuple):
    """Mean log p(z) of held-out posterior samples, in nats, under the old and the new prior.

    The difference is what the new prior adds to the ELBO.
    """

    before: float
    after: float


class _PriorOfLatents(nn.Module):
    """The prior of a model as a model of z itself."""

    def __init__(self, model: VAE) -> None:
        super().__init__()
        self.model = model

    def forward(self, z: Tensor) -> Bound:
        gain = self.model.prior_module.gain(self.model.posterior, z)
        return Bound(gain, torch.zeros_like(gain))


def fit_prior(
    model: VAE,
    name: str,
    train: Array,
    validation: Array,
    *,
    config: FitConfig,
    options: Mapping[str, Any] | None = None,
    samples: int = 1,
    observe: Observer = lambda progress: None,
    progress: bool = False,
) -> PriorFit:
    """Replace the prior of a trained model by one fitted to E_x[q(z|x)] of the examples `train`.

    Of all priors the aggregate posterior gives the highest ELBO (Hoffman & Johnson 2016). So this
    maximises the mean of `PriorModule.gain`, as a rule log p(z), over draws from each q(z|x). The
    encoder and the decoder do not change.

    Args:
        model: trained; changed in place.
        name: of the new prior.
        train: examples (N, ...).
        validation: held-out examples (M, ...).
        config: how to train.
        options: of the new prior, as `VAEConfig.prior_options`.
        samples: draws from each q(z|x).
        observe: called after every step, see `fit`.
        progress: show a bar while the examples are encoded.

    Raises:
        MolvaeError: unknown prior, options it does not take, no data.
    """
    (train,), (validation,) = (
        check_arrays("training", (train,)),
        check_arrays("validation", (validation,)),
    )
    new = replace(model.config, prior=name, prior_options=dict(options or {}))
    device = next(model.parameters()).device
    model.eval()
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        prior = new.build_prior().to(device)
        z = _latents(model, Table(train), samples, progress)
        held_out = _latents(model, Table(validation), samples)
        some = np.random.default_rng(config.seed).permutation(len(train))[:INITIALISE_ON]
        prior.initialise(Table(train).take(some, device)[0], z[some])
    before = _mean_log_prob(model, held_out)
    frozen = [p for p in model.parameters() if p.requires_grad]
    model.prior_module, model.config = prior, new
    try:
        for p in frozen:
            p.requires_grad_(False)
        if any(p.requires_grad for p in prior.parameters()):  # N(0, I) has nothing to learn
            data = z.cpu().numpy(), held_out.cpu().numpy()
            fit(_PriorOfLatents(model), *data, config, None, observe)
    finally:
        for p in frozen:
            p.requires_grad_(True)
    model.to(device).eval()
    return PriorFit(before, _mean_log_prob(model, held_out))


@torch.no_grad()
def _mean_log_prob(model: VAE, z: Tensor) -> float:
    return float(model.prior().log_prob(z[:SCORE_ON]).mean())


def _latents(model: VAE, table: Table, samples: int, progress: bool = False) -> Tensor:
    """Examples (N, ...) -> samples of their posteriors, those of all first, (samples N, D)."""
    device = next(model.parameters()).device
    parts = []
    with torch.no_grad(), tqdm(total=len(table), desc="encode", disable=not progress) as bar:
        for i in range(0, len(table), BATCH):
            x = table.take(np.arange(i, min(i + BATCH, len(table))), device)[0]
            parts.append(model.posterior(x).sample(torch.Size([samples])))
            bar.update(len(x))
    return torch.cat(parts, dim=1).flatten(0, 1)
