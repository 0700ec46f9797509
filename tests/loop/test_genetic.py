import subprocess
import sys

import pytest
from rdkit import rdBase

from molvae.base.errors import MolvaeError
from molvae.chem.molecules import canonicalize
from molvae.loop.genetic import breed_at_random

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
