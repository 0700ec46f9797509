"""Docking: how strongly a molecule binds to a protein, by AutoDock Vina.

dock:DRD2                                      one of the 58 targets of DOCKSTRING
dock:F2+QED                                    a task of DOCKSTRING: docking scores and QED
dock:DRD2,exhaustiveness=1                     a shorter search for the pose
dock:my.pdbqt,center=9.3/6.2/-7,size=30/30/32  a receptor of your own and its search box, in Å

The package `dockstring` prepares a ligand: it is protonated at pH 7.4 by Open Babel, embedded and
relaxed by RDKit, and docked by the Vina 1.1.2 that comes with the package. Every step has a fixed
seed, so a molecule has one score. A receptor of the user's goes the same way. An evaluation uses
one core: `--jobs` uses more. García-Ortegón et al. 2022, "DOCKSTRING: easy molecular docking yields
better benchmarks for ligand design".
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import platform
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from rdkit.Chem import Mol, MolToSmiles, SDWriter

from molvae.base.errors import MolvaeError
from molvae.base.files import write_file
from molvae.base.registry import unknown_name
from molvae.chem.properties import qed
from molvae.oracles.extras import External
from molvae.oracles.identity import hash_files

DOCK = "dock:"
UNIT = "kcal/mol"
KEPT = 10  # molecules whose poses are kept

# those of dockstring 0.3.4, so that they can be listed where it is not installed
_NAMES = """
ABL1 ACHE ADAM17 ADORA2A ADRB1 ADRB2 AKT1 AKT2 AR BACE1 CA2 CASP3 CDK2 CSF1R CYP2C9 CYP3A4 DHFR DPP4
DRD2 DRD3 EGFR ESR1 ESR2 F10 F2 FGFR1 GBA HMGCR HSD11B1 HSP90AA1 IGF1R JAK2 KDR KIT LCK MAOB MAP2K1
MAPK1 MAPK14 MAPKAPK2 MET MMP13 NOS1 NR3C1 PARP1 PDE5A PGR PLK1 PPARA PPARD PPARG PTGS2 PTK2 PTPN1
REN ROCK1 SRC THRB
"""
TARGETS = tuple(_NAMES.split())


class Task(NamedTuple):
    """A published objective: targets, and how their scores combine before the penalty of QED."""

    targets: tuple[str, ...]
    combine: Callable[..., float]
    formula: str


def _select_jak2(jak2: float, lck: float) -> float:
    """Scores in JAK2 and LCK -> that in JAK2, worse where LCK binds better than its median."""
    return jak2 - min(lck + 8.1, 0)


TASKS = {
    "F2+QED": Task(("F2",), float, "F2 + 10 (1 - QED)"),
    "PPAR+QED": Task(
        ("PPARA", "PPARD", "PPARG"), max, "worst of PPARA, PPARD and PPARG + 10 (1 - QED)"
    ),
    "JAK2-LCK+QED": Task(("JAK2", "LCK"), _select_jak2, "JAK2 - min(LCK + 8.1, 0) + 10 (1 - QED)"),
}


class Box(NamedTuple):
    """Where poses are looked for: the centre and the edge lengths, in Å."""

    center: tuple[float, ...]
    size: tuple[float, ...]


@dataclass(frozen=True)
class Docking(External):
    """The docking score of a molecule in a receptor, in kcal/mol; lower is better.

    Attributes:
        receptor: name of a target of DOCKSTRING, or the path of a .pdbqt file.
        box: the search box of a file; a target has its own.
        exhaustiveness: number of searches for the pose; None for Vina's default, 8.
        poses: where the poses of the best molecules are kept, an SDF file for each; None keeps
            none. Nothing is written where the folder above does not exist, as on another machine.
    """

    receptor: str
    box: Box | None = None
    exhaustiveness: int | None = None
    poses: Path | None = field(default=None, compare=False)

    extra = "docking"
    packages = ("dockstring",)

    @property
    def description(self) -> str:
        """One line."""
        return f"docking score in {self.receptor} by Vina, minimised (extra docking)"

    @property
    def sources(self) -> dict[str, str]:
        """Versions of dockstring and Open Babel; for the user's receptor, the hash of its file.

        Raises:
            MolvaeError: a package, Open Babel's program or the receptor is missing, or the bundled
                Vina does not run on this machine.
        """
        found = super().sources
        machine = platform.system(), platform.machine()
        if machine[0] != "Darwin" and machine != ("Linux", "x86_64"):
            raise MolvaeError(
                "docking needs x86-64 Linux or macOS, for which dockstring brings Vina; this is "
                + " ".join(machine)
            )
        found["Open Babel"] = _ask_version(_find_obabel())
        if self.box is not None:
            if not Path(self.receptor).is_file():
                raise MolvaeError(f"{self.receptor}: there is no such receptor file")
            found |= hash_files([Path(self.receptor)])
        return found

    def __call__(self, mol: Mol) -> float:
        """Molecule -> the score of its best pose.

        Raises:
            MolvaeError: it cannot be computed here, as in `sources`.
            Exception: what dockstring raises for a ligand that it cannot prepare.
        """
        self.check()
        smiles = MolToSmiles(mol)
        if "$" in smiles:  # dockstring writes it into a command line for a shell
            raise ValueError("a quadruple bond cannot be docked")
        with TemporaryDirectory(prefix="molvae-dock-") as folder:
            scores, ligand = self._dock(smiles, Path(folder))
        if self.poses is not None and self.poses.parent.is_dir():
            _keep_best(self.poses / Path(self.receptor).stem, smiles, scores, ligand)
        return scores[0]

    def _dock(self, smiles: str, folder: Path) -> tuple[list[float], Mol]:
        """SMILES and an empty folder -> the scores of its poses, best first, and these."""
        from dockstring import VinaError, load_target
        from dockstring.utils import get_targets_dir

        name = "receptor"
        if self.box is None:
            target = get_targets_dir() / f"{self.receptor}_target.pdbqt"
            box = (get_targets_dir() / f"{self.receptor}_conf.txt").read_text()
        else:
            target, box = Path(self.receptor).absolute(), _write_box(self.box)
        if self.exhaustiveness is not None:
            box += f"\nexhaustiveness = {self.exhaustiveness}\n"
        (folder / f"{name}_target.pdbqt").symlink_to(target)
        (folder / f"{name}_conf.txt").write_text(box)
        with _obabel_on_path():
            try:
                loaded = load_target(name, working_dir=folder, targets_dir=folder)
                # verbose: it would switch on the log of RDKit that is silenced here
                score, found = loaded.dock(smiles, num_cpus=1, verbose=True)
            except VinaError as error:  # its message is the whole output of Vina
                raise RuntimeError(f"Vina failed: {_last_line(str(error))}") from error
        if score is None:
            raise RuntimeError("Vina found no pose in the search box")
        return list(found["affinities"]), found["ligand"]


@dataclass(frozen=True)
class DockingTask(External):
    """A task of DOCKSTRING: docking scores combined, plus 10 (1 - QED); lower is better.

    Attributes:
        name: a key of `TASKS`.
        parts: the docking of each of its targets.
    """

    name: str
    parts: tuple[Docking, ...]

    extra = "docking"
    packages = ("dockstring",)

    @property
    def description(self) -> str:
        """One line."""
        return f"{TASKS[self.name].formula}, minimised (DOCKSTRING; extra docking)"

    @property
    def sources(self) -> dict[str, str]:
        """What computes the docking scores, as in `Docking.sources`."""
        return self.parts[0].sources

    def __call__(self, mol: Mol) -> float:
        """Molecule -> the value; errors as in `Docking`."""
        scores = [part(mol) for part in self.parts]
        return TASKS[self.name].combine(*scores) + 10 * (1 - qed(mol))


def _keep_best(folder: Path, smiles: str, scores: list[float], ligand: Mol) -> None:
    """Write the poses of a molecule, and remove those of all but the best in the folder.

    The score stands in the name of the file, so that several processes can share the folder.
    """

    def read_score(path: Path) -> tuple[float, str]:
        return float(path.stem.partition("_")[2]), path.name

    text = io.StringIO()
    with SDWriter(text) as writer:
        for conformer, score in zip(ligand.GetConformers(), scores, strict=True):
            ligand.SetProp("_Name", smiles)
            ligand.SetProp(f"score ({UNIT})", f"{score}")
            writer.write(ligand, conformer.GetId())
    name = hashlib.sha256(smiles.encode()).hexdigest()[:12]
    write_file(folder / f"{name}_{scores[0]:.2f}.sdf", text.getvalue())
    for path in sorted(folder.glob("*_*.sdf"), key=read_score)[KEPT:]:
        path.unlink(missing_ok=True)


def parse_docking(text: str) -> Docking | DockingTask:
    """What stands behind "dock:" -> the function of a molecule.

    Nothing is installed or opened for it: `External.check` says what is missing.

    Raises:
        UnknownNameError: there is no such target.
        MolvaeError: an option is unknown or has no valid value, or a receptor file has no box.
    """
    name, *words = text.split(",")
    options = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or key not in ("exhaustiveness", "center", "size") or key in options:
            raise MolvaeError(
                f"{DOCK}{text}: {word!r} is not an option of docking, or stands there twice: use "
                "exhaustiveness=8, and for a receptor file center=X/Y/Z and size=X/Y/Z"
            )
        options[key] = value
    exhaustiveness = None
    if (number := options.get("exhaustiveness")) is not None:
        if not number.isdecimal() or int(number) < 1:
            raise MolvaeError(f"{DOCK}{text}: exhaustiveness must be a whole number of at least 1")
        exhaustiveness = int(number)
    if name.endswith(".pdbqt"):
        if not {"center", "size"} <= set(options):
            raise MolvaeError(
                f"{DOCK}{text}: a receptor file needs its search box in Å: "
                f"{DOCK}{name},center=X/Y/Z,size=X/Y/Z"
            )
        center, size = (_parse_numbers(options[key], key, text) for key in ("center", "size"))
        if min(size) <= 0:
            raise MolvaeError(f"{DOCK}{text}: the size of the box must be above 0")
        return Docking(name, Box(center, size), exhaustiveness)
    if name not in TARGETS and name not in TASKS:
        raise unknown_name("docking target", name, [*TARGETS, *TASKS, "FILE.pdbqt"])
    if {"center", "size"} & set(options):
        raise MolvaeError(f"{DOCK}{text}: {name} has its own search box: leave out center and size")
    if name in TARGETS:
        return Docking(name, None, exhaustiveness)
    return DockingTask(name, tuple(Docking(t, None, exhaustiveness) for t in TASKS[name].targets))


def _parse_numbers(value: str, key: str, text: str) -> tuple[float, ...]:
    try:
        numbers = tuple(map(float, value.split("/")))
    except ValueError:
        numbers = ()
    if len(numbers) != 3 or not all(map(math.isfinite, numbers)):
        raise MolvaeError(f"{DOCK}{text}: {key} must be three numbers in Å, as in {key}=9.3/6.2/-7")
    return numbers


def _write_box(box: Box) -> str:
    """Search box -> the lines of Vina's configuration."""
    rows = [
        (f"{key}_{axis}", number)
        for key, edge in zip(("center", "size"), box, strict=True)
        for axis, number in zip("xyz", edge, strict=True)
    ]
    return "\n".join(f"{key} = {number}" for key, number in rows)


def _search_path() -> str:
    """PATH with the programs of this environment first, which need not be active."""
    return os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)])


def _find_obabel() -> str:
    """Return the path of Open Babel's program.

    Raises:
        MolvaeError: there is none.
    """
    found = shutil.which("obabel", path=_search_path())
    if found is None:
        raise MolvaeError(
            "Open Babel's program obabel is neither in this Python environment nor on PATH: "
            "pip install 'molvae[docking]'"
        )
    return found


@lru_cache
def _ask_version(obabel: str) -> str:
    """Path of Open Babel's program -> its version.

    Raises:
        MolvaeError: it does not run, or is another one than dockstring needs.
    """
    try:
        done = subprocess.run([obabel, "-V"], capture_output=True, text=True)
        said = re.match(r"Open Babel (3\.1\S*)", done.stdout)
    except OSError:
        said = None
    if said is None:
        raise MolvaeError(
            f"{obabel} is not Open Babel 3.1, or broken: pip install 'molvae[docking]'"
        )
    return said[1]


@contextmanager
def _obabel_on_path() -> Iterator[None]:
    """Let what dockstring calls `obabel` be found inside the `with` block."""
    before = os.environ.get("PATH")
    os.environ["PATH"] = _search_path()
    try:
        yield
    finally:
        if before is None:
            del os.environ["PATH"]
        else:
            os.environ["PATH"] = before


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "no output"
