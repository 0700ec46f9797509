"""A search evaluates plausible molecules, unless it is told otherwise."""

from __future__ import annotations

from collections import Counter

import pytest
from rdkit import Chem

from molvae import MolVAE
from molvae.base.errors import MolvaeError
from molvae.chem.plausibility import PASSING, Domain
from molvae.loop.config import OptimizeConfig
from molvae.loop.optimization import optimize
from molvae.oracles.history import History
from molvae.oracles.oracle import Oracle

POLYSULFIDE = "CSSSSSc1ccccc1"


@pytest.fixture(scope="module")
def model() -> MolVAE:
    return MolVAE.load("zinc")


def search(model: MolVAE, zinc: list[str], plausibility: float | None = None, **given):
    oracle = Oracle("logP", given.pop("budget", 60), constraints=given.pop("constraints", ()))
    config = OptimizeConfig(given.pop("strategy", None), batch=20, plausibility=plausibility)
    return oracle, optimize(model, oracle, start=zinc[:300], config=config, **given)


def find_plausibilities(model: MolVAE, smiles: list[str]) -> list[float]:
    assert model.domain is not None
    return [model.domain.find_plausibility(Chem.MolFromSmiles(s)) for s in smiles]


@pytest.mark.parametrize("strategy", [None, "ga"])
def test_only_plausible_molecules_are_evaluated(
    model: MolVAE, zinc: list[str], strategy: str | None
) -> None:
    oracle, found = search(model, zinc, strategy=strategy)
    assert min(find_plausibilities(model, found.table["smiles"])) >= PASSING
    assert oracle.refused[f"plausibility>={PASSING}"] > 0
    assert not oracle.stated_constraints


def test_each_molecule_is_looked_at_once(
    model: MolVAE, zinc: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at = Counter[str]()
    find_cost = Domain.find_cost

    def count(domain: Domain, mol: Chem.Mol) -> float:
        looked_at[Chem.MolToSmiles(mol)] += 1
        return find_cost(domain, mol)

    monkeypatch.setattr(Domain, "find_cost", count)
    search(model, zinc)
    assert len(looked_at) > 100
    assert max(looked_at.values()) == 1


def test_it_can_be_stricter_or_off(model: MolVAE, zinc: list[str]) -> None:
    _, strict = search(model, zinc, 0.9)
    assert min(find_plausibilities(model, strict.table["smiles"])) >= 0.9
    oracle, free = search(model, zinc, 0.0)
    assert min(find_plausibilities(model, free.table["smiles"])) < PASSING
    assert not oracle.refused
    _, own = search(model, zinc, constraints=["plausibility>=0.95"])
    assert min(find_plausibilities(model, own.table["smiles"])) >= 0.95


def test_a_lead_need_not_be_plausible(model: MolVAE, zinc: list[str]) -> None:
    _, found = search(model, zinc, leads=[POLYSULFIDE, *zinc[:5]], budget=30)
    assert found.table["smiles"][0] == POLYSULFIDE
    others = [s for s in found.table["smiles"] if s != POLYSULFIDE]
    assert min(find_plausibilities(model, others)) >= PASSING


def test_a_history_goes_on_as_it_was_begun(model: MolVAE, zinc: list[str], tmp_path) -> None:
    for least, other in ((0.0, 0.5), (None, 0.7)):
        with History(tmp_path / f"{least}.sqlite") as history:
            config = OptimizeConfig(batch=5, plausibility=least)
            optimize(model, Oracle("logP", 40, history), start=zinc[:300], config=config)
        with History(tmp_path / f"{least}.sqlite") as history:
            oracle = Oracle("logP", 50, history)
            optimize(model, oracle, start=zinc[:300])
            assert (oracle.refused != {}) == (least is None)
            changed = OptimizeConfig(plausibility=other)
            with pytest.raises(MolvaeError, match="plausibility"):
                optimize(model, Oracle("logP", 60, history), start=zinc[:300], config=changed)


def test_rings_alerts_and_charges_are_constraints(model: MolVAE, zinc: list[str]) -> None:
    texts = ["rings:known", "alerts:none", "charge=0"]
    _, found = search(model, zinc, 0.0, constraints=texts, budget=30)
    assert model.domain is not None
    for mol in map(Chem.MolFromSmiles, found.table["smiles"]):
        assert model.domain.knows_rings(mol)
        assert Chem.GetFormalCharge(mol) == 0
    with pytest.raises(MolvaeError, match="needs the model of a search"):
        Oracle("logP", 5, constraints=["plausibility>=0.5"]).admissible("CCO")
