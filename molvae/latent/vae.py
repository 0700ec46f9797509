"""The variational autoencoder: prior, encoder, posterior head and decoder, chosen by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from molvae.errors import MolvaeError
from molvae.latent.decoders import decoders
from molvae.latent.elbo import Elbo, elbo
from molvae.latent.encoders import encoders
from molvae.latent.posteriors import posteriors
from molvae.latent.priors import priors


@dataclass(frozen=True)
class VAEConfig:
    """The shape of a VAE over token sequences; plain values, so that it is kept as JSON."""

    vocabulary: int  # number of token ids, V
    max_length: int  # longest sequence of ids, begin and end included, L
    latent: int = 64  # D
    encoder: str = "gru"
    encoder_hidden: int = 512  # H
    decoder: str = "gru"
    decoder_hidden: int = 512
    dropout: float = 0.0  # share of the decoder's input symbols hidden in training
    posterior: str = "diagonal"
    prior: str = "standard-normal"

    def __post_init__(self) -> None:
        """Refuse sizes that cannot work.

        Raises:
            MolvaeError: naming the field.
        """
        for name, least in (("latent", 1), ("encoder_hidden", 16), ("decoder_hidden", 1)):
            if getattr(self, name) < least or (least > 1 and getattr(self, name) % least):
                multiple = f" and a multiple of {least}" if least > 1 else ""
                raise MolvaeError(
                    f"{name} must be at least {least}{multiple}, not {getattr(self, name)}"
                )
        if not 0 <= self.dropout < 1:
            raise MolvaeError(f"dropout must be at least 0 and below 1, not {self.dropout}")


class VAE(nn.Module):
    """p(x, z) = p(z) p(x|z) with the amortised posterior q(z|x) (Kingma & Welling 2014).

    It is a `LatentModel`: `prior`, `posterior` and `log_likelihood` are all that a bound needs.
    """

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        c = self.config = config
        self.encoder = encoders[c.encoder](c.vocabulary, c.max_length, c.encoder_hidden)
        self.head: Any = posteriors[c.posterior](c.encoder_hidden, c.latent)
        self.decoder: Any = decoders[c.decoder](
            c.vocabulary, c.max_length, c.latent, c.decoder_hidden, c.dropout
        )
        self.prior_module = priors[c.prior](c.latent)

    def prior(self) -> Distribution:
        """Return p(z), batch (), event (D,)."""
        distribution: Distribution = self.prior_module()
        return distribution

    def posterior(self, x: Tensor) -> Distribution:
        """Ids x (B, L) -> q(z|x), batch (B,), event (D,)."""
        distribution: Distribution = self.head(self.encoder(x))
        return distribution

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """Ids x (B, L), z (B, D) -> log p(x|z) (B,) in nats."""
        result: Tensor = self.decoder.log_likelihood(x, z)
        return result

    @torch.no_grad()
    def standardise(self, x: Tensor) -> None:
        """Change the latent coordinates so that the posteriors of x (B, L) average to N(0, I).

        With a small KL weight the aggregate posterior is much narrower than the prior, and most
        samples of the prior mean nothing to the decoder. This affine change of coordinates matches
        mean and variance of each dimension: the likelihood is the same at the new coordinates, and
        the KL term falls to that of the best diagonal Gaussian prior in the old ones.
        """
        q = self.posterior(x)
        mean, scale = q.mean.mean(0), (q.mean.var(0) + q.variance.mean(0)).sqrt()
        self.head.standardise(mean, scale)
        self.decoder.standardise(mean, scale)

    def forward(self, x: Tensor) -> Elbo:
        """Ids x (B, L) -> the terms of the evidence lower bound, each (B,) in nats."""
        return elbo(self, x)
