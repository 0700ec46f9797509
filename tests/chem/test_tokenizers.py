import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from molvae import latent
from molvae.base.errors import MolvaeError
from molvae.chem.molecules import canonicalize
from molvae.chem.tokenizers import BOS, EOS, PAD, Tokenizer, learn_runs, list_atoms, tokenizers


def test_the_two_rooms_mean_the_same_by_special_ids() -> None:
    assert (PAD, BOS, EOS) == (latent.PAD, latent.BOS, latent.EOS)


@pytest.mark.parametrize("name", tokenizers)
def test_every_molecule_round_trips(name: str, zinc: list[str]) -> None:
    tokenizer = Tokenizer.fit(name, zinc)
    ids = tokenizer.encode(zinc)
    assert ids.shape[0] == len(zinc)
    assert (ids[:, 0] == BOS).all()
    assert ((ids == EOS).sum(1) == 1).all()
    back = tokenizer.decode(ids)
    if name.startswith("selfies"):  # writes the same molecule with another string
        back = [canonicalize(s) or "" for s in back]
    assert back == zinc


def test_atom_tokens_keep_two_letter_elements_and_ring_bonds_whole() -> None:
    tokenizer = Tokenizer.fit("atom", ["ClCBr"])
    assert tokenizer.split("Cl[C@@H](Br)C%12CC%12") == [
        "Cl", "[C@@H]", "(", "Br", ")", "C", "%12", "C", "C", "%12",
    ]  # fmt: skip
    assert Tokenizer.fit("char", ["ClC"]).split("ClC") == ["C", "l", "C"]


def test_an_unknown_token_is_refused_by_name() -> None:
    tokenizer = Tokenizer.fit("char", ["CCO"])
    with pytest.raises(
        MolvaeError, match=r"'CCN' contains nitrogen, which this model has not seen"
    ):
        tokenizer.encode(["CCO", "CCN"])


@given(st.lists(st.text(alphabet="CNOcno()=#123[]@H+-lBr", max_size=60), min_size=1, max_size=8))
def test_smiles_tokenizers_round_trip_any_string(strings: list[str]) -> None:
    for name in ("char", "atom", "pairs", "atom-pairs"):
        tokenizer = Tokenizer.fit(name, strings)
        assert tokenizer.decode(tokenizer.encode(strings)) == strings


@given(st.lists(st.lists(st.integers(0, 7), max_size=20), min_size=1, max_size=5))
def test_any_ids_decode_to_strings_up_to_the_end(rows: list[list[int]]) -> None:
    tokenizer = Tokenizer("char", list("CNO()"))
    table = np.zeros((len(rows), 20), dtype=np.uint8)
    for line, row in zip(table, rows, strict=True):
        line[: len(row)] = row
    for text, row in zip(tokenizer.decode(table), rows, strict=True):
        end = row.index(EOS) if EOS in row else len(row)
        assert len(text) == sum(i > EOS for i in row[:end])


@pytest.mark.parametrize("name", ["char", "atom", "pairs", "atom-pairs"])
@pytest.mark.parametrize(
    ("smiles", "reason"),
    [
        ("CCB(O)O", "contains boron"),
        ("[2H]CO", "contains the isotope 2 of hydrogen"),
        ("C[18F]", "contains the isotope 18 of fluorine"),
        ("C[Si](C)C", "contains silicon"),
        ("c1cc[se]c1", "contains selenium"),
        ("C[Na+]", "contains sodium"),
        ("CCN.Cl", "consists of several fragments"),
    ],
)
def test_atoms_that_the_data_never_had_are_refused_by_name(
    name: str, smiles: str, reason: str
) -> None:
    """The characters of each are known: those of Br, Cl, [18O], [C@@H2+] and so on."""
    known = ["CCBr", "CCCl", "c1cc[nH]c1", "CN(C)O", "CC(=O)[O-]", "C[N+](C)(C)C", "FCS", "C1=CC2"]
    tokenizer = Tokenizer.fit(name, [*known, "[C@@H2+]", "[18OH]C"])
    assert tokenizer.decode(tokenizer.encode(known)) == known
    with pytest.raises(MolvaeError, match=reason):
        tokenizer.encode([smiles])
    stored = Tokenizer(name, tokenizer.vocabulary, tokenizer.atoms)
    with pytest.raises(MolvaeError, match=reason):
        stored.encode([smiles])


def test_no_run_of_atoms_ends_inside_an_atom() -> None:
    tokenizer = Tokenizer.fit("atom-pairs", ["CC", "CCCl", "CB", "CBBr"] * 9)
    for smiles in ("CCl", "CCCl", "ClCC", "CBr", "CBBr", "BrCB"):
        assert tokenizer.decode(tokenizer.encode([smiles])) == [smiles]


def test_pairs_learn_runs_and_read_molecules_that_they_have_not_seen(zinc: list[str]) -> None:
    tokenizer = Tokenizer.fit("pairs", zinc[:1000])
    assert len(tokenizer) < 256  # so that a data set fits in bytes
    assert {"c1ccccc1", "C(=O)N"} & set(tokenizer.vocabulary)
    known = set().union(*map(list_atoms, zinc[:1000]))
    rest = [s for s in zinc[1000:] if set(s) <= set("".join(zinc[:1000]))]
    rest = [s for s in rest if list_atoms(s) <= known]
    assert len(rest) > 950
    ids = tokenizer.encode(rest)
    assert tokenizer.decode(ids) == rest
    assert (ids > EOS).sum() < sum(map(len, rest)) / 2
    assert tokenizer.split("CC?") == [*tokenizer.split("CC"), "?"]
    with pytest.raises(MolvaeError, match=r"the token '\?'"):
        tokenizer.encode(["CC?"])


def test_the_most_frequent_pair_is_joined_first() -> None:
    assert learn_runs(["abab", "abc", "abab"], 2) == ["ab", "abab"]
    assert learn_runs(["a", "b"], 5) == []
    assert learn_runs([["[C]", "[O]"], ["[C]", "[O]"]], 9) == ["[C][O]"]
