import random
import subprocess
import sys
from statistics import fmean

import pytest
from mol_ga.graph_ga.gen_candidates import mutate as mol_ga_mutate
from mol_ga.graph_ga.gen_candidates import reproduce
from rdkit import Chem, rdBase

from molvae.base.errors import MolvaeError
from molvae.chem.molecules import canonicalize
from molvae.loop.crossover import cross
from molvae.loop.genetic import breed, breed_at_random
from molvae.loop.mutation import mutate

SEEDS = [
    "CC(=O)Oc1ccccc1C(=O)O",
    "CC(C)Cc1ccc(C(C)C(=O)O)cc1",
    "Cn1c(=O)c2c(ncn2C)n(C)c1=O",
    "CC(=O)Nc1ccc(O)cc1",
    "c1ccc2[nH]ccc2c1",
    "CCN(CC)CCNC(=O)c1ccc(N)cc1",
]


def test_progress_is_shown_where_it_is_wanted(capsys):
    breed_at_random(SEEDS, molecules=5)
    assert capsys.readouterr().err == ""
    breed_at_random(SEEDS, molecules=5, progress=True)
    assert "GA: 100%" in capsys.readouterr().err


def test_offspring_are_new_unique_canonical_molecules():
    children = breed_at_random(SEEDS, molecules=40, seed=1)
    assert len(children) == 40
    assert [canonicalize(child) for child in children] == children
    assert len(set(children)) == 40
    assert not set(children) & set(SEEDS)


def test_same_seed_same_molecules_in_any_process():
    here = breed_at_random(SEEDS, molecules=15, seed=3)
    code = (
        "from molvae.loop.genetic import breed_at_random\n"
        f"print('\\n'.join(breed_at_random({SEEDS!r}, molecules=15, seed=3)))"
    )
    for hash_seed in ("1", "2"):
        there = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": hash_seed},
        )
        assert there.stdout.split() == here
    assert breed_at_random(SEEDS, molecules=15, seed=4) != here


def test_strange_starting_molecules_do_no_harm():
    strange = ["[Na+].[Cl-]", "[2H]C([2H])([2H])O", "C", "[Fe]", "CCO", "F/C=C/F"]
    assert all(canonicalize(child) for child in breed_at_random(strange, molecules=20))


def test_rdkit_log_is_left_as_it_was():
    import mol_ga  # noqa: F401  (its import switches the error channel off; ours must not)

    rdBase.EnableLog("rdApp.error")
    before = rdBase.LogStatus()
    breed_at_random(SEEDS, molecules=5)
    assert rdBase.LogStatus() == before


def test_one_molecule_is_too_few_to_cross():
    with pytest.raises(MolvaeError, match="at least two"):
        breed_at_random(["CCO", "CCO"], molecules=5)


def test_a_child_has_parts_of_both_parents():
    chain, ring = "FCCCCS", "NC1CCCC(Cl)C1"
    children = {cross(chain, ring, random.Random(seed)) for seed in range(60)} - {None}
    assert len(children) > 10
    assert not children & {chain, ring}
    assert [canonicalize(child) for child in children] == list(children)
    alike = [cross("CCO", "CCN", random.Random(seed)) for seed in range(60)]
    assert not {"CCO", "CCN"} & set(alike)  # which most of their crossings would be
    marks = {tuple(mark in child for mark in ("F", "S", "N", "Cl")) for child in children}
    assert (True, False, True, False) in marks
    fused = {cross("C1CCOCC1", "C1CCNCC1", random.Random(seed)) for seed in range(40)} - {None}
    assert any("N" in child and "O" in child and "1" in child for child in fused)
    assert len({"=" in child for child in fused}) == 2  # a ring may be closed with a double bond


def test_crossing_gives_what_mol_ga_gives_on_average(zinc: list[str]):
    pairs = list(zip(zinc[:300], zinc[300:600], strict=True))
    ours, theirs = random.Random(0), random.Random(0)
    found = [cross(*pair, ours) for pair in pairs]
    expected = [reproduce(*pair, 0.0, theirs) for pair in pairs]
    for measure, apart in (
        (lambda mol: mol.GetNumHeavyAtoms(), 1.5),
        (lambda mol: mol.GetRingInfo().NumRings(), 0.25),
        (lambda mol: sum(atom.GetIsAromatic() for atom in mol.GetAtoms()), 1.0),
    ):
        means = [
            sum(measure(Chem.MolFromSmiles(s)) for s in row if s) / len(pairs)
            for row in (found, expected)
        ]
        assert means[0] == pytest.approx(means[1], abs=apart)
    for pair, child in zip(pairs, found, strict=True):
        assert child is None or largest_ring(child) <= max(6, *map(largest_ring, pair))


def test_changing_gives_what_mol_ga_gives_on_average(zinc: list[str]):
    ours, theirs = random.Random(0), random.Random(0)
    found = [mutate(smiles, ours) for smiles in zinc[:400]]
    expected = [mol_ga_mutate(smiles, theirs) for smiles in zinc[:400]]
    assert found.count(None) + expected.count(None) < 8
    assert not set(found) & set(zinc)
    assert max(largest_ring(child) for child in found if child) == 6
    for measure, apart in (
        (lambda mol: mol.GetNumHeavyAtoms(), 0.15),
        (lambda mol: mol.GetRingInfo().NumRings(), 0.15),
        (lambda mol: sum(atom.GetAtomicNum() == 6 for atom in mol.GetAtoms()), 0.2),
        (lambda mol: sum(atom.GetIsAromatic() for atom in mol.GetAtoms()), 0.6),
    ):
        means = [
            fmean(measure(Chem.MolFromSmiles(new)) for new in row if new)
            for row in (found, expected)
        ]
        assert means[0] == pytest.approx(means[1], abs=apart)


def largest_ring(smiles: str) -> int:
    mol = Chem.MolFromSmiles(smiles)
    return max(map(len, mol.GetRingInfo().AtomRings()), default=0)


def test_breeding_is_repeatable_and_survives_strange_parents(capfd: pytest.CaptureFixture[str]):
    strange = ["[Na+].[Cl-]", "C", "[Fe]", "CCO", "F/C=C/F", "O=C1C2CC3CC1CC(C2)C3", "[H][H]"]
    parents = random.Random(0).choices(strange + SEEDS, k=120)
    children = breed(parents, 60, random.Random(5))
    assert children == breed(parents, 60, random.Random(5))
    assert children != breed(parents, 60, random.Random(6))
    assert len(children) > 20
    assert all(map(canonicalize, children))
    assert capfd.readouterr().err == ""


def test_an_error_inside_rdkit_costs_one_child(monkeypatch: pytest.MonkeyPatch):
    def fail_at_times(first: str, second: str, rng: random.Random) -> str | None:
        if rng.random() < 0.5:
            raise RuntimeError("Invariant Violation")
        return cross(first, second, rng)

    monkeypatch.setattr("molvae.loop.genetic.cross", fail_at_times)
    parents = random.Random(0).choices(SEEDS, k=80)
    assert 5 < len(breed(parents, 40, random.Random(1))) < 35
