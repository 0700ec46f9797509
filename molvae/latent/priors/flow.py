"""A normalising flow."""

from __future__ import annotations

from torch.distributions import Distribution
from zuko.distributions import NormalizingFlow
from zuko.flows import MAF
from zuko.transforms import ComposedTransform

from molvae.base.errors import MolvaeError
from molvae.latent.kinds import Example
from molvae.latent.layers import start_near_identity
from molvae.latent.priors import priors
from molvae.latent.priors.base import RescaledPrior
from molvae.latent.protocols import Posterior


@priors.register("flow")
class FlowPrior(RescaledPrior):
    """A standard normal, transformed by a masked autoregressive flow (Papamakarios et al. 2017).

    The density takes one pass; a sample takes one for each latent dimension.
    """

    def __init__(
        self, latent: int, example: Example, transforms: int = 4, hidden: int = 128
    ) -> None:
        if latent < 2:
            raise MolvaeError(
                "the prior 'flow' needs at least 2 latent dimensions: each is transformed in view "
                "of those before it"
            )
        super().__init__(latent)
        self.flow = MAF(latent, transforms=transforms, hidden_features=(hidden, hidden))
        for transform in self.flow.transform.transforms:
            start_near_identity(transform)

    def forward(self, posterior: Posterior) -> Distribution:
        """Return the prior, batch (), event (D,)."""
        normal = self.flow()
        bend = ComposedTransform(self.rescale(), *normal.transform.transforms)
        flow: Distribution = NormalizingFlow(bend, normal.base)
        return flow
