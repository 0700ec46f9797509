"""Completions and grown fragments, with the model that ships and with tiny vocabularies."""

import itertools
import math
import random

import pandas as pd
import pytest
import torch
from rdkit import Chem

from molvae import MolVAE
from molvae.base.errors import MolvaeError
from molvae.chem.datasets import assign_part
from molvae.chem.fragments import read_fragment
from molvae.chem.molecules import canonicalize
from molvae.chem.properties import logp
from molvae.chem.tokenizers import BOS, EOS, PAD, SPECIAL, Tokenizer
from molvae.latent.autoregressive import generate_constrained
from molvae.latent.decoders import decoders
from molvae.latent.kinds import Example
from molvae.latent.likelihoods import likelihoods
from molvae.model import completion, forced_decoding
from molvae.model.completion import Completions, complete, grow
from molvae.model.forced_decoding import Start, constrain

ASPIRIN = "CC(=O)Oc1ccccc1C(=O)O"


DRAWN = 100


@pytest.fixture(scope="module")
def model() -> MolVAE:
    return MolVAE.load("zinc")


@pytest.fixture(autouse=True)
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw fewer strings than a user gets."""
    monkeypatch.setattr(forced_decoding, "LEAST_DRAWS", DRAWN)
    monkeypatch.setattr(forced_decoding, "LEAST_PER_GROUP", 12)
    monkeypatch.setattr(completion, "PARENTS", 8)


def check_table(found: Completions, n: int) -> pd.DataFrame:
    """Canonical, different, sorted; the properties are those of the molecules."""
    table = found.table
    assert 0 < len(table) <= n
    assert table["smiles"].is_unique
    assert table["smiles"].tolist() == [canonicalize(s) for s in table["written"]]
    keys = list(zip(-table["count"], -table["log_p"], strict=True))
    assert keys == sorted(keys)
    assert table["count"].sum() <= found.valid <= found.drawn
    assert len(table) <= found.distinct <= found.valid
    assert (table["log_p"] < 0).all()
    values = [logp(Chem.MolFromSmiles(s)) for s in table["smiles"]]
    assert table["logP"].tolist() == pytest.approx(values)
    return table


# each text is written in the tokens of the vocabulary in one way or in several, or not at all
TINY = [
    ("pairs", ["C", "O", "CO", "OC", "CC", "COC"], "COC"),
    ("pairs", ["C", "O", "CO", "OC", "CC", "COC"], "C"),
    ("pairs", ["C", "(", "=", "O", ")", "C(=O)", "(=", "=O)"], "C(="),
    ("pairs", ["C", "Cl", "CCl", "l", "O"], "CC"),
    ("atom-pairs", ["C", "Cl", "CCl", "O"], "CC"),
    ("pairs", ["CO", "OC", "C", "OO"], "CO"),  # C leads nowhere: no token begins with O alone
    ("char", ["C", "O", "1"], "C1"),
    ("atom", ["C", "[C@H]", "[C@@H]", "O"], "C[C"),
]


@pytest.mark.parametrize(("name", "tokens", "prefix"), TINY)
@pytest.mark.parametrize("decoder", ["gru", "conv"])
def test_what_is_drawn_is_what_enumeration_finds(
    decoder: str, name: str, tokens: list[str], prefix: str
) -> None:
    """All token sequences of up to three tokens whose string begins with the prefix, no other."""
    tokenizer, barred = Tokenizer(name, tokens), "l" if prefix == "CC" else ""
    expected = set()
    for n in range(4):
        for row in itertools.product(range(len(tokens)), repeat=n):
            text = "".join(tokens[i] for i in row)
            if text.startswith(prefix) and text[len(prefix) :][:1] not in set(barred):
                expected.add(tuple(i + SPECIAL for i in row))
    torch.manual_seed(0)
    made = decoders[decoder](
        Example((5,), len(tokenizer)), 2, 16, likelihoods["categorical"](None), 0.0
    )
    constraint, at = constrain(tokenizer, [Start("OO", "", True), Start(prefix, barred, True)])
    assert constraint.can_end(at[1:], 4)
    ids = generate_constrained(
        made.eval(),
        torch.randn(4_000, 2),
        constraint,
        at[1:].expand(4_000),
        temperature=3.0,
        generator=torch.Generator().manual_seed(0),
    ).ids
    rows = [tuple(i for i in row if i not in (PAD, BOS, EOS)) for row in ids.tolist()]
    assert set(rows) == expected
    assert (ids == EOS).any(1).all()


def test_a_start_that_may_not_end_is_continued() -> None:
    tokenizer = Tokenizer("pairs", ["C", "O", "CO", "="])
    decoder = decoders["gru"](Example((5,), 7), 2, 16, likelihoods["categorical"](None), 0.0)
    constraint, at = constrain(tokenizer, [Start("C", "=", False)])
    ids = generate_constrained(
        decoder.eval(), torch.randn(500, 2), constraint, at.expand(500), temperature=3.0
    ).ids
    strings = set(tokenizer.decode(ids.numpy()))
    assert all(s[0] == "C" and s[1] in "CO" for s in strings)
    assert len(strings) > 10


@pytest.mark.parametrize("prefix", ["c1ccc(cc1)C(", "CC(=", "O=C(N[C@@", "COc1cc", "C1CCN(C", "["])
def test_every_completion_begins_with_the_prefix(model: MolVAE, prefix: str) -> None:
    found = complete(model, prefix, 12, seed=2)
    table = check_table(found, 12)
    assert found.drawn == DRAWN
    assert found.valid > 0.5 * DRAWN
    assert table["written"].str.startswith(prefix).all()
    assert table["log_p"].max() > -6  # of the rest: the first of these begins has a log p of -30
    for written, given in zip(table["written"], table["given"], strict=True):
        mol = Chem.MolFromSmiles(written)
        assert list(given) == list(range(len(given)))
        assert len(given) < mol.GetNumAtoms() or prefix == written


def test_a_prefix_is_continued_across_the_end_of_its_last_token(model: MolVAE) -> None:
    """The model writes O=C( and (=O) as tokens; after CC(= it still writes what ZINC has there."""
    assert {"(=O)", "=O)", "C(=O)N"} <= set(model.tokenizer.vocabulary)
    table = complete(model, "CC(=", 40).table
    share = table["written"].str.startswith("CC(=O)").mean()
    assert share > 0.8


def test_the_last_atom_of_the_prefix_stays_what_it_is(model: MolVAE) -> None:
    table = complete(model, "O=C(Nc1ccc(C", 40).table  # most likely as Cl
    assert not table["written"].str.startswith("O=C(Nc1ccc(Cl").any()
    bromine = complete(model, "c1ccc(cc1)B", 40).table  # this model knows no boron
    assert bromine["written"].str.startswith("c1ccc(cc1)Br").all()


def test_latent_points_are_chosen_so_that_halves_of_molecules_are_completed(
    model: MolVAE, zinc: list[str]
) -> None:
    held_out = [s for s in zinc if assign_part(s) == "validation" and model.can_encode(s)]
    halves = [s[: len(s) // 2] for s in random.Random(1).sample(held_out, 5)]
    found = [complete(model, half, 1) for half in halves]
    assert sum(each.valid for each in found) > 0.6 * 5 * DRAWN
    assert min(each.distinct for each in found) > 0.1 * DRAWN
    assert all(each.log_evidence < -3 for each in found)


def test_near_a_molecule_its_own_rest_is_the_likeliest(model: MolVAE) -> None:
    found = complete(model, "CC(=O)Oc1ccc", 5, near=ASPIRIN, radius=2.0)
    assert found.table["smiles"][0] == ASPIRIN
    assert found.table["count"][0] > 0.5 * DRAWN
    assert found.log_evidence > -0.5  # the prefix is what the model writes there anyway
    far = complete(model, "CC(=O)Oc1ccc", 5)
    assert far.log_evidence < -5
    assert far.table["count"][0] < 0.1 * DRAWN


FRAGMENTS = [
    ("c1ccc2[nH]ccc2c1", "c1ccc2[nH]ccc2c1"),
    ("NS(=O)(=O)c1ccccc1", "NS(=O)(=O)c1ccccc1"),
    ("O=C(N*)c1ccncc1", "O=C([NH][!#1])c1[cH][cH]n[cH][cH]1"),
    ("*c1ccc(*)cc1", "[!#1]-c1[cH][cH]c(-[!#1])[cH][cH]1"),
    ("[*:2]N1CCN([*:1])CC1", "[!#1]-N1[CH2][CH2]N(-[!#1])[CH2][CH2]1"),
    ("*/C=C/c1ccccc1", "[!#1]/[CH]=[CH]/c1[cH][cH][cH][cH][cH]1"),
    ("[CX4][NH]C(=O)[*:1]", "[CH3][NH]C(=O)[!#1]"),
]


@pytest.mark.parametrize(("fragment", "smarts"), FRAGMENTS)
def test_every_grown_molecule_contains_the_fragment(
    model: MolVAE, fragment: str, smarts: str
) -> None:
    """And where attachment points were given, nothing is attached elsewhere."""
    found = grow(model, fragment, 12, seed=1)
    table = check_table(found, 12)
    assert found.valid > 0.5 * found.drawn
    pattern = Chem.MolFromSmarts(smarts)
    small = read_fragment(fragment).mol
    for row in table.itertuples():
        mol = Chem.MolFromSmiles(row.written)
        assert Chem.MolFromSmiles(row.smiles).HasSubstructMatch(pattern, useChirality=True)
        assert mol.GetNumAtoms() > len(row.given)
        elements = sorted(mol.GetAtomWithIdx(i).GetSymbol() for i in row.given)
        assert elements == sorted(a.GetSymbol() for a in small.GetAtoms() if a.GetAtomicNum())


def test_substituents_at_two_points_differ(model: MolVAE) -> None:
    found = grow(model, "[*:1]c1ccc([*:2])nc1", 40)
    ends = set()
    for smiles in found.table["smiles"]:
        mol = Chem.MolFromSmiles(smiles)
        sides = Chem.ReplaceCore(mol, Chem.MolFromSmarts("c1ccncc1"), labelByIndex=True)
        ends |= set(Chem.MolToSmiles(sides).split("."))
    assert len(ends) > 10


def test_the_seed_decides_and_temperature_0_needs_no_luck(
    model: MolVAE, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forced_decoding, "LEAST_DRAWS", 200)  # of fewer, all may be valid
    for draw in (
        lambda **k: complete(model, "COc1cc", 5, **k),
        lambda **k: grow(model, "*C1CC1", 5, **k),
    ):
        first = draw(seed=3)
        pd.testing.assert_frame_equal(first.table, draw(seed=3).table)
        assert first[1:] == draw(seed=3)[1:]
        assert first.table["smiles"].tolist() != draw(seed=4).table["smiles"].tolist()
    cold, warm = (
        complete(model, "CC(=O)", 5, near=ASPIRIN, radius=4.0, temperature=t) for t in (0.0, 1.0)
    )
    assert cold.log_evidence == warm.log_evidence  # of the same points
    assert cold.distinct < warm.distinct
    assert cold.valid > warm.valid


@pytest.mark.parametrize(
    ("prefix", "message"),
    [
        ("", "is empty"),
        ("CC)", "closes a parenthesis that it does not open: no SMILES begins like this"),
        ("CC*", "has '\\*', which is not SMILES"),
        ("CC%12", "cannot write the '%'"),
        ("C[Si](C)", "contains silicon"),
        ("[Xe", "cannot write the 'X'"),
        ("CC.C", "several fragments"),
        ("C" * 1_000, "leaves no room"),
    ],
)
def test_a_prefix_that_cannot_be_is_refused_in_one_line(
    model: MolVAE, prefix: str, message: str
) -> None:
    with pytest.raises(MolvaeError, match=message) as error:
        complete(model, prefix)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 250


@pytest.mark.parametrize(
    ("fragment", "message"),
    [
        ("FC(F)(F)F", "no atom that can take a further bond"),
        ("*[Si](C)(C)C", "contains silicon"),
        ("C*C", "not at the end of a bond"),
        ("*" + "CCCCCCCCOCNCOCNC" * 20, "leaves no room"),
    ],
)
def test_a_fragment_that_cannot_be_grown_is_refused_in_one_line(
    model: MolVAE, fragment: str, message: str
) -> None:
    with pytest.raises(MolvaeError, match=message) as error:
        grow(model, fragment)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 250


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, "at least 1"),
        ({"temperature": -1.0}, "temperature"),
        ({"temperature": math.nan}, "temperature"),
        ({"radius": 0.0, "near": ASPIRIN}, "radius"),
        ({"near": "C1CC"}, "not a valid SMILES"),
        ({"near": "[U]"}, "uranium"),
    ],
)
def test_a_number_out_of_range_is_refused(
    model: MolVAE, options: dict[str, float], message: str
) -> None:
    for make in (complete, grow):
        with pytest.raises(MolvaeError, match=message):
            make(model, "CCO", **options)


def test_a_model_of_selfies_says_that_it_has_no_prefix() -> None:
    selfies = MolVAE.load("zinc-selfies")
    for make in (complete, grow):
        with pytest.raises(MolvaeError, match="this model writes SELFIES"):
            make(selfies, "CCO")


def test_a_beginning_that_is_never_completed_gives_an_empty_table(model: MolVAE) -> None:
    """An aromatic ring of five carbon atoms cannot be: every string is counted, none is shown."""
    found = complete(model, "c1cccc1C")
    assert found[1:4] == (DRAWN, 0, 0)
    assert list(found.table) == [
        "smiles", "count", "log_p", "logP", "SAS", "QED", "written", "given",
    ]  # fmt: skip
