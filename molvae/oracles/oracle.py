"""The oracle: objectives with a budget; known molecules are looked up, failures are NaN."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from rdkit.Chem import MolToSmiles

from molvae.base.errors import MolvaeError
from molvae.chem.molecules import parse_cached
from molvae.oracles.constraints import parse_constraint
from molvae.oracles.evaluation import Effort, Outcome, evaluate_molecules
from molvae.oracles.given import Given, as_objective
from molvae.oracles.history import History, Record

GIVE_UP_AFTER = 20  # failures without a single success: the objective is broken, not the molecules


class BudgetError(MolvaeError):
    """The new molecules exceed the remaining budget; none was evaluated."""


class Oracle:
    """Evaluates each unique canonical molecule once, until the budget is spent.

    The budget counts the molecules of this run, including those whose score is reused from another
    run in the same file, so that a run does not depend on the others. Invalid strings, molecules
    outside `heavy_atoms` and repeats are free.

    >>> oracle = Oracle("logP", budget=2)
    >>> oracle(["CCO", "OCC", "not a molecule"]).round(4).tolist(), oracle.remaining
    ([-0.0014, -0.0014, nan], 1)
    """

    def __init__(
        self,
        objective: Given | list[Given] | tuple[Given, ...],
        budget: int,
        history: History | None = None,
        heavy_atoms: Sequence[int] | Literal["any"] | None = None,
        on_evaluation: Callable[[Record], None] | None = None,
        effort: Effort | None = None,
        constraints: Sequence[str] = (),
    ) -> None:
        """Combine an objective, a budget and a history.

        Args:
            objective: a registered name, `package.module:function`, `cmd:program {smiles}`, a JSON
                file as described in `molvae.oracles.goals`, or a function of a molecule; or a list
                of M of them for multi-objective search.
            budget: maximum number of molecules to evaluate, at least 1.
            history: where evaluations are stored; None stores them in memory.
            heavy_atoms: minimum and maximum number of heavy atoms of an admissible molecule; "any"
                for no bounds; None lets the search take the bounds from its model's training data.
            on_evaluation: called with the record of each new evaluation after it is stored.
            effort: number of processes, time limit and retries; None runs each evaluation once in
                this process, without a limit.
            constraints: conditions on an admissible molecule; see `molvae.oracles.constraints`.

        Raises:
            MolvaeError: the objective is unknown, the budget is below 1, the size range is empty,
                or a constraint is not valid.
        """
        if budget < 1:
            raise MolvaeError(f"the budget must be at least 1 evaluation, not {budget}")
        given: Sequence[Given] = objective if isinstance(objective, (list, tuple)) else [objective]
        self.objectives = tuple(as_objective(one) for one in given)
        self.budget = budget
        self.history = History() if history is None else history
        self.states_size = heavy_atoms is not None
        self.heavy_atoms: tuple[int, int] | None = None
        self.limit_size(None if heavy_atoms == "any" else heavy_atoms)
        self.on_evaluation = on_evaluation
        self.effort = effort or Effort()
        versions = [f"{o.label} {o.version}" if o.version else "" for o in self.objectives]
        self.version = "; ".join(versions) if all(versions) else None
        self.constraints = [parse_constraint(text) for text in constraints]

    def limit_size(self, heavy_atoms: Sequence[int] | None) -> None:
        """Set the minimum and maximum number of heavy atoms of an admissible molecule.

        None removes the bounds.

        Raises:
            MolvaeError: the range is empty or starts below 1.
        """
        if heavy_atoms is None:
            self.heavy_atoms = None
            return
        low, high = heavy_atoms
        if not 0 < low <= high:
            raise MolvaeError(f"no molecule has between {low} and {high} heavy atoms")
        self.heavy_atoms = low, high

    @property
    def remaining(self) -> int:
        """The number of evaluations left in the budget."""
        return max(0, self.budget - len(self.history))

    def admissible(self, smiles: str) -> str | None:
        """SMILES -> its canonical form, or None if it is invalid or inadmissible."""
        mol = parse_cached(smiles)
        low, high = self.heavy_atoms or (0, math.inf)
        if mol is None or not low <= mol.GetNumHeavyAtoms() <= high:
            return None
        if not all(c.met(mol) for c in self.constraints):
            return None
        name = MolToSmiles(mol)
        return (
            name if parse_cached(name) is not None else None
        )  # a few unusual rings do not parse back

    def __call__(
        self,
        smiles: Sequence[str],
        z: NDArray[np.floating] | None = None,
        iteration: int = -1,
    ) -> NDArray[np.float64]:
        """SMILES (B) -> the maximised objective (B,), NaN where invalid, inadmissible or failed.

        With M > 1 objectives, the shape is (B, M).

        Args:
            smiles: any strings.
            z: their latent points (B, D), stored with them.
            iteration: the round of the search, stored with them.

        Raises:
            BudgetError: the new molecules exceed the remaining budget; none was evaluated.
            MolvaeError: every evaluation so far has failed; all are in the history.
        """
        names = [self.admissible(text) for text in smiles]
        new: dict[str, int] = {}
        for row, name in enumerate(names):
            if name is not None and name not in self.history:
                new.setdefault(name, row)
        if len(new) > self.remaining:
            raise BudgetError(
                f"{len(new)} new molecules, but only {self.remaining} of {self.budget} evaluations "
                "are left"
            )
        places = {name: None if z is None else z[row] for name, row in new.items()}
        unknown = []
        for name, place in places.items():
            if not self.reuse(name, iteration, place):
                unknown.append(name)
        for outcome in evaluate_molecules(self.objectives, unknown, self.effort):
            self.store(outcome, iteration, places[outcome.smiles])
        failed = (math.nan,) * len(self.objectives)
        rows = [failed if name is None else self.history[name].values for name in names]
        values = np.array(rows, dtype=np.float64).reshape(len(rows), len(failed))
        return values[:, 0] if len(self.objectives) == 1 else values

    def tell(
        self,
        name: str,
        value: float | Sequence[float],
        iteration: int = -1,
        z: NDArray[np.floating] | None = None,
    ) -> None:
        """Store the value of a molecule that was evaluated elsewhere.

        Args:
            name: canonical SMILES.
            value: the value with its own sign, NaN for a failure; M values for M > 1 objectives.
            iteration: the round of the search.
            z: the latent point of the molecule (D,).

        Raises:
            BudgetError: the budget is spent.
            MolvaeError: the molecule already has a value, or the number of values is not M.
        """
        if not self.remaining:
            raise BudgetError(f"all {self.budget} evaluations are spent")
        values = self.check_values(value)
        failed = not all(map(math.isfinite, values))
        error = f"told {', '.join(map(str, values))}" if failed else None
        values = (math.nan,) * len(values) if failed else values
        self.store(Outcome(name, values, error, 0.0), iteration, z)

    def check_values(self, value: float | Sequence[float]) -> tuple[float, ...]:
        """The values told for one molecule -> its M values.

        Raises:
            MolvaeError: the number of values is not M.
        """
        values = tuple(value) if isinstance(value, Sequence) else (value,)
        if len(values) != len(self.objectives):
            raise MolvaeError(f"got {value}, expected a value for each of {', '.join(self.labels)}")
        return values

    @property
    def labels(self) -> list[str]:
        """The names of the maximised quantities."""
        return [objective.label for objective in self.objectives]

    def reuse(self, name: str, iteration: int, z: NDArray[np.floating] | None) -> bool:
        """Store the score of the molecule from another run in the file; return whether one exists.

        Args:
            name: canonical SMILES.
            iteration: the round of the search.
            z: the latent point of the molecule (D,).
        """
        found = self.history.score(name, self.version) if self.version else None
        if found is not None:
            self._keep(Outcome(name, found, None, 0.0), iteration, z)
        return found is not None

    def store(self, outcome: Outcome, iteration: int, z: NDArray[np.floating] | None) -> None:
        """Store the outcome of evaluating a canonical SMILES.

        Raises:
            MolvaeError: the molecule is already stored, or every evaluation so far has failed.
        """
        pairs = zip(self.objectives, outcome.values, strict=True)
        turned = tuple(
            v if o.maximise else -v for o, v in pairs
        )  # the only place where signs are flipped
        self._keep(outcome._replace(values=turned), iteration, z)

    def _keep(self, outcome: Outcome, iteration: int, z: NDArray[np.floating] | None) -> None:
        name, values, error, seconds = outcome
        record = self.history.add(
            name,
            values,
            seconds=seconds,
            iteration=iteration,
            error=error,
            z=z,
            objective=self.version,
        )
        if self.on_evaluation is not None:
            self.on_evaluation(record)
        if error is not None:
            self._stop_if_all_failed()

    def _stop_if_all_failed(self) -> None:
        """Raise if every evaluation so far has failed, rather than spend the budget on failures."""
        records = self.history.records()
        if len(records) < min(GIVE_UP_AFTER, self.budget):
            return
        if all(math.isnan(record.y) for record in records):
            raise MolvaeError(
                f"the objective {', '.join(self.labels)} failed for all {len(records)} molecules "
                f"so far; the last error, for {records[-1].smiles}: {records[-1].error}"
            )
