"""Plausibility: real molecules pass, and what nobody makes does not."""

from __future__ import annotations

import numpy as np
import pytest
from rdkit import Chem

from molvae.base.errors import MolvaeError
from molvae.chem.datasets import load
from molvae.chem.molecules import parse
from molvae.chem.plausibility import PASSED, PASSING, Domain, find_ring_systems
from molvae.model.storage import read_model

# drugs and reagents of ZINC's own style, and what a chemist would strike out
REAL = [
    "Cn1c(=O)c2c(ncn2C)n(C)c1=O",
    "CC(C)Cc1ccc([C@H](C)C(=O)NC)cc1",
    "CC(=O)Nc1ccc(O)cc1",
    "Cc1ccc(-c2cc(C(F)(F)F)nn2-c2ccc(S(N)(=O)=O)cc2)cc1",
    "COc1ccc2[nH]cc(CCNC(C)=O)c2c1",
    "O=C(Nc1ccccc1)c1cccnc1",
]
UNREAL = {
    "polysulfide": "CSSSCc1ccccc1",
    "sulfenamide anion": "CS[N-]c1ccccc1",
    "amide anion": "CC(=O)[N-]Cc1ccccc1",
    "diaziridine": "CC1NN1c1ccccc1",
    "dioxirane": "CC1(c2ccccc2)OO1",
    "oxaziridine": "CC1ON1Cc1ccccc1",
    "allene": "CC=C=CCc1ccccc1",
    "cumulene": "C=C=C=CCc1ccccc1",
    "bridgehead alkene": "C1=C2CCC(C1)C2",
    "triazane": "CNN(C)NCc1ccccc1",
    "peroxide": "COOCc1ccccc1",
    "chloramine": "CN(Cl)Cc1ccccc1",
    "carbanion": "[CH2-]c1ccccc1",
    "radical": "[CH2]Cc1ccccc1",
    "cyclobutadiene": "C1=CC=C1c1ccccc1",
    "tetrahedrane": "C12C3C1C23",
    "long chains of sulfur": "Cc1ccc(SSSSSSSSSSSc2ccc(Cl)cc2Cl)cc1",
    "chain of 30 carbons": "C" * 30,
}


@pytest.fixture(scope="module")
def domain() -> Domain:
    found = read_model("zinc").domain
    assert found is not None
    return found


@pytest.mark.parametrize("smiles", REAL)
def test_real_molecules_are_plausible(domain: Domain, smiles: str) -> None:
    assert domain.find_plausibility(Chem.MolFromSmiles(smiles)) >= PASSING


@pytest.mark.parametrize("name", UNREAL)
def test_what_nobody_makes_is_not(domain: Domain, name: str) -> None:
    mol = Chem.MolFromSmiles(UNREAL[name])
    found = domain.explain(mol)
    assert found.plausibility == domain.find_plausibility(mol) < PASSING
    assert found.reasons


def test_as_many_held_out_molecules_pass_as_was_said(domain: Domain) -> None:
    held_out = map(parse, load("zinc").split("test")[:3_000])
    passed = [domain.find_plausibility(mol) >= PASSING for mol in held_out if mol is not None]
    assert abs(np.mean(passed) - PASSED) < 0.01


def test_the_rare_atoms_are_named(domain: Domain) -> None:
    mol = Chem.MolFromSmiles("CC(=O)Nc1ccc(CSSSC)cc1")
    found = domain.explain(mol)
    sulfurs = {a.GetIdx() for a in mol.GetAtoms() if a.GetSymbol() == "S"}
    assert sulfurs <= set(found.atoms)
    assert not {0, 1, 2, 3} & set(found.atoms)  # the amide
    assert all(mol.GetBondWithIdx(b).GetBeginAtomIdx() in found.atoms for b in found.bonds)
    assert "(S) within 1 bonds" in found.reasons[0]
    assert domain.explain(Chem.MolFromSmiles(REAL[2])).reasons == []


def test_the_writing_of_a_molecule_does_not_matter(domain: Domain, zinc: list[str]) -> None:
    for smiles in zinc[:50]:
        mol = Chem.MolFromSmiles(smiles)
        other = Chem.MolFromSmiles(Chem.MolToSmiles(mol, doRandom=True))
        assert domain.find_plausibility(mol) == pytest.approx(domain.find_plausibility(other))
        assert sorted(find_ring_systems(mol)) == sorted(find_ring_systems(other))


def test_parts_that_are_counted_more_often_cost_less(zinc: list[str]) -> None:
    strange = Chem.MolFromSmiles(UNREAL["polysulfide"])
    costs = [
        Domain.fit([*zinc[:500], *["CSSSCc1ccccc1"] * n], zinc[500:600]).find_cost(strange)
        for n in (0, 2, 10, 40)
    ]
    assert costs == sorted(costs, reverse=True)
    assert costs[0] > costs[-1] + 5


def test_the_arrays_hold_all_that_counts(domain: Domain, zinc: list[str]) -> None:
    arrays = domain.to_arrays()
    again = Domain.from_arrays(arrays)
    assert again is not None
    for smiles in [*zinc[:50], *UNREAL.values()]:
        mol = Chem.MolFromSmiles(smiles)
        assert again.find_plausibility(mol) == domain.find_plausibility(mol)
    other = Domain.from_arrays({**arrays, "probe": arrays["probe"] + 1})
    assert other is None
    with pytest.raises(ValueError, match="belong together"):
        Domain.from_arrays({**arrays, "counts.1": arrays["counts.0"]})
    with pytest.raises(MolvaeError, match="needs molecules"):
        Domain.fit([], [])
