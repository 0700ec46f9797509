"""What the README and docstrings show works as it stands."""

import doctest
import importlib
import re
import shlex
import shutil
from pathlib import Path

import pytest

import molvae
from molvae.chem.datasets import load
from molvae.cli import VERBS, main
from molvae.model.storage import list_shipped_models

README = (Path(__file__).parents[1] / "README.md").read_text()
SMALLER = {  # the same commands, ended sooner
    "train": ["--limit", "200", "--epochs", "1", "--minutes", "0.01", "--recombine", "50"],
    "fit-prior": ["--data", "zinc", "--molecules", "100", "--epochs", "0.5"],
    "report": ["--molecules", "50", "--samples", "50"],
    "optimize": ["--budget", "50"],
    "benchmark": ["--budget", "30", "--tasks", "qed"],
}
COMMANDS = re.findall(r"`(molvae [a-z-]+[^`]*)`", README.replace("molvae VERB", ""))
PACKAGE = Path(molvae.__file__).parent
EXAMPLES = [
    path.relative_to(PACKAGE.parent)
    for path in sorted(PACKAGE.rglob("*.py"))
    if ">>> " in path.read_text()
]


def test_the_python_examples_run(capsys: pytest.CaptureFixture[str]) -> None:
    molecules, core = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(compile(molecules, "README", "exec"), {})
    assert "iteration" in capsys.readouterr().out
    exec(compile(core, "README", "exec"), {})
    assert float(capsys.readouterr().out) < 1e-10


@pytest.mark.parametrize("path", EXAMPLES, ids=str)
def test_the_examples_in_docstrings_run(path: Path) -> None:
    found = doctest.testmod(importlib.import_module(".".join(path.with_suffix("").parts)))
    assert found.attempted > 0
    assert found.failed == 0


def test_every_verb_is_shown_and_a_model_ships() -> None:
    assert {shlex.split(command)[1] for command in COMMANDS} == set(VERBS)
    assert "zinc" in list_shipped_models()


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_of_the_table_runs(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.smi").write_text("CC(=O)Oc1ccccc1C(=O)O\nCC(=O)Nc1ccc(O)cc1\n")
    (tmp_path / "my.csv").write_text("smiles\n" + "\n".join(load("zinc").smiles[:200]))
    shutil.copy(list_shipped_models()["zinc"], tmp_path / "my.safetensors")
    (goals,) = re.findall(r"```json\n(.*?)```", README, re.DOTALL)
    (tmp_path / "goals.json").write_text(goals)
    (tmp_path / "dock.sh").write_text("#!/bin/sh\necho ${#1}\n")
    (tmp_path / "dock.sh").chmod(0o755)
    words = shlex.split(command)[1:]
    if words[0] == "decode":
        assert main(["encode", "my.smi", "--out", words[1]]) == 0
    assert main(words + SMALLER.get(words[0], [])) == 0
