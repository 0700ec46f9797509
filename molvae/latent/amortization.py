"""How far the encoder's q is from the best q of each example, and how to come nearer.

An encoder answers for every x at once, so it misses the best q of each by a little. What that costs
is the amortisation gap; what even the best Gaussian misses, because the true posterior is none, is
the approximation gap (Cremer et al. 2018):

    log p(x) - ELBO(encoder's q) = [log p(x) - ELBO(best q)] + [ELBO(best q) - ELBO(encoder's q)]
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from molvae.base.errors import MolvaeError
from molvae.latent.batches import Array, Table
from molvae.latent.elbo import Bound, elbo
from molvae.latent.fit import fit
from molvae.latent.inputs import check_arrays, check_samples
from molvae.latent.iterative import IterativeInference
from molvae.latent.properties import WithProperties
from molvae.latent.protocols import LatentModel
from molvae.latent.training import FitConfig, Observer
from molvae.latent.vae import VAE

STEPS, RATE = 500, 0.05  # of Adam; the rate falls to zero
SCORE_ON, BATCH = 2_000, 250  # held-out examples that a fit is scored on, and how many at a time


class OwnPosterior:
    """A model whose q is one free diagonal Gaussian for each of B examples: a `LatentModel`."""

    def __init__(self, model: LatentModel, x: Tensor) -> None:
        self.model = model
        with torch.no_grad():
            q = model.posterior(x)
            try:
                mean, spread = q.mean, q.stddev
            except NotImplementedError:
                raise MolvaeError(
                    "the best q starts from the mean and the standard deviation of the encoder's, "
                    "which this posterior does not know: use a Gaussian one"
                ) from None
        self.mean = mean.clone().requires_grad_()
        self.log_spread = spread.log().requires_grad_()

    def prior(self) -> Distribution:
        """Return p(z)."""
        return self.model.prior()

    def posterior(self, x: Tensor) -> Distribution:
        """x, the B examples in their order -> their q, batch (B,), event (D,)."""
        return Independent(Normal(self.mean, self.log_spread.exp(), validate_args=False), 1)

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """x (B, ...), z (B, D) -> log p(x|z) (B,) in nats."""
        return self.model.log_likelihood(x, z)


def find_best_posterior(
    model: LatentModel, x: Tensor, steps: int = STEPS, samples: int = 8
) -> OwnPosterior:
    """Examples x (B, ...) -> the model with the diagonal Gaussian q of each that is best for it.

    Gradient steps on the ELBO of each example, from the q of the encoder; the weights of the model
    stay. Compare `elbo` of the two models, with many samples, for the amortisation gap, and with
    `log_marginal` for the approximation gap.

    Args:
        model: trained, in evaluation mode.
        x: examples.
        steps: gradient steps.
        samples: draws of each q in a step.

    Raises:
        MolvaeError: no steps or samples, or a posterior whose moments are not known.
    """
    check_samples(steps)
    own = OwnPosterior(model, x)
    parameters = [own.mean, own.log_spread]
    optimizer = torch.optim.Adam(parameters, RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        loss = -elbo(own, x, samples).value().sum()
        for parameter, gradient in zip(
            parameters, torch.autograd.grad(loss, parameters), strict=True
        ):
            parameter.grad = gradient  # and none for the weights of the model
        optimizer.step()
        schedule.step()
    return own


class PosteriorFit(NamedTuple):
    """What was maximised, with the old and the new q(z|x): the mean over held-out examples.

    It is the ELBO with the KL weight of the training, in nats, without the properties.
    """

    before: float
    after: float


class _PosteriorOf(nn.Module):
    """The ELBO of a model, its properties included, as what its posterior is fitted to."""

    def __init__(self, model: VAE) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, y: Tensor | None = None) -> Bound:
        model: LatentModel = self.model
        if y is not None and self.model.property_head is not None:
            model = WithProperties(model, self.model.property_head, y)
        return elbo(model, x)


def fit_posterior(
    model: VAE,
    iterations: int,
    train: tuple[Array, ...],
    validation: tuple[Array, ...],
    *,
    config: FitConfig,
    folder: Path | None = None,
    observe: Observer = lambda progress: None,
) -> PosteriorFit:
    """Let learned steps improve q(z|x) of a trained model, see `latent.iterative`.

    They are fitted to the ELBO, with the KL weight of `config`; encoder, decoder, prior and
    property head do not change. Steps of an earlier call are replaced.

    Args:
        model: trained; changed in place.
        iterations: number of steps; 0 leaves the q of the encoder.
        train: examples (N, ...) and, if the model predicts properties, those of each (N, P).
        validation: the same, held out; they select the best weights.
        config: how to train.
        folder: of its checkpoint, see `fit`.
        observe: called after every step of the training, see `fit`.

    Raises:
        MolvaeError: the posterior is not one of independent Gaussians, or no data.
    """
    train, validation = check_arrays("training", train), check_arrays("validation", validation)
    new = replace(model.config, iterations=iterations)
    device = next(model.parameters()).device
    some = np.random.default_rng(config.seed).permutation(len(validation[0]))[:SCORE_ON]
    held_out = Table(validation[0][some])
    model.eval()
    before = _mean_elbo(model, held_out, config)
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        inference = IterativeInference(new.latent).to(device) if iterations else None
    if inference is not None:
        with torch.no_grad():  # raises, where q is of another kind, while the model is unchanged
            x = held_out.take(np.arange(1), device)[0]
            inference(model.posterior(x), lambda z: model.log_likelihood(x, z))
    frozen = [p for p in model.parameters() if p.requires_grad]
    model.inference, model.config = inference, new
    if inference is not None:
        try:
            for p in frozen:
                p.requires_grad_(False)
            fit(_PosteriorOf(model), train, validation, config, folder, observe)
        finally:
            for p in frozen:
                p.requires_grad_(True)
    model.to(device).eval()
    return PosteriorFit(before, _mean_elbo(model, held_out, config))


@torch.no_grad()
def _mean_elbo(model: VAE, table: Table, config: FitConfig) -> float:
    device, values = next(model.parameters()).device, []
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)  # the same draws before and after
        for i in range(0, len(table), BATCH):
            rows = np.arange(i, min(i + BATCH, len(table)))
            bound = elbo(model, table.take(rows, device)[0])
            values.append(bound.value(config.kl_weight))
    return float(torch.cat(values).mean())
