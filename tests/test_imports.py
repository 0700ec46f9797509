"""The import law of the house, and that `molvae --help` loads nothing heavy."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import molvae

ROOT = Path(molvae.__file__).parent
COMMON = {"molvae.registry", "molvae.errors"}
MAY_IMPORT = {
    "chem": COMMON | {"molvae.chem"},
    "latent": COMMON | {"molvae.latent"},
    "search": COMMON | {"molvae.search"},
    "training.py": COMMON | {"molvae.chem", "molvae.latent"},
    "stored.py": COMMON | {"molvae.chem", "molvae.latent"},
    "held_out.py": COMMON | {"molvae.chem", "molvae.latent", "molvae.model"},
    "decoding.py": COMMON | {"molvae.chem", "molvae.latent", "molvae.model"},
    "model.py": COMMON
    | {"molvae.chem", "molvae.latent", "molvae.training", "molvae.stored", "molvae.held_out"}
    | {"molvae.decoding"},
    "rounds.py": COMMON | {"molvae.chem", "molvae.search"},
    "loop.py": COMMON | {"molvae.chem", "molvae.search", "molvae.rounds", "molvae.asking"},
    "asking.py": COMMON | {"molvae.chem", "molvae.rounds"},
}
FOREIGN = {
    "chem": {"torch", "botorch", "gpytorch"},
    "latent": {"rdkit", "selfies", "botorch", "gpytorch", "pandas"},
    "search": {"rdkit", "selfies", "pandas"},
}


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


@pytest.mark.parametrize("place", MAY_IMPORT)
def test_rooms_import_only_what_the_house_allows(place: str) -> None:
    files = [ROOT / place] if place.endswith(".py") else sorted((ROOT / place).glob("*.py"))
    assert files
    for path in files:
        for name in imported(path):
            if name.startswith("molvae"):
                allowed = any(name == a or name.startswith(a + ".") for a in MAY_IMPORT[place])
                assert allowed, f"{path.name} imports {name}"
            assert name.split(".")[0] not in FOREIGN.get(place, set()), f"{path.name}: {name}"


def test_no_one_loads_pickles() -> None:
    for path in ROOT.rglob("*.py"):
        assert not imported(path) & {"pickle", "cloudpickle", "dill", "shelve"}, path
        assert "torch.load" not in path.read_text(), path


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from molvae.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'rdkit', 'botorch', 'pandas', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_public_names_resolve() -> None:
    import molvae.loop  # a module of the same name as a function would now hide it

    assert len(molvae.__all__) <= 10
    for name in molvae.__all__:
        assert getattr(molvae, name).__doc__
    with pytest.raises(AttributeError):
        _ = molvae.nothing  # type: ignore[attr-defined]
