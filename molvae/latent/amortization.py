"""How far the encoder's q is from the best q of each example.

An encoder answers for every x at once, so it misses the best q of each by a little. What that costs
is the amortisation gap; what even the best Gaussian misses, because the true posterior is none, is
the approximation gap (Cremer et al. 2018):

    log p(x) - ELBO(encoder's q) = [log p(x) - ELBO(best q)] + [ELBO(best q) - ELBO(encoder's q)]
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from molvae.base.errors import MolvaeError
from molvae.latent.elbo import elbo
from molvae.latent.inputs import check_samples
from molvae.latent.protocols import LatentModel

STEPS, RATE = 500, 0.05  # of Adam; the rate falls to zero


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
