"""What identifies a score: everything that computes it, and nothing else."""

import sys
from pathlib import Path

import pytest

from molvae.base.errors import MolvaeError
from molvae.oracles.given import as_objective
from molvae.oracles.history import History
from molvae.oracles.oracle import Oracle

SCRIPT = """import sys
import lab_helper
print(len(sys.argv[1]) * lab_helper.FACTOR)
"""
MODULE = """from rdkit.Chem import Mol
from lab_package import deep
def dock(mol: Mol) -> float:
    return float(mol.GetNumAtoms() * deep.FACTOR)
"""


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a docking script, a module of scores, what they import and a file of theirs."""
    monkeypatch.chdir(tmp_path)
    # a file that is edited within a second of its first import would be taken from __pycache__
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "dock.py").write_text(SCRIPT)
    (tmp_path / "lab_helper.py").write_text("FACTOR = 2")
    (tmp_path / "lab_scores.py").write_text(MODULE)
    (tmp_path / "lab_package").mkdir()
    (tmp_path / "lab_package" / "__init__.py").write_text("")
    (tmp_path / "lab_package" / "deep.py").write_text("from .deeper import FACTOR")
    (tmp_path / "lab_package" / "deeper.py").write_text("FACTOR = 3")
    (tmp_path / "box.txt").write_text("10 10 10")
    (tmp_path / "other.py").write_text("")
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("lab_")]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("objective", "changed"),
    [
        ("cmd:python3 dock.py {smiles}", "dock.py"),
        ("cmd:python3 dock.py {smiles}", "lab_helper.py"),
        ("cmd:python3 dock.py --box box.txt {smiles}", "box.txt"),
        ("cmd:python3 dock.py --box=box.txt {smiles}", "box.txt"),
        ("cmd:python3 -m lab_package.deep {smiles}", "lab_package/deeper.py"),
        ("cmd:python3 -c 'import lab_helper' {smiles}", "lab_helper.py"),
        ("lab_scores:dock", "lab_scores.py"),
        ("lab_scores:dock", "lab_package/deep.py"),
        ("lab_scores:dock", "lab_package/deeper.py"),
    ],
)
def test_each_file_that_computes_a_score_is_part_of_its_identity(
    objective: str, changed: str, lab: Path
) -> None:
    entry = as_objective(objective)
    before, sources = entry.version, entry.sources
    assert changed in sources
    assert not [name for name in sources if "site-packages" in name or "rdkit" in name]
    (lab / "other.py").write_text("x = 1")
    assert entry.version == before is not None
    (lab / changed).write_text((lab / changed).read_text() + "\n# edited")
    assert entry.version != before
    now = entry.sources
    assert {name for name in sources if now[name] != sources[name]} == {changed}


def test_an_edited_helper_means_new_scores_not_stored_ones(lab: Path) -> None:
    def score(run: str) -> float:
        with History("shared.sqlite", run) as history:
            return float(Oracle("cmd:python3 dock.py {smiles}", 5, history)(["CCO"])[0])

    assert score("one") == score("two") == 6
    with History("shared.sqlite", "two") as history:
        assert history["CCO"].seconds == 0
    (lab / "lab_helper.py").write_text("FACTOR = 5")
    assert score("three") == 15


def test_a_history_whose_objective_has_changed_is_not_continued_unasked(lab: Path) -> None:
    name = "cmd:python3 dock.py {smiles}"
    with History("lab.sqlite") as history:
        Oracle(name, 5, history)(["CCO"])
    with History("lab.sqlite") as history:
        assert Oracle(name, 5, history)(["CCO", "CC"]).tolist() == [6, 4]
        with pytest.raises(MolvaeError, match="begun with objective"):
            Oracle("QED", 5, history)(["CCO"])
    (lab / "lab_helper.py").write_text("FACTOR = 5")
    with History("lab.sqlite") as history:
        with pytest.raises(MolvaeError, match=r"lab_helper.py has changed since this run began"):
            Oracle(name, 5, history)(["CCCO"])
        changed = Oracle(name, 5, history, allow_changed_objective=True)
        assert changed(["CCO", "CCCO"]).tolist() == [6, 20]
    with History("lab.sqlite") as history:  # what was allowed once is the state from now on
        assert Oracle(name, 5, history)(["CCCO"]).tolist() == [20]


def test_another_version_of_rdkit_is_another_objective(monkeypatch: pytest.MonkeyPatch) -> None:
    history = History()
    Oracle("logP", 5, history)(["CCO"])
    monkeypatch.setattr("rdkit.__version__", "1999.1")
    with pytest.raises(MolvaeError, match="RDKit has changed since this run began"):
        Oracle("logP", 5, history)(["CCN"])


def test_an_objective_that_no_file_defines_is_not_reused_and_that_is_said_once(
    tmp_path: Path,
) -> None:
    calls: list[int] = []
    with History(tmp_path / "shared.sqlite", "one") as history:
        oracle = Oracle(lambda mol: calls.append(1) or 1.0, 5, history)
        with pytest.warns(UserWarning, match="what computes <lambda> is not in a file"):
            oracle(["CCO"])
        oracle(["CCN"])
    with History(tmp_path / "shared.sqlite", "two") as history:
        oracle = Oracle(lambda mol: calls.append(1) or 1.0, 5, history)
        with pytest.warns(UserWarning, match="no other run's are reused"):
            oracle(["CCO"])
    assert len(calls) == 3


def test_a_function_that_was_typed_in_has_no_identity_and_can_be_evaluated() -> None:
    names: dict[str, object] = {"__name__": "__main__"}
    exec(compile("def typed(mol): return mol.GetNumAtoms()", "<stdin>", "exec"), names)
    typed = as_objective(names["typed"])
    assert typed.version is None
    assert Oracle(typed, 5)(["CCO"]).tolist() == [3]
