"""What decoders of sequences share, and what decoders of arrays share."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from molvae.latent import BOS, PAD
from molvae.latent.autoregressive import generate_sequences
from molvae.latent.kinds import Example
from molvae.latent.layers import fold
from molvae.latent.protocols import Likelihood


class AutoregressiveDecoder(nn.Module, ABC):
    """Autoregressive p(x|z) = prod_t p(x_t | x_<t, z); called with z and ids, it returns logits."""

    handles = "ids"

    def __init__(self, example: Example, likelihood: Likelihood, dropout: float) -> None:
        super().__init__()
        self.vocabulary = example.vocabulary or 0
        self.max_length, self.likelihood, self.dropout = example.shape[0], likelihood, dropout

    @abstractmethod
    def begin(self, z: Tensor) -> list[Tensor]:
        """z (B, D) -> the state before the first symbol."""

    @abstractmethod
    def step(self, symbols: Tensor, z: Tensor, rows: Tensor, state: list[Tensor]) -> Tensor:
        """Symbols (b,), z (b, D) of some rows (b,) -> next logits (b, V); moves their state on.

        Args:
            symbols: what was written last.
            z: latents of these rows.
            rows: their places in the state.
            state: from `begin`, of all rows.
        """

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """Ids x (B, L), z (B, D) -> log p(x|z) (B,) in nats, summed over symbols and EOS."""
        result: Tensor = self.likelihood.log_prob(self(z, x), x)
        return result

    def gives(self, x: Tensor, z: Tensor) -> Tensor:
        """Ids x (B, L), z (B, D) -> whether greedy decoding of z gives x, (B,).

        It does where each symbol is the likeliest one given those before it: one pass is enough.
        """
        return _are_likeliest(self(z, x), x)

    def judge(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """Ids x (B, L), z (B, D) -> `log_likelihood` (B,) and `gives` (B,), from one pass."""
        logits = self(z, x)
        return self.likelihood.log_prob(logits, x), _are_likeliest(logits.detach().clone(), x)

    def generate(
        self, z: Tensor, temperature: float = 0.0, generator: torch.Generator | None = None
    ) -> Tensor:
        """Latents z (B, D) -> ids (B, L), see `generate_sequences`."""
        dtype = next(self.parameters()).dtype
        return generate_sequences(self, z.to(dtype), temperature, generator)


class ArrayDecoder(nn.Module):
    """z -> one number for each value of x, for the likelihood; the first layer is linear in z."""

    def __init__(self, example: Example, layers: nn.Sequential, likelihood: Likelihood) -> None:
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
        """Take (z - mean) / scale instead of z from now on; both (D,)."""
        first = self.layers[0]
        assert isinstance(first, nn.Linear)
        fold(first.weight, first.bias, mean, scale)

    @torch.no_grad()
    def generate(
        self, z: Tensor, temperature: float = 0.0, generator: torch.Generator | None = None
    ) -> Tensor:
        """Latents z (B, D) -> x (B, ...): its mean at temperature 0, draws of p(x|z) at 1."""
        result: Tensor = self.likelihood.generate(self(z), temperature, generator)
        return result


def _are_likeliest(logits: Tensor, x: Tensor) -> Tensor:
    """Logits (B, L - 1, V), which are changed, of ids x (B, L) -> whether greedy ids are x (B,)."""
    target = x[:, 1:]
    logits[..., [PAD, BOS]] = -torch.inf  # never generated
    right: Tensor = (logits.argmax(-1) == target) | (target == PAD)
    return right.all(dim=1)


def mask_symbols(symbols: Tensor, share: float) -> Tensor:
    """Vectors (L, B, E) of symbols -> the same, a random share of them zero; never the first."""
    if share == 0:
        return symbols
    kept = torch.rand(symbols.shape[:2], device=symbols.device) >= share
    kept[0] = True
    return symbols * kept[..., None]
