"""Decoders: z -> log p(x|z), and generation of x from z.

z enters every decoder through linear layers only, so that a change of the latent coordinates can
be folded into their weights (`standardise`).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from molvae.base.registry import Registry
from molvae.latent import BOS, PAD, Example, Kind
from molvae.latent.autoregressive import generate_sequences
from molvae.latent.encoders import Symbols, quarter

decoders: Registry[type[nn.Module]] = Registry("decoder")


class SequenceDecoder(nn.Module):
    """Autoregressive p(x|z) = prod_t p(x_t | x_<t, z); called with z and ids, it gives logits."""

    handles: Kind = "ids"

    def __init__(self, example: Example, likelihood: Any, dropout: float) -> None:
        super().__init__()
        self.vocabulary = example.vocabulary or 0
        self.max_length, self.likelihood, self.dropout = example.shape[0], likelihood, dropout

    def begin(self, z: Tensor) -> list[Tensor]:
        """z (B, D) -> the state before the first symbol."""
        raise NotImplementedError

    def step(self, symbols: Tensor, z: Tensor, rows: Tensor, state: list[Tensor]) -> Tensor:
        """Symbols (b,), z (b, D) of some rows (b,) -> next logits (b, V); moves their state on."""
        raise NotImplementedError

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """Ids x (B, L), z (B, D) -> log p(x|z) (B,) in nats, summed over symbols and EOS."""
        result: Tensor = self.likelihood.log_prob(self(z, x), x)
        return result

    def gives(self, x: Tensor, z: Tensor) -> Tensor:
        """Ids x (B, L), z (B, D) -> whether x is what greedy generation gives (B,).

        So it is where each symbol is the likeliest one after those before it.
        """
        target, logits = x[:, 1:], self(z, x)
        logits[..., [PAD, BOS]] = -torch.inf  # never generated
        right: Tensor = (logits.argmax(-1) == target) | (target == PAD)
        return right.all(dim=1)

    def generate(
        self, z: Tensor, temperature: float = 0.0, generator: torch.Generator | None = None
    ) -> Tensor:
        """Latents z (B, D) -> ids (B, L), see `autoregress`."""
        dtype = next(self.parameters()).dtype
        return generate_sequences(self, z.to(dtype), temperature, generator)


@decoders.register("gru")
class GRUDecoder(SequenceDecoder):
    """Autoregressive p(x|z) = prod_t p(x_t | x_<t, z) with one GRU layer.

    z sets the initial state and is part of the input at every step. During training a share
    `dropout` of the previous symbols is hidden, which forces the decoder to read z.
    """

    handles: Kind = "ids"

    def __init__(
        self, example: Example, latent: int, hidden: int, likelihood: Any, dropout: float = 0.0
    ) -> None:
        super().__init__(example, likelihood, dropout)
        self.symbols = Symbols(self.vocabulary)
        self.start = nn.Linear(latent, hidden)
        self.gru = nn.GRU(self.symbols.width + latent, hidden)
        self.out = nn.Linear(hidden, self.vocabulary)

    def forward(self, z: Tensor, ids: Tensor) -> Tensor:
        """z (B, D), ids (B, L) -> logits of ids[:, 1:] given what comes before, (B, L - 1, V)."""
        symbols = hide(self.symbols(ids[:, :-1].t()), self.dropout if self.training else 0.0)
        inputs = torch.cat([symbols, z.expand(len(symbols), *z.shape)], dim=-1)
        states, _ = self.gru(inputs, torch.tanh(self.start(z))[None].to(inputs.dtype))
        logits: Tensor = self.out(states)
        return logits.transpose(0, 1)

    def standardise(self, mean: Tensor, scale: Tensor) -> None:
        """Take (z - mean) / scale in place of z from now on; both (D,)."""
        fold(self.start.weight, self.start.bias, mean, scale)
        weight = self.gru.get_parameter("weight_ih_l0")[:, self.symbols.width :]
        fold(weight, self.gru.get_parameter("bias_ih_l0"), mean, scale)

    def begin(self, z: Tensor) -> list[Tensor]:
        """z (B, D) -> the state before the first symbol."""
        return [torch.tanh(self.start(z))]

    def step(self, symbols: Tensor, z: Tensor, rows: Tensor, state: list[Tensor]) -> Tensor:
        """Symbols (b,), z (b, D) of some rows (b,) -> next logits (b, V); moves their state on."""
        inputs = torch.cat([self.symbols(symbols), z], dim=-1)
        out, last = self.gru(inputs[None], state[0][rows][None])
        state[0][rows] = last[0]
        logits: Tensor = self.out(out[0])
        return logits


@decoders.register("conv")
class ConvDecoder(SequenceDecoder):
    """Autoregressive p(x|z) with causal dilated convolutions (van den Oord et al. 2016, WaveNet).

    z is added to every layer. Six layers of kernel 3 see 127 symbols back. `dropout` as in "gru".
    """

    handles: Kind = "ids"
    layers = 6

    def __init__(
        self, example: Example, latent: int, hidden: int, likelihood: Any, dropout: float = 0.0
    ) -> None:
        super().__init__(example, likelihood, dropout)
        self.symbols = Symbols(self.vocabulary)
        self.first = nn.Linear(self.symbols.width, hidden)
        self.latents = nn.ModuleList(nn.Linear(latent, hidden) for _ in range(self.layers))
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in range(self.layers))
        self.convolutions = nn.ModuleList(
            nn.Conv1d(hidden, hidden, 3, dilation=2**i) for i in range(self.layers)
        )
        self.out = nn.Linear(hidden, self.vocabulary)

    def forward(self, z: Tensor, ids: Tensor) -> Tensor:
        """z (B, D), ids (B, L) -> logits of ids[:, 1:] given what comes before, (B, L - 1, V)."""
        symbols = hide(self.symbols(ids[:, :-1].t()), self.dropout if self.training else 0.0)
        x = self.first(symbols)
        x = x.transpose(0, 1)  # (B, L - 1, H)
        for i, convolution in enumerate(self.convolutions):
            y = nn.functional.gelu(self.norms[i](x) + self.latents[i](z)[:, None])
            y = nn.functional.pad(y.transpose(1, 2), (2 * 2**i, 0))
            x = x + convolution(y).transpose(1, 2)
        logits: Tensor = self.out(x)
        return logits

    def standardise(self, mean: Tensor, scale: Tensor) -> None:
        """Take (z - mean) / scale in place of z from now on; both (D,)."""
        layers: Any = self.latents
        for layer in layers:
            fold(layer.weight, layer.bias, mean, scale)

    def begin(self, z: Tensor) -> list[Tensor]:
        """z (B, D) -> for each layer, the inputs that its next steps will look back on."""
        width = self.out.in_features
        return [z.new_zeros(len(z), 2 * 2**i + 1, width) for i in range(self.layers)]

    def step(self, symbols: Tensor, z: Tensor, rows: Tensor, state: list[Tensor]) -> Tensor:
        """Symbols (b,), z (b, D) of some rows (b,) -> next logits (b, V); moves their state on."""
        x = self.first(self.symbols(symbols))
        for i, convolution in enumerate(self.convolutions):
            y = nn.functional.gelu(self.norms[i](x) + self.latents[i](z))
            seen = torch.cat([state[i][rows, 1:], y[:, None]], dim=1)
            state[i][rows] = seen
            x = x + convolution(seen.transpose(1, 2))[..., 0]
        logits: Tensor = self.out(x)
        return logits


class ArrayDecoder(nn.Module):
    """z -> one number for each value of x, which the likelihood reads. `layers` begin linearly."""

    def __init__(self, example: Example, layers: nn.Sequential, likelihood: Any) -> None:
        super().__init__()
        self.shape, self.layers, self.likelihood = example.shape, layers, likelihood

    def forward(self, z: Tensor) -> Tensor:
        """z (B, D) -> what the likelihood reads (B, *shape)."""
        out: Tensor = self.layers(z)
        return out.view(-1, *self.shape)

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """x (B, ...), z (B, D) -> log p(x|z) (B,) in nats."""
        result: Tensor = self.likelihood.log_prob(self(z), x)
        return result

    def standardise(self, mean: Tensor, scale: Tensor) -> None:
        """Take (z - mean) / scale in place of z from now on; both (D,)."""
        first: Any = self.layers[0]
        fold(first.weight, first.bias, mean, scale)

    @torch.no_grad()
    def generate(
        self, z: Tensor, temperature: float = 0.0, generator: torch.Generator | None = None
    ) -> Tensor:
        """Latents z (B, D) -> x (B, ...): its mean at temperature 0, draws of p(x|z) at 1."""
        result: Tensor = self.likelihood.generate(self(z), temperature, generator)
        return result


@decoders.register("mlp")
class MLPDecoder(ArrayDecoder):
    """Two hidden layers; `dropout` is the share of their units left out in training."""

    handles: Kind = "numbers"

    def __init__(
        self, example: Example, latent: int, hidden: int, likelihood: Any, dropout: float = 0.0
    ) -> None:
        layers = nn.Sequential(
            nn.Linear(latent, hidden),
            nn.SiLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, hidden),
            nn.SiLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, math.prod(example.shape)),
        )
        super().__init__(example, layers, likelihood)


@decoders.register("linear")
class LinearDecoder(ArrayDecoder):
    """x = W z + mu, as in probabilistic PCA; `hidden` and `dropout` have no meaning here."""

    handles: Kind = "numbers"

    def __init__(
        self, example: Example, latent: int, hidden: int, likelihood: Any, dropout: float = 0.0
    ) -> None:
        layers = nn.Sequential(nn.Linear(latent, math.prod(example.shape)))
        super().__init__(example, layers, likelihood)


@decoders.register("image")
class ImageDecoder(ArrayDecoder):
    """One layer, then two convolutions that double the sides; `dropout` leaves out channels."""

    handles: Kind = "images"

    def __init__(
        self, example: Example, latent: int, hidden: int, likelihood: Any, dropout: float = 0.0
    ) -> None:
        channels, height, width = example.shape
        small, wide = max(8, hidden // 8), max(16, hidden // 4)
        low = (wide, quarter(height), quarter(width))
        layers = nn.Sequential(
            nn.Linear(latent, math.prod(low)),
            nn.Unflatten(1, low),
            nn.SiLU(),
            nn.Dropout2d(dropout),
            nn.Upsample((-(-height // 2), -(-width // 2))),
            nn.Conv2d(wide, small, 3, padding=1),
            nn.SiLU(),
            nn.Upsample((height, width)),
            nn.Conv2d(small, small, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(small, channels, 3, padding=1),
        )
        super().__init__(example, layers, likelihood)


def hide(symbols: Tensor, share: float) -> Tensor:
    """Symbols as vectors (L, B, E) -> the same with a share of them zero, the first never."""
    if share == 0:
        return symbols
    kept = torch.rand(symbols.shape[:2], device=symbols.device) >= share
    kept[0] = True
    return symbols * kept[..., None]


@torch.no_grad()
def fold(weight: Tensor, bias: Tensor, mean: Tensor, scale: Tensor) -> None:
    """Make weight @ z + bias take (z - mean) / scale in place of z; weight (.., D), bias (..,)."""
    bias.add_(weight @ mean)
    weight.mul_(scale)
