"""The variational autoencoder: prior, encoder, posterior head, decoder, likelihood, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from molvae.base.errors import MolvaeError
from molvae.base.registry import Registry
from molvae.latent.decoders import decoders
from molvae.latent.elbo import Bound, elbo
from molvae.latent.encoders import encoders
from molvae.latent.inputs import check_batch
from molvae.latent.iterative import IterativeInference
from molvae.latent.kinds import Example, is_a
from molvae.latent.layers import measure_spread
from molvae.latent.likelihoods import likelihoods
from molvae.latent.posteriors import posteriors
from molvae.latent.priors import priors
from molvae.latent.properties import PropertyHead, WithProperties
from molvae.latent.protocols import (
    Decoder,
    Encoder,
    LatentModel,
    PosteriorHead,
    PriorModule,
    SequenceDecoder,
)

MOST_ITERATIONS = 16  # each costs a gradient through the decoder

# a model, x (B, ...) -> the terms of a bound on its log p(x)
BoundOf: TypeAlias = Callable[[LatentModel, Tensor], Bound]


@dataclass(frozen=True)
class VAEConfig:
    """The shape of a VAE, as plain values that can be stored as JSON.

    x is a sequence of token ids, given by `vocabulary` and `max_length`, or an array, given by
    `shape`; `kind` names any other kind of x.
    """

    vocabulary: int = 0  # number of token ids, V
    max_length: int = 0  # longest sequence of ids, begin and end included, L
    latent: int = 64  # D
    encoder: str = "gru"
    encoder_hidden: int = 512  # H
    decoder: str = "gru"
    decoder_hidden: int = 512
    dropout: float = (
        0.0  # share of the decoder's input symbols (or hidden units) hidden in training
    )
    posterior: str = "diagonal"
    iterations: int = 0  # learned steps that improve q(z|x), see `latent.iterative`
    prior: str = "standard-normal"
    prior_options: Mapping[str, Any] = field(default_factory=dict)
    likelihood: str = "categorical"
    noise: float | None = None  # standard deviation of a Gaussian likelihood; learned where None
    shape: tuple[int, ...] = ()  # of one x that is no sequence of ids
    kind: str = ""  # of x, see `latent.kinds`; inferred where empty
    properties: tuple[str, ...] = ()  # names of what is predicted from z

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
        if not 0 <= self.iterations <= MOST_ITERATIONS:
            raise MolvaeError(
                f"iterations must be from 0 to {MOST_ITERATIONS}, not {self.iterations}"
            )
        for name in ("shape", "properties"):  # which JSON makes lists
            object.__setattr__(self, name, tuple(getattr(self, name)))

    @property
    def example(self) -> Example:
        """What one x looks like."""
        if self.shape:
            return Example(self.shape, self.vocabulary or None, self.kind)
        return Example((self.max_length,), self.vocabulary, self.kind)

    @property
    def parts(self) -> list[tuple[Registry[Any], str]]:
        """The registry and the name of each part."""
        return [
            (encoders, self.encoder),
            (posteriors, self.posterior),
            (priors, self.prior),
            (decoders, self.decoder),
            (likelihoods, self.likelihood),
        ]

    def check_parts(self) -> None:
        """Check that the parts exist and handle this kind of x.

        Raises:
            MolvaeError: naming the one that does not.
        """
        for registry, name in self.parts:
            registry.look_up(name)  # imports one from elsewhere, and so registers its kind of x
        example = self.example
        for kind, part in [
            (encoders.look_up(self.encoder).handles, f"the encoder {self.encoder!r}"),
            (decoders.look_up(self.decoder).handles, f"the decoder {self.decoder!r}"),
            (likelihoods.look_up(self.likelihood).handles, f"the likelihood {self.likelihood!r}"),
        ]:
            example.refuse_unless(kind, part)

    def build_prior(self) -> PriorModule:
        """Make the prior.

        Raises:
            MolvaeError: unknown name, or options that this prior does not take.
        """
        for name, value in self.prior_options.items():  # numbers of components, units, layers
            if isinstance(value, int) and value < 1:
                raise MolvaeError(f"the prior option {name} must be at least 1, not {value}")
        try:
            return priors.look_up(self.prior)(self.latent, self.example, **self.prior_options)
        except TypeError as error:
            raise MolvaeError(f"the prior {self.prior!r} cannot be made: {error}") from None


class Reading(NamedTuple):
    """A model whose encoder reads one form of x and whose decoder writes another."""

    model: VAE
    read: Tensor

    def prior(self) -> Distribution:
        """Return p(z)."""
        return self.model.prior()

    def posterior(self, x: Tensor) -> Distribution:
        """Return q(z|x) of the form that is read."""
        return self.model.posterior(x, self.read)

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """x (B, ...), z (B, D) -> log p(x|z) (B,) in nats."""
        return self.model.log_likelihood(x, z)


class VAE(nn.Module):
    """p(x, z) = p(z) p(x|z) with the amortised posterior q(z|x) (Kingma & Welling 2014).

    It is a `LatentModel`: `prior`, `posterior` and `log_likelihood` are all that a bound needs.
    `bound` is what training maximises, any function of `latent.elbo` with its further arguments
    filled in: `functools.partial(iwae, samples=5)`. In evaluation mode the model is called with
    `validation_bound`, or with `bound` where there is none.

    Raises:
        MolvaeError: a part is made for another kind of x, or refuses its options.
    """

    def __init__(
        self,
        config: VAEConfig,
        bound: BoundOf = elbo,
        validation_bound: BoundOf | None = None,
    ) -> None:
        super().__init__()
        c = self.config = config
        self.bound, self.validation_bound = bound, validation_bound or bound
        c.check_parts()
        self.example = c.example
        self.encoder: Encoder = encoders.look_up(c.encoder)(c.example, c.encoder_hidden)
        self.head: PosteriorHead = posteriors.look_up(c.posterior)(c.encoder_hidden, c.latent)
        self.inference = IterativeInference(c.latent) if c.iterations else None
        likelihood = likelihoods.look_up(c.likelihood)(c.noise)
        self.decoder: Decoder = decoders.look_up(c.decoder)(
            c.example, c.latent, c.decoder_hidden, likelihood, c.dropout
        )
        self.prior_module = c.build_prior()
        self.property_head = PropertyHead(c.latent, len(c.properties)) if c.properties else None

    def prior(self) -> Distribution:
        """Return p(z), batch (), event (D,)."""
        return self.prior_module(self.posterior)

    def posterior(self, x: Tensor, read: Tensor | None = None) -> Distribution:
        """x (B, ...) -> q(z|x), batch (B,), event (D,).

        Args:
            x: examples.
            read: another form of each, which the encoder reads instead.

        Raises:
            MolvaeError: x does not look like the examples that the model is made for.
        """
        read = x if read is None else read
        check_batch(read, self.example, next(self.parameters()).dtype)
        q = self.head(self.encoder(read))
        if self.inference is not None:
            for _ in range(self.config.iterations):
                q = self.inference(q, partial(self.decoder.log_likelihood, x))
        return q

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """x (B, ...), z (B, D) -> log p(x|z) (B,) in nats."""
        return self.decoder.log_likelihood(x, z)

    def encode(self, x: Tensor) -> Tensor:
        """x (B, ...) -> the z that represents each (B, D), such as the posterior mean."""
        return self.head.point(self.posterior(x))

    def encode_once(self, x: Tensor) -> Tensor:
        """x (B, ...) -> like `encode`, without the learned steps: what the encoder alone gives."""
        return self.head.point(self.head(self.encoder(x)))

    @property
    def sequence_decoder(self) -> SequenceDecoder:
        """The decoder of a model of token ids, which also writes one symbol at a time.

        Raises:
            MolvaeError: x is of another kind.
        """
        if not is_a(self.config.example.kind, "ids"):
            raise MolvaeError("this model is not one of token ids, so it has no sequence decoder")
        return cast(SequenceDecoder, self.decoder)  # checked when it was registered

    @torch.no_grad()
    def initialise(self, x: Tensor) -> None:
        """Start the prior from random training examples x (n, ...)."""
        self.prior_module.initialise(x, self.posterior(x).sample())

    @torch.no_grad()
    def standardise(self, x: Tensor) -> None:
        """Change the latent coordinates so that the posteriors of x (B, ...) average to N(0, I).

        With a small KL weight the aggregate posterior is much narrower than the prior, and most
        samples of the prior lie where the decoder was never trained. This affine change of
        coordinates matches the mean and variance of each dimension: the likelihood is the same at
        the new coordinates, and the KL term falls to that of the best diagonal Gaussian prior in
        the old ones. A learned prior is moved along; if it cannot be, the coordinates are kept.
        """
        z = self.posterior(x).sample(torch.Size([16])).flatten(0, 1)
        mean, scale = z.mean(0), measure_spread(z)
        if self.prior_module.standardise(mean, scale):
            self.head.standardise(mean, scale)
            self.decoder.standardise(mean, scale)
            if self.inference is not None:
                self.inference.standardise(mean, scale)
            if self.property_head is not None:
                self.property_head.standardise(mean, scale)

    def forward(self, x: Tensor, y: Tensor | None = None, read: Tensor | None = None) -> Bound:
        """x (B, ...) -> the terms of the bound, each (B,) in nats.

        With properties y (B, P), NaN where one is not known, it is the bound of log p(x, y). With
        `read` (B, K, ...), K other forms of each x, the encoder reads one of them at random.
        """
        model: LatentModel = self
        if read is not None:
            rows = torch.arange(len(x), device=x.device)
            model = Reading(self, read[rows, torch.randint(read.shape[1], rows.shape).to(rows)])
        if y is not None and self.property_head is not None:
            model = WithProperties(model, self.property_head, y)
        return (self.bound if self.training else self.validation_bound)(model, x)
