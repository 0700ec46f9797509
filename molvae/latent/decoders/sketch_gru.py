"""Sketches written point by point by a GRU."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from molvae.latent.decoders import decoders
from molvae.latent.decoders.base import mask_symbols
from molvae.latent.kinds import Example
from molvae.latent.layers import FullPrecision, fold
from molvae.latent.likelihoods.mixture_density import MixtureDensity
from molvae.latent.sketches import DOWN, END, POSITION, WIDTH, count_rows


@decoders.register("sketch-gru")
class SketchGRUDecoder(nn.Module):
    """Autoregressive p(x|z) = prod_t p(x_t | x_<t, z) of points, with one GRU layer.

    As the decoder of SketchRNN (Ha & Eck 2018, section 3.2): z sets the initial state and is part
    of the input at every step. Two changes make it use z. Where the pen is on the sheet is an input
    of the GRU and of the output layer, so that z can say where a point is rather than how far from
    the last. In training a share `dropout` of the points before is hidden from the GRU (word
    dropout, Bowman et al. 2016); the output layer still sees where the pen is.
    """

    handles = "sketches"

    def __init__(
        self,
        example: Example,
        latent: int,
        hidden: int,
        likelihood: MixtureDensity,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.max_length, self.likelihood, self.dropout = example.shape[0], likelihood, dropout
        self.start = nn.Linear(latent, hidden)
        self.gru = nn.GRU(WIDTH + POSITION + latent, hidden)
        self.out = FullPrecision(nn.Linear(hidden + POSITION, likelihood.width))

    def forward(self, z: Tensor, x: Tensor) -> Tensor:
        """z (B, D), sketches x (B, L, 5) -> what the likelihood reads of each row given those
        before, (B, l, width), l rows that say something in the longest."""
        length = int(count_rows(x).max())
        before = torch.cat([self._begin(z)[:, None], x[:, : length - 1]], dim=1).transpose(0, 1)
        pen = before[..., :2].cumsum(0)
        share = self.dropout if self.training else 0.0
        points = mask_symbols(torch.cat([before, pen], dim=-1), share)
        inputs = torch.cat([points, z.expand(length, *z.shape)], dim=-1)
        states = self.gru(inputs, torch.tanh(self.start(z))[None].to(inputs.dtype))[0]
        return self._write(states, pen).transpose(0, 1)

    def _write(self, states: Tensor, pen: Tensor) -> Tensor:
        """States (..., H), where the pen is (..., 2) -> what the likelihood reads (..., width).

        bfloat16, which autocast would use, is too coarse for a place.
        """
        out: Tensor = self.out(torch.cat([states.to(pen.dtype), pen], dim=-1))
        return out

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """Sketches x (B, L, 5), z (B, D) -> log p(x|z) (B,) in nats."""
        return self.likelihood.log_prob(self(z, x), x)

    def log_likelihood_points(self, x: Tensor, z: Tensor) -> Tensor:
        """Sketches x (B, L, 5), z (B, D) -> log p of each row given those before (B, l)."""
        return self.likelihood.log_prob_points(self(z, x), x)

    def standardise(self, mean: Tensor, scale: Tensor) -> None:
        """Take (z - mean) / scale instead of z from now on; both (D,)."""
        fold(self.start.weight, self.start.bias, mean, scale)
        weight = self.gru.get_parameter("weight_ih_l0")[:, WIDTH + POSITION :]
        fold(weight, self.gru.get_parameter("bias_ih_l0"), mean, scale)

    @torch.no_grad()
    def generate(
        self,
        z: Tensor,
        temperature: float = 0.0,
        generator: torch.Generator | None = None,
        given: Tensor | None = None,
    ) -> Tensor:
        """Latents z (B, D) -> sketches (B, L, 5), which end after L - 1 points at the latest.

        Args:
            z: latents.
            temperature: see `MixtureDensity.generate`.
            generator: of the draws.
            given: sketches (B, L, 5) whose points these begin with: they are completed.
        """
        x = z.new_zeros(len(z), self.max_length, WIDTH)
        x[..., END] = 1
        state = torch.tanh(self.start(z))
        last = torch.cat([self._begin(z), z.new_zeros(len(z), POSITION)], dim=-1)
        rows = torch.arange(len(z), device=z.device)  # unfinished sketches
        for t in range(self.max_length - 1):
            out, after = self.gru(torch.cat([last, z[rows]], dim=-1)[None], state[None])
            read = self._write(out[0], last[:, WIDTH:])
            points = self.likelihood.generate(read, temperature, generator).to(z.dtype)
            if given is not None:
                forced = given[rows, t, END] == 0
                points = torch.where(forced[:, None], given[rows, t], points)
            x[rows, t] = points
            going = points[:, END] == 0
            rows, state, points = rows[going], after[0, going], points[going]
            if len(rows) == 0:
                break
            last = torch.cat([points, last[going, WIDTH:] + points[:, :2]], dim=-1)
        return x

    def _begin(self, z: Tensor) -> Tensor:
        """z (B, D) -> what stands before the first point (B, 5): the pen in the middle, down."""
        begin = z.new_zeros(len(z), WIDTH)
        begin[:, DOWN] = 1
        return begin
