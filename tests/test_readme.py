"""What the README, the guides and the docstrings show works as it stands."""

import doctest
import importlib
import re
import shlex
import shutil
from functools import cache
from pathlib import Path

import pytest

import molvae
from molvae.chem.datasets import load
from molvae.cli import find_verbs, main
from molvae.model.shipped import list_shipped_models
from molvae.oracles.history import History
from molvae.oracles.objectives import objectives

ROOT = Path(__file__).parents[1]
PACKAGE = Path(molvae.__file__).parent
MEASURED = [ROOT / "docs" / "results.md", ROOT / "molvae" / "weights" / "README.md"]
DOCS = sorted((ROOT / "docs").rglob("*.md"))
GUIDES = [ROOT / "README.md", *(page for page in DOCS if page not in MEASURED)]
OTHERS = [ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", ROOT / "data" / "README.md"]
SMALLER = {  # the same commands, ended sooner
    "train": ["--limit", "200", "--epochs", "1", "--minutes", "0.01", "--recombine", "50"],
    "fit-prior": ["--data", "zinc", "--molecules", "100", "--epochs", "0.5"],
    "fit-posterior": ["--data", "my.csv", "--epochs", "1"],
    "report": ["--molecules", "20", "--samples", "20"],
    "optimize": ["--budget", "12", "--batch", "6"],  # of three rounds
    "benchmark": ["--budget", "12", "--tasks", "qed"],
    "studio": ["--no-browser"],
}
FENCE = re.compile(r"^```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^```$", re.DOTALL | re.MULTILINE)
EXAMPLES = [
    path.relative_to(PACKAGE.parent)
    for path in sorted(PACKAGE.rglob("*.py"))
    if ">>> " in path.read_text()
]


def find_commands(pages: list[Path]) -> list[str]:
    """The different commands `molvae VERB ...` in code spans and shell blocks of pages."""
    commands = []
    for page in pages:
        text = page.read_text()
        commands += re.findall(r"`(molvae [a-z-]+[^`]*)`", FENCE.sub("", text))
        for language, _, block in FENCE.findall(text):
            if language == "bash":
                commands += re.findall(r"\bmolvae [a-z].*", block.replace("\\\n", " "))
    words = (" ".join(command.split()) for command in commands)
    return list(dict.fromkeys(command for command in words if "VERB" not in command))


@cache
def list_molecules() -> list[str]:
    return load("zinc").smiles[:200]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory of a reader, with the files that the guides speak of."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.smi").write_text("CC(=O)Oc1ccccc1C(=O)O\nCC(=O)Nc1ccc(O)cc1\n")
    (tmp_path / "my.csv").write_text("smiles\n" + "\n".join(list_molecules()))
    shutil.copy(list_shipped_models()["zinc"], tmp_path / "my.safetensors")
    for _, title, block in (b for page in GUIDES for b in FENCE.findall(page.read_text())):
        if title:
            (tmp_path / title).write_text(block)
    (tmp_path / "runs" / "my-run").mkdir(parents=True)
    History(tmp_path / "runs" / "my-run" / "history.sqlite").close()
    History(tmp_path / "lab.sqlite").close()
    (tmp_path / "dock.sh").write_text("#!/bin/sh\necho -${#1}\n")
    (tmp_path / "dock.sh").chmod(0o755)
    return tmp_path


def run_python(page: Path) -> None:
    """Run the Python examples of a page, one after the other."""
    names: dict[str, object] = {"__name__": "example"}
    for language, _, block in FENCE.findall(page.read_text()):
        if language == "python":
            exec(compile(block, page.name, "exec"), names)


@pytest.mark.parametrize(
    "page",
    [page for page in GUIDES if "```python" in page.read_text()],
    ids=lambda page: page.stem,
)
def test_the_python_examples_run(
    page: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # what an example registers is gone afterwards
    monkeypatch.setattr(objectives, "_entries", dict(objectives.items()))
    run_python(page)
    printed = capsys.readouterr().out
    if page.stem in ("README", "search"):
        assert "iteration" in printed  # the table of the best molecules
    if page.stem == "core":
        assert float(printed) < 1e-10


@pytest.mark.parametrize("path", EXAMPLES, ids=str)
def test_the_examples_in_docstrings_run(path: Path) -> None:
    found = doctest.testmod(importlib.import_module(".".join(path.with_suffix("").parts)))
    assert found.attempted > 0
    assert found.failed == 0


def test_every_verb_is_shown_on_the_first_page_and_a_model_ships() -> None:
    shown = {shlex.split(command)[1] for command in find_commands([ROOT / "README.md"])}
    assert shown == set(find_verbs())
    assert "zinc" in list_shipped_models()


@pytest.mark.parametrize("command", find_commands(GUIDES))
def test_each_command_runs(
    command: str,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = shlex.split(command, comments=True)[1:]
    # fewer strings are drawn where molecules are completed
    monkeypatch.setattr("molvae.cli.verbs.optimize.GROWN", 20)
    monkeypatch.setattr("molvae.model.forced_decoding.LEAST_DRAWS", 100)
    monkeypatch.setattr("molvae.model.forced_decoding.LEAST_PER_GROUP", 8)
    if words[0] == "studio":  # it would serve until it is interrupted
        monkeypatch.setattr("uvicorn.Server.run", lambda *_, **__: None)
        monkeypatch.setattr("molvae.studio.server.make_app", lambda studio: None)
    if words[0] == "decode":
        assert main(["encode", "my.smi", "--out", words[1]]) == 0
    code = main(words + SMALLER.get(words[0], []))
    if words[0] == "fit-prior":  # to so few molecules that it is worse than the prior that ships
        assert code == 1
        assert "it is no better, and my-flow-matching.safetensors is not written" in (
            capsys.readouterr().err
        )
        return
    assert code == 0


@pytest.mark.parametrize("command", find_commands(MEASURED))
def test_each_command_of_a_measurement_is_understood(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    verb, *rest = shlex.split(command, comments=True)[1:]
    module = importlib.import_module(f"molvae.cli.verbs.{verb.replace('-', '_')}")
    monkeypatch.setattr(module, "run", lambda args: 0)
    assert main([verb, *rest]) == 0


@pytest.mark.parametrize("page", [*GUIDES, *MEASURED, *OTHERS], ids=lambda page: page.stem)
def test_what_a_page_points_to_exists(page: Path) -> None:
    text = re.sub(r"`[^`]+`", "", FENCE.sub("", page.read_text()))
    links = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", text)
    missing = [link for link in links if not (page.parent / link).exists()]
    # the reference is made when the site is built
    assert [link for link in missing if "reference/molvae" not in link] == []
    scripts = re.findall(r"python (pipelines/[\w/.]+)", page.read_text())
    assert [script for script in scripts if not (ROOT / script).exists()] == []
