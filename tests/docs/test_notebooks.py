"""The notebooks of the documentation run from a clean checkout, and show what their text says."""

import re
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[2] / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


class Shown:
    """What an executed notebook shows: texts, and how many there are of each kind of output."""

    def __init__(self, notebook: nbformat.NotebookNode) -> None:
        outputs = [o for cell in notebook.cells for o in cell.get("outputs", [])]
        data = [o["data"] for o in outputs if "data" in o]
        self.texts = [o["text"] for o in outputs if o.get("name") == "stdout"]
        self.texts += [one["text/plain"] for one in data]
        self.html = [one["text/html"] for one in data if "text/html" in one]
        self.pictures = [one["image/png"] for one in data if "image/png" in one]

    def read_numbers(self, label: str) -> list[float]:
        """The numbers that follow a label on the first line that has it."""
        lines = (line for text in self.texts for line in text.splitlines() if label in line)
        rest = next(lines).partition(label)[2]
        return [float(number) for number in re.findall(r"-?\d+\.\d+(?:e-\d+)?", rest)]


def check_train(shown: Shown) -> None:
    start, tuned = shown.read_numbers("sulfonamides ")
    assert tuned > 3 * start > 0
    assert min(shown.read_numbers("valid ")) > 0.7
    assert any("its point decodes to" in table for table in shown.html)
    assert len(shown.pictures) == 2  # of test molecules and of new ones


def check_search(shown: Shown) -> None:
    first, best = shown.read_numbers("first round:")
    assert best > first
    assert any("<svg" in one and "60 evaluations (0 failed)" in one for one in shown.html)
    assert any("<th>smiles</th>" in table for table in shown.html)
    assert len(shown.pictures) == 1


def check_lecture(shown: Shown) -> None:
    assert shown.read_numbers("largest difference from log p(x):")[0] < 1e-9
    (bound,), (exact,) = (shown.read_numbers(s) for s in ("linear VAE, ELBO", "PPCA, log p(x)"))
    assert exact - 0.05 < bound <= exact
    names = ("ELBO, q of the encoder", "ELBO, best q of each image", "log p(x)  ")
    amortised, own, marginal = (shown.read_numbers(name)[0] for name in names)
    assert -22 < amortised < own < marginal
    score, reparameterised = shown.read_numbers("variance ")
    assert score > 3 * reparameterised
    assert len(shown.pictures) == 2


CHECKS: dict[str, Callable[[Shown], None]] = {
    "train": check_train,
    "search": check_search,
    "lecture": check_lecture,
}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_shows_what_it_says(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR"):  # none of the person who tests
        monkeypatch.setenv(f"JUPYTER_{name}", str(tmp_path / name))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": tmp_path}}).execute()
    CHECKS[path.stem](Shown(notebook))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_without_outputs(path: Path) -> None:
    code = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
    assert [cell for cell in code if cell.outputs or cell.execution_count is not None] == []
    assert f"<notebooks/{path.name}>" in (FOLDER.parent / "index.md").read_text()
