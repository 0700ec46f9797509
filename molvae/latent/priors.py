"""Priors p(z): a `Prior` is called with the model's posterior and returns a distribution.

To add one, write a subclass with `__init__(latent, example, ...)` and `forward` here, and register
it; its further arguments are `VAEConfig.prior_options`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.distributions import (
    AffineTransform,
    Categorical,
    Distribution,
    Independent,
    MixtureSameFamily,
    Normal,
)
from zuko.distributions import NormalizingFlow
from zuko.flows import MAF
from zuko.flows.continuous import FFJTransform
from zuko.transforms import ComposedTransform

from molvae.base.registry import Registry
from molvae.latent import BOS, EOS, Example
from molvae.latent.posteriors import start_near_identity

EXACT_UP_TO = 16  # dimensions: the exact trace of a Jacobian takes a pass for each
TOLERANCE = {"atol": 1e-4, "rtol": 1e-4}  # of following a path

Posterior = Callable[[Tensor], Distribution]


class Prior(nn.Module):
    """What the VAE asks of a prior; only `forward` has to be written."""

    def forward(self, posterior: Posterior) -> Distribution:
        """Return p(z), batch (), event (D,); `posterior` maps x (B, ...) to q(z|x)."""
        raise NotImplementedError

    def initialise(self, x: Tensor, z: Tensor) -> None:
        """Start from examples x (n, ...) drawn at random and a sample z (n, D) of their q(z|x)."""

    def gain(self, posterior: Posterior, z: Tensor) -> Tensor:
        """Return what fitting to z (B, D) alone maximises (B,): log p(z), or a proxy of it."""
        return self(posterior).log_prob(z)  # type: ignore[no-any-return]

    def standardise(self, mean: Tensor, scale: Tensor) -> bool:
        """Follow the latent coordinates to (z - mean) / scale, and tell whether it can be done.

        Where it cannot, the coordinates are left as they are.
        """
        return False


priors: Registry[type[Prior]] = Registry("prior")


@priors.register("standard-normal")
class StandardNormal(Prior):
    """p(z) = N(0, I)."""

    mean: Tensor

    def __init__(self, latent: int, example: Example) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(latent), persistent=False)

    def forward(self, posterior: Posterior) -> Distribution:
        """Return the prior, batch (), event (D,)."""
        ones = torch.ones_like(self.mean)
        return Independent(Normal(self.mean, ones, validate_args=False), 1)

    def standardise(self, mean: Tensor, scale: Tensor) -> bool:
        """Stay: the coordinates change in order to meet it."""
        return True


@priors.register("mixture")
class Mixture(Prior):
    """p(z) = sum_c w_c N(mean_c, diag(scale_c^2)), all of it learned."""

    def __init__(self, latent: int, example: Example, components: int = 50) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(components))
        self.means = nn.Parameter(torch.randn(components, latent))
        self.log_scales = nn.Parameter(torch.zeros(components, latent))

    def forward(self, posterior: Posterior) -> Distribution:
        """Return the prior, batch (), event (D,)."""
        components = Independent(Normal(self.means, self.log_scales.exp()), 1)
        return MixtureSameFamily(Categorical(logits=self.logits), components)

    @torch.no_grad()
    def initialise(self, x: Tensor, z: Tensor) -> None:
        """Start with components around examples: a kernel density estimate of the right width.

        Bandwidth of Scott 1992; the examples are drawn in by it, so that mean and variance of each
        dimension are theirs (the smoothed bootstrap of Silverman & Young 1987).
        """
        width = len(self.means) ** (-1 / (z.shape[1] + 4))
        rows, mean = torch.arange(len(self.means)) % len(z), z.mean(0)
        self.means.copy_(mean + (1 - width**2) ** 0.5 * (z[rows] - mean))
        self.log_scales.copy_((width * z.std(0)).log().expand_as(self.log_scales))

    @torch.no_grad()
    def standardise(self, mean: Tensor, scale: Tensor) -> bool:
        """Move the components."""
        self.means.sub_(mean).div_(scale)
        self.log_scales.sub_(scale.log())
        return True


@priors.register("vamp")
class VampPrior(Prior):
    """p(z) = sum_c w_c q(z|u_c): a mixture of posteriors at pseudo-inputs (Tomczak & Welling 2018).

    The pseudo-inputs start as training examples. Arrays of numbers are learned from there; token
    ids have no gradient and stay what they are (the paper's "VampPrior data"). The weights, equal
    in the paper, are learned.
    """

    pseudo_inputs: Tensor

    def __init__(self, latent: int, example: Example, components: int = 50) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(components))
        if example.vocabulary is None:
            self.pseudo_inputs = nn.Parameter(torch.zeros(components, *example.shape))
        else:
            ids = torch.zeros(components, *example.shape, dtype=torch.long)
            ids[:, 0], ids[:, 1] = BOS, EOS
            self.register_buffer("pseudo_inputs", ids)

    def forward(self, posterior: Posterior) -> Distribution:
        """Return the prior, batch (), event (D,)."""
        # a flow has no `support` to validate against
        return MixtureSameFamily(
            Categorical(logits=self.logits), posterior(self.pseudo_inputs), validate_args=False
        )

    @torch.no_grad()
    def initialise(self, x: Tensor, z: Tensor) -> None:
        """Start with examples as pseudo-inputs."""
        rows = x[torch.arange(len(self.pseudo_inputs)) % len(x)]
        if rows.ndim == 2 and self.pseudo_inputs.shape != rows.shape:  # ids, cut at their longest
            self.pseudo_inputs.zero_()
            self.pseudo_inputs[:, : rows.shape[1]] = rows
        else:
            self.pseudo_inputs.copy_(rows)

    def standardise(self, mean: Tensor, scale: Tensor) -> bool:
        """Nothing to do: the posterior does it."""
        return True


@priors.register("flow")
class FlowPrior(Prior):
    """A standard normal bent by a masked autoregressive flow (Papamakarios et al. 2017).

    The density takes one pass; a sample takes one for each latent dimension.
    """

    shift: Tensor
    unit: Tensor

    def __init__(
        self, latent: int, example: Example, transforms: int = 4, hidden: int = 128
    ) -> None:
        super().__init__()
        self.flow = MAF(latent, transforms=transforms, hidden_features=(hidden, hidden))
        for transform in self.flow.transform.transforms:
            start_near_identity(transform)
        self.register_buffer("shift", torch.zeros(latent))
        self.register_buffer("unit", torch.ones(latent))

    def forward(self, posterior: Posterior) -> Distribution:
        """Return the prior, batch (), event (D,)."""
        normal = self.flow()
        rescale = AffineTransform(-self.shift / self.unit, 1 / self.unit, event_dim=1)
        bend = ComposedTransform(rescale, *normal.transform.transforms)
        flow: Distribution = NormalizingFlow(bend, normal.base)
        return flow

    @torch.no_grad()
    def initialise(self, x: Tensor, z: Tensor) -> None:
        """Start as the Gaussian with the mean and scale of the examples."""
        self.shift.copy_(z.mean(0))
        self.unit.copy_(z.std(0))

    @torch.no_grad()
    def standardise(self, mean: Tensor, scale: Tensor) -> bool:
        """Move and scale what goes in."""
        self.shift.sub_(mean).div_(scale)
        self.unit /= scale
        return True


@priors.register("flow-matching")
class FlowMatchingPrior(Prior):
    """A standard normal moved along a learned velocity field, a continuous normalising flow.

    Fitted to z alone, the field is learned by regression on straight paths from z to noise (Lipman
    et al. 2023, eq. 23), for which no path has to be followed. Densities and samples follow the
    paths; training it jointly with a VAE needs densities, and is slow. Above `EXACT_UP_TO`
    dimensions a log density is an unbiased estimate (Grathwohl et al. 2019, eq. 7).
    """

    shift: Tensor
    unit: Tensor

    def __init__(self, latent: int, example: Example, layers: int = 4, hidden: int = 512) -> None:
        super().__init__()
        self.field = FFJTransform(
            latent,
            freqs=4,
            hidden_features=(hidden,) * layers,
            activation=nn.SiLU,
            exact=latent <= EXACT_UP_TO,
            **TOLERANCE,
        )
        self.register_buffer("shift", torch.zeros(latent))
        self.register_buffer("unit", torch.ones(latent))

    def forward(self, posterior: Posterior) -> Distribution:
        """Return the prior, batch (), event (D,)."""
        rescale = AffineTransform(-self.shift / self.unit, 1 / self.unit, event_dim=1)
        normal = Independent(Normal(torch.zeros_like(self.unit), torch.ones_like(self.unit)), 1)
        flow: Distribution = NormalizingFlow(ComposedTransform(rescale, self.field()), normal)
        return flow

    def gain(self, posterior: Posterior, z: Tensor) -> Tensor:
        """Return minus the squared error of the velocity at a random point of a path (B,)."""
        start = (z - self.shift) / self.unit
        noise, t = torch.randn_like(start), torch.rand_like(start[:, 0])
        between = start + t[:, None] * (noise - start)
        error = self.field.f(t, between) - (noise - start)
        gain: Tensor = -0.5 * error.square().sum(-1)
        return gain

    initialise = FlowPrior.initialise
    standardise = FlowPrior.standardise
