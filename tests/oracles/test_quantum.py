"""Excited states as objectives; what computes them is skipped where the extra is missing."""

import math
from importlib.metadata import PackageNotFoundError
from importlib.util import find_spec
from pathlib import Path

import pytest
from rdkit import Chem

from molvae.base.errors import MolvaeError
from molvae.oracles.evaluation import Effort
from molvae.oracles.given import as_objective, find_quantity
from molvae.oracles.objectives import find_registered
from molvae.oracles.oracle import Oracle
from molvae.oracles.quantum import QUANTITIES, State, find_emitting, parse_states
from molvae.oracles.transport import pack_objectives, unpack_objectives

ANTHRACENE = "c1ccc2cc3ccccc3cc2c1"
needs_quantum = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("tblite", "ase", "mopactools")),
    reason="needs pip install 'molvae[quantum]'",
)
# of MOPAC 23.2.5, for anthracene: INDO CIS MAXCI=200
OUTPUT = """
 CI excitations=  200:        =200
 Depression of ground-state after CI=          0. cm**-1 Energy= -9862.9471071 eV

  CI trans.  energy frequency wavelength oscillator--------- polarization---------  dipole  ------ components-----
 st.  symm.    eV      cm - 1       nm      strength       x          y         z       moment     x       y       z 

   2      3.3086738    26686.    374.72  0.264370  -0.017662  -0.767825   0.640416  0.000020   0.000  -0.000   0.000
   3 B1u  3.4077693    27486.    363.83  0.016778   0.998681  -0.044421  -0.025734  0.000015   0.000  -0.000   0.000
   4      4.4210657    35658.    280.44  0.000000                                   0.000037  -0.000  -0.000   0.000
 
 Polarizability (au  ) xx=  258.37 xy=  -10.42 yy=   47.08 xz=   -7.55 yz=  -38.55 zz=   32.57

State    2  3.3087     CI coeff  CI percent
    Config       2  -0.97753659  0.95557779
"""  # noqa: E501, W291, W293
REFUSAL = """
 *     Error and normal termination messages reported in this calculation     *
 *                                                                            *
 * Parameters for some elements are missing                                   *
 * JOB ENDED NORMALLY                                                         *
"""


def test_states_are_read_from_the_output_of_mopac() -> None:
    assert parse_states(OUTPUT) == (
        State(3.3086738, 0.264370),
        State(3.4077693, 0.016778),
        State(4.4210657, 0.0),
    )
    with pytest.raises(RuntimeError, match="MOPAC: Parameters for some elements are missing"):
        parse_states(REFUSAL)
    with pytest.raises(RuntimeError, match="no excited states in its output"):
        parse_states("")


def test_the_rate_is_that_of_the_brightest_state_near_the_lowest() -> None:
    states = (State(3.0, 0.0), State(3.3, 0.2), State(3.31, 1.0))
    assert find_emitting(states) == State(3.3, 0.2)
    assert find_emitting(states[::2]) == State(3.0, 0.0)
    # f = 1.4995 at 10,000 cm⁻¹ is 1e8 a second
    assert State(10_000 / 8065.544, 1.4995).log_rate == pytest.approx(8)
    assert 2 < State(4.0, 0.0).log_rate < 3  # forbidden: dark, and no failure


def test_the_quantities_are_registered_with_units() -> None:
    titles = ["fluorescence (log10 s⁻¹)", "s1_energy (eV)", "oscillator_strength", "gap (eV)"]
    found = [find_registered(name) for name in QUANTITIES]
    assert [one.title for one in found if one is not None] == titles
    for one in found:
        assert one is not None
        assert one.maximise
        assert not one.is_ours
        assert "extra quantum" in one.description
        assert unpack_objectives(pack_objectives([one])) == (one,)


def test_a_missing_package_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("molvae.oracles.extras.version", version)
    with pytest.raises(MolvaeError, match=r"tblite is missing: pip install 'molvae\[quantum\]'"):
        as_objective("-gap")
    assert find_quantity("gap") is not None  # a column of that name needs no package


@needs_quantum
def test_dyes_come_in_the_order_of_their_colours() -> None:
    """Energies of the first excited singlet from experiments, in eV."""
    known = {"c1ccccc1": 4.76, "c1ccc2ccccc2c1": 3.99, ANTHRACENE: 3.30, "c1ccc2cccc-2cc1": 1.76}
    oracle = Oracle(["s1_energy", "fluorescence", "oscillator_strength", "gap"], 10)
    values = oracle(list(known))
    assert values[:, 0] == pytest.approx(list(known.values()), abs=0.5)
    assert (values[:-1, 0] > values[1:, 0]).all()
    s1, rate, strength, gap = values[2]
    assert rate == pytest.approx(7.87, abs=0.7)  # 0.36 / 4.9 ns (Berlman 1971)
    assert rate == pytest.approx(math.log10(strength * (s1 * 8065.5) ** 2 / 1.4995), abs=0.05)
    assert 1 < gap < s1


@needs_quantum
def test_a_value_is_the_same_in_any_process_and_for_any_order_of_atoms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    mol = Chem.MolFromSmiles(ANTHRACENE)
    order = list(reversed(range(mol.GetNumAtoms())))
    here = as_objective("s1_energy").function(Chem.RenumberAtoms(mol, order))
    oracle = Oracle("s1_energy", 2, effort=Effort(seconds=60))
    assert oracle([ANTHRACENE])[0] == pytest.approx(here, abs=1e-6)
    assert not list(tmp_path.iterdir())


@needs_quantum
@pytest.mark.parametrize(
    ("smiles", "reason"),
    [
        ("CC(=O)[O-]", "ValueError: its charge is -1"),
        ("C[CH2]", "ValueError: it has 1 unpaired electrons"),
        ("c1ccccc1.C", "ValueError: it consists of 2 parts"),
        ("C[Se]C", "RuntimeError: MOPAC: Parameters for some elements are missing"),
        ("C1#CC#CC#CC#C1", "ValueError: no conformer could be embedded"),
    ],
)
def test_what_cannot_be_computed_is_nan_with_its_reason(smiles: str, reason: str) -> None:
    oracle = Oracle("fluorescence", 5)
    assert math.isnan(oracle([smiles])[0])
    assert str(oracle.history.records()[0].error).startswith(reason)


@needs_quantum
def test_a_geometry_that_does_not_converge_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("molvae.oracles.quantum.STEPS", 1)
    with pytest.raises(RuntimeError, match="did not converge in 1 steps"):
        as_objective("gap").function(Chem.MolFromSmiles("CCCCC"))
