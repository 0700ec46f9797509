"""Both distributions are complete, and the wheel works where nothing else of the project lies."""

import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("molvae", "tests", "pipelines", "docs", "data", ".ci")
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", "reference")


def list_files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what is in the repository, so that a build leaves nothing in it."""
    copy = tmp_path_factory.mktemp("source")
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, copy / folder, ignore=LEFT_OUT)
    for path in ROOT.iterdir():
        if path.is_file() and path.name not in (".git", ".gitignore", "PKG-INFO", "setup.cfg"):
            shutil.copy(path, copy)
    return copy


@pytest.fixture(scope="module")
def distributions(source: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sdist, and the wheel that is built from it."""
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out)]
    built = subprocess.run(command, cwd=source, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    (sdist,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
    return sdist, wheel


def test_the_sdist_holds_everything_that_its_tests_need(
    source: Path, distributions: tuple[Path, Path]
) -> None:
    with tarfile.open(distributions[0]) as archive:
        names = {member.name.partition("/")[2] for member in archive if member.isfile()}
    made = ("molvae.egg-info/", "build/")
    assert {name for name in list_files(source) if not name.startswith(made)} - names == set()
    assert {"tests/conftest.py", "constraints.txt", "docs/conf.py", ".ci/run"} <= names


def test_the_wheel_holds_the_package_and_nothing_else(
    source: Path, distributions: tuple[Path, Path]
) -> None:
    names = set(zipfile.ZipFile(distributions[1]).namelist())
    package = {f"molvae/{name}" for name in list_files(source / "molvae")}
    assert {name for name in names if ".dist-info/" not in name} == package


def test_the_wheel_runs_a_search_in_a_fresh_environment(
    distributions: tuple[Path, Path], tmp_path: Path
) -> None:
    place = tmp_path / "venv"
    venv.create(place, symlinks=True)
    python = str(place / "bin" / "python")
    own = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}

    def run(*words: str) -> str:
        done = subprocess.run(words, cwd=tmp_path, env=own, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    pip = [sys.executable, "-m", "pip", "--python", python]
    run(*pip, "install", "--no-deps", "--no-index", str(distributions[1]))
    (packages,) = place.glob("lib/*/site-packages")
    # the packages that molvae depends on, but not this checkout
    (packages / "dependencies.pth").write_text("\n".join(p for p in sys.path if "-packages" in p))
    where = run(python, "-c", "import molvae; print(molvae.__file__)")
    assert Path(where.strip()).is_relative_to(packages)
    assert run(str(place / "bin" / "molvae"), "--version").startswith("molvae ")
    search = ["-m", "molvae", "optimize", "--objective", "logP", "--budget", "40"]
    assert "40 evaluations (0 failed)" in run(python, *search)
    assert (tmp_path / "runs" / "logP-neighbourhood-seed0" / "best.png").exists()
