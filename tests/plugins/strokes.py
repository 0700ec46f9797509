"""A drawing as pen strokes: a kind of x, with its parts, as someone outside the package adds it.

A step of the pen is (dx, dy) and one of three states: down, up, finished (Ha & Eck 2018).
"""

import math

import torch
from torch import Tensor, nn

from molvae.latent.decoders import decoders
from molvae.latent.encoders import encoders
from molvae.latent.kinds import Example, Kind, kinds
from molvae.latent.layers import fold
from molvae.latent.likelihoods import likelihoods

STEPS, WIDTH = 6, 5


def draw_strokes(n: int, seed: int) -> tuple[Example, Tensor]:
    """Random drawings (n, STEPS, 5), the pen up at the last step."""
    generator = torch.Generator().manual_seed(seed)
    moves = torch.randn(n, STEPS, 2, generator=generator)
    pen = torch.randint(2, (n, STEPS), generator=generator)
    pen[:, -1] = 2
    return Example((STEPS, WIDTH), kind="strokes"), torch.cat(
        [moves, nn.functional.one_hot(pen, 3).float()], dim=-1
    )


kinds.register("strokes")(Kind("pen strokes (L, 5)", draw_strokes))


@encoders.register("strokes")
class StrokeEncoder(nn.Module):
    """Strokes (B, L, 5) -> last state of a GRU (B, H)."""

    handles = "strokes"

    def __init__(self, example: Example, hidden: int) -> None:
        super().__init__()
        self.gru = nn.GRU(example.shape[-1], hidden, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.gru(x)[1][0]


@decoders.register("strokes")
class StrokeDecoder(nn.Module):
    """z (B, D) -> all steps at once, from two layers."""

    handles = "strokes"

    def __init__(self, example, latent, hidden, likelihood, dropout=0.0) -> None:
        super().__init__()
        self.shape, self.likelihood = example.shape, likelihood
        self.first = nn.Linear(latent, hidden)
        self.rest = nn.Sequential(
            nn.SiLU(), nn.Dropout(dropout), nn.Linear(hidden, math.prod(example.shape))
        )

    def forward(self, z: Tensor) -> Tensor:
        return self.rest(self.first(z)).view(-1, *self.shape)

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        return self.likelihood.log_prob(self(z), x)

    @torch.no_grad()
    def generate(self, z: Tensor, temperature=0.0, generator=None) -> Tensor:
        return self.likelihood.generate(self(z), temperature, generator)

    def standardise(self, mean: Tensor, scale: Tensor) -> None:
        fold(self.first.weight, self.first.bias, mean, scale)


@likelihoods.register("strokes")
class StrokeLikelihood(nn.Module):
    """Moves with Gaussian noise, and a categorical pen state."""

    handles = "strokes"

    def __init__(self, noise: float | None) -> None:
        super().__init__()
        self.noise = noise or 0.5

    def log_prob(self, out: Tensor, x: Tensor) -> Tensor:
        moves = torch.distributions.Normal(out[..., :2], self.noise).log_prob(x[..., :2])
        pen = x[..., 2:] * out[..., 2:].log_softmax(-1)
        return moves.flatten(1).sum(1) + pen.flatten(1).sum(1)

    def generate(self, out: Tensor, temperature=0.0, generator=None) -> Tensor:
        moves, pen = out[..., :2], out[..., 2:].argmax(-1)
        if temperature > 0:
            moves = moves + temperature * self.noise * torch.randn(moves.shape, generator=generator)
            weights = (out[..., 2:] / temperature).softmax(-1).flatten(0, 1)
            pen = torch.multinomial(weights, 1, generator=generator).view(pen.shape)
        return torch.cat([moves, nn.functional.one_hot(pen, 3).to(out.dtype)], dim=-1)
