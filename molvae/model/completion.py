"""Completing molecules: what may follow the beginning of a SMILES, and what may grow on a fragment.

The decoder writes from left to right, so it can be made to write a given beginning and then go on
as it likes (`model.forced_decoding`). A fragment is written so that its SMILES ends at an
attachment point, and that is the beginning; of all the ways to write it, those that the model finds
likely win. With several attachment points, the molecules that were grown at the first are the
fragments of the second.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import pandas as pd
from rdkit import Chem

from molvae.base.errors import MolvaeError
from molvae.chem.fragments import Fragment, open_points, read_fragment, write_beginnings
from molvae.chem.molecules import canonicalize, parse
from molvae.chem.prefixes import read_prefix
from molvae.chem.properties import STATISTICS
from molvae.chem.property_tables import compute_properties
from molvae.model.forced_decoding import Draw, DrawPlan, Start, shorten, write_strings
from molvae.model.molvae import MolVAE

RADIUS = 6.0  # latent distance
WAYS = 8  # to write a fragment up to one of its atoms
PARENTS = 16  # molecules that are decorated further at the next attachment point
NO_BOND = "=#$:.)lr"  # characters that do not begin a single bond to a further atom
NO_CHAIN = NO_BOND + "(%0123456789"  # or begin more than one


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


class Molecule(NamedTuple):
    """A molecule that was drawn."""

    form: str
    drawn: Draw
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

    Latent points are drawn of p(z|prefix): points of N(0, I) are weighted by p(prefix|z) and
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
    draws = DrawPlan.plan(model, n, near=near, radius=radius, temperature=temperature, seed=seed)
    read, tokenizer = read_prefix(prefix), model.tokenizer
    if read.fault is not None:
        raise MolvaeError(f"{shorten(prefix)} {read.fault}: no SMILES begins like this")
    last = prefix[-1] if prefix == read.whole else ""
    cut = last == "B" and tokenizer.knows_atom("Br") and not tokenizer.knows_atom("B")
    tokenizer.check_atoms(read.whole.removesuffix("B") if cut else read.whole)
    barred = {"C": "l", "B": "r"}.get(last, "")  # what would change the last atom
    if cut:  # Br
        barred = "".join(set("".join(tokenizer.vocabulary)) - {"r"})
    drawn, log_evidence = write_strings(draws, [[Start(prefix, barred, may_end=not cut)]])
    given = tuple(range(read.atoms))
    forms = ((canonicalize(each.string), each) for each in drawn)
    found = [Molecule(form, each, given) for form, each in forms if form is not None]
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
    those that the model finds likely are preferred. They are often not the canonical ones that it
    has learned, least so with several attachment points.

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
    draws = DrawPlan.plan(model, n, near=near, radius=radius, temperature=temperature, seed=seed)
    drawn, log_evidence = write_strings(draws, [begin_with(model, wanted, fragment)])
    for point in range(1, wanted.points):
        parents = _choose_parents(drawn)
        if not parents:
            break
        drawn, _ = write_strings(
            draws, [begin_at(mol, point, log_p=log_p) for mol, log_p in parents]
        )
    found = []
    for each in drawn:
        form = canonicalize(each.string)
        given = None if form is None else wanted.find(_parse_valid(each.string))
        if form is not None and given is not None:
            found.append(Molecule(form, each, given))
    return _tabulate(found, n, len(drawn), log_evidence)


def begin_with(model: MolVAE, wanted: Fragment, fragment: str, ways: int = WAYS) -> list[Start]:
    """Fragment -> the texts that are continued at its first point.

    Args:
        model: the model that continues them.
        wanted: the fragment.
        fragment: as the user wrote it, for messages.
        ways: texts for each atom that may be the first point, at most.

    Raises:
        MolvaeError: nothing can be added to it, or the model has never seen one of its atoms.
    """
    barred = NO_CHAIN if wanted.points else NO_BOND
    starts = [start for mol in wanted.open() for start in begin_at(mol, 0, barred, ways)]
    if not starts:
        raise MolvaeError(f"{shorten(fragment)} has no atom that can take a further bond")
    for start in starts:
        model.tokenizer.check_atoms(start.text)
    return starts


def begin_at(
    mol: Chem.Mol, point: int, barred: str = NO_CHAIN, ways: int = WAYS, log_p: float = 0.0
) -> list[Start]:
    """Molecule with dummy atoms -> the texts that are continued at one of its points.

    Args:
        mol: the molecule.
        point: the attachment point.
        barred: characters that must not come next.
        ways: texts, at most.
        log_p: log probability of what was added to the fragment before.
    """
    return [
        Start(text, barred, False, later, log_p)
        for text, later in write_beginnings(mol, point, ways)
    ]


def _choose_parents(drawn: Iterable[Draw]) -> list[tuple[Chem.Mol, float]]:
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
            found.append(Molecule(form, each, ()))
    return [(opened[f.form], f.drawn.log_p) for f, _ in _rank(found)[:PARENTS]]


def _rank(found: Iterable[Molecule]) -> list[tuple[Molecule, int]]:
    """Molecules -> the likeliest draw of each, and their numbers; the most frequent first."""
    best: dict[str, Molecule] = {}
    counts: Counter[str] = Counter()
    for each in found:
        counts[each.form] += 1
        if each.form not in best or each.drawn.log_p > best[each.form].drawn.log_p:
            best[each.form] = each
    order = sorted(best, key=lambda form: (-counts[form], -best[form].drawn.log_p))
    return [(best[form], counts[form]) for form in order]


def _tabulate(found: list[Molecule], n: int, drawn: int, log_evidence: float) -> Completions:
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
