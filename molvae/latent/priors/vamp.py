"""A mixture of posteriors."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, MixtureSameFamily

from molvae.latent import BOS, EOS
from molvae.latent.kinds import Example, kinds
from molvae.latent.priors import priors
from molvae.latent.priors.base import Prior
from molvae.latent.protocols import Posterior


@priors.register("vamp")
class VampPrior(Prior):
    """p(z) = sum_c w_c q(z|u_c): a mixture of posteriors at pseudo-inputs (Tomczak & Welling 2018).

    The pseudo-inputs start as training examples. Real-valued ones are then learned; token ids have
    no gradient and stay fixed (the paper's "VampPrior data"). The weights, equal in the paper, are
    learned.
    """

    pseudo_inputs: Tensor

    def __init__(self, latent: int, example: Example, components: int = 50) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(components))
        if kinds[example.kind].has_gradient:
            self.pseudo_inputs = nn.Parameter(torch.zeros(components, *example.shape))
        else:
            ids = torch.zeros(components, *example.shape, dtype=torch.long)
            ids[:, 0], ids[:, 1] = BOS, EOS  # empty sequences, until `initialise`
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
        self.pseudo_inputs.zero_()
        self.pseudo_inputs[:, : rows.shape[1]] = rows  # a batch of ids may be cut at its longest

    def standardise(self, mean: Tensor, scale: Tensor) -> bool:
        """Nothing to do: the posterior does it."""
        return True
