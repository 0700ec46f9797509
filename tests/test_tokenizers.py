import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from molvae import latent
from molvae.chem.molecules import canonical
from molvae.chem.tokenizers import BOS, EOS, PAD, Tokenizer, tokenizers
from molvae.errors import MolvaeError


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
        back = [canonical(s) or "" for s in back]
    assert back == zinc


def test_atom_tokens_keep_two_letter_elements_and_ring_bonds_whole() -> None:
    tokenizer = Tokenizer.fit("atom", ["ClCBr"])
    assert tokenizer.split("Cl[C@@H](Br)C%12CC%12") == [
        "Cl", "[C@@H]", "(", "Br", ")", "C", "%12", "C", "C", "%12",
    ]  # fmt: skip
    assert Tokenizer.fit("char", ["ClC"]).split("ClC") == ["C", "l", "C"]


def test_an_unknown_token_is_refused_by_name() -> None:
    tokenizer = Tokenizer.fit("char", ["CCO"])
    with pytest.raises(MolvaeError, match=r"'CCN' has the token 'N'"):
        tokenizer.encode(["CCO", "CCN"])


@given(st.lists(st.text(alphabet="CNOcno()=#123[]@H+-lBr", max_size=60), min_size=1, max_size=8))
def test_char_and_atom_round_trip_any_string(strings: list[str]) -> None:
    for name in ("char", "atom"):
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
