"""Sampling, beam search and constrained sampling, for decoders that write symbol by symbol."""

from __future__ import annotations

from typing import NamedTuple, Self

import torch
from torch import Tensor

from molvae.base.errors import MolvaeError
from molvae.latent import BOS, EOS, PAD
from molvae.latent.protocols import Autoregressive


@torch.no_grad()
def generate_sequences(
    decoder: Autoregressive, z: Tensor, temperature: float, generator: torch.Generator | None
) -> Tensor:
    """Latents z (B, D) -> ids (B, L): the likeliest symbol at each step, or a sampled one.

    Finished sequences leave the batch, so a step costs only the unfinished ones.

    Args:
        decoder: writes the symbols.
        z: latents (B, D).
        temperature: 0 is greedy; above it, symbols are drawn from softmax(logits / temperature).
        generator: of the draws.
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


class Beam(NamedTuple):
    """Likely sequences of each z, best first."""

    ids: Tensor
    """(B, W, L)."""
    log_p: Tensor
    """log p(x|z) (B, W) in nats; -inf for the empty rows where there are fewer than W."""
    left_out: Tensor
    """Log p (B,) of the likeliest prefix that was dropped: no missing sequence is likelier."""


@torch.no_grad()
def beam_search(
    decoder: Autoregressive,
    z: Tensor,
    width: int,
    margin: float = torch.inf,
    floor: Tensor | None = None,
) -> Beam:
    """Latents z (B, D) -> likely sequences of each, up to `width` W.

    Beam search: after each symbol the W likeliest prefixes of each z are kept. So it finds
    sequences whose first symbols are not the likeliest ones, which greedy decoding never does.

    Args:
        decoder: writes the symbols.
        z: latents (B, D).
        width: W; 1 is greedy.
        margin: nats; prefixes that are more than this less likely than the best are dropped.
        floor: nats (B,); sequences that are no likelier are left out, and those above it are the
            same as without it.
    """
    ids = torch.full((len(z), width, decoder.max_length), PAD, device=z.device)
    ids[..., 0] = BOS
    log_p = z.new_full((len(z), width), -torch.inf, dtype=torch.float32)
    log_p[:, 0] = 0.0
    left_out = log_p.new_full((len(z),), -torch.inf)
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
        best, chosen = total.view(len(points), -1).topk(width + 1, dim=1)
        least = best[:, :1] - margin
        if floor is not None:
            least = least.maximum(floor[points, None])
        taken = best[:, :width] > least
        next_best = best[:, width].maximum(best[:, :width].masked_fill(taken, -torch.inf).amax(1))
        left_out[points] = left_out[points].maximum(next_best)
        log_p[points] = best[:, :width].where(taken, -torch.inf)
        chosen = chosen[:, :width]
        source = chosen // symbols
        ids[points] = ids[points].gather(1, source[..., None].expand(-1, -1, ids.shape[-1]))
        ids[points, :, t] = chosen % symbols
        source = (source + width * torch.arange(len(points), device=z.device)[:, None]).flatten()
        state = [s[source] for s in state]
    return Beam(ids, log_p, left_out)


class Constraint:
    """Which symbols may come next: a finite automaton that reads what has been written.

    A decoder that must write the word "anger" over the symbols a, an, g, n, ger reads off where it
    is in the word: at its start it may write "a" or "an", after "a" only "n", after "an" either "g"
    or "ger", which completes it. Where it is are the states; after the word, everything may follow.
    A symbol after which the end could no longer be reached, or not in the places that are left, is
    never allowed, so every sequence that is written is a complete one.

    Args:
        following: state after each symbol in each state (S, V) int64; -1 where the symbol may not
            come. Where EOS may come, its entry is any state.
        bound: whether what must be written is not complete in a state (S,) bool.
    """

    def __init__(self, following: Tensor, bound: Tensor) -> None:
        self.following, self.bound = following, bound
        never = following.shape[0] + 1  # more symbols than any shortest way to the end has
        allowed = following >= 0
        allowed[:, [PAD, BOS]] = False
        self.needed = torch.full_like(following[:, 0], never)
        while True:
            self.cost = self.needed[following.clamp(min=0)]
            self.cost[:, EOS] = 0
            self.cost[~allowed] = never
            needed = (1 + self.cost.amin(dim=1)).clamp(max=never)
            if torch.equal(needed, self.needed):
                break
            self.needed = needed
        self.cost[self.cost >= never] = torch.iinfo(self.cost.dtype).max

    def to(self, device: torch.device) -> Self:
        """Move the tables to a device, in place."""
        self.following, self.bound = self.following.to(device), self.bound.to(device)
        self.needed, self.cost = self.needed.to(device), self.cost.to(device)
        return self

    def can_end(self, start: Tensor, length: int) -> Tensor:
        """States (B,) -> whether a sequence of at most `length` symbols, EOS in, ends from each."""
        return self.needed[start] <= min(length, self.following.shape[0])

    def allow(self, at: Tensor, places: int) -> Tensor:
        """States (b,), places left after the next symbol -> which symbols may come (b, V)."""
        return self.cost[at] <= places


class Sequences(NamedTuple):
    """Sequences written under a constraint."""

    ids: Tensor
    """(B, L)."""
    log_p: Tensor
    """log p of all symbols of each (B,), in nats."""
    log_mass: Tensor
    """For each (B,) the sum, over its bound steps, of log p of all symbols allowed there, in nats:
    exp of it is an unbiased estimate of the probability that p(x|z) fulfils the constraint."""


@torch.no_grad()
def generate_constrained(
    decoder: Autoregressive,
    z: Tensor,
    constraint: Constraint,
    start: Tensor,
    *,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
    given: Tensor | None = None,
    until_free: bool = False,
) -> Sequences:
    """Latents z (B, D) -> sequences under a constraint, by masking the logits at each step.

    A mask alone draws from the wrong distribution: it takes a symbol that fits even where all that
    can come after it is unlikely. exp(log_mass) is what corrects this, as importance weights of the
    draws at temperature 1; see `latent.annealing`.

    Args:
        decoder: writes the symbols.
        z: latents (B, D).
        constraint: which symbols may come.
        start: state in which each sequence begins (B,).
        temperature: as in `generate_sequences`.
        generator: of the draws.
        given: ids (B, L) that the sequences begin with, which the constraint allows: BOS, symbols
            and padding.
        until_free: stop each sequence as soon as its state is not bound.

    Raises:
        MolvaeError: there is no such sequence that is short enough.
    """
    length = decoder.max_length
    if not constraint.can_end(start, length - 1).all():
        raise MolvaeError(f"no sequence of up to {length - 1} symbols fulfils the constraint")
    if given is None:
        given = torch.full((len(z), length), PAD, device=z.device)
        given[:, 0] = BOS
    ids, at = given.clone(), start.clone()
    log_p, log_mass = (z.new_zeros(len(z), dtype=torch.float32) for _ in range(2))
    rows = torch.arange(len(z), device=z.device)
    state = decoder.begin(z)
    for t in range(1, length):
        if until_free:
            rows = rows[constraint.bound[at[rows]]]
        if len(rows) == 0:
            break
        logits = decoder.step(ids[rows, t - 1], z[rows], rows, state).float()
        logits[:, [PAD, BOS]] = -torch.inf
        steps = logits.log_softmax(dim=-1)
        masked = steps.masked_fill(~constraint.allow(at[rows], length - 1 - t), -torch.inf)
        log_mass[rows] += masked.logsumexp(dim=-1).where(constraint.bound[at[rows]], 0.0)
        symbols = decoder.likelihood.generate(masked, temperature, generator)
        symbols = given[rows, t].where(given[rows, t] != PAD, symbols)
        log_p[rows] += steps.gather(1, symbols[:, None])[:, 0]
        ids[rows, t] = symbols
        at[rows] = constraint.following[at[rows], symbols]
        rows = rows[symbols != EOS]
    return Sequences(ids, log_p, log_mass)


def _ended(symbols: Tensor) -> Tensor:
    return (symbols == EOS) | (symbols == PAD)
