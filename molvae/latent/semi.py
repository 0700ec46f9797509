"""Semi-supervised learning with a class label y that is known for some examples only."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution

from molvae.base.errors import MolvaeError
from molvae.latent.decoders import decoders
from molvae.latent.elbo import Bound, elbo
from molvae.latent.encoders import encoders
from molvae.latent.inputs import check_batch
from molvae.latent.likelihoods import likelihoods
from molvae.latent.posteriors import posteriors
from molvae.latent.protocols import Decoder, Encoder, PosteriorHead, PriorModule
from molvae.latent.vae import VAEConfig

UNKNOWN = -1  # the y of an example without a label


class M2(nn.Module):
    """p(x, y, z) = p(y) p(z) p(x|y, z), with q(y|x) and q(z|x, y) (Kingma et al. 2014, M2).

    z holds what y does not: the style of a digit, say, where y is which digit it is. Any encoder,
    posterior, decoder and likelihood of `VAEConfig` can be used; the decoder reads z and one-hot y,
    concatenated. Called with x and y, it returns the bound that `fit` maximises.

    Args:
        config: the shape, as of a VAE.
        classes: number of classes C; y is 0 .. C - 1, or `UNKNOWN`.
        alpha: weight of log q(y|x) for an example with a label (eq. 9), without which such
            examples would not train the classifier. The paper's 0.1 N, for N examples of which N_l
            have labels, is 0.1 N / N_l here.
        dropout: share of the hidden units of q(y|x) that are dropped in training, where labels are
            few; 0 for none.

    Raises:
        MolvaeError: a part is made for another kind of x; the prior needs a q(z|x).
    """

    log_p_y: Tensor

    def __init__(self, config: VAEConfig, classes: int, alpha: float, dropout: float = 0.0) -> None:
        super().__init__()
        c = self.config = config
        self.classes, self.alpha = classes, alpha
        c.check_parts()
        self.example = c.example
        hidden = c.encoder_hidden
        own = cast(nn.Module, encoders.look_up(c.encoder)(c.example, hidden))
        self.classifier = nn.Sequential(own, nn.Dropout(dropout), nn.Linear(hidden, classes))
        self.encoder: Encoder = encoders.look_up(c.encoder)(c.example, hidden)
        self.join = nn.Sequential(nn.Linear(hidden + classes, hidden), nn.SiLU())
        self.head: PosteriorHead = posteriors.look_up(c.posterior)(hidden, c.latent)
        self.decoder: Decoder = decoders.look_up(c.decoder)(
            c.example,
            c.latent + classes,
            c.decoder_hidden,
            likelihoods.look_up(c.likelihood)(c.noise),
            c.dropout,
        )
        self.prior_module: PriorModule = c.build_prior()
        self.register_buffer("log_p_y", torch.full((classes,), 1 / classes).log())

    def classify(self, x: Tensor) -> Categorical:
        """x (B, ...) -> q(y|x), a `Categorical` with batch (B,)."""
        check_batch(x, self.example, self.log_p_y.dtype)
        logits = self.classifier(x)
        return Categorical(logits=logits if logits.dtype == torch.float64 else logits.float())

    def given(self, y: Tensor, hidden: Tensor | None = None) -> Conditional:
        """Labels y (B,) -> the `LatentModel` p(z) p(x|y, z) with q(z|x, y), for B examples."""
        return Conditional(self, y, hidden)

    def labelled(self, x: Tensor, y: Tensor, hidden: Tensor | None = None) -> Bound:
        """x (B, ...), y (B,) -> the bound on log p(x, y) (eq. 6); -log p(y) is part of `kl`."""
        log_likelihood, kl = elbo(self.given(y, hidden), x)
        return Bound(log_likelihood, kl - self.log_p_y[y])

    def unlabelled(self, x: Tensor) -> Bound:
        """x (B, ...) -> the bound on log p(x), y summed out exactly (eq. 7).

        sum_y q(y|x) labelled(x, y) + H(q(y|x)); the entropy is part of `kl`, which is then
        E_q(y|x)[KL(q(z|x, y) || p(z))] + KL(q(y|x) || p(y)).
        """
        q = self.classify(x)
        hidden = self.encoder(x)
        each = [
            self.labelled(x, torch.full((len(x),), y, device=x.device), hidden)
            for y in range(self.classes)
        ]
        probabilities = q.probs.t()  # (C, B)
        log_likelihood, kl = (
            (probabilities * torch.stack(terms)).sum(0) for terms in zip(*each, strict=True)
        )
        return Bound(log_likelihood, kl - q.entropy())  # type: ignore[no-untyped-call]

    def forward(self, x: Tensor, y: Tensor) -> Bound:
        """x (B, ...), y (B,) or `UNKNOWN` -> what training maximises (eq. 9), in nats, (B,).

        For examples with a label, alpha log q(y|x) is part of `log_likelihood`.
        """
        check_batch(x, self.example, self.log_p_y.dtype)
        if y.shape != x.shape[:1]:
            raise MolvaeError(
                f"y must have shape ({len(x)},), one label each, not {tuple(y.shape)}"
            )
        known, unknown = (y >= 0).nonzero()[:, 0], (y < 0).nonzero()[:, 0]
        parts = []
        if len(known):
            log_likelihood, kl = self.labelled(x[known], y[known])
            log_q = self.classify(x[known]).log_prob(y[known])  # type: ignore[no-untyped-call]
            parts.append(Bound(log_likelihood + self.alpha * log_q, kl))
        if len(unknown):
            parts.append(self.unlabelled(x[unknown]))
        back = torch.cat([known, unknown]).argsort()
        return Bound(*(torch.cat(terms)[back] for terms in zip(*parts, strict=True)))

    def encode(self, x: Tensor, y: Tensor) -> Tensor:
        """x (B, ...), y (B,) -> the z that represents what y does not say (B, D)."""
        return self.head.point(self.given(y).posterior(x))

    def generate(
        self,
        z: Tensor,
        y: Tensor,
        temperature: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """z (B, D), y (B,) -> x (B, ...), see `Decoder.generate`.

        With z of the prior this samples a class; with z of another example's `encode` it transfers
        that example's style to class y.

        Args:
            z: latents, the style.
            y: classes.
            temperature: 0 gives the likeliest x; above it, x is drawn.
            generator: of the draws.
        """
        return self.decoder.generate(self.join_label(z, y), temperature, generator)

    def join_label(self, values: Tensor, y: Tensor) -> Tensor:
        """Values (B, ·) and labels (B,) -> concatenated, the labels one-hot (B, · + C)."""
        label = nn.functional.one_hot(y, self.classes).to(values.dtype)
        return torch.cat([values, label], dim=-1)


class Conditional:
    """M2 at given labels y (B,): a `LatentModel` for these B examples."""

    def __init__(self, model: M2, y: Tensor, hidden: Tensor | None) -> None:
        self.model, self.y, self.hidden = model, y, hidden

    def prior(self) -> Distribution:
        """Return p(z), batch (), event (D,).

        Raises:
            MolvaeError: the prior needs q(z|x), which is known given y only.
        """

        def posterior(x: Tensor) -> Distribution:
            raise MolvaeError("this prior needs q(z|x), and M2 has q(z|x, y): use another")

        return self.model.prior_module(posterior)

    def posterior(self, x: Tensor) -> Distribution:
        """x (B, ...) -> q(z|x, y), batch (B,), event (D,)."""
        check_batch(x, self.model.example, self.model.log_p_y.dtype)
        hidden = self.model.encoder(x) if self.hidden is None else self.hidden
        return self.model.head(self.model.join(self.model.join_label(hidden, self.y)))

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """x (K B, ...), z (K B, D) -> log p(x|y, z) (K B,) in nats, for y repeated K times."""
        y = self.y.repeat(len(x) // len(self.y))
        return self.model.decoder.log_likelihood(x, self.model.join_label(z, y))
