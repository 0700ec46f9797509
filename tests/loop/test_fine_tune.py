"""Adapting a model during a search: to what it is adapted, when, and what the history keeps."""

import contextlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from rdkit import Chem

from chains import START, Chains, Interrupted
from molvae import MolVAE, OptimizeConfig, Oracle, optimize
from molvae.base.errors import MolvaeError
from molvae.model.adaptation import fine_tune
from molvae.oracles.history import History
from molvae.reports.reconstruction import measure_reconstruction

# an object of the tests' own is resumed
pytestmark = pytest.mark.filterwarnings("ignore:what computes Interrupted is not in a file")

CONFIG = OptimizeConfig("neighbourhood", initial=12, batch=6, pool=64, seed=1)


class Shifted(Chains):
    """Chains in other places."""

    def __init__(self, shift: float) -> None:
        self.shift = shift

    def encode_means(self, smiles: list[str]) -> np.ndarray:
        return super().encode_means(smiles) + self.shift

    def decode_greedily(self, z: np.ndarray) -> list[str]:
        return super().decode_greedily(np.asarray(z) - self.shift)


Call = tuple[tuple[str, ...], tuple[str, ...], int]


def run(history: History, calls: list[Call], objective=None, **settings):
    def adapt(model: Chains, best: Sequence[str], others: Sequence[str], seed: int) -> Shifted:
        assert type(model) is Chains  # always from the model itself, so that a run can go on
        calls.append((tuple(best), tuple(others), seed))
        return Shifted(0.1 * seed)  # in a resumed run as in a whole one

    oracle = Oracle(objective or "logP", 60, history, heavy_atoms=(2, 14))
    config = OptimizeConfig(**{**vars(CONFIG), **settings})
    return optimize(Chains(), oracle, start=START, config=config, fine_tune=adapt)


@pytest.mark.parametrize("strategy", ["neighbourhood", "ei", "trust-region"])
def test_it_is_adapted_to_the_best_so_far_each_time_a_stage_is_over(strategy: str) -> None:
    calls: list[Call] = []
    result = run(History(), calls, strategy=strategy)
    assert len(result.table) == 60
    assert len(calls) == len({seed for _, _, seed in calls}) >= 5
    table = result.table
    for best, others, _ in calls:
        assert set(others) <= set(START)
        values = table.set_index("smiles")["y"][list(best)]
        assert values.is_monotonic_decreasing
        assert set(best) <= set(table["smiles"])
    for record in result.records:  # the history knows nothing of other spaces
        np.testing.assert_array_equal(record.z, Chains().encode_means([record.smiles])[0])


def test_a_run_that_was_stopped_is_adapted_to_the_same_molecules() -> None:
    whole: list[Call] = []
    expected = run(History(), whole, Interrupted(after=1000))
    history, parts = History(), list[Call]()
    for after in (20, 15, 1000):
        with contextlib.suppress(KeyboardInterrupt):
            resumed = run(history, parts, Interrupted(after))
    known = {seed: (best, others) for best, others, seed in whole}
    for best, others, seed in parts:
        assert known[seed] == (best, others)
    assert resumed.table["smiles"].tolist() == expected.table["smiles"].tolist()


def test_it_is_never_adapted_to_molecules_that_failed() -> None:
    def moody(mol: Chem.Mol) -> float:
        if mol.GetNumAtoms() % 3 == 0:
            raise RuntimeError("no")
        return float(mol.GetNumAtoms())

    calls: list[Call] = []
    failed = run(History(), calls, moody).table.dropna(subset="error")["smiles"]
    assert len(failed)
    assert calls
    for best, _, _ in calls:
        assert best
        assert not set(best) & set(failed)


def test_with_or_without_is_a_setting_of_the_run() -> None:
    history = History()
    optimize(Chains(), Oracle("logP", 20, history, (2, 14)), start=START, config=CONFIG)
    with pytest.raises(MolvaeError, match="adapt"):
        run(history, [])
    with pytest.raises(MolvaeError, match="gradient needs the property head"):
        run(History(), [], strategy="gradient")


def test_a_model_moves_towards_what_it_is_adapted_to(small_model: MolVAE, zinc: list[str]) -> None:
    best, others = zinc[:200], zinc[200:500]
    new = fine_tune(small_model, best, others, seed=0)
    before, after = (measure_reconstruction(m, best)["elbo_nats"] for m in (small_model, new))
    assert after > before
    assert new.tokenize("CCO") == small_model.tokenize("CCO")
    assert measure_reconstruction(small_model, best)["elbo_nats"] == before  # a copy was trained


def test_a_model_keeps_the_weight_of_its_own_kl(small_model: MolVAE, zinc: list[str]) -> None:
    summary = small_model.summary
    assert summary.fit.kl_weight < 1
    heavy = replace(summary, fit=replace(summary.fit, kl_weight=3.0))
    kl = []
    for own in (summary, heavy):
        model = MolVAE(small_model.tokenizer, small_model.vae, own)
        new = fine_tune(model, zinc[:200], zinc[200:500], seed=0)
        assert new.summary.fit.kl_weight == own.fit.kl_weight
        kl.append(measure_reconstruction(new, zinc[:100], refine=0)["kl_nats"])
    assert kl[1] < 0.95 * kl[0]
