"""What a round is a function of, and the box that it searches."""

import random

import numpy as np
import pytest
from rdkit import Chem
from threadpoolctl import threadpool_info, threadpool_limits

from chains import START, Chains
from molvae import OptimizeConfig, Oracle
from molvae.chem.plausibility import Domain
from molvae.loop.ask_tell import Search
from molvae.loop.config import find_proposer, strategy_names
from molvae.loop.genetic import breed
from molvae.loop.latent_proposer import LatentProposer
from molvae.loop.optimization import optimize
from molvae.oracles.history import Iteration
from molvae.oracles.objectives import measured_objective

SHORT = [Chem.CanonSmiles(s) for s in ("CCCCCCOC", "CCCCOCCN", "NCCCCCCO", "CCCCCNCO", "OCCCOCCC")]


class ChlorineIsUsual(Domain):
    """The parts of a data set where molecules without chlorine are rare, and perhaps unknown."""

    def __init__(self, unknown: float) -> None:
        self.unknown, self.scale = unknown, 1.0

    def find_cost(self, mol: Chem.Mol) -> float:
        return 0.0 if any(a.GetSymbol() == "Cl" for a in mol.GetAtoms()) else 0.5

    def share_unknown(self, mol: Chem.Mol) -> float:
        return self.unknown


class Crowded(Chains):
    """Chains whose counts lie far from the origin, and apart from one another."""

    scale, centre = 5.0, 30.0

    def encode_means(self, smiles: list[str]) -> np.ndarray:
        return super().encode_means(smiles) * self.scale + self.centre

    def decode_greedily(self, z: np.ndarray) -> list[str]:
        return super().decode_greedily((np.asarray(z) - self.centre) / self.scale)


def begin(
    strategy: str, model: Chains, start: list[str] = START, largest: int = 14, **options: object
) -> Search:
    """A search whose first round is measured: the longer a chain, the better."""
    config = OptimizeConfig(strategy, initial=20, batch=6, pool=64)
    oracle = Oracle(measured_objective("length"), 100, heavy_atoms=(2, largest))
    search = Search(model, oracle, start=start, config=config, **options)
    search.tell({name: float(len(name)) for name in search.ask()})
    return search


@pytest.mark.parametrize("strategy", strategy_names())
def test_a_round_has_randomness_of_its_own(strategy: str) -> None:
    start = [Chem.CanonSmiles("C" * n + "O" * m) for n in range(1, 8) for m in range(1, 4)]
    search = begin(strategy, Chains(), start)
    rounds = [
        find_proposer(strategy)(search.run).propose_round(k).names for k in (1, 2, 3, 1)
    ]  # from the same observations
    assert len({tuple(names) for names in rounds}) == 3
    assert rounds[0] == rounds[3]


def test_a_long_search_also_breeds_what_no_point_decodes_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The space has unbranched chains alone."""
    search = begin("neighbourhood", Chains())
    proposer = find_proposer("neighbourhood")(search.run)
    before = proposer.propose_round(1)
    assert before.iteration.bred == 0
    assert not any(is_out_of_reach(name) for name in before.names)
    monkeypatch.setattr("molvae.loop.latent_proposer.BRED_FROM", 20)
    rounds = [proposer.propose_round(k) for k in range(1, 9)]
    past = {record.smiles for record in search.oracle.history.records()}
    for found in rounds:
        out_of_reach = sum(map(is_out_of_reach, found.names))
        assert 0 <= out_of_reach <= found.iteration.bred <= len(found.names) == 6
        assert len(past.union(found.names)) == 26
        assert all(Chem.CanonSmiles(name) == name for name in found.names)
        assert all(2 <= Chem.MolFromSmiles(s).GetNumHeavyAtoms() <= 14 for s in found.names)
    shares = [found.iteration.bred for found in rounds]
    assert 0 < sum(shares) < 48  # neither the space nor the breeding is idle
    assert [proposer.propose_round(k).names for k in (1, 2)] == [r.names for r in rounds[:2]]
    latent = find_proposer("neighbourhood-latent")(search.run)
    assert [latent.propose_round(k).iteration.bred for k in (1, 2, 3)] == [0, 0, 0]
    assert latent.propose_round(1).names == before.names


def test_the_more_was_bred_the_less_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("molvae.loop.latent_proposer.BRED_FROM", 20)
    search = begin("neighbourhood", Chains())
    proposer, history = find_proposer("neighbourhood")(search.run), search.oracle.history
    all_decoded = proposer.propose_round(1).iteration.decoded
    history.add_iteration(Iteration(1, 400, 300, 6, 0.1, bred=6))
    history.add_iteration(Iteration(2, 400, 300, 6, 0.1, bred=6))
    fewer = proposer.propose_round(3).iteration
    assert 0 < fewer.decoded < all_decoded
    assert proposer.propose_round(1).iteration.decoded == all_decoded  # as it was at that time


def test_many_generations_are_bred_only_while_the_search_becomes_better(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes: list[int] = []

    def count(parents: list[str], size: int, rng: random.Random) -> list[str]:
        sizes.append(size)
        return breed(parents, size, rng)

    monkeypatch.setattr("molvae.loop.latent_proposer.BRED_FROM", 20)
    monkeypatch.setattr("molvae.loop.latent_proposer.breed", count)
    proposer = find_proposer("neighbourhood")(begin("neighbourhood", Chains()).run)
    proposer.propose_round(10)  # the best are of round 0, one of the last ten
    deep, sizes[:] = list(sizes), []
    proposer.propose_round(11)
    assert (len(deep), len(sizes)) == (12, 3)
    (litter,) = {*deep, *sizes}
    monkeypatch.setattr("molvae.loop.latent_proposer.MANY", 20)
    sizes.clear()
    proposer.propose_round(10)
    proposer.propose_round(11)
    assert sizes == [litter * 5 // 2] * 12 + [litter] * 3


def test_nothing_is_bred_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    search = begin("neighbourhood", Chains())
    past = sorted(record.smiles for record in search.oracle.history.records())
    monkeypatch.setattr("molvae.loop.latent_proposer.BRED_FROM", 20)
    monkeypatch.setattr("molvae.loop.latent_proposer.breed", lambda *_: past)
    found = find_proposer("neighbourhood")(search.run).propose_round(1)
    assert (len(found.names), found.iteration.bred) == (6, 0)
    assert not set(past) & set(found.names)


def test_nothing_is_bred_that_is_larger_than_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    search = begin("neighbourhood", Chains(), largest=30)
    past = [record.smiles for record in search.oracle.history.records()]
    largest = max(Chem.MolFromSmiles(name).GetNumHeavyAtoms() for name in past)
    assert largest < 26
    branched = [Chem.CanonSmiles("CC(C)" + "C" * n) for n in range(1, 28)]
    monkeypatch.setattr("molvae.loop.latent_proposer.BRED_FROM", 20)
    monkeypatch.setattr("molvae.loop.latent_proposer.breed", lambda *_: branched)
    pool: list[str] = []
    monkeypatch.setattr(
        LatentProposer, "_keep_plausible", lambda _, names: pool.extend(names) or names
    )
    find_proposer("neighbourhood")(search.run).propose_round(1)
    found = sorted(branched.index(name) for name in set(pool).intersection(branched))
    assert found == list(range(largest - 3))  # of four atoms to those of the largest


def is_out_of_reach(smiles: str) -> bool:
    mol = Chem.MolFromSmiles(smiles)
    return mol.GetRingInfo().NumRings() > 0 or any(a.GetDegree() > 2 for a in mol.GetAtoms())


def test_what_is_bred_meets_the_constraints_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("molvae.loop.latent_proposer.BRED_FROM", 20)
    config = OptimizeConfig("neighbourhood", initial=20, batch=6, pool=64)
    oracle = Oracle("SAS", 60, heavy_atoms=(2, 14), constraints=["keeps:CO"])
    result = optimize(Chains(), oracle, start=START, config=config)
    assert result.bred_fraction > 0
    assert result.table["smiles"].map(is_out_of_reach).any()
    kept = Chem.MolFromSmiles("CO")
    assert all(Chem.MolFromSmiles(s).HasSubstructMatch(kept) for s in result.table["smiles"])


@pytest.mark.parametrize("unknown", [0.0, 0.2])
def test_the_less_plausible_are_chosen_only_if_all_their_parts_are_known(unknown: float) -> None:
    model = Chains()
    model.domain = ChlorineIsUsual(unknown)
    search = begin("neighbourhood", model)
    proposer = find_proposer("neighbourhood")(search.run)
    names = [name for k in range(1, 6) for name in proposer.propose_round(k).names]
    assert len(names) == 30
    assert any("Cl" not in name for name in names) == (unknown == 0)


@pytest.mark.parametrize("model", [Chains(), Crowded()])
def test_the_bounds_hold_the_data_with_a_margin_and_the_bulk_of_the_prior(model: Chains) -> None:
    proposer = find_proposer("prior")(begin("prior", model).run)
    assert isinstance(proposer, LatentProposer)
    low, high = proposer.bounds
    z = model.encode_means(START)
    margin = 0.25 * (z.max(axis=0) - z.min(axis=0))
    assert (low <= z.min(axis=0) - margin + 1e-4).all()
    assert (high >= z.max(axis=0) + margin - 1e-4).all()
    assert low.max() <= -4
    assert high.min() >= 4
    if type(model) is Chains:  # which lies within the prior
        np.testing.assert_array_equal(proposer.bounds, [[-4.0] * 4, [4.0] * 4])


def test_without_data_the_bounds_are_those_of_the_prior() -> None:
    proposer = find_proposer("prior")(begin("prior", Chains(), []).run)
    assert isinstance(proposer, LatentProposer)
    np.testing.assert_array_equal(proposer.bounds, [[-4.0] * 4, [4.0] * 4])


def test_a_search_finds_what_lies_far_from_the_prior() -> None:
    search = begin("neighbourhood", Crowded(), SHORT, leads=SHORT)
    for _ in range(4):
        search.tell({name: float(len(name)) for name in search.ask()})
    lengths = [record.y for record in search.oracle.history.records()]
    assert max(lengths) > max(map(len, SHORT))


def test_a_first_round_is_two_thirds_data_and_the_rest_samples_of_the_prior() -> None:
    start = [Chem.CanonSmiles("C" * n + "Cl") for n in range(3, 14)]
    start += [Chem.CanonSmiles("ClC" + "C" * n + "O") for n in range(1, 12)]  # never decoded
    oracle = Oracle(measured_objective("length"), 100, heavy_atoms=(2, 14))
    config = OptimizeConfig("neighbourhood", initial=12)
    names = Search(Chains(), oracle, start=start, config=config).ask()
    assert len(names) == 12
    assert names[:8] == [name for name in names[:8] if name in start]
    common = ["C", "CC", "CCC", "CN", "CO", "CCO", "CCN", "CCl"]  # decoded again and again
    oracle = Oracle(measured_objective("length"), 100, heavy_atoms=(1, 14))
    names = Search(Chains(), oracle, start=common, config=config).ask()
    assert len(names) == len(set(names)) == 12


def test_the_settings_of_a_history_identify_the_molecules_it_began_with() -> None:
    run = begin("prior", Chains(), ["CCO", "CCN"]).run
    settings = run.settings(["CCO"])  # pinned: earlier histories hold these
    assert (settings["start"], settings["leads"]) == ("3189f6e2b5a6e67b", "ab1de819ede91df4")


def test_a_round_computes_in_one_thread_and_leaves_the_others_as_they_were() -> None:
    class Watched(Chains):
        def decode_greedily(self, z: np.ndarray) -> list[str]:
            seen.append(count_threads())
            return super().decode_greedily(z)

    def count_threads() -> set[int]:
        return {library["num_threads"] for library in threadpool_info()}

    seen: list[set[int]] = []
    with threadpool_limits(2):
        search = begin("neighbourhood", Watched())
        seen.clear()
        search.ask()
        after = count_threads()
    assert seen
    assert all(threads == {1} for threads in seen)
    assert after == {2}
