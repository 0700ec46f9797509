"""Sampling, greedy decoding and beam search, for every decoder that writes symbol by symbol."""

from __future__ import annotations

import torch
from torch import Tensor

from molvae.latent import BOS, EOS, PAD
from molvae.latent.protocols import Autoregressive


@torch.no_grad()
def generate_sequences(
    decoder: Autoregressive, z: Tensor, temperature: float, generator: torch.Generator | None
) -> Tensor:
    """Latents z (B, D) -> ids (B, L): the likeliest symbol at each step, or a sampled one.

    Temperature 0 is greedy; above it, symbols are drawn from softmax(logits / temperature) with
    `generator`. Finished sequences leave the batch, so a step costs only the unfinished ones.
    """
    ids = torch.full((len(z), decoder.max_length), PAD, device=z.device)
    ids[:, 0] = BOS
    rows = torch.arange(len(z), device=z.device)  # unfinished sequences
    state = decoder.begin(z)
    for t in range(1, decoder.max_length):
        if len(rows) == 0:
            break
        logits = decoder.step(ids[rows, t - 1], z[rows], rows, state)
        logits[:, [PAD, BOS]] = -torch.inf
        symbols = decoder.likelihood.generate(logits, temperature, generator)
        ids[rows, t] = symbols
        rows = rows[symbols != EOS]
    return ids


@torch.no_grad()
def beam_search(
    decoder: Autoregressive, z: Tensor, width: int, margin: float = torch.inf
) -> tuple[Tensor, Tensor]:
    """Latents z (B, D) -> likely sequences of each, ids (B, W, L), best first; log p(x|z) (B, W).

    Beam search: after each symbol the `width` W likeliest prefixes of each z are kept, except those
    more than `margin` nats less likely than the best. So it finds sequences whose first symbols are
    not the likeliest ones, which greedy decoding never does. log p is in nats; it is -inf for the
    empty rows where there are fewer than W sequences.
    """
    ids = torch.full((len(z), width, decoder.max_length), PAD, device=z.device)
    ids[..., 0] = BOS
    log_p = z.new_full((len(z), width), -torch.inf, dtype=torch.float32)
    log_p[:, 0] = 0.0
    points = torch.arange(len(z), device=z.device)  # those with an unfinished sequence
    z = z.repeat_interleave(width, dim=0)
    state = decoder.begin(z)
    for t in range(1, decoder.max_length):
        going = ~_ended(ids[points, :, t - 1]) & log_p[points].isfinite()
        some = going.any(dim=1)
        if not some.all():
            kept = some.repeat_interleave(width)
            z, state, points, going = z[kept], [s[kept] for s in state], points[some], going[some]
        if len(points) == 0:
            break
        rows = going.flatten().nonzero()[:, 0]
        logits = decoder.step(ids[points, :, t - 1].flatten()[rows], z[rows], rows, state).float()
        logits[:, [PAD, BOS]] = -torch.inf
        symbols = logits.shape[-1]
        steps = logits.new_full((len(z), symbols), -torch.inf)
        steps[:, PAD] = 0.0  # finished sequences stay as they are
        steps[rows] = logits.log_softmax(dim=-1)
        total = log_p[points].view(-1, 1) + steps
        best, chosen = total.view(len(points), -1).topk(width, dim=1)
        log_p[points] = best.where(best > best[:, :1] - margin, -torch.inf)
        source = chosen // symbols
        ids[points] = ids[points].gather(1, source[..., None].expand(-1, -1, ids.shape[-1]))
        ids[points, :, t] = chosen % symbols
        source = (source + width * torch.arange(len(points), device=z.device)[:, None]).flatten()
        state = [s[source] for s in state]
    return ids, log_p


def _ended(symbols: Tensor) -> Tensor:
    return (symbols == EOS) | (symbols == PAD)
