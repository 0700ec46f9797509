"""A search whose molecules are evaluated elsewhere: ask, tell."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molvae.base.errors import MolvaeError
from molvae.loop.genetic import GeneticSearch
from molvae.loop.rounds import GENETIC, Adapt, LatentRounds, LatentSpace, OptimizeConfig
from molvae.oracles.evaluation import Outcome
from molvae.oracles.oracle import BudgetError, Oracle

ASKED = "asked for"  # where the history keeps what is evaluated elsewhere, and its rounds


class Search:
    """A search whose molecules are evaluated elsewhere, for instance in a laboratory.

    Days may pass, and other processes: all that there is to remember is in the oracle's history.

    >>> from molvae import MolVAE, Oracle
    >>> from molvae.chem.objectives import measured
    >>> oracle = Oracle(measured("activity"), budget=40)  # history=History("lab.sqlite") keeps it
    >>> search = Search(MolVAE.load("qm9"), oracle, start=["CCO", "CCN", "CCOC"])
    >>> names = search.ask()
    >>> search.tell({names[0]: 1.5, names[1]: float("nan")})
    >>> search.ask() == names[2:]
    True
    """

    def __init__(
        self,
        model: LatentSpace,
        oracle: Oracle,
        start: Sequence[str] = (),
        config: OptimizeConfig | None = None,
        leads: Sequence[str] = (),
        adapt: Adapt | None = None,
    ) -> None:
        """Arguments and errors as of `optimize`."""
        self._model, self.oracle = model, oracle
        self._rounds = begun(model, oracle, start, config, leads, adapt)

    def ask(self, ahead: bool = False) -> list[str]:
        """Return the canonical SMILES that were asked for and whose values are not told yet.

        When all are told a new round begins. With `ahead` one begins at once, by what is known so
        far, and only its molecules are returned: others are measured while some still are. None
        are returned when the budget is spent or asked for, or nothing new was found.
        """
        history, asked = self.oracle.history, self._asked
        pending = [name for name in asked if name not in history]
        left = self.oracle.remaining - len(pending)
        if (pending and not ahead) or left <= 0:
            return [] if ahead else pending[: self.oracle.remaining]
        k = 1 + max(asked.values()) if pending else history.next_iteration
        found, _, iteration = self._rounds.candidates(k, pending)
        names = [name for name in found if name not in history]  # `optimize` may have begun it
        known, names = len(found) - len(names), names[:left]
        if names:
            history.add_iteration(replace(iteration, candidates=known + len(names)))
            rounds = {name: asked[name] for name in pending} | dict.fromkeys(names, k)
            history.save_settings({ASKED: rounds})
        return names

    def tell(self, values: Mapping[str, float | Sequence[float]]) -> None:
        """Store values by SMILES, NaN for a measurement that failed; not only of what was asked.

        Raises:
            MolvaeError: a molecule that is not admissible, or has a value already; more of them
                than the budget has left; not one value for each objective. None is stored then.
        """
        oracle, asked = self.oracle, self._asked
        told: dict[str, float | Sequence[float]] = {}
        for smiles, value in values.items():
            name = oracle.admissible(smiles)
            if name is None:
                raise MolvaeError(f"{smiles!r} is no molecule that this search admits")
            if name in told or name in oracle.history:
                raise MolvaeError(f"{smiles!r} has a value already")
            told[name] = oracle.values(value)
        if len(told) > oracle.remaining:
            raise BudgetError(f"{len(told)} values, but {oracle.remaining} evaluations are left")
        for name, value in told.items():
            oracle.tell(name, value, asked.get(name, -1), self._z(name))

    def reuse(self, name: str) -> bool:
        """Store the score that another run in the file has found, if one has; return whether."""
        return self.oracle.reuse(name, self._asked[name], self._z(name))

    def store(self, outcome: Outcome) -> None:
        """Store what `chem.evaluation` found of a molecule that was asked for."""
        self.oracle.store(outcome, self._asked[outcome.smiles], self._z(outcome.smiles))

    @property
    def _asked(self) -> dict[str, int]:
        """What was asked for, and in which round."""
        asked: dict[str, int] = self.oracle.history.settings.get(ASKED, {})
        return asked

    def _z(self, name: str) -> NDArray[np.float32] | None:
        if not self._model.can_encode_canonical(name):
            return None
        z = self._model.encode([name], refine=0)  # as of the search's other molecules
        return np.asarray(z, dtype=np.float32)[0]  # type: ignore[no-any-return]


def begun(
    model: LatentSpace,
    oracle: Oracle,
    start: Sequence[str],
    config: OptimizeConfig | None,
    leads: Sequence[str],
    adapt: Adapt | None = None,
) -> LatentRounds | GeneticSearch:
    """What proposes, once the history agrees that it is the same search."""
    complete = (config or OptimizeConfig()).complete(oracle.budget, oracle.history.settings)
    molecules = {"start": _digest(start), "leads": _digest(leads)}
    others = {"latent": model.latent, "adapt": adapt is not None}
    _agree(oracle, {**complete._asdict(), **molecules, **others})
    if adapt is not None and complete.strategy == "gradient":
        raise MolvaeError("strategy gradient needs the property head, which an adapted model lacks")
    if complete.strategy == GENETIC:
        if len(oracle.objectives) > 1:
            raise MolvaeError(f"strategy {GENETIC} has one objective: join them in a file of goals")
        return GeneticSearch(oracle, start, leads, complete.batch, complete.initial, complete.seed)
    return LatentRounds(model, oracle, start, leads, complete, adapt)


def _digest(smiles: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(smiles).encode()).hexdigest()[:16]


def _agree(oracle: Oracle, settings: dict[str, Any]) -> None:
    """Save the settings of a new run; refuse to continue a run under other ones."""
    settings = {
        **settings,
        "objective": ", ".join(objective.name for objective in oracle.objectives),
        "heavy_atoms": oracle.heavy_atoms and list(oracle.heavy_atoms),
        "constraints": [c.text for c in oracle.constraints],
    }
    stored = oracle.history.settings
    for name, value in settings.items():
        if name in stored and stored[name] != value:
            raise MolvaeError(
                f"this history was begun with {name} = {stored[name]!r}, not {value!r}"
            )
    oracle.history.save_settings(settings)
