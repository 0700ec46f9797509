"""A search whose molecules somebody else evaluates: ask for molecules, tell their values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from molvae.base.errors import MolvaeError
from molvae.loop.begin import ASKED, KnownValues, begin_run
from molvae.loop.config import OptimizeConfig, find_proposer
from molvae.loop.space import LatentSpace
from molvae.loop.steering import Steering
from molvae.oracles.evaluation import Outcome
from molvae.oracles.oracle import BudgetError, Oracle

Space = TypeVar("Space", bound=LatentSpace)


class Search:
    """A search driven by ask and tell, for instance by a laboratory.

    Days may pass between two calls, and each may be made by another process: the oracle's history
    holds all there is to remember.

    >>> from molvae import MolVAE, Oracle
    >>> from molvae.oracles.objectives import measured_objective
    >>> oracle = Oracle(measured_objective("activity"), budget=40)  # history=History("lab.sqlite")
    >>> search = Search(MolVAE.load("qm9"), oracle, start=["CCO", "CCN", "CCOC"])
    >>> names = search.ask()
    >>> search.tell({names[0]: 1.5, names[1]: float("nan")})
    >>> search.ask() == names[2:]
    True
    """

    def __init__(
        self,
        model: Space,
        oracle: Oracle,
        *,
        start: Sequence[str] = (),
        config: OptimizeConfig | None = None,
        leads: Sequence[str] = (),
        known: KnownValues | None = None,
        fine_tune: Callable[[Space, Sequence[str], Sequence[str], int], LatentSpace] | None = None,
    ) -> None:
        """Begin a search, or continue the one in the oracle's history.

        Args:
            model: the latent space, for instance a `MolVAE`.
            oracle: what is maximised, with its budget, its size bound and its history.
            start: SMILES to draw the first molecules from, for instance a data set; may be empty.
            config: how to search.
            leads: SMILES that are evaluated first, all that are usable, in place of molecules drawn
                from `start`.
            known: SMILES -> the value of a molecule, or of M objectives, that is known already,
                with its own sign; NaN for a failure. They are leads that cost nothing of the budget
                and that the surrogate learns from at once.
            fine_tune: fine-tunes the model on the best molecules, ten times in a run:
                `molvae.model.adaptation.fine_tune`; None leaves the model as it is.

        Raises:
            MolvaeError: the history belongs to other settings or another model, or no lead can be
                evaluated.
        """
        self.oracle = oracle
        self.run, checked = begin_run(
            model,
            oracle,
            start=start,
            leads=leads,
            known=known,
            config=config or OptimizeConfig(),
            fine_tune=fine_tune,
        )
        self.left_out = checked.left_out
        """Leads that cannot be evaluated -> why."""
        self._proposer = find_proposer(self.run.strategy)(self.run)
        self._steering = Steering(self.run)
        self._asked: dict[str, int] = oracle.history.settings.get(ASKED, {})  # name -> round
        self._located: dict[str, NDArray[np.float32] | None] = {}
        new = {n: v for n, v in checked.known.items() if n not in oracle.history}
        oracle.add_known(new, self._proposer.locate(list(new)))

    def ask(self, ahead: bool = False) -> list[str]:
        """Return the canonical SMILES that were asked for and whose values are not told yet.

        When all are told a new round begins. With `ahead` one begins at once, from what is known so
        far, and only its molecules are returned, so that more can be measured while some still are.
        Empty when the budget is spent or asked for, or nothing new was found.
        """
        history = self.oracle.history
        pending = [name for name in self._asked if name not in history]
        left = self.oracle.remaining - len(pending)
        if (pending and not ahead) or left <= 0:
            return [] if ahead else pending[: self.oracle.remaining]
        k = 1 + max(self._asked.values()) if pending else history.next_iteration
        wanted = self._steering.begin_round(k, pending)
        found, iteration = self._proposer.propose_round(k, [*pending, *wanted])
        found = [*wanted, *found]
        names = [name for name in found if name not in history]
        if names:
            history.add_iteration(replace(iteration, candidates=len(found)))
            self._asked = {n: self._asked[n] for n in pending} | dict.fromkeys(names, k)
            # all of them, also those that the budget does not cover: it may be raised
            history.save_settings({ASKED: self._asked})
        return names[:left]

    def tell(self, values: Mapping[str, float | Sequence[float]]) -> None:
        """Store values by SMILES, NaN for a failed measurement; other molecules are welcome, too.

        Raises:
            MolvaeError: a molecule that is not admissible or has a value already; more molecules
                than the budget has left; not a finite number or NaN for each objective. None is
                stored then.
        """
        oracle = self.oracle
        oracle.bring(list(values))
        told: dict[str, tuple[float, ...]] = {}
        for smiles, value in values.items():
            name = oracle.admissible(smiles)
            if name is None:
                raise MolvaeError(
                    f"this search does not admit {smiles!r}: {oracle.explain_refusal(smiles)}"
                )
            if name in told or name in oracle.history:
                raise MolvaeError(f"{smiles!r} has a value already")
            told[name] = oracle.check_values(value)
        if len(told) > oracle.remaining:
            raise BudgetError(f"{len(told)} values, but {oracle.remaining} evaluations are left")
        for name, value in told.items():
            oracle.tell(name, value, self._asked.get(name, -1), self._locate(name))

    def tell_outcome(self, outcome: Outcome) -> None:
        """Store what `molvae.oracles.evaluation` found for a molecule that was asked for."""
        name = outcome.smiles
        self.oracle.store(outcome, self._asked[name], self._locate(name))

    def _locate(self, name: str) -> NDArray[np.float32] | None:
        """The latent point of a molecule, computed together with the rest of its round.

        A batch of other molecules would change the last bits, and with them a resumed run.
        """
        if name not in self._located:
            k = self._asked.get(name)
            together = [n for n, of in self._asked.items() if of == k] if k is not None else [name]
            self._located = dict(zip(together, self._proposer.locate(together), strict=True))
        return self._located[name]
