"""Strings that begin with a given text, drawn from a molecule model.

Two things make this more than a mask on the first tokens that the decoder writes:

- "CC(=" ends in the middle of the token "C(=O)N", which the decoder would have written there. So
  each token is allowed that agrees with the text as far as both go ("token healing"). Of the many
  ways to write the text in tokens none is excluded, and each counts by its probability.
- At nearly all latent points the text is very unlikely. A decoder that is forced to write it there
  goes on with the end of another molecule. So points are drawn of p(z|text), by annealed importance
  resampling with the weights p(text|z) (`latent.annealing`); at temperature 1 the strings are then
  draws of p(x|text) under the model.

p(z) is the standard normal that the model was trained with, or a normal around a molecule; a prior
that was fitted afterwards is not used, because the moves of the resampling need a Gaussian.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from molvae.base.errors import MolvaeError
from molvae.chem.fragments import Opening
from molvae.chem.tokenizers import SPECIAL, Tokenizer
from molvae.latent import EOS
from molvae.latent.annealing import anneal_latents
from molvae.latent.autoregressive import Constraint, generate_constrained
from molvae.model.exploration import THOROUGH
from molvae.model.molvae import MolVAE

LEAST_DRAWS = 500  # strings drawn, at least
DRAWS = 5  # strings drawn per molecule that is asked for
LEAST_PER_GROUP = 32  # strings drawn for each group of texts
BATCH = 1_024  # strings written together


@dataclass(frozen=True)
class DrawPlan:
    """How strings are drawn: around which point, how many, at which temperature."""

    model: MolVAE
    mean: Tensor
    scale: float
    number: int
    temperature: float
    generator: torch.Generator

    @classmethod
    def plan(
        cls,
        model: MolVAE,
        n: int,
        *,
        near: str | None,
        radius: float,
        temperature: float,
        seed: int,
    ) -> DrawPlan:
        """Check the arguments of `completion.complete` and `grow`.

        Args:
            model: writes the molecules.
            n: molecules to draw.
            near: a molecule to draw around, or None for the prior.
            radius: typical latent distance from it.
            temperature: of the symbols.
            seed: of the draws.

        Raises:
            MolvaeError: one is out of range, `near` cannot be encoded, or the model writes SELFIES.
        """
        if n < 1:
            raise MolvaeError(f"the number of molecules must be at least 1, not {n}")
        if not 0 <= temperature < math.inf:
            raise MolvaeError(f"the temperature must be 0 or more, not {temperature}")
        if not 0 < radius < math.inf:
            raise MolvaeError(f"the radius must be a positive number, not {radius}")
        if not model.tokenizer.spells_smiles:
            raise MolvaeError("this model writes SELFIES: choose one that writes SMILES, like zinc")
        mean, scale = torch.zeros(model.latent), 1.0
        if near is not None:
            mean = model.encode([near], refine=THOROUGH)[0]
            scale = radius / math.sqrt(model.latent)
        generator = torch.Generator(model.device).manual_seed(seed)
        number = max(LEAST_DRAWS, DRAWS * n)
        return cls(model, mean.to(model.device), scale, number, temperature, generator)


@dataclass(frozen=True)
class Start:
    """Text that strings begin with."""

    text: str
    barred: str
    """Characters that must not come next."""
    may_end: bool
    """Whether nothing may come next."""
    later: tuple[Opening, ...] = ()
    """The attachment points that are decorated afterwards."""
    log_p: float = 0.0
    """Log probability of what was added in earlier steps."""


class Draw(NamedTuple):
    """A string that was drawn."""

    string: str
    start: Start
    log_p: float


def write_strings(draws: DrawPlan, groups: Sequence[Sequence[Start]]) -> tuple[list[Draw], float]:
    """Groups of texts -> strings that begin with a text of each group, and log p(beginning).

    The texts of a group compete: which one a string begins with is drawn, too. Texts that the model
    cannot write are left out. The log probability is that of the first group.

    Raises:
        MolvaeError: the model can write none of the texts.
    """
    model, device = draws.model, draws.mean.device
    decoder = model.vae.sequence_decoder
    starts = [start for group in groups for start in group]
    constraint, at = constrain(model.tokenizer, starts)
    constraint, at = constraint.to(device), at.to(device)
    written = constraint.can_end(at, decoder.max_length - 1).tolist()
    if not any(written):
        raise _refuse(model.tokenizer, starts[0].text, decoder.max_length - 2)
    rows, i = [], 0
    for group in groups:
        known = [k for k in range(i, i + len(group)) if written[k]]
        i += len(group)
        if known:
            rows.append(known)
    each = draws.number if len(rows) == 1 else max(LEAST_PER_GROUP, draws.number // len(rows))
    labels = torch.tensor([[row[k % len(row)] for k in range(each)] for row in rows])

    def weigh(z: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        parts = [
            generate_constrained(
                decoder, z, constraint, at[labels], generator=draws.generator, until_free=True
            )
            for z, labels in zip(torch.split(z, BATCH), torch.split(labels, BATCH), strict=True)
        ]
        return torch.cat([p.ids for p in parts]), torch.cat([p.log_mass for p in parts])

    population = anneal_latents(weigh, labels.to(device), draws.mean, draws.scale, draws.generator)
    drawn: list[Draw] = []
    everything = (torch.split(t.flatten(0, 1), BATCH) for t in population[:3])
    for z, chosen, ids in zip(*everything, strict=True):
        found = generate_constrained(
            decoder,
            z,
            constraint,
            at[chosen],
            temperature=draws.temperature,
            generator=draws.generator,
            given=ids,
        )
        strings = model.tokenizer.decode(found.ids.cpu().numpy())
        log_p = (found.log_p - found.log_mass).tolist()
        for string, k, added in zip(strings, chosen.tolist(), log_p, strict=True):
            drawn.append(Draw(string, starts[k], starts[k].log_p + added))
    return drawn, float(population.log_evidence[0])


def constrain(tokenizer: Tokenizer, starts: Sequence[Start]) -> tuple[Constraint, Tensor]:
    """Texts (n) -> the constraint that a string begins with one, and the state of each text (n,).

    State 0 is free. A text has a state for each of its characters, in which it is written up to
    there, and one for its end. A token may come if it is a beginning of the rest of the text
    ("token healing"), or the rest is a beginning of the token.
    """
    ids = {token: i + SPECIAL for i, token in enumerate(tokenizer.vocabulary)}
    longest = max(map(len, ids), default=0)
    size = 1 + sum(len(start.text) + 1 for start in starts)
    following = torch.full((size, len(tokenizer)), -1)
    bound = torch.zeros(size, dtype=torch.bool)
    following[0, :] = 0
    at, first = [], 1
    for start in starts:
        text, barred = start.text, start.barred
        at.append(first)
        end = first + len(text)
        for i in range(len(text)):
            rest = text[i:]
            for k in range(1, min(longest, len(rest)) + 1):
                if (token := ids.get(rest[:k])) is not None:
                    following[first + i, token] = first + i + k
            if len(rest) < longest:
                for name, index in ids.items():
                    beyond = name[len(rest) :] if name.startswith(rest) else ""
                    if beyond and beyond[0] not in barred:
                        following[first + i, index] = 0
        for name, index in ids.items():
            if name[0] not in barred:
                following[end, index] = 0
        if start.may_end:
            following[end, EOS] = 0
        bound[first:end] = True
        first = end + 1
    return Constraint(following, bound), torch.tensor(at)


def _refuse(tokenizer: Tokenizer, text: str, most: int) -> MolvaeError:
    """Text that a model cannot write -> an error that says why."""
    characters = set("".join(tokenizer.vocabulary))
    if unknown := [c for c in text if c not in characters]:
        return MolvaeError(f"this model cannot write the {unknown[0]!r} in {shorten(text)}")
    return MolvaeError(
        f"{shorten(text)} leaves no room: this model writes at most {most} tokens, or has none for "
        "a part of this"
    )


def shorten(text: str) -> str:
    """Text of the user -> how a message shows it."""
    return repr(text if len(text) <= 80 else f"{text[:60]}...")
