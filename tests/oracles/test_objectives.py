import math
import pickle
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from rdkit import Chem

from molvae.base.errors import MolvaeError
from molvae.chem.datasets import load
from molvae.chem.properties import REPORTED, cycle, molecule_property, properties
from molvae.chem.property_tables import load_properties
from molvae.oracles.constraints import parse_constraint
from molvae.oracles.given import as_objective, look_up_quantity
from molvae.oracles.objectives import Objective, objectives

# SMILES, QED and penalised logP as the PMO benchmark defines them (the latter with TDC's constants)
GOLDEN = [
    ("CC[C@@H]1CCCC[C@H]1c1noc(-c2cn3c(n2)COCC3)n1", 0.8710468848604149, -0.23771723234507208),
    (
        "COc1cc(N(C)CCN(C)C)c(NC(=O)C=C)cc1Nc2nccc(n2)c3cn(C)c4ccccc34",
        0.3105348061023151,
        1.754404736962609,
    ),
    ("CC(C)(C)NCC(O)c1ccc(O)c(CO)c1", 0.6389509580864461, -0.2528122555519913),
    ("Cc1ccc(-c2cc(C(F)(F)F)nn2-c2ccc(S(N)(=O)=O)cc2)cc1", 0.7541053298167572, 1.99624537812542),
    ("CCOc1cc2ncnc(Nc3ccc4ncsc4c3)c2cc1S(=O)(=O)C(C)(C)C", 0.4669830501185271, 2.2556944791260123),
    ("CCCC(C(=O)OCC)NC(C)C(=O)N1C2CCCCC2CC1C(=O)O", 0.6358209968803862, -0.9614383545344176),
    (
        "CC(C)(C)[C@H]1CCc2c(sc(NC(=O)COc3ccc(Cl)cc3)c2C(N)=O)C1",
        0.7369335974098528,
        2.126496327138913,
    ),
    ("C[C@@H]1CCc2c(sc(NC(=O)c3ccco3)c2C(N)=O)C1", 0.9139517433472535, 0.8229798634948764),
    ("CCNC(=O)c1ccc(NC(=O)N2CC[C@H](C)[C@H](O)C2)c(C)c1", 0.7965866720151891, 0.073949389117486),
    ("C[C@@H]1CCN(C(=O)CCCc2ccccc2)C[C@@H]1O", 0.902696796564769, 0.48850176431612924),
    ("CC(=O)Oc1ccccc1C(=O)O", 0.5501217966938848, 1.1367875481574274),
    ("Cn1cnc2c1c(=O)n(C)c(=O)n2C", 0.5384626382372215, -1.35556181810521),
]


def value(name: str, smiles: str) -> float:
    return objectives[name].function(Chem.MolFromSmiles(smiles))


@pytest.mark.parametrize(("smiles", "qed", "penalised"), GOLDEN)
def test_golden_values(smiles: str, qed: float, penalised: float) -> None:
    logp, sas, ring = value("logP", smiles), value("SAS", smiles), cycle(Chem.MolFromSmiles(smiles))
    assert value("QED", smiles) == pytest.approx(qed, abs=1e-6)
    assert value("drug", smiles) == pytest.approx(5 * qed - sas, abs=1e-6)
    tdc = (logp - 2.4570953396190123) / 1.434324401111988
    tdc -= (sas - 3.0525811293166134) / 0.8335207024513095
    tdc -= (ring - 0.0485696876403053) / 0.2860212110245455
    assert tdc == pytest.approx(penalised, abs=1e-6)


def test_aspirin_by_hand() -> None:
    aspirin = "CC(=O)Oc1ccccc1C(=O)O"
    assert value("logP", aspirin) == pytest.approx(1.3101)
    assert value("SAS", aspirin) == pytest.approx(1.58, abs=0.01)
    assert value("plogp_raw", aspirin) == pytest.approx(1.3101 - value("SAS", aspirin))
    assert value("plogp_zinc", aspirin) == pytest.approx(1.1346, abs=1e-3)


def test_penalised_logp_is_zero_at_the_mean_of_zinc(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, mean in (("logp", 2.45777691), ("sas", 3.05352042), ("cycle", 0.04861121)):
        monkeypatch.setattr(f"molvae.oracles.objectives.{name}", lambda mol, mean=mean: mean)
    assert value("plogp_zinc", "CCO") == pytest.approx(0)
    assert value("plogp_raw", "CCO") == pytest.approx(-0.64435472)


def test_large_ring_is_penalised() -> None:
    assert [cycle(Chem.MolFromSmiles(s)) for s in ("CCO", "C1CCCCC1", "C1CCCCCCC1")] == [0, 0, 2]


OURS = [name for name, entry in objectives.items() if entry.is_ours]  # others need an extra


@pytest.mark.parametrize("name", OURS)
def test_any_spelling_of_a_molecule_has_one_value(name: str) -> None:
    for smiles, _, _ in GOLDEN[:5]:
        mol = Chem.MolFromSmiles(smiles)
        spellings = {Chem.MolToSmiles(mol, doRandom=True) for _ in range(5)}
        for spelling in spellings:
            assert value(name, spelling) == pytest.approx(value(name, smiles), abs=1e-9)
            assert math.isfinite(value(name, spelling))


NAMES = dict.fromkeys([*OURS, *properties])
if find_spec("molbloom") is None:  # the extra `stock`
    del NAMES["in_stock"]


def send(entry: Objective) -> Objective:
    """The objective as another process gets it."""
    return pickle.loads(pickle.dumps(entry))  # noqa: S301 (our own bytes)


@pytest.mark.parametrize("name", NAMES)
def test_every_objective_keeps_its_contract(name: str) -> None:
    entry = as_objective(name)
    assert entry.label == (name if entry.maximise else f"-{name}")
    assert entry.description
    assert entry.version == as_objective("QED").version
    there = send(entry)
    assert there.name == name
    assert there.maximise == entry.maximise
    for smiles in ("CC(=O)Oc1ccccc1C(=O)O", "CN1CCC[C@H]1c1cccnc1"):
        mol = Chem.MolFromSmiles(smiles)
        value = entry.function(mol)
        assert math.isfinite(value)
        order = list(reversed(range(mol.GetNumAtoms())))
        assert entry.function(Chem.RenumberAtoms(mol, order)) == pytest.approx(value)
        assert there.function(mol) == pytest.approx(value)


def test_sas_is_minimised_and_comes_third() -> None:
    assert list(objectives)[:3] == ["logP", "QED", "SAS"]
    assert objectives["SAS"].label == "-SAS"


def test_a_new_property_is_all_that_a_property_can_be(tmp_path: Path) -> None:
    def rings(mol: Chem.Mol) -> float:
        """Number of rings."""
        return float(mol.GetRingInfo().NumRings())

    molecule_property("rings", maximise=False)(rings)
    try:
        assert as_objective("rings").label == "-rings"
        benzene = Chem.MolFromSmiles("c1ccccc1")
        assert parse_constraint("rings<1").met(Chem.MolFromSmiles("CCO"))
        assert not parse_constraint("rings<1").met(benzene)
        goals = tmp_path / "goals.json"
        goals.write_text('{"sum": {"rings": 2}}')
        assert as_objective(str(goals)).function(benzene) == 2.0
        (tmp_path / "my.csv").write_text("smiles,TPSA\nCCO,7\nc1ccccc1,8\n")
        data = load(str(tmp_path / "my.csv"))
        names = ["rings", "MolWt", "TPSA"]
        table = load_properties(data, names, {name: look_up_quantity(name) for name in names})
        assert table["rings"].tolist() == [0.0, 1.0]
        assert table["MolWt"].round().tolist() == [46.0, 78.0]
        assert table["TPSA"].tolist() == [7.0, 8.0]  # the file's own, not RDKit's
    finally:
        del properties._entries["rings"]


@pytest.mark.parametrize("name", ["MolWt", "TPSA", "similarity(CCO)", "heavy_atoms"])
def test_descriptors_and_similarities_are_objectives_too(name: str) -> None:
    entry = send(as_objective(name))
    mol = Chem.MolFromSmiles("CCO")
    assert entry.function(mol) == look_up_quantity(name)(mol)
    with pytest.raises(MolvaeError, match="not a valid SMILES"):
        as_objective("similarity(C1CC)")


def test_properties_for_reports() -> None:
    mol = Chem.MolFromSmiles("c1ccccc1O")
    assert list(REPORTED) == ["logP", "SAS", "QED", "heavy_atoms"]
    assert properties["heavy_atoms"].function(mol) == 7


def test_a_function_of_the_user(tmp_path, monkeypatch) -> None:
    (tmp_path / "mylab_scores.py").write_text(
        "def dock(mol): return mol.GetNumAtoms()\nnumber = 3\n"
    )
    (tmp_path / "mylab_broken.py").write_text("def dock(mol)\n")
    monkeypatch.syspath_prepend(tmp_path)
    dock = as_objective("mylab_scores:dock")
    assert (dock.function(Chem.MolFromSmiles("CCO")), dock.maximise) == (3, True)
    with pytest.raises(MolvaeError, match="not a function"):
        as_objective("mylab_scores:number")
    with pytest.raises(MolvaeError, match="SyntaxError"):
        as_objective("mylab_broken:dock")
    with pytest.raises(MolvaeError, match="cannot import"):
        as_objective("mylab_absent:dock")
    sys.modules.pop("mylab_scores")


def test_unknown_objective_names_the_known_ones() -> None:
    with pytest.raises(MolvaeError, match=r"did you mean 'logP'.*plogp_zinc"):
        as_objective("logp")


def test_functions_and_entries_pass_through() -> None:
    entry = Objective("mine", lambda mol: 1.0, maximise=False)
    assert as_objective(entry) is entry
    assert as_objective(cycle).name == "cycle"


def test_where_a_function_of_the_package_lies_is_no_part_of_its_version(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = as_objective("QED")
    before = here.version
    monkeypatch.setattr(here.function, "__module__", "molvae.another.room")
    assert here.version == before
