"""Decoders: z -> log p(x|z), and generation of x from z."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from molvae.latent import BOS, EOS, PAD
from molvae.latent.encoders import one_hot
from molvae.registry import Registry

decoders: Registry[type[nn.Module]] = Registry("decoder")


@decoders.register("gru")
class GRUDecoder(nn.Module):
    """Autoregressive p(x|z) = prod_t p(x_t | x_<t, z) with one GRU layer.

    z sets the initial state and is part of the input at every step. During training a share
    `dropout` of the previous symbols is hidden, which forces the decoder to read z.
    """

    def __init__(
        self, vocabulary: int, max_length: int, latent: int, hidden: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.vocabulary, self.max_length, self.dropout = vocabulary, max_length, dropout
        self.start = nn.Linear(latent, hidden)
        self.gru = nn.GRU(vocabulary + latent, hidden)
        self.out = nn.Linear(hidden, vocabulary)

    def forward(self, z: Tensor, ids: Tensor) -> Tensor:
        """z (B, D), ids (B, L) -> logits of ids[:, 1:] given what comes before, (B, L - 1, V)."""
        symbols = one_hot(ids[:, :-1].t(), self.vocabulary)  # (L - 1, B, V)
        if self.training and self.dropout > 0:
            kept = torch.rand(symbols.shape[:2], device=z.device) >= self.dropout
            kept[0] = True
            symbols = symbols * kept[..., None]
        inputs = torch.cat([symbols, z.expand(len(symbols), *z.shape)], dim=-1)
        states, _ = self.gru(inputs, torch.tanh(self.start(z))[None].float())
        logits: Tensor = self.out(states)
        return logits.transpose(0, 1)

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """Ids x (B, L), z (B, D) -> log p(x|z) (B,) in nats, summed over symbols and EOS."""
        logits = self(z, x).float()
        loss = nn.functional.cross_entropy(
            logits.flatten(0, 1), x[:, 1:].flatten(), ignore_index=PAD, reduction="none"
        )
        return -loss.view(len(x), -1).sum(1)

    @torch.no_grad()
    def standardise(self, mean: Tensor, scale: Tensor) -> None:
        """Take (z - mean) / scale in place of z from now on; both (D,)."""
        gru_weight = self.gru.get_parameter("weight_ih_l0")[:, self.vocabulary :]
        gru_bias = self.gru.get_parameter("bias_ih_l0")
        for weight, bias in ((self.start.weight, self.start.bias), (gru_weight, gru_bias)):
            bias.add_(weight @ mean)
            weight.mul_(scale)

    @torch.no_grad()
    def generate(
        self, z: Tensor, temperature: float = 0.0, generator: torch.Generator | None = None
    ) -> Tensor:
        """Latents z (B, D) -> ids (B, L): the likeliest symbol at each step, or a sampled one.

        Temperature 0 is greedy; above it, symbols are drawn from softmax(logits / temperature)
        with `generator`. Finished sequences leave the batch, so a step costs what is still open.
        """
        z = z.to(self.start.weight.dtype)
        ids = torch.full((len(z), self.max_length), PAD, device=z.device)
        ids[:, 0] = BOS
        rows = torch.arange(len(z), device=z.device)  # sequences that are still open
        state = torch.tanh(self.start(z))[None]
        for t in range(1, self.max_length):
            if len(rows) == 0:
                break
            inputs = torch.cat([one_hot(ids[rows, t - 1], self.vocabulary), z[rows]], dim=-1)
            out, state = self.gru(inputs[None], state)
            logits = self.out(out[0])  # (open, V)
            logits[:, [PAD, BOS]] = -torch.inf
            if temperature > 0:
                weights = (logits / temperature).softmax(dim=-1)
                symbols = torch.multinomial(weights, 1, generator=generator)[:, 0]
            else:
                symbols = logits.argmax(dim=-1)
            ids[rows, t] = symbols
            is_open = symbols != EOS
            rows, state = rows[is_open], state[:, is_open]
        return ids
