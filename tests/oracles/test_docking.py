"""Docking as an objective; what docks is skipped where the extra is not installed."""

import json
import math
import os
import shutil
import sys
from importlib.metadata import PackageNotFoundError
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem.rdDistGeom import EmbedMultipleConfs

from molvae.base.errors import MolvaeError
from molvae.chem.properties import qed
from molvae.cli import main
from molvae.oracles import docking
from molvae.oracles.constraints import parse_constraint, refuse_paid
from molvae.oracles.docking import TARGETS, TASKS, Docking, DockingTask, parse_docking
from molvae.oracles.evaluation import Effort
from molvae.oracles.given import (
    as_objective,
    find_quantity,
    keep_poses,
    look_up_quantity,
    runs_code,
)
from molvae.oracles.history import History
from molvae.oracles.objectives import Objective, find_registered
from molvae.oracles.oracle import Oracle
from molvae.oracles.transport import pack_objectives, unpack_objectives

ASPIRIN = "CC(=O)Oc1ccccc1C(=O)O"
BOX = "center=9.25/6.167/-7,size=30/30/32"  # of DRD2
needs_docking = pytest.mark.skipif(
    find_spec("dockstring") is None, reason="needs pip install 'molvae[docking]'"
)


@pytest.fixture
def lacking(monkeypatch: pytest.MonkeyPatch) -> None:
    """No optional package is installed."""

    def version(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("molvae.oracles.extras.version", version)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """As if the packages were installed, on Linux: a folder with an `obabel`, alone on PATH."""
    monkeypatch.setattr("molvae.oracles.extras.version", lambda name: "0.3.4")
    monkeypatch.setattr("molvae.oracles.docking.platform.system", lambda: "Linux")
    monkeypatch.setattr("molvae.oracles.docking.platform.machine", lambda: "x86_64")
    program = tmp_path / "bin" / "obabel"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 'Open Babel 3.1.0 -- today'\n")
    program.chmod(0o755)
    monkeypatch.setattr("molvae.oracles.docking.sysconfig.get_path", lambda name: "/nowhere")
    monkeypatch.setenv("PATH", str(program.parent))
    return program


def test_all_targets_and_tasks_are_registered_and_minimised_in_kcal_per_mol() -> None:
    assert len(set(TARGETS)) == 58
    for name in (*TARGETS, *TASKS):
        entry = find_registered(f"dock:{name}")
        assert entry is not None
        assert entry.title == f"dock:{name} (kcal/mol)"
        assert not entry.maximise
        assert entry.label == f"-dock:{name}"
        assert not entry.is_ours  # it is not computed again for a table
        assert not runs_code(entry.name)
        (there,) = unpack_objectives(pack_objectives([entry]))
        assert there == entry
    assert find_registered("-dock:DRD2") is None
    assert find_registered("predicted:dock:DRD2") is None


def test_the_list_shows_them_without_their_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "objectives"]) == 0
    lines = capsys.readouterr().out.splitlines()
    shown = {line.split()[0]: line for line in lines[1:]}
    assert {f"dock:{name}" for name in (*TARGETS, *TASKS)} <= set(shown)
    assert "extra docking" in shown["dock:DRD2"]
    assert "dockstring" not in sys.modules or find_spec("dockstring") is not None


@pytest.mark.parametrize(
    ("text", "function"),
    [
        ("DRD2", Docking("DRD2")),
        ("DRD2,exhaustiveness=1", Docking("DRD2", None, 1)),
        (
            "my.pdbqt,center=1/-2.5/3,size=20/20/25",
            Docking("my.pdbqt", ((1, -2.5, 3), (20, 20, 25))),
        ),
        (
            f"a/my.pdbqt,exhaustiveness=3,{BOX}",
            Docking("a/my.pdbqt", ((9.25, 6.167, -7), (30, 30, 32)), 3),
        ),
        (
            "JAK2-LCK+QED,exhaustiveness=2",
            DockingTask("JAK2-LCK+QED", (Docking("JAK2", None, 2), Docking("LCK", None, 2))),
        ),
    ],
)
def test_options_stand_behind_commas(text: str, function: object) -> None:
    assert parse_docking(text) == function
    quantity = look_up_quantity(f"-dock:{text}")
    assert quantity.negative
    entry = quantity.objective
    assert (entry.name, entry.maximise, entry.unit) == (f"dock:{text}", False, "kcal/mol")
    assert entry.function == function
    assert parse_constraint(f"dock:{text}<-8.5").quantity == look_up_quantity(f"dock:{text}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("DRD5", "unknown docking target 'DRD5': did you mean 'DRD3'"),
        ("drd2", "did you mean 'DRD2'"),
        ("", "unknown docking target ''"),
        ("score", "unknown docking target 'score'"),
        ("DRD2,exhaustivness=1", "'exhaustivness=1' is not an option"),
        ("DRD2,exhaustiveness=1,exhaustiveness=2", "stands there twice"),
        ("DRD2,exhaustiveness=0", "whole number of at least 1"),
        ("DRD2,exhaustiveness=1.5", "whole number of at least 1"),
        (f"DRD2,{BOX}", "DRD2 has its own search box"),
        ("my.pdbqt", "needs its search box"),
        ("my.pdbqt,center=1/2/3", "needs its search box"),
        ("my.pdbqt,center=1/2,size=1/1/1", "center must be three numbers"),
        ("my.pdbqt,center=1/2/nan,size=1/1/1", "center must be three numbers"),
        ("my.pdbqt,center=1/2/3,size=1/0/1", "size of the box must be above 0"),
    ],
)
def test_what_cannot_be_docked_is_told_in_one_line(text: str, said: str) -> None:
    with pytest.raises(MolvaeError, match=said) as error:
        as_objective(f"dock:{text}")
    assert "\n" not in str(error.value)


@pytest.mark.usefixtures("lacking")
def test_a_missing_package_is_told_before_anything_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["optimize", "--objective", "dock:DRD2", "--out", "run"]) != 0
    assert capsys.readouterr().err.splitlines() == [
        "molvae optimize: the package dockstring is missing: pip install 'molvae[docking]'"
    ]
    assert not (tmp_path / "run").exists()
    (tmp_path / "goals.json").write_text(json.dumps({"sum": {"QED": 1, "-dock:F2": 1}}))
    for given in ("-dock:F2", "goals.json", "dock:F2+QED"):
        with pytest.raises(MolvaeError, match=r"pip install 'molvae\[docking\]'"):
            as_objective(given)
    with pytest.raises(MolvaeError, match=r"pip install 'molvae\[docking\]'"):
        parse_constraint("dock:F2<-7").met(Chem.MolFromSmiles("CCO"))
    assert find_quantity("dock:F2") is not None  # a column of that name needs no package


def test_open_babel_is_looked_for_in_the_environment_and_on_path(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = as_objective("dock:DRD2").sources
    assert known is not None
    assert (known["dockstring"], known["Open Babel"]) == ("0.3.4", "3.1.0")
    monkeypatch.setattr(
        "molvae.oracles.docking.sysconfig.get_path", lambda name: str(installed.parent)
    )
    monkeypatch.setenv("PATH", "/nowhere")
    with docking._obabel_on_path():
        assert shutil.which("obabel") == str(installed)
    assert os.environ["PATH"] == "/nowhere"
    assert as_objective("dock:DRD2").sources == known
    installed.unlink()
    with pytest.raises(MolvaeError, match=r"obabel is neither in this Python environment nor on"):
        as_objective("dock:DRD2")


@pytest.mark.parametrize("said", ["Segmentation fault", "Open Babel 2.4.1 -- long ago"])
def test_a_program_that_is_no_open_babel_is_told(installed: Path, said: str) -> None:
    installed.write_text(f"#!/bin/sh\necho '{said}'\n")
    with pytest.raises(MolvaeError, match=r"obabel is not Open Babel 3\.1, or broken: pip install"):
        as_objective("dock:DRD2")


@pytest.mark.usefixtures("installed")
def test_a_receptor_that_does_not_exist_and_another_machine_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MolvaeError, match=r"my\.pdbqt: there is no such receptor file"):
        as_objective(f"dock:my.pdbqt,{BOX}")
    Path("my.pdbqt").write_text("one")
    one = as_objective(f"dock:my.pdbqt,{BOX}")
    before = one.version
    Path("my.pdbqt").write_text("two")
    assert one.version != before  # scores of another protein
    monkeypatch.setattr("molvae.oracles.docking.platform.machine", lambda: "aarch64")
    with pytest.raises(MolvaeError, match=r"needs x86-64 Linux or macOS.*Linux aarch64"):
        as_objective("dock:DRD2")


@pytest.mark.usefixtures("installed")
def test_a_history_knows_the_version_of_the_docking_program(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Docking, "__call__", lambda self, mol: -7.5)
    history = History()
    oracle = Oracle("dock:DRD2", 5, history)
    assert oracle(["CCO"]).tolist() == [7.5]  # maximised inside
    assert oracle.objectives[0].restore_sign(history.records()[0].y) == -7.5
    monkeypatch.setattr("molvae.oracles.extras.version", lambda name: "0.4")
    with pytest.raises(MolvaeError, match="dockstring has changed since this run began"):
        Oracle("dock:DRD2", 5, history)(["CCN"])


@pytest.mark.usefixtures("installed")
def test_a_constraint_on_docking_says_what_it_costs() -> None:
    with pytest.warns(UserWarning, match="runs dock:DRD2 for every molecule that is decoded"):
        refuse_paid(parse_constraint("dock:DRD2<-8"), [as_objective("QED")])
    with pytest.raises(MolvaeError, match="would not be counted"):
        refuse_paid(parse_constraint("dock:DRD2<-8"), [as_objective("dock:DRD2")])


@pytest.mark.parametrize(
    ("name", "scores", "value"),
    [
        ("F2+QED", {"F2": -8.0}, -8.0),
        ("PPAR+QED", {"PPARA": -8.0, "PPARD": -6.5, "PPARG": -9.0}, -6.5),
        ("JAK2-LCK+QED", {"JAK2": -9.0, "LCK": -8.0}, -9.0),  # selective enough
        ("JAK2-LCK+QED", {"JAK2": -9.0, "LCK": -10.1}, -7.0),
    ],
)
def test_the_tasks_of_dockstring_by_hand(
    name: str, scores: dict[str, float], value: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Docking, "__call__", lambda self, mol: scores[self.receptor])
    mol = Chem.MolFromSmiles(ASPIRIN)
    task = find_registered(f"dock:{name}")
    assert task is not None
    assert task.function(mol) == pytest.approx(value + 10 * (1 - qed(mol)))


@pytest.mark.usefixtures("installed")
def test_poses_of_the_best_are_kept_as_sdf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def dock(self: Docking, smiles: str, folder: Path) -> tuple[list[float], Chem.Mol]:
        mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
        EmbedMultipleConfs(mol, 2, randomSeed=1)
        return [-0.9 * mol.GetNumHeavyAtoms(), -1.0], mol

    monkeypatch.setattr(Docking, "_dock", dock)
    (tmp_path / "goals.json").write_text(json.dumps({"sum": {"QED": 1, "dock:F2": -1}}))
    (tmp_path / "run").mkdir()
    for name in ("dock:DRD2", str(tmp_path / "goals.json"), "dock:JAK2-LCK+QED"):
        kept = keep_poses(as_objective(name), tmp_path / "run" / "poses")
        if name.startswith("dock:"):  # the same quantity, which a constraint is compared with
            assert kept == as_objective(name)
        for n in range(2, 16):
            kept.function(Chem.MolFromSmiles("C" * n))
    found = list((tmp_path / "run" / "poses").iterdir())
    assert sorted(path.name for path in found) == ["DRD2", "F2", "JAK2", "LCK"]
    for target in found:
        scores = sorted(float(path.stem.partition("_")[2]) for path in target.iterdir())
        assert scores == pytest.approx([-0.9 * n for n in range(15, 5, -1)])
        best = next(target.glob("*_-13.50.sdf"))
        poses = list(Chem.SDMolSupplier(str(best)))
        assert [pose.GetProp("_Name") for pose in poses] == ["C" * 15] * 2
        assert [pose.GetProp("score (kcal/mol)") for pose in poses] == ["-13.5", "-1.0"]
        first, second = (pose.GetConformer().GetPositions() for pose in poses)
        assert not np.allclose(first, second)
    assert find_registered("dock:DRD2").function.poses is None  # of this search alone
    keep_poses(as_objective("dock:DRD2"), tmp_path / "gone" / "poses").function(
        Chem.MolFromSmiles("CC")
    )
    assert not (tmp_path / "gone").exists()
    assert keep_poses(as_objective("QED"), tmp_path) == as_objective("QED")


# from here on, molecules are docked


@pytest.fixture
def receptor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Objective:
    """The DRD2 of dockstring as a receptor of the user's, in the working folder."""
    from dockstring.utils import get_targets_dir

    monkeypatch.chdir(tmp_path)
    shutil.copy(get_targets_dir() / "DRD2_target.pdbqt", "my.pdbqt")
    return as_objective(f"dock:my.pdbqt,{BOX},exhaustiveness=1")


@needs_docking
def test_the_targets_are_those_of_dockstring() -> None:
    import dockstring

    assert sorted(dockstring.list_all_target_names()) == sorted(TARGETS)


@needs_docking
def test_published_scores_are_reproduced() -> None:
    from dockstring.dataset import random_dataset_tuples as published

    chosen = [row for row in published if row[0] in ("ADORA2A", "MAPK14") and len(row[1]) < 60]
    assert len(chosen) == 2
    for target, smiles, score in chosen:
        docked = as_objective(f"dock:{target},exhaustiveness=1").function(
            Chem.MolFromSmiles(smiles)
        )
        assert docked == pytest.approx(score, abs=0.8)  # 0.3 with the default exhaustiveness


@needs_docking
def test_a_receptor_of_the_user_gives_the_score_of_the_same_target_in_any_process(
    receptor: Objective,
) -> None:
    mol = Chem.MolFromSmiles(ASPIRIN)
    order = list(reversed(range(mol.GetNumAtoms())))
    here = as_objective("dock:DRD2,exhaustiveness=1").function(mol)
    assert -8 < here < -4
    assert receptor.function(Chem.RenumberAtoms(mol, order)) == here
    before = sorted(Path().iterdir())
    oracle = Oracle(receptor, 2, effort=Effort(seconds=120))
    assert oracle([ASPIRIN])[0] == -here
    assert sorted(Path().iterdir()) == before  # nothing is written beside the receptor


@needs_docking
@pytest.mark.parametrize(
    ("smiles", "reason"),
    [
        ("C1#CC#CC#CC#C1", "EmbeddingError: Generation of ligand conformation failed"),
        ("C[CH2]", "SanityError: Molecule cannot contain radicals"),
        ("CCO.CC", "SanityError: Incorrect number of molecular fragments"),
        ("[Mo]$[Mo]", "ValueError: a quadruple bond cannot be docked"),
    ],
)
def test_a_ligand_that_cannot_be_prepared_is_nan_with_its_reason(smiles: str, reason: str) -> None:
    oracle = Oracle("dock:DRD2", 5)
    assert math.isnan(oracle([smiles])[0])
    error = oracle.history.records()[0].error
    assert error is not None
    assert error.startswith(reason)


@needs_docking
def test_vina_says_what_is_wrong_with_a_receptor_or_its_box(receptor: Objective) -> None:
    oracle = Oracle(receptor, 5)
    shutil.copy("my.pdbqt", "DRD2.pdbqt")
    Path("my.pdbqt").write_text("no protein\n")
    assert math.isnan(oracle(["CCO"])[0])
    assert "Vina failed: Parse error on line 1" in str(oracle.history.records()[0].error)
    tight = as_objective("dock:DRD2.pdbqt,center=9/6/-7,size=1/1/1,exhaustiveness=1")
    with pytest.raises(RuntimeError, match="no pose in the search box"):
        tight.function(Chem.MolFromSmiles(ASPIRIN))
