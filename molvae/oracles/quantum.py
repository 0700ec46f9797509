"""Excited states by semi-empirical quantum chemistry: how fast a molecule emits light.

A dye is excited and falls back. How often a second it does so by emitting a photon follows from the
energy E and the oscillator strength f of its lowest bright state: k = f E² / 1.4995, with E in
cm⁻¹ and k in s⁻¹. Two steps per molecule:

1. geometry of the ground state: one conformer (ETKDG, MMFF) relaxed with GFN2-xTB (`tblite`, `ase`)
2. singlet excitations at that geometry: INDO/S and single excitations (MOPAC, in `mopactools`)

The state that emits is the brightest within 0.3 eV of the lowest. Energies are vertical and in
vacuo. States that move charge across the molecule come out too high, so nothing is said about
delayed fluorescence or the gap between singlets and triplets. `pipelines/oled` compares with
experiments.

Grimme et al. 2019 (GFN2-xTB), Ridley & Zerner 1973 (INDO/S), Moussa & Stewart 2026 (MOPAC).
"""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rdkit.Chem import AddHs, GetFormalCharge, GetMolFrags, Mol, MolFromSmiles, MolToSmiles
from rdkit.Chem.rdDistGeom import EmbedMolecule
from rdkit.Chem.rdForceFieldHelpers import MMFFOptimizeMolecule

from molvae.oracles.extras import External

SEED = 1  # of the conformer
FORCE, STEPS = 0.05, 500  # eV/Å at which a geometry has converged; most steps to get there
# Of excited configurations, as many as are needed: with 100 to 400 the ranks of rates and energies
# stay; with 600 a bright state of small arenes enters the window below, and rates are worse.
KEYWORDS = "INDO CIS MAXCI=200 WRTCI=40"
WINDOW = 0.3  # eV above the lowest state
FAINTEST = 5e-7  # half of the last digit that MOPAC prints; a forbidden transition has no logarithm
CM_PER_EV = 8065.544
RUN_MOPAC = "import sys; from mopactools import api; api.from_file(sys.argv[1])"


class State(NamedTuple):
    """An excited singlet: its energy above the ground state in eV, and its oscillator strength."""

    energy: float
    strength: float

    @property
    def log_rate(self) -> float:
        """log10 of the rate of emission in s⁻¹."""
        strength = max(self.strength, FAINTEST)
        return math.log10(strength * (self.energy * CM_PER_EV) ** 2 / 1.4995)


class Geometry(NamedTuple):
    """A molecule in space: n elements, their positions (n, 3) in Å, and the HOMO-LUMO gap in eV."""

    symbols: tuple[str, ...]
    positions: NDArray[np.float64]
    gap: float


@dataclass(frozen=True)
class QuantumProperty(External):
    """A quantity of quantum chemistry.

    Attributes:
        compute: canonical SMILES -> the value.
        unit: of the values, "" for a pure number.
        description: one line.
    """

    compute: Callable[[str], float]
    unit: str
    description: str

    extra = "quantum"
    packages = ("tblite", "ase", "mopactools")

    def __call__(self, mol: Mol) -> float:
        """Molecule -> the value.

        Raises:
            MolvaeError: a package is missing.
            ValueError: it is charged, open-shell or in several parts, cannot be embedded, or has an
                element without parameters.
            RuntimeError: the geometry or the electrons do not converge.
        """
        self.check()
        charge, parts = GetFormalCharge(mol), GetMolFrags(mol)
        radicals = sum(atom.GetNumRadicalElectrons() for atom in mol.GetAtoms())
        if charge:
            raise ValueError(f"its charge is {charge:+d}; only neutral molecules are computed")
        if radicals:
            raise ValueError(
                f"it has {radicals} unpaired electrons; only closed shells are computed"
            )
        if len(parts) > 1:
            raise ValueError(
                f"it consists of {len(parts)} parts; only single molecules are computed"
            )
        return self.compute(MolToSmiles(mol))


def _fluorescence(smiles: str) -> float:
    return find_emitting(excite(smiles)).log_rate


def _s1_energy(smiles: str) -> float:
    return excite(smiles)[0].energy


def _oscillator_strength(smiles: str) -> float:
    return find_emitting(excite(smiles)).strength


def _gap(smiles: str) -> float:
    return relax(smiles).gap


QUANTITIES = {
    "fluorescence": QuantumProperty(
        _fluorescence,
        "log10 s⁻¹",
        "rate of fluorescence, by GFN2-xTB and INDO/S (extra quantum)",
    ),
    "s1_energy": QuantumProperty(
        _s1_energy, "eV", "vertical energy of the first excited singlet, by INDO/S (extra quantum)"
    ),
    "oscillator_strength": QuantumProperty(
        _oscillator_strength, "", "of the state that fluoresces, by INDO/S (extra quantum)"
    ),
    "gap": QuantumProperty(_gap, "eV", "HOMO-LUMO gap by GFN2-xTB (extra quantum)"),
}


def find_emitting(states: tuple[State, ...]) -> State:
    """Excited states by energy -> the brightest within 0.3 eV of the lowest."""
    near = [state for state in states if state.energy <= states[0].energy + WINDOW]
    return max(near, key=lambda state: state.strength)


@lru_cache(16)  # several quantities of one molecule are asked for in turn
def relax(smiles: str) -> Geometry:
    """Canonical SMILES -> its geometry in the ground state, by GFN2-xTB.

    Raises:
        ValueError: it cannot be embedded, or has an element without parameters.
        RuntimeError: the geometry or the electrons do not converge.
    """
    from ase import Atoms
    from ase.optimize import LBFGS
    from ase.units import Bohr, Hartree
    from tblite.ase import TBLite
    from tblite.interface import Calculator

    mol = AddHs(MolFromSmiles(smiles))
    if EmbedMolecule(mol, randomSeed=SEED) < 0:
        raise ValueError("no conformer could be embedded")
    MMFFOptimizeMolecule(mol, maxIters=2_000)  # where it has no parameters, GFN2-xTB goes further
    symbols = tuple(atom.GetSymbol() for atom in mol.GetAtoms())
    atoms = Atoms(symbols, positions=mol.GetConformer().GetPositions())
    atoms.calc = TBLite(method="GFN2-xTB", verbosity=0)
    if not LBFGS(atoms, logfile=None).run(fmax=FORCE, steps=STEPS):
        raise RuntimeError(f"its GFN2-xTB geometry did not converge in {STEPS} steps")
    calculator = Calculator("GFN2-xTB", atoms.numbers, atoms.positions / Bohr)
    calculator.set("verbosity", 0)
    result = calculator.singlepoint()
    energies, filled = result["orbital-energies"], result["orbital-occupations"] > 1
    gap = (energies[~filled].min() - energies[filled].max()) * Hartree
    return Geometry(symbols, np.array(atoms.positions), float(gap))


@lru_cache(16)
def excite(smiles: str) -> tuple[State, ...]:
    """Canonical SMILES -> its excited singlets by energy; errors as in `relax` and `parse_states`.

    MOPAC runs in a process of its own: it ends the process that it is in where it cannot go on.
    """
    symbols, positions, _ = relax(smiles)
    atoms = zip(symbols, positions, strict=True)
    rows = [f"{symbol} {x:.6f} 1 {y:.6f} 1 {z:.6f} 1" for symbol, (x, y, z) in atoms]
    with TemporaryDirectory(prefix="molvae-mopac-") as folder:
        task = Path(folder) / "molecule.mop"
        task.write_text("\n".join([KEYWORDS, "", "", *rows, "", ""]))
        done = subprocess.run(
            [sys.executable, "-P", "-c", RUN_MOPAC, str(task)],
            cwd=folder,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
        )
        output = task.with_suffix(".out")
        # what `from_file` returns does not tell success from failure
        if not output.exists():
            raise RuntimeError(f"MOPAC wrote no output; exit code {done.returncode}")
        return parse_states(output.read_text(errors="replace"))


def parse_states(output: str) -> tuple[State, ...]:
    """Text that MOPAC writes for INDO and CIS -> the excited singlets by energy.

    Raises:
        RuntimeError: there are none; the message is MOPAC's.
    """
    _, head, table = output.partition("CI trans.")
    rows = re.findall(
        r"^ *\d+ +(?:[A-Za-z]\S* +)?(\d+\.\d+) +\d+\. +\d+\.\d+ +(\d+\.\d+)", table, re.MULTILINE
    )
    if not head or not rows:
        said = output.partition("normal termination messages")[2]
        lines = [line.strip(" *") for line in said.splitlines()[1:]]
        reason = next((line for line in lines if line), "no excited states in its output")
        raise RuntimeError(f"MOPAC: {reason}")
    return tuple(sorted(State(float(energy), float(strength)) for energy, strength in rows))
