"""Scenes of a number of objects that nobody has counted: attend, infer, repeat.

A picture of three digits is not one thing with a latent vector, but three things that share a
drawing. So the model is put together from the VAE of a single object, used as often as there are
objects (Eslami et al. 2016):

    n ~ p(n),    where_t ~ p(where), what_t ~ p(what)  for t = 1 .. n
    x ~ p(x | sum_t place(decode(what_t), where_t))

Inference looks at the picture and at what is not yet explained of it, decides whether there is one
more object, finds it, reads it, draws it and looks again. The published model draws these decisions
and pays for it with a noisy gradient, and with runs that fail. Here each step looks at what the
*means* of the steps before drew. So q(n, where, what | x) is a product, and n is summed out exactly
(`gradients.enumerated`) from one drawing per number of objects.

No label is used anywhere: that there are things, how many and where follows from the bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, Independent, Normal

from molvae.base.errors import MolvaeError
from molvae.latent.decoders import decoders
from molvae.latent.elbo import Bound, closed_form_kl
from molvae.latent.encoders import encoders
from molvae.latent.gradients import enumerated
from molvae.latent.inputs import check_batch
from molvae.latent.kinds import Example, is_a
from molvae.latent.likelihoods import likelihoods
from molvae.latent.locators import locators
from molvae.latent.posteriors import posteriors
from molvae.latent.protocols import (
    ArrayWriter,
    Encoder,
    Locator,
    PosteriorHead,
    PriorModule,
)
from molvae.latent.vae import VAEConfig

# Log-odds by which an object is darker than its decoder says. Without it an untrained model draws
# grey squares, and what it learns first is to draw none at all.
FAINT = 2.0


@dataclass(frozen=True)
class SceneConfig:
    """The shape of a model of scenes, as plain values that can be stored as JSON.

    Args:
        shape: of a scene (C, H, W).
        part: the VAE of one object, an image (C, h, w); its likelihood is that of the scene.
        most: the largest number of objects N in training.
        cost: nats that one more object costs, p(n) ∝ exp(-cost n) over 0 .. N. A blurred object
            leaves a rest that a second one in the same place explains, which gains some nats and
            is no object; one that is really there gains hundreds.
        locator: name of the part that finds an object.
        locator_hidden: its features.
    """

    shape: tuple[int, int, int]
    part: VAEConfig
    most: int = 3
    cost: float = 60.0
    locator: str = "heatmap"
    locator_hidden: int = 64

    def __post_init__(self) -> None:
        """Refuse shapes that cannot work.

        Raises:
            MolvaeError: no objects at all, or an object that is no image or not of these channels.
        """
        if self.most < 1:
            raise MolvaeError(f"most must be at least 1 object, not {self.most}")
        part = self.part.example
        if not is_a(part.kind, "images") or len(self.shape) != 3 or part.shape[0] != self.shape[0]:
            raise MolvaeError(
                f"scenes are images (C, H, W) of objects (C, h, w), not {self.shape} of "
                f"{part.shape}"
            )


class Attention(NamedTuple):
    """q(n, where, what | x), a product: how many objects, and what each step found."""

    number: Categorical  # batch (B,), 0 .. N
    where: list[Distribution]  # of each of N steps, batch (B,), event (2,): row, column in pixels
    what: list[Distribution]  # of each of N steps, batch (B,), event (D,)


class Found(NamedTuple):
    """The likeliest reading of scenes: object t of a scene counts where t < `number`."""

    number: Tensor  # (B,)
    where: Tensor  # (B, N, 2), row and column in pixels of the middle of what is drawn
    what: Tensor  # (B, N, D)
    objects: Tensor  # (B, N, C, H, W), each drawn alone


class Scenes(nn.Module):
    """p(n) prod_t p(where_t) p(what_t) p(x|n, where, what), and q as the module explains.

    Called with scenes x, it returns the bound that `fit` maximises. The number of steps N of
    inference may be larger than in training, so that more objects are found than ever were seen.

    >>> part = VAEConfig(shape=(1, 28, 28), encoder="mlp", decoder="mlp", likelihood="gaussian")
    >>> model = Scenes(SceneConfig((1, 50, 50), part))
    >>> model(torch.zeros(2, 1, 50, 50)).value().shape
    torch.Size([2])

    Raises:
        MolvaeError: a part is unknown or made for another kind of x.
    """

    middle: Tensor
    reach: Tensor

    def __init__(self, config: SceneConfig) -> None:
        super().__init__()
        self.config, part = config, config.part
        part.check_parts()
        self.example = Example(config.shape)
        hidden = part.encoder_hidden
        self.locator: Locator = locators.look_up(config.locator)(
            self._seen_example(), config.locator_hidden
        )
        self.more = nn.Sequential(
            nn.Linear(config.locator_hidden, hidden), nn.SiLU(), nn.Linear(hidden, 1)
        )
        self.log_spread = nn.Parameter(torch.tensor(-0.5))  # of where it is, in pixels
        self.encoder: Encoder = encoders.look_up(part.encoder)(part.example, hidden)
        self.head: PosteriorHead = posteriors.look_up(part.posterior)(hidden, part.latent)
        likelihood = likelihoods.look_up(part.likelihood)(part.noise)
        self.decoder = cast(  # checked when it was registered
            ArrayWriter,
            decoders.look_up(part.decoder)(
                part.example, part.latent, part.decoder_hidden, likelihood, part.dropout
            ),
        )
        self.prior_module: PriorModule = part.build_prior()
        sides = torch.tensor(config.shape[1:], dtype=torch.get_default_dtype())
        self.register_buffer("middle", (sides - 1) / 2, persistent=False)
        self.register_buffer("reach", sides / 4, persistent=False)

    def _seen_example(self) -> Example:
        """What a locator reads: the scene, and what is not yet explained of it."""
        channels, height, width = self.config.shape
        return Example((2 * channels, height, width))

    def prior_where(self) -> Distribution:
        """Return p(where), batch (), event (2,): around the middle, in pixels."""
        return Independent(Normal(self.middle, self.reach, validate_args=False), 1)

    def prior_what(self) -> Distribution:
        """Return p(what), batch (), event (D,)."""
        return self.prior_module(self.read)

    def prior_count(self, most: int | None = None) -> Categorical:
        """Return p(n), batch (), over 0 .. N."""
        most = self.config.most if most is None else most
        numbers = torch.arange(most + 1, dtype=self.middle.dtype, device=self.middle.device)
        return Categorical(logits=-self.config.cost * numbers)

    def read(self, windows: Tensor) -> Distribution:
        """Windows (B, C, h, w) -> q(what), batch (B,), event (D,)."""
        return self.head(self.encoder(windows))

    def write(self, what: Tensor) -> Tensor:
        """What (B, D) -> its window (B, C, h, w), from 0 to 1."""
        return torch.sigmoid(self.decoder(what) - FAINT)

    def attend(self, x: Tensor, most: int | None = None) -> Attention:
        """Scenes x (B, C, H, W) -> q(n, where, what | x), after `most` steps, N as a rule.

        q(n|x) breaks a stick: step t says with which probability there is one more object, given
        that there were t.

        Raises:
            MolvaeError: x does not look like the scenes that the model is made for.
        """
        check_batch(x, self.example, self.middle.dtype)
        left, more, where, what = x, [], [], []
        window = self.config.part.shape[1:]
        spread = self.log_spread.exp().expand(len(x), 2)
        for _ in range(self.config.most if most is None else most):
            place, features = self.locator(torch.cat([x, left], 1))
            q = self.read(crop(left, place, window))
            more.append(self.more(features)[:, 0])
            where.append(Independent(Normal(place, spread, validate_args=False), 1))
            what.append(q)
            left = left - put(self.write(self.head.point(q)), place, x.shape[2:])
        return Attention(break_stick(torch.stack(more, 1)), list(where), what)

    def draw(self, where: Tensor, what: Tensor) -> Tensor:
        """Where (N, B, 2) and what (N, B, D) -> each object in a scene of its own (N, B, C, H, W).

        An object may hang over the edge of its scene.
        """
        steps = where.shape[:2]
        windows = self.write(what.flatten(0, 1))
        drawn = put(windows, where.flatten(0, 1), self.config.shape[1:])
        return drawn.view(*steps, *drawn.shape[1:])

    def log_likelihoods(self, x: Tensor, where: Tensor, what: Tensor) -> Tensor:
        """Log p(x | n, where, what) (N + 1, B) in nats, for n from 0 to N objects.

        Args:
            x: scenes (B, C, H, W).
            where: rows and columns in pixels (N, B, 2); of them the first n count.
            what: latents (N, B, D).
        """
        drawings = torch.cat([torch.zeros_like(x)[None], self.draw(where, what).cumsum(0)])
        repeated = x.expand_as(drawings).flatten(0, 1)
        each = self.decoder.likelihood.log_prob(drawings.flatten(0, 1), repeated)
        return each.view(len(drawings), len(x))

    def forward(self, x: Tensor, most: int | None = None) -> Bound:
        """Scenes x (B, C, H, W) -> the terms of the bound on log p(x), each (B,) in nats."""
        a = self.attend(x, most)
        where = torch.stack([q.rsample() for q in a.where])
        what = torch.stack([q.rsample() for q in a.what])
        log_likelihoods = self.log_likelihoods(x, where, what)
        paid = [
            _kl(q_where, self.prior_where(), z_where) + _kl(q_what, self.prior_what(), z_what)
            for q_where, q_what, z_where, z_what in zip(a.where, a.what, where, what, strict=True)
        ]
        kl = torch.stack([torch.zeros_like(paid[0]), *paid]).cumsum(0)

        def terms(n: Tensor) -> Tensor:  # (N + 1, B) -> (N + 1, B, 2)
            return torch.stack([log_likelihoods.gather(0, n), kl.gather(0, n)], -1)

        means = enumerated(a.number, terms, 1)
        # written out: torch's KL is infinite where a probability of the prior underflows
        log_ratio = a.number.logits - self.prior_count(len(paid)).logits
        of_count = (a.number.probs * log_ratio).sum(1)
        return Bound(means[:, 0], means[:, 1] + of_count)

    @torch.no_grad()
    def find(self, x: Tensor, most: int | None = None) -> Found:
        """Scenes x (B, C, H, W) -> the likeliest number of objects, and the mean of each.

        The bound is the same wherever a decoder draws its object in the window, if the window moves
        the other way. So an object is said to be in the middle of what is drawn, not of its window.
        """
        a = self.attend(x, most)
        where = torch.stack([q.mean for q in a.where])
        what = torch.stack([self.head.point(q) for q in a.what])
        objects = self.draw(where, what)
        middle = find_middle(self.write(what.flatten(0, 1))).view_as(where)
        by_scene = (part.transpose(0, 1) for part in (where + middle, what, objects))
        return Found(a.number.probs.argmax(1), *by_scene)

    @torch.no_grad()
    def generate(self, counts: Tensor) -> Tensor:
        """Numbers of objects (B,) -> scenes (B, C, H, W) drawn from the prior, without noise."""
        size = torch.Size([int(counts.max()) if len(counts) else 0, len(counts)])
        objects = self.draw(self.prior_where().sample(size), self.prior_what().sample(size))
        return (objects * exist(counts, size[0])).sum(0)


def exist(counts: Tensor, steps: int) -> Tensor:
    """Numbers of objects (B,) -> which of N steps count, 0 or 1, (N, B, 1, 1, 1)."""
    numbers = torch.arange(steps, device=counts.device)
    return (numbers[:, None] < counts).to(torch.get_default_dtype())[..., None, None, None]


def break_stick(logits: Tensor) -> Categorical:
    """Logits of one more (B, N) -> the distribution of how many there are, 0 .. N, batch (B,).

    q(n) = (1 - p_{n+1}) prod_{t <= n} p_t, and of the last, N, the whole rest.
    """
    none = torch.zeros_like(logits[:, :1])
    more = nn.functional.logsigmoid(logits).cumsum(1)
    stop = nn.functional.logsigmoid(-logits)
    log_q = torch.cat([none, more], 1) + torch.cat([stop, none], 1)
    return Categorical(logits=log_q, validate_args=False)


def crop(x: Tensor, where: Tensor, window: tuple[int, ...]) -> Tensor:
    """Images (B, C, H, W) -> windows (B, C, h, w) around where (B, 2); bilinear, zero outside."""
    down, right = _weights(where, x.shape[2:], window)
    return down.transpose(2, 3) @ x @ right


def put(windows: Tensor, where: Tensor, sides: tuple[int, ...]) -> Tensor:
    """Windows (B, C, h, w) -> images (B, C, *sides) with them at where (B, 2), zero elsewhere.

    The transpose of `crop`: bilinear, and what is over the edge is lost.
    """
    down, right = _weights(where, sides, windows.shape[2:])
    return down @ windows @ right.transpose(2, 3)


def find_middle(windows: Tensor) -> Tensor:
    """Windows (B, C, h, w) of positive numbers -> centres of mass (B, 2), from their middles."""
    mass = windows.sum(1) / windows.sum((1, 2, 3))[:, None, None]
    down, right = (torch.arange(side).to(mass) - (side - 1) / 2 for side in windows.shape[2:])
    return torch.stack([(mass.sum(2) * down).sum(1), (mass.sum(1) * right).sum(1)], 1)


def _weights(
    where: Tensor, sides: tuple[int, ...], window: tuple[int, ...]
) -> tuple[Tensor, Tensor]:
    """For each axis, how much pixel i of the image is pixel j of the window, (B, 1, side, size)."""
    both = []
    for axis in (0, 1):
        image = torch.arange(sides[axis], dtype=where.dtype, device=where.device)
        offset = torch.arange(window[axis], dtype=where.dtype, device=where.device)
        pixels = where[:, axis, None] + offset - (window[axis] - 1) / 2  # (B, size)
        both.append((1 - (image[:, None] - pixels[:, None, None]).abs()).clamp(min=0))
    return both[0], both[1]


def _kl(q: Distribution, p: Distribution, z: Tensor) -> Tensor:
    """Return KL(q || p) (B,) in nats, estimated from the draw z where no closed form is known."""
    exact = closed_form_kl(q, p)
    return q.log_prob(z) - p.log_prob(z) if exact is None else exact
