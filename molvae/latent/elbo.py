"""The protocol of a latent-variable model, and its evidence lower bound, in nats per example."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from torch import Tensor
from torch.distributions import Distribution, kl_divergence


class LatentModel(Protocol):
    """What every bound needs of a model: p(z), q(z|x) and log p(x|z)."""

    def prior(self) -> Distribution:
        """Return p(z), batch (), event (D,)."""
        ...

    def posterior(self, x: Tensor) -> Distribution:
        """Return q(z|x), batch (B,), event (D,)."""
        ...

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """Return log p(x|z), (B,), in nats."""
        ...


class Elbo(NamedTuple):
    """The two terms of the bound, each (B,) in nats: log p(x) >= log_likelihood - kl."""

    log_likelihood: Tensor
    kl: Tensor

    def value(self, kl_weight: float = 1.0) -> Tensor:
        """Return log_likelihood - kl_weight * kl, (B,); 1 gives the bound itself."""
        return self.log_likelihood - kl_weight * self.kl


def elbo(model: LatentModel, x: Tensor) -> Elbo:
    """Estimate the bound at x with one reparameterised sample of z and the KL in closed form.

    Kingma & Welling 2014, eq. 7: E_q[log p(x|z)] - KL(q(z|x) || p(z)).

    Raises:
        NotImplementedError: torch knows no closed form for this pair of posterior and prior.
    """
    posterior = model.posterior(x)
    log_likelihood = model.log_likelihood(x, posterior.rsample())
    kl: Tensor = kl_divergence(posterior, model.prior())
    return Elbo(log_likelihood, kl)
