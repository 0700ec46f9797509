"""What each part of a latent-variable model promises, with shapes.

A VAE of molecules and one of digits differ in what reads x and in what writes it, and in nothing
else. So a model is put together from parts that know each other by these protocols alone:

    x (B, ...) --Encoder--> hidden (B, H) --PosteriorHead--> q(z|x), z (B, D)
    z (B, D) --Decoder, Likelihood--> log p(x|z) (B,), or x (B, ...)
    PriorModule--> p(z)

Axes: `B` batch, `L` tokens, `V` vocabulary, `D` latent dimensions, `H` hidden units, `K` samples.
A part is a subclass of `nn.Module`, and its registry checks it against its protocol
(`check_part`). The protocol's `__call__` is the module's `forward`.

A change of the latent coordinates to (z - mean) / scale, `standardise`, goes through all parts
that touch z: each folds it into its weights, so that the model stays the same.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Protocol, Self

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from molvae.base.errors import MolvaeError
from molvae.latent.kinds import Example, kinds

Posterior = Callable[[Tensor], Distribution]  # x (B, ...) -> q(z|x)
Integrand = Callable[[Tensor], Tensor]


class LatentModel(Protocol):
    """What a bound needs of a model: p(z), q(z|x) and log p(x|z)."""

    def prior(self) -> Distribution:
        """Return p(z), batch (), event (D,)."""
        ...

    def posterior(self, x: Tensor) -> Distribution:
        """x (B, ...) -> q(z|x), batch (B,), event (D,)."""
        ...

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """x (B, ...), z (B, D) -> log p(x|z) (B,) in nats."""
        ...


class Estimator(Protocol):
    """What a bound needs of a gradient estimator: q, f and a sample count -> mean of f."""

    def __call__(self, q: Distribution, f: Integrand, samples: int) -> Tensor:
        """Return the mean of f(z) over `samples` draws of q, with a gradient.

        Args:
            q: batch (*batch), event (*event).
            f: z (K, *batch, *event) -> values (K, *batch, *extra), each from its own z alone.
                Values in `extra` share their draws. f may depend on the parameters of q.
            samples: K, the draws for each member of the batch.

        Returns:
            The mean (*batch, *extra).

        Raises:
            MolvaeError: the estimator cannot take this q, no samples, f of another shape.
        """
        ...


class Part(Protocol):
    """What every part has because it is an `nn.Module`."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """Iterate over the weights."""
        ...

    def to(self, device: torch.device) -> Self:
        """Move the weights to a device, in place."""
        ...


class Encoder(Part, Protocol):
    """x (B, ...) -> hidden (B, H)."""

    handles: str  # the kind of x, see `latent.kinds`

    def __init__(self, example: Example, hidden: int) -> None:
        """Make an encoder of x like `example` with H = `hidden`, a multiple of 16."""

    def __call__(self, x: Tensor) -> Tensor:
        """x (B, ...) -> hidden (B, H), each row from its own x alone."""
        ...


class PosteriorHead(Part, Protocol):
    """Hidden (B, H) -> q(z|x)."""

    def __init__(self, hidden: int, latent: int) -> None:
        """Make a head for H = `hidden` and D = `latent`."""

    def __call__(self, hidden: Tensor) -> Distribution:
        """Hidden (B, H) -> q(z|x), batch (B,), event (D,), in float32 or better."""
        ...

    def point(self, q: Distribution) -> Tensor:
        """A q that this head gave -> the z that represents each example (B, D)."""
        ...

    def standardise(self, mean: Tensor, scale: Tensor) -> None:
        """Give (z - mean) / scale instead of z from now on; both (D,)."""
        ...


class Likelihood(Part, Protocol):
    """What a decoder puts out -> p(x|z).

    The decoder's output is called `out`. All decoders and likelihoods of one kind of x work with
    each other: for arrays of numbers `out` has the shape of x, for token ids it is logits
    (B, L - 1, V). A kind that is registered elsewhere defines its own.
    """

    handles: str

    def __init__(self, noise: float | None) -> None:
        """Make a likelihood; `noise` is its standard deviation where it has one, None learns it."""

    def log_prob(self, out: Tensor, x: Tensor) -> Tensor:
        """Out (B, ...), x (B, ...) -> log p(x|z) (B,) in nats."""
        ...

    def generate(
        self, out: Tensor, temperature: float = 0.0, generator: torch.Generator | None = None
    ) -> Tensor:
        """Out -> x: its mean or mode at temperature 0; above it, draws with `generator`."""
        ...


class Decoder(Part, Protocol):
    """z (B, D) -> p(x|z)."""

    handles: str

    def __init__(
        self, example: Example, latent: int, hidden: int, likelihood: Likelihood, dropout: float
    ) -> None:
        """Make a decoder.

        Args:
            example: what one x looks like.
            latent: D.
            hidden: width of its layers.
            likelihood: p(x|z) given its output.
            dropout: share of its inputs or hidden units that is masked in training.
        """

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """x (B, ...), z (B, D) -> log p(x|z) (B,) in nats."""
        ...

    def generate(
        self, z: Tensor, temperature: float = 0.0, generator: torch.Generator | None = None
    ) -> Tensor:
        """z (B, D) -> x (B, ...): the mean or mode at temperature 0; above it, draws."""
        ...

    def standardise(self, mean: Tensor, scale: Tensor) -> None:
        """Take (z - mean) / scale instead of z from now on; both (D,)."""
        ...


class Autoregressive(Protocol):
    """A decoder that writes a sequence one symbol at a time."""

    max_length: int  # L
    likelihood: Likelihood

    def begin(self, z: Tensor) -> list[Tensor]:
        """z (B, D) -> the state before the first symbol, each tensor (B, ...)."""
        ...

    def step(self, symbols: Tensor, z: Tensor, rows: Tensor, state: list[Tensor]) -> Tensor:
        """Feed one symbol to some rows of a batch, and update their state in place.

        Args:
            symbols: the last symbol of each of these rows (b,).
            z: their latents (b, D).
            rows: which rows of the state they are (b,).
            state: of all rows, from `begin`.

        Returns:
            Logits of the next symbol (b, V).
        """
        ...


class SequenceDecoder(Decoder, Autoregressive, Protocol):
    """A decoder of token ids."""

    def __call__(self, z: Tensor, ids: Tensor) -> Tensor:
        """z (B, D), ids (B, L) -> logits of ids[:, 1:] given the ids before, (B, L - 1, V)."""
        ...

    def gives(self, x: Tensor, z: Tensor) -> Tensor:
        """Ids x (B, L), z (B, D) -> whether greedy decoding of z gives x, (B,)."""
        ...

    def judge(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """Ids x (B, L), z (B, D) -> log p(x|z) (B,) in nats, and `gives` (B,), from one pass."""
        ...


class ArrayWriter(Decoder, Protocol):
    """A decoder of arrays of numbers, images among them, which writes all of x at once."""

    likelihood: Likelihood

    def __call__(self, z: Tensor) -> Tensor:
        """z (B, D) -> `out` (B, ...), in the shape of x, for the likelihood."""
        ...


class Locator(Part, Protocol):
    """An image (B, C, H, W) -> where one object in it is."""

    handles: str

    def __init__(self, example: Example, hidden: int) -> None:
        """Make a locator in images like `example`, with `hidden` features, a multiple of 16."""

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, C, H, W) -> row and column (B, 2) in pixels, features (B, H) of what is there.

        A place is between 0 and the side minus 1, the middle of a pixel is a whole number.
        """
        ...


class PriorModule(Part, Protocol):
    """p(z)."""

    def __init__(self, latent: int, example: Example, **options: object) -> None:
        """Make a prior for D = `latent`, with the `prior_options` of `VAEConfig`."""

    def __call__(self, posterior: Posterior) -> Distribution:
        """Return p(z), batch (), event (D,); `posterior` maps x (B, ...) to q(z|x)."""
        ...

    def initialise(self, x: Tensor, z: Tensor) -> None:
        """Start from random training examples x (n, ...) and a sample z (n, D) of their q(z|x)."""
        ...

    def gain(self, posterior: Posterior, z: Tensor) -> Tensor:
        """z (B, D) -> what fitting the prior alone maximises (B,): log p(z), or a proxy of it."""
        ...

    def standardise(self, mean: Tensor, scale: Tensor) -> bool:
        """Move p(z) to the coordinates (z - mean) / scale, and return whether that is possible.

        Where it is not, the whole model keeps its coordinates. Both are (D,).
        """
        ...


def check_part(noun: str, protocol: type) -> Callable[[str, type], None]:
    """Return a check of a class against a protocol of this file, for a `Registry`.

    Args:
        noun: what such a part is called in messages: "decoder".
        protocol: its protocol.
    """
    methods = ["forward"] if "__call__" in vars(protocol) else []
    methods += [n for n, _ in inspect.getmembers(protocol, inspect.isfunction) if n[0] != "_"]

    def check(name: str, part: type) -> None:
        if not (isinstance(part, type) and issubclass(part, nn.Module)):
            raise MolvaeError(f"the {noun} {name!r} is not a class derived from torch.nn.Module")
        missing = [method for method in methods if not _implements(part, method)]
        if missing:
            raise MolvaeError(
                f"the {noun} {name!r} lacks {', '.join(missing)}: "
                f"see {protocol.__name__} in molvae.latent.protocols"
            )
        if "handles" in inspect.get_annotations(protocol):
            handles = getattr(part, "handles", None)
            if handles not in kinds:
                raise MolvaeError(
                    f"the {noun} {name!r} needs a class attribute `handles`, one of "
                    f"{', '.join(kinds)} or a kind that is registered before it, not {handles!r}"
                )

    return check


def _implements(part: type[nn.Module], method: str) -> bool:
    """Whether a class has a method of its own, and not one that only raises NotImplementedError."""
    function = getattr(part, method, None)
    unwritten = function is None or getattr(function, "__isabstractmethod__", False)
    return not unwritten and function is not nn.Module.forward
