"""Completing molecules: what may follow the beginning of a SMILES, and what may grow on a fragment.

The decoder writes from left to right, so it can be made to write a given beginning, and then goes
on as it likes. Two things make that more than a mask on its first tokens:

- "CC(=" ends in the middle of the token "C(=O)N", which the decoder would have written there. So
  each token is allowed that agrees with the beginning as far as both go. Of the many ways to write
  it in tokens none is excluded, and each counts by its probability.
- At nearly all latent points the beginning is very unlikely, and a decoder that is forced to write
  it there goes on with nonsense. So points are drawn of p(z|beginning), by annealed importance
  resampling with the weights p(beginning|z) (`latent.annealing`); at temperature 1 the completions
  are then draws of p(x|beginning) under the model.

A fragment is written so that its SMILES ends at an attachment point; this is the beginning. Of all
the ways to write it, those that the model finds likely win in the same resampling.

p(z) is the standard normal that the model was trained with, or a normal around a molecule; a prior
that was fitted afterwards is not used, because the moves of the resampling need a Gaussian.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd
import torch
from rdkit import Chem
from torch import Tensor

from molvae.base.errors import MolvaeError
from molvae.chem.fragments import Opening, open_points, read_fragment, write_beginnings
from molvae.chem.molecules import canonicalize, parse
from molvae.chem.prefixes import read_prefix
from molvae.chem.properties import STATISTICS
from molvae.chem.property_tables import compute_properties
from molvae.chem.tokenizers import SPECIAL, Tokenizer
from molvae.latent import EOS
from molvae.latent.annealing import anneal_latents
from molvae.latent.autoregressive import Constraint, generate_constrained
from molvae.model.exploration import THOROUGH
from molvae.model.molvae import MolVAE

LEAST_DRAWS = 500  # strings drawn, at least
DRAWS = 5  # strings drawn per molecule that is asked for
RADIUS = 6.0  # latent distance
WAYS = 8  # to write a fragment up to one of its atoms
PARENTS = 16  # molecules that are decorated further at the next attachment point
LEAST_PER_PARENT = 32  # strings drawn for each of them
BATCH = 1_024  # strings written together
NO_BOND = "=#$:.)lr"  # characters after which it is not a single bond that is added
NO_CHAIN = NO_BOND + "(%0123456789"  # or not only one


class Completions(NamedTuple):
    """The completions of a beginning or a fragment, and how many strings were drawn for them."""

    table: pd.DataFrame
    """One row per molecule, the most frequent first: smiles (canonical); count, of the draws that
    gave it; log_p, the log probability of what was added, given the beginning and the latent point,
    in nats, the highest of these draws; logP, SAS, QED; written, as the decoder wrote it; given,
    the atoms of `written` that were given."""
    drawn: int
    """Number of strings drawn."""
    valid: int
    """Number of these that are molecules, and contain the fragment."""
    distinct: int
    """Number of different molecules among the last of them; `table` holds the most frequent."""
    log_evidence: float
    """Estimate of log p(beginning) under the model in nats; of the ways to begin with a fragment,
    of their mean probability."""


@dataclass(frozen=True)
class Draws:
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
    ) -> Draws:
        """Check the arguments of `complete` and `grow`.

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


class Drawn(NamedTuple):
    """A string that was drawn."""

    string: str
    start: Start
    log_p: float


class Found(NamedTuple):
    """A molecule that was drawn."""

    form: str
    drawn: Drawn
    given: tuple[int, ...]


def complete(
    model: MolVAE,
    prefix: str,
    n: int = 20,
    *,
    near: str | None = None,
    radius: float = RADIUS,
    temperature: float = 1.0,
    seed: int = 0,
) -> Completions:
    """Beginning of a SMILES -> up to n likely molecules whose SMILES begins with it.

    Each string that is drawn begins with `prefix`, character by character. The parentheses and ring
    bonds that it leaves open are the decoder's to close.

    Latent points are drawn of p(z|prefix): points of the prior are weighted by p(prefix|z) and
    resampled, in several stages (`latent.annealing`).

    Args:
        model: a model that writes SMILES.
        prefix: for example "c1ccc(cc1)C(".
        n: number of molecules, at most.
        near: SMILES of a molecule around whose latent point points are drawn, not from the prior.
        radius: typical latent distance of these points from the molecule.
        temperature: of the tokens after the prefix. At 1 the strings are draws of p(x|prefix);
            at 0 each token is the likeliest one.
        seed: random seed.

    Raises:
        MolvaeError: no SMILES that this model can write begins with `prefix`, `near` cannot be
            encoded, or a number is out of range.
    """
    draws = Draws.plan(model, n, near=near, radius=radius, temperature=temperature, seed=seed)
    read, tokenizer = read_prefix(prefix), model.tokenizer
    if read.fault is not None:
        raise MolvaeError(f"{_show(prefix)} {read.fault}: no SMILES begins like this")
    last = prefix[-1] if prefix == read.whole else ""
    half_bromine = last == "B" and not tokenizer.knows_atom("B")
    tokenizer.check_atoms(read.whole.removesuffix("B") if half_bromine else read.whole)
    barred = {"C": "l", "B": "" if half_bromine else "r"}.get(last, "")
    drawn, log_evidence = write_strings(draws, [[Start(prefix, barred, may_end=True)]])
    given = tuple(range(read.atoms))
    forms = ((canonicalize(each.string), each) for each in drawn)
    found = [Found(form, each, given) for form, each in forms if form is not None]
    return _tabulate(found, n, len(drawn), log_evidence)


def grow(
    model: MolVAE,
    fragment: str,
    n: int = 20,
    *,
    near: str | None = None,
    radius: float = RADIUS,
    temperature: float = 1.0,
    seed: int = 0,
) -> Completions:
    """Fragment or scaffold -> up to n likely molecules that contain it; each is checked.

    Attachment points are dummy atoms, as in "*c1ccc(*)cc1" or "[*:2]c1ccc([*:1])cc1". Only these
    get substituents, one after the other, in the order of their numbers. Without any, the fragment
    is continued at one of its atoms. A string that does not contain the fragment after all
    (`chem.fragments.Fragment.find`) is dropped, and not counted as valid.

    The decoder completes SMILES of the fragment that end at an attachment point, as in `complete`;
    those that the model finds likely are preferred.

    Args:
        model: a model that writes SMILES.
        fragment: SMILES, or a SMARTS that says which element each of its atoms is.
        n: number of molecules, at most.
        near: SMILES of a molecule around whose latent point points are drawn, not from the prior.
        radius: typical latent distance of these points from the molecule.
        temperature: of the tokens after the fragment, as in `complete`.
        seed: random seed.

    Raises:
        MolvaeError: it is no fragment, this model cannot write it or has no room to add to it,
            `near` cannot be encoded, or a number is out of range.
    """
    wanted = read_fragment(fragment)
    draws = Draws.plan(model, n, near=near, radius=radius, temperature=temperature, seed=seed)
    barred = NO_CHAIN if wanted.points else NO_BOND
    groups = [[start for mol in wanted.open() for start in _begin(mol, 0, barred)]]
    if not groups[0]:
        raise MolvaeError(f"{_show(fragment)} has no atom that can take a further bond")
    for start in groups[0]:
        model.tokenizer.check_atoms(start.text)
    drawn, log_evidence = write_strings(draws, groups)
    for point in range(1, wanted.points):
        parents = _choose_parents(drawn)
        if not parents:
            break
        drawn, _ = write_strings(
            draws, [_begin(mol, point, barred, log_p) for mol, log_p in parents]
        )
    found = []
    for each in drawn:
        form = canonicalize(each.string)
        given = None if form is None else wanted.find(_parse_valid(each.string))
        if form is not None and given is not None:
            found.append(Found(form, each, given))
    return _tabulate(found, n, len(drawn), log_evidence)


def write_strings(draws: Draws, groups: Sequence[Sequence[Start]]) -> tuple[list[Drawn], float]:
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
    each = draws.number if len(rows) == 1 else max(LEAST_PER_PARENT, draws.number // len(rows))
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
    drawn: list[Drawn] = []
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
            drawn.append(Drawn(string, starts[k], starts[k].log_p + added))
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


def _begin(mol: Chem.Mol, point: int, barred: str, log_p: float = 0.0) -> list[Start]:
    """Molecule with dummy atoms -> the texts that are continued at one of its points."""
    return [
        Start(text, barred, False, later, log_p)
        for text, later in write_beginnings(mol, point, WAYS)
    ]


def _choose_parents(drawn: Iterable[Drawn]) -> list[tuple[Chem.Mol, float]]:
    """Strings -> the molecules to decorate further, the most frequent first, and their log p."""
    opened: dict[str, Chem.Mol] = {}
    found = []
    for each in drawn:
        if canonicalize(each.string) is None:
            continue
        mol = open_points(_parse_valid(each.string), each.start.later)
        if mol is not None:
            form = Chem.MolToSmiles(mol)
            opened.setdefault(form, mol)
            found.append(Found(form, each, ()))
    return [(opened[f.form], f.drawn.log_p) for f, _ in _rank(found)[:PARENTS]]


def _rank(found: Iterable[Found]) -> list[tuple[Found, int]]:
    """Molecules -> the likeliest draw of each, and their numbers; the most frequent first."""
    best: dict[str, Found] = {}
    counts: Counter[str] = Counter()
    for each in found:
        counts[each.form] += 1
        if each.form not in best or each.drawn.log_p > best[each.form].drawn.log_p:
            best[each.form] = each
    order = sorted(best, key=lambda form: (-counts[form], -best[form].drawn.log_p))
    return [(best[form], counts[form]) for form in order]


def _tabulate(found: list[Found], n: int, drawn: int, log_evidence: float) -> Completions:
    ranked = _rank(found)
    table = pd.DataFrame(
        [(each.form, count, each.drawn.log_p) for each, count in ranked[:n]],
        columns=["smiles", "count", "log_p"],
    )
    table = table.join(compute_properties(table["smiles"].tolist())[list(STATISTICS)])
    table["written"] = [each.drawn.string for each, _ in ranked[:n]]
    table["given"] = [each.given for each, _ in ranked[:n]]
    return Completions(table, drawn, len(found), len(ranked), log_evidence)


def _parse_valid(string: str) -> Chem.Mol:
    mol = parse(string)
    assert mol is not None  # it has a canonical form
    return mol


def _refuse(tokenizer: Tokenizer, text: str, most: int) -> MolvaeError:
    """Text that a model cannot write -> an error that says why."""
    characters = set("".join(tokenizer.vocabulary))
    if unknown := [c for c in text if c not in characters]:
        return MolvaeError(f"this model cannot write the {unknown[0]!r} in {_show(text)}")
    return MolvaeError(
        f"{_show(text)} leaves no room: this model writes at most {most} tokens, or has none for "
        "a part of this"
    )


def _show(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:60]}...")
