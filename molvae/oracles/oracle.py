"""The oracle: objectives with a budget; known molecules are looked up, failures are NaN."""

from __future__ import annotations

import math
import time
import warnings
from collections import Counter
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import lru_cache
from itertools import count
from numbers import Real
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from molvae.base.errors import MolvaeError, MolvaeWarning
from molvae.chem.molecules import canonicalize, parse_cached, write_canonical
from molvae.chem.properties import compute_or_nan
from molvae.oracles.constraints import Constraint, parse_constraint, refuse_paid
from molvae.oracles.evaluation import GREATEST, Effort, Outcome, evaluate_molecules
from molvae.oracles.given import Given, as_objective
from molvae.oracles.history import COLUMNS, History, Record
from molvae.oracles.objectives import Objective

SOURCES = "sources"  # the setting of the history that says what computed its scores
BOUNDED = "sources of constraints"  # and the one for what its constraints bound
GLANCE = 0.5  # seconds between two looks at what another run is evaluating
REMEMBERED = 100_000  # plausibilities of molecules that were looked at lately
GIVE_UP_AFTER = 20  # failures without a single success: the objective is broken, not the molecules


class BudgetError(MolvaeError):
    """The new molecules exceed the remaining budget; none was evaluated."""


class Oracle:
    """Evaluates each unique canonical molecule once, until the budget is spent.

    The budget counts the molecules of this run, including those whose score is reused from another
    run in the same file, so that a run does not depend on the others. Invalid strings, molecules
    outside `heavy_atoms`, repeats, and values that were known before the run are free.

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
        allow_changed_objective: bool = False,
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
            allow_changed_objective: continue a history also where a file that computes the scores
                has changed since.

        Raises:
            MolvaeError: there is no objective, or it is unknown, the budget is below 1, the size
                range is empty, or a constraint is not valid or would evaluate an objective.
        """
        if not isinstance(budget, int | np.integer) or budget < 1:
            raise MolvaeError(f"the budget must be at least 1 evaluation, not {budget}")
        given: Sequence[Given] = objective if isinstance(objective, (list, tuple)) else [objective]
        if not given:
            raise MolvaeError("a search needs at least one objective")
        self.objectives = _tell_apart([as_objective(one) for one in given])
        self.budget = budget
        self.history = History() if history is None else history
        self.states_size = heavy_atoms is not None
        self.heavy_atoms: tuple[int, int] | None = None
        self.limit_size(None if heavy_atoms == "any" else heavy_atoms)
        self.on_evaluation = on_evaluation
        self.effort = effort or Effort()
        self.allow_changed_objective = allow_changed_objective
        self.sources = {o.label: o.sources for o in self.objectives}
        """What computes the values of each objective, as in `Objective.sources`, by its label."""
        versions = [f"{o.label} {o.version}" if o.version else "" for o in self.objectives]
        self.version = "; ".join(versions) if all(versions) else None
        require_strings(constraints, "constraints")
        self.constraints = [parse_constraint(text) for text in constraints]
        for constraint in self.constraints:
            refuse_paid(constraint, self.objectives)
        self.bounded = {c.text: c.sources for c in self.constraints}
        """Hashes of the user's files that compute what each constraint bounds, by its text."""
        self._checked: History | None = None
        self.refused: Counter[str] = Counter()
        """Constraint -> how many strings it alone, or it first, made inadmissible."""
        self.added: list[Constraint] = []
        """Constraints that the user has added while the search runs."""
        self._plausible: Constraint | None = None
        self._brought: set[str] = set()
        self._least = 0.0
        self.find_plausibility = lru_cache(REMEMBERED)(self._find_plausibility)
        """Canonical SMILES -> its plausibility, NaN where `require_plausibility` was not called."""

    def require_plausibility(self, least: float) -> None:
        """Admit only molecules of at least this plausibility, or those that `bring` names.

        Raises:
            MolvaeError: it is not above 0 and at most 1.
        """
        if not 0 < least <= 1:
            raise MolvaeError(f"the least plausibility must be above 0 and at most 1, not {least}")
        stated = self.stated_constraints
        self._plausible, self._least = parse_constraint(f"plausibility>={least}"), least
        self.constraints = [self._plausible, *stated]
        self.find_plausibility.cache_clear()

    def bring(self, smiles: Sequence[str]) -> None:
        """Name molecules that the user has, which exist and so need not be plausible."""
        self._brought.update(filter(None, map(canonicalize, smiles)))

    @property
    def stated_constraints(self) -> list[Constraint]:
        """The constraints that the caller gave."""
        return [c for c in self.constraints if c is not self._plausible]

    def limit_size(self, heavy_atoms: Sequence[int] | None) -> None:
        """Set the minimum and maximum number of heavy atoms of an admissible molecule.

        None removes the bounds.

        Raises:
            MolvaeError: they are not two numbers, or the range is empty or starts below 1.
        """
        if heavy_atoms is None:
            self.heavy_atoms = None
            return
        if len(heavy_atoms) != 2:
            raise MolvaeError(f"the heavy atoms must be a minimum and a maximum, not {heavy_atoms}")
        low, high = heavy_atoms
        if not 0 < low <= high:
            raise MolvaeError(f"no molecule has between {low} and {high} heavy atoms")
        self.heavy_atoms = low, high

    @property
    def remaining(self) -> int:
        """The number of evaluations left in the budget."""
        return max(0, self.budget - self.history.spent)

    def admissible(self, smiles: str) -> str | None:
        """SMILES -> its canonical form, or None if it is invalid or inadmissible.

        Raises:
            MolvaeError: it is no text.
        """
        require_strings([smiles], "a SMILES")
        mol = parse_cached(smiles)
        low, high = self.heavy_atoms or (0, math.inf)
        if mol is None or not low <= mol.GetNumHeavyAtoms() <= high:
            return None
        name = write_canonical(mol, smiles)
        for constraint in [*self.constraints, *self.added] if name else ():
            if constraint is self._plausible:
                met = name in self._brought or self.find_plausibility(name) >= self._least
            else:
                met = constraint.met(mol)
            if not met:
                self.refused[constraint.text] += 1
                return None
        return name

    def _find_plausibility(self, name: str) -> float:
        mol = parse_cached(name)
        if mol is None or self._plausible is None or self._plausible.quantity is None:
            return math.nan
        return compute_or_nan(self._plausible.quantity, mol)

    def explain_refusal(self, smiles: str) -> str:
        """Inadmissible SMILES -> why it is inadmissible, as the end of a sentence."""
        mol = parse_cached(smiles)
        if mol is None or write_canonical(mol, smiles) is None:
            return "it is not a valid molecule"
        size = mol.GetNumHeavyAtoms()
        low, high = self.heavy_atoms or (0, math.inf)
        if not low <= size <= high:
            return f"it has {size} heavy atoms, and {low} to {high} are allowed"
        brought = write_canonical(mol, smiles) in self._brought
        asked = [c for c in self.constraints if not (brought and c is self._plausible)]
        missed = [constraint.text for constraint in asked if not constraint.met(mol)]
        return f"it does not meet {', '.join(missed)}"

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
            MolvaeError: the molecules are not a list of texts; the history was begun with other
                objectives; or every evaluation so far has failed, and all are in the history.
        """
        require_strings(smiles, "the molecules")
        if self._checked is not self.history:
            self.check_history()
            self.history.save_settings(self.identity)
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
        with closing(self.find_outcomes(list(places))) as outcomes:
            for outcome in outcomes:
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
        told = self.check_values(value)
        self._keep(Outcome(name, *_sift(told), 0.0), iteration, z)

    def add_known(
        self,
        values: Mapping[str, tuple[float, ...]],
        places: Sequence[NDArray[np.floating] | None],
    ) -> None:
        """Store values that were known before the run, which cost nothing of the budget.

        Args:
            values: canonical SMILES -> M values with their own sign, NaN for a failure.
            places: the latent point (D,) of each.

        Raises:
            MolvaeError: a molecule already has a value.
        """
        with self.history.at_once():
            for (name, known), z in zip(values.items(), places, strict=True):
                found, error = _sift(known)
                maximised = self._turn(found)
                self.history.add(name, maximised, seconds=0.0, error=error, z=z, known=True)

    def check_values(self, value: float | Sequence[float]) -> tuple[float, ...]:
        """The values told for one molecule -> its M values.

        Raises:
            MolvaeError: the number of values is not M, or one is neither a finite number nor NaN.
        """
        values = tuple(value) if isinstance(value, Sequence | np.ndarray) else (value,)
        if isinstance(value, str) or len(values) != len(self.objectives):
            raise MolvaeError(
                f"got {value!r}, expected a value for each of {', '.join(self.labels)}"
            )
        for one in values:
            if not isinstance(one, Real) or math.isinf(one):
                raise MolvaeError(
                    f"got {one!r} for {', '.join(self.labels)}, expected a finite number, or NaN "
                    "for a failed measurement"
                )
        return tuple(map(float, values))

    @property
    def identity(self) -> dict[str, Any]:
        """What computes the scores and what the constraints bound, as settings of the history."""
        return {SOURCES: self.sources, BOUNDED: self.bounded}

    @property
    def quantities(self) -> list[Objective]:
        """What is scored, and what is bounded by constraints."""
        bounded = [c.quantity.objective for c in self.constraints if c.quantity is not None]
        return [*self.objectives, *bounded]

    @property
    def labels(self) -> list[str]:
        """The names of the maximised quantities."""
        return [objective.label for objective in self.objectives]

    def check_history(self) -> None:
        """Compare what computes scores and constraints with what did so for the history.

        Warns where that cannot be known: then no other run's scores are reused.

        Raises:
            MolvaeError: the history was begun with other objectives, or a file that computes them
                or a constraint has changed and `allow_changed_objective` is not set.
        """
        records = self.history.records()
        settings = self.history.settings if records else {}
        begun, bounded = settings.get(SOURCES), settings.get(BOUNDED, {})
        for name, stored in ((SOURCES, begun), (BOUNDED, bounded)):
            if not isinstance(stored, dict | None):
                raise MolvaeError(f"history {self.history.where} is damaged: {name} = {stored!r}")
        if begun is not None and list(begun) != self.labels:
            was, now = ", ".join(begun), ", ".join(self.labels)
            raise MolvaeError(
                f"history {self.history.where} was begun with objective = {was!r}, not {now!r}"
            )
        now_known = self.sources | self.bounded
        for label, sources in ((begun or {}) | (bounded or {})).items():
            changed = _find_change(sources, now_known.get(label))
            if changed and not self.allow_changed_objective:
                raise MolvaeError(
                    f"{changed} has changed since this run began, so its scores may not "
                    "compare with new ones: restore it, begin another run, or add "
                    "--allow-changed-objective (in Python, allow_changed_objective=True)"
                )
        if any(len(record.values) != len(self.objectives) for record in records):
            names = ", ".join(self.labels)
            raise MolvaeError(
                f"history {self.history.where} does not hold a value for each {names}"
            )
        unknown = [o.label for o in self.objectives if o.sources is None and not o.measured]
        if unknown and (records or self.history.shared):
            warnings.warn(
                f"what computes {', '.join(unknown)} is not in a file, so it cannot be told "
                "whether stored scores are still the same: no other run's are reused",
                MolvaeWarning,
                stacklevel=3,
            )
        self._checked = self.history

    def find_outcomes(self, names: Sequence[str]) -> Generator[Outcome, None, None]:
        """New canonical SMILES -> outcomes, from other runs in the file or evaluated now.

        What another run is evaluating comes last, when it is known. Each outcome must be stored
        before the next is asked for. Close the generator where you stop early.
        """
        left = list(names)
        try:
            while left:
                mine, waiting = list[str](), list[str]()
                for name in left:
                    if self.effort.jobs == 1 and mine:
                        waiting.append(name)
                    elif (known := self.look_up(name)) is not None:
                        yield known
                    elif self.claim(name):
                        mine.append(name)
                    else:
                        waiting.append(name)
                if mine:
                    yield from evaluate_molecules(self.objectives, mine, self.effort)
                elif len(waiting) == len(left):
                    time.sleep(GLANCE)
                left = waiting
        finally:
            self.history.release()

    def look_up(self, name: str) -> Outcome | None:
        """Canonical SMILES -> the outcome in another run of the file, or None."""
        found = self.history.score(name, self.version) if self.version else None
        return None if found is None else Outcome(name, self._turn(found), None, 0.0)

    def claim(self, name: str) -> bool:
        """Reserve the evaluation of a canonical SMILES -> whether it may be made now."""
        return self.version is None or self.history.claim(name, self.version)

    def store(self, outcome: Outcome, iteration: int, z: NDArray[np.floating] | None) -> None:
        """Store the outcome of evaluating a canonical SMILES.

        Raises:
            MolvaeError: the molecule is already stored, or every evaluation so far has failed.
        """
        self._keep(outcome, iteration, z)
        if outcome.error is not None:
            self._stop_if_all_failed()

    def _keep(self, outcome: Outcome, iteration: int, z: NDArray[np.floating] | None) -> None:
        record = self.history.add(
            outcome.smiles,
            self._turn(outcome.values),
            seconds=outcome.seconds,
            iteration=iteration,
            error=outcome.error,
            z=z,
            objective=self.version,
        )
        if self.on_evaluation is not None:
            self.on_evaluation(record)

    def _turn(self, values: Sequence[float]) -> tuple[float, ...]:
        """M values in their own direction -> maximised ones, or back; no one else turns a sign."""
        pairs = zip(self.objectives, values, strict=True)
        return tuple(value if o.maximise else -value for o, value in pairs)

    def _stop_if_all_failed(self) -> None:
        """Raise if every evaluation so far has failed, rather than spend the budget on failures."""
        records = [record for record in self.history.records() if not record.known]
        if len(records) < min(GIVE_UP_AFTER, self.budget):
            return
        if all(math.isnan(record.y) for record in records):
            raise MolvaeError(
                f"the objective {', '.join(self.labels)} failed for all {len(records)} molecules "
                f"so far; the last error, for {records[-1].smiles}: {records[-1].error}"
            )


def _sift(told: tuple[float, ...]) -> tuple[tuple[float, ...], str | None]:
    """M values from elsewhere -> the same, NaN where none can be used, and then why."""
    values = tuple(math.nan if abs(value) > GREATEST else value for value in told)
    failed = any(map(math.isnan, values))
    return values, f"told {', '.join(map(str, told))}" if failed else None


def require_strings(texts: Sequence[str], what: str) -> None:
    """Refuse what is not a list of texts.

    Raises:
        MolvaeError: it is a single text, or one of them is something else, such as None or NaN.
    """
    if isinstance(texts, str | bytes):
        raise MolvaeError(f"{what}: pass a list, not the text {texts!r:.60}")
    for position, text in enumerate(texts):
        if not isinstance(text, str):
            raise MolvaeError(
                f"{what}: {text!r:.60} at position {position} is not a text: leave missing values "
                "out, and pass molecules as SMILES"
            )


def _tell_apart(objectives: Sequence[Objective]) -> tuple[Objective, ...]:
    """Objectives -> the same, numbered where two have one label or it is that of a column."""
    often = Counter(objective.label for objective in objectives)
    taken = {*COLUMNS, *often}
    found = list[Objective]()
    for one in objectives:
        if often[one.label] > 1 or one.label in COLUMNS:
            numbered = (replace(one, name=f"{one.name} {i}") for i in count(1))
            one = next(new for new in numbered if new.label not in taken)
        taken.add(one.label)
        found.append(one)
    return tuple(found)


def _find_change(was: dict[str, str] | None, now: dict[str, str] | None) -> str | None:
    """Sources of an objective then and now -> the first that is not the same, if any is known."""
    if was is None or now is None:
        return None
    return next((name for name, version in was.items() if version not in now.values()), None)
