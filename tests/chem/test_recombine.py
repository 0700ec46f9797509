"""New molecules to train on: valid, new, like the data, and nothing that is held out."""

import random

import numpy as np
import pytest
from rdkit import Chem

from molvae.base.errors import MolvaeError, MolvaeWarning
from molvae.chem.datasets import DataSet, assign_part
from molvae.chem.molecules import canonicalize, count_heavy_atoms
from molvae.chem.recombine import cut_bonds, join_parts, recombine


def test_recombined_molecules_are_new_and_like_the_data(zinc: list[str]) -> None:
    new = recombine(DataSet("zinc", zinc, 0, "some-zinc"), 1_000).smiles
    assert 900 <= len(new) == len(set(new)) <= 1_010
    assert all(canonicalize(s) == s and assign_part(s) == "train" for s in new)
    assert not set(new) & set(zinc)
    sizes, own = ([count_heavy_atoms(s) for s in part] for part in (new, zinc))
    assert min(own) <= min(sizes) <= max(sizes) <= max(own)
    assert abs(np.mean(sizes) - np.mean(own)) < 1.5
    assert 0.7 < np.std(sizes) / np.std(own) < 1.3
    assert new == recombine(DataSet("zinc", zinc, 0, "same-zinc"), 1_000).smiles
    assert new != recombine(DataSet("zinc", zinc, 0, "some-zinc"), 1_000, seed=1).smiles


def test_parts_are_those_of_the_molecule(zinc: list[str]) -> None:
    rng = random.Random(0)
    pairs = [(s, pair) for s in zinc[:200] for pair in cut_bonds(s, rng)]
    assert len(pairs) > 300
    for smiles, (one, other) in pairs:
        assert one.atoms + other.atoms == count_heavy_atoms(smiles)
        assert one.bond == other.bond[::-1]
        again, own = (Chem.MolFromSmiles(s) for s in (join_parts(one.smiles, other.smiles), smiles))
        for mol in (again, own):  # the stereocentre at the bond may be the other one
            Chem.RemoveStereochemistry(mol)
        assert Chem.MolToSmiles(again) == Chem.MolToSmiles(own)


def test_rings_of_both_parts_keep_their_numbers() -> None:
    assert canonicalize(join_parts("c1ccccc1", "[NH+]1CCCC1")) == "c1ccc([NH+]2CCCC2)cc1"


def test_where_nothing_can_be_cut_nothing_comes() -> None:
    rings = DataSet("rings", ["c1ccccc1", "C1CCCCC1", "c1ccc2ccccc2c1"], 0, "rings")
    assert recombine(rings, 10).smiles == []
    assert recombine(DataSet("none", [], 0, "none"), 10).smiles == []
    with pytest.raises(MolvaeError, match="must not be negative, got -1"):
        recombine(rings, -1)


def test_salts_and_rings_that_cannot_be_read_again_are_left_out_and_said() -> None:
    odd = "CCC1=c2=C(C[NH2+]Cc3cccc(-c4ccccc4)c3)[nH]n21"
    salts = [f"{s}.Cl" for s in ("CCCc1ccccc1CCN", "CCCCc1ccccc1CCO")]
    with pytest.warns(MolvaeWarning, match="1 of 1 molecules are not recombined"):
        assert recombine(DataSet("salts", salts, 0, "salts"), 10).smiles == []
    assert canonicalize(odd) is None
    assert cut_bonds("*CCCCCC", random.Random(0)) == []
