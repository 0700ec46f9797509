"""The layers of the house (who may import whom), and that `molvae --help` loads nothing heavy.

Every import counts: deferred ones inside functions and those for types only, too.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import molvae

ROOT = Path(molvae.__file__).parent
LAYERS = [
    {"base"},
    {"chem", "latent", "search"},
    {"model", "oracles"},
    {"loop", "library"},
    {"reports"},
    {"cli", "studio"},
]
LAYER = {room: i for i, rooms in enumerate(LAYERS) for room in rooms}
# stricter than the layers: all that these rooms may import, beside themselves
ONLY = {
    "latent": {"base"},
    "search": {"base"},
    "oracles": {"base", "chem", "search"},
    "loop": {"base", "chem", "search", "oracles"},
}
FOREIGN = {
    "base": {"torch", "rdkit", "botorch", "gpytorch", "pandas"},
    "chem": {"torch", "botorch", "gpytorch"},
    "oracles": {"torch", "botorch", "gpytorch"},
    "latent": {"rdkit", "selfies", "botorch", "gpytorch", "pandas"},
    "search": {"rdkit", "selfies", "pandas"},
}
FILES = sorted(ROOT.rglob("*.py"))
ROOM_FILES = [path for path in FILES if path.parent != ROOT]


def imported(path: Path) -> Iterator[str]:
    """The modules that a file names in an import anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the room: write it out"
            module = node.module or ""
            # `from molvae import chem` imports a room, `from molvae import MolVAE` its public name
            yield from (
                (f"{module}.{a.name}" for a in node.names) if module == "molvae" else [module]
            )


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0]


def test_no_file_lies_loose_and_every_room_has_a_layer() -> None:
    assert {path.name for path in FILES if path.parent == ROOT} == {"__init__.py", "__main__.py"}
    assert {room_of(path) for path in ROOM_FILES} <= set(LAYER)


@pytest.mark.parametrize("path", ROOM_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_imports_only_rooms_below_it(path: Path) -> None:
    room = room_of(path)
    for name in imported(path):
        top, _, rest = name.partition(".")
        assert top not in FOREIGN.get(room, set()), (
            f"{path} imports {top}, which {room} must not know: pass in what is needed as data, or "
            "move this code to a room that may know it"
        )
        if top != "molvae":
            continue
        other = rest.partition(".")[0]
        assert other in LAYER, f"{path} imports {name}: import from a room, not from the package"
        if other == room:
            continue
        assert LAYER[other] < LAYER[room], (
            f"{path} imports {name}: {room} (layer {LAYER[room]}) may import only rooms below it, "
            f"and {other} is on layer {LAYER[other]}: move the code down, or take a protocol"
        )
        assert other in ONLY.get(room, LAYER), (
            f"{path} imports {name}: {room} imports {', '.join(sorted(ONLY[room]))} alone: take a "
            "protocol, or a value that the caller makes"
        )


def test_no_file_of_a_room_imports_itself_in_a_circle() -> None:
    names = {".".join(p.relative_to(ROOT.parent).with_suffix("").parts): p for p in ROOM_FILES}
    names = {name.removesuffix(".__init__"): path for name, path in names.items()}
    edges = {name: {m for m in imported(path) if m in names} for name, path in names.items()}
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, f"import circle: {' -> '.join([*way[way.index(name) :], name])}"
        if name not in done:
            for other in sorted(edges[name]):
                visit(other, (*way, name))
            done.add(name)

    for name in names:
        visit(name, ())


def deferred(path: Path) -> Iterator[str]:
    """Imports inside functions, and those for type checkers only."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        inner = isinstance(node, ast.FunctionDef) or (
            isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        )
        if inner:
            for part in ast.walk(node):
                if isinstance(part, ast.Import | ast.ImportFrom):
                    yield ast.unparse(part)


# packages that are extras, or that a worker without them must be able to do without
OPTIONAL = (
    "pyro",
    "distributed",
    "ray",
    "mol_ga",
    "fcd_torch",
    "dockstring",
    "tblite",
    "ase",
    "chembl_gen_check",
    "molbloom",
    "umap",
)
ONLY_TO_TRAIN = ("lightning_fabric",)  # a second to load, which who decodes must not wait for
ONLY_IN_LATENTS = ("botorch", "gpytorch", "linear_operator")  # the default search needs none


@pytest.mark.parametrize("path", ROOM_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_stand_at_the_top(path: Path) -> None:
    if room_of(path) in ("cli", "studio"):
        return  # so that --help stays instant
    may = OPTIONAL + ONLY_TO_TRAIN + ONLY_IN_LATENTS
    late = [line for line in deferred(path) if line.split()[1].split(".")[0] not in may]
    assert not late, f"{path} imports inside functions: move {late} to the top of the file"


def test_no_one_loads_pickles() -> None:
    for path in FILES:
        assert not set(imported(path)) & {"pickle", "cloudpickle", "dill", "shelve"}, path
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


def test_who_trains_nothing_does_not_load_what_trains() -> None:
    code = (
        "import sys; import molvae\n"
        "molvae.MolVAE.load('zinc').decode([[0.0] * 64]); molvae.optimize\n"
        "assert not {'lightning_fabric', 'botorch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_a_worker_imports_is_light() -> None:
    """A process for each evaluation would otherwise load torch each time."""
    code = (
        "import sys; import molvae.oracles.evaluation, molvae.oracles.given\n"
        "heavy = {'torch', 'botorch', 'gpytorch'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_public_names_resolve() -> None:
    import molvae.loop.optimization  # a module called like the function would hide it

    assert len(molvae.__all__) <= 10
    for name in molvae.__all__:
        assert getattr(molvae, name).__doc__
    with pytest.raises(AttributeError):
        _ = molvae.nothing  # type: ignore[attr-defined]
