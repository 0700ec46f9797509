"""A continuous normalising flow."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal
from zuko.distributions import NormalizingFlow
from zuko.flows.continuous import FFJTransform
from zuko.transforms import ComposedTransform

from molvae.latent.kinds import Example
from molvae.latent.priors import priors
from molvae.latent.priors.base import RescaledPrior
from molvae.latent.protocols import Posterior

EXACT_UP_TO = 16  # dimensions; the exact trace of a Jacobian takes one pass per dimension
TOLERANCE = {"atol": 1e-4, "rtol": 1e-4}  # of the ODE solver


class _Field(FFJTransform):  # type: ignore[misc]
    """The same velocity; what zuko broadcasts by makes torch import sympy, which takes .3 s."""

    def f(self, t: Tensor, x: Tensor, c: Tensor | None = None) -> Tensor:
        """Times (...) and points (..., D) -> velocities (..., D)."""
        angles = self.freqs * t[..., None]
        waves = torch.cat((angles.cos(), angles.sin()), -1)
        velocity: Tensor = self.ode(torch.cat((waves.expand(*x.shape[:-1], -1), x), -1))
        return velocity


@priors.register("flow-matching")
class FlowMatchingPrior(RescaledPrior):
    """A standard normal transported along a learned velocity field, a continuous normalising flow.

    Fitted to z alone, the field is learned by regression on straight paths from z to noise (Lipman
    et al. 2023, eq. 23), without solving the ODE. Densities and samples do solve it, so training it
    jointly with a VAE, which needs densities, is slow. Above `EXACT_UP_TO`
    dimensions a log density is an unbiased estimate (Grathwohl et al. 2019, eq. 7).
    """

    def __init__(self, latent: int, example: Example, layers: int = 4, hidden: int = 512) -> None:
        super().__init__(latent)
        self.field = _Field(
            latent,
            freqs=4,
            hidden_features=(hidden,) * layers,
            activation=nn.SiLU,
            exact=latent <= EXACT_UP_TO,
            **TOLERANCE,
        )

    def forward(self, posterior: Posterior) -> Distribution:
        """Return the prior, batch (), event (D,)."""
        normal = Independent(Normal(torch.zeros_like(self.unit), torch.ones_like(self.unit)), 1)
        flow: Distribution = NormalizingFlow(
            ComposedTransform(self.rescale(), self.field()), normal
        )
        return flow

    def gain(self, posterior: Posterior, z: Tensor) -> Tensor:
        """Return minus the squared error of the velocity at a random point of a path (B,)."""
        start = (z - self.shift) / self.unit
        noise, t = torch.randn_like(start), torch.rand_like(start[:, 0])
        between = start + t[:, None] * (noise - start)
        error = self.field.f(t, between) - (noise - start)
        gain: Tensor = -0.5 * error.square().sum(-1)
        return gain
