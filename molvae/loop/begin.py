"""What a search is by default, and whether it can begin: settings, size bound, leads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeAlias, TypeVar

from molvae.base.errors import MolvaeError
from molvae.chem.molecules import parse
from molvae.chem.plausibility import PASSING
from molvae.loop.config import OptimizeConfig, default_strategy, find_proposer
from molvae.loop.latent_proposer import FEW
from molvae.loop.run import KNOWN, SearchRun, digest_known
from molvae.loop.space import LatentSpace
from molvae.oracles.given import use_model
from molvae.oracles.history import History
from molvae.oracles.oracle import Oracle, require_strings
from molvae.search.strategies import strategies

ASKED = "asked for"  # the setting of the history that holds the molecules of the current rounds
PLAUSIBILITY = "plausibility"  # the setting of the history, and the quantity
STAGES = 10  # how often a model is fine-tuned in a run

Space = TypeVar("Space", bound=LatentSpace)
KnownValues: TypeAlias = Mapping[str, float | Sequence[float]]


class Leads(NamedTuple):
    """The leads that can be evaluated, canonical, and why each of the others cannot.

    `known` are those of them whose values are known, which need not be evaluated.
    """

    usable: list[str]
    left_out: dict[str, str]
    known: dict[str, tuple[float, ...]]


def predict_with(model: LatentSpace, oracle: Oracle) -> None:
    """Let the model predict the quantities of the oracle that are called `predicted:NAME`.

    Raises:
        MolvaeError: the model does not predict one of them.
    """
    use_model(model, oracle.quantities)


def check_leads(
    model: LatentSpace, oracle: Oracle, leads: Sequence[str], known: KnownValues | None = None
) -> Leads:
    """Sort leads into those that the search can begin with and those that it cannot.

    Args:
        model: the latent space.
        oracle: says which molecules are admissible.
        leads: SMILES.
        known: SMILES, among the leads or not -> the value of each objective with its own sign.

    Raises:
        MolvaeError: there are leads, but none is usable, or more are than the budget allows; a
            molecule has two known values, or not a number for each objective.
    """
    usable: dict[str, None] = {}
    left_out: dict[str, str] = {}
    found: dict[str, tuple[float, ...]] = {}
    known = known or {}
    for lead in dict.fromkeys([*leads, *known]):
        name = oracle.admissible(lead)
        if name is None:
            left_out[lead] = oracle.explain_refusal(lead)
        elif not model.can_encode_canonical(name):
            left_out[lead] = "the model cannot encode it"
        else:
            usable[name] = None
            if lead in known:
                if name in found:
                    raise MolvaeError(f"{lead!r} has two known values: give one, or their mean")
                found[name] = oracle.check_values(known[lead])
    if (leads or known) and not usable:
        lead, reason = next(iter(left_out.items()))
        raise MolvaeError(
            f"none of the molecules to begin with can be evaluated: {lead:.200}: {reason}"
        )
    if (new := len(usable) - len(found)) > oracle.budget:
        raise MolvaeError(
            f"{new} molecules to begin with, but the budget is {oracle.budget} evaluations"
        )
    return Leads(list(usable), left_out, found)


def begin_run(
    model: Space,
    oracle: Oracle,
    *,
    start: Sequence[str],
    leads: Sequence[str],
    known: KnownValues | None,
    config: OptimizeConfig,
    fine_tune: Callable[[Space, Sequence[str], Sequence[str], int], LatentSpace] | None,
) -> tuple[SearchRun, Leads]:
    """Resolve the settings of a search, and store them in the history or compare them with it.

    What the caller leaves open is what the run in the history began with, or the default. So the
    sizes of admissible molecules are those of the model's training data where the oracle states
    none.

    Args:
        model: the latent space.
        oracle: what is maximised.
        start: SMILES to draw the first molecules from.
        leads: SMILES to evaluate first.
        known: values of leads that need not be evaluated, as in `check_leads`.
        config: how to search.
        fine_tune: (model, best molecules, other molecules, seed) -> the fine-tuned model.

    Returns:
        The run, and what became of the leads.

    Raises:
        MolvaeError: the history was begun with other settings or is damaged; a strategy for one
            objective, but several are given; leads as in `check_leads`; the model does not predict
            what the oracle calls `predicted:NAME`.
    """
    require_strings(start, "start")
    require_strings(leads, "leads")
    check_rounds(oracle.history)
    oracle.check_history()
    begun = _read_settings(oracle.history)
    begun = begun and {PLAUSIBILITY: 0.0} | begun  # which earlier versions did not know
    if "strategy" in begun:
        begun = {KNOWN: digest_known({})} | begun  # nor this
    strategy = config.strategy or begun.get("strategy") or default_strategy(len(oracle.objectives))
    if config.strategy is None and ":" in strategy:
        strategies.look_up_loaded(strategy)  # nothing is imported because a file names it
    kind = find_proposer(strategy)
    if len(oracle.objectives) > 1 and not kind.several:
        raise MolvaeError(
            f"strategy {strategy} takes one objective: combine several in a file of goals"
        )
    if strategy == "gradient" and fine_tune is not None:
        raise MolvaeError("strategy gradient needs the property head, which fine-tuning drops")
    if not oracle.states_size:
        oracle.limit_size(begun.get("heavy_atoms", model.heavy_atoms))
    plausibility = _find_plausibility(config, begun, model, oracle)
    if plausibility:
        oracle.require_plausibility(plausibility)
        oracle.bring([*leads, *(known or {})])
    predict_with(model, oracle)
    checked = check_leads(model, oracle, leads, known)
    batch = config.batch or begun.get("batch") or kind.default_batch(oracle.budget)
    run = SearchRun(
        model=model,
        oracle=oracle,
        start=start,
        leads=checked.usable,
        known=checked.known,
        fine_tune=None if fine_tune is None else partial(fine_tune, model),
        strategy=strategy,
        batch=batch,
        initial=config.initial or begun.get("initial") or default_initial(oracle.budget),
        pool=config.pool or 10 * max(FEW, batch),
        plausibility=plausibility,
        seed=config.seed,
        stage=begun.get("stage") or max(batch, oracle.budget // STAGES),
    )
    settings = {PLAUSIBILITY: 0.0} | run.settings(leads)
    for name, value in settings.items():
        if name in begun and begun[name] != value:
            raise MolvaeError(
                f"history {oracle.history.where} was begun with {name} = {begun[name]!r:.60}, "
                f"not {value!r:.60}"
            )
    oracle.history.save_settings({**run.settings(leads), **oracle.identity})
    return run, checked


def default_initial(budget: int) -> int:
    """Budget -> molecules of the first round.

    A hundredth, at least 30, but no more than a third, so that a small budget is not spent on
    random molecules alone.
    """
    return max(min(30, max(2, budget // 3)), budget // 100)


def _find_plausibility(
    config: OptimizeConfig, begun: dict[str, Any], model: LatentSpace, oracle: Oracle
) -> float:
    """The least plausibility of a run; 0 where none is asked for."""
    if config.plausibility is not None:
        return config.plausibility
    if begun:
        return float(begun[PLAUSIBILITY])
    stated = any(c.text.replace(" ", "").startswith(PLAUSIBILITY) for c in oracle.constraints)
    return 0.0 if stated or model.domain is None else PASSING


def _read_settings(history: History) -> dict[str, Any]:
    """History -> the settings that its run was begun with, empty for a new one.

    Raises:
        MolvaeError: one of those that a run goes on with cannot have been written by molvae.
    """
    begun = history.settings
    sizes = begun.get("heavy_atoms")
    sound = {
        "strategy": isinstance(begun.get("strategy", ""), str),
        "heavy_atoms": sizes is None
        or (isinstance(sizes, list) and len(sizes) == 2 and all(type(n) is int for n in sizes)),
        PLAUSIBILITY: isinstance(begun.get(PLAUSIBILITY, 0.0), float),
        **{n: type(begun.get(n, 1)) is int for n in ("batch", "initial", "stage")},
    }
    for name, right in sound.items():
        if not right:
            raise MolvaeError(f"history {history.where} is damaged: {name} = {begun[name]!r:.60}")
    return begun


def check_rounds(history: History) -> None:
    """Refuse a history whose evaluations and rounds do not belong together.

    A search would go in circles on it, or go on as if it had been another one.

    Raises:
        MolvaeError: a round or an evaluation is missing, or a SMILES is not valid.
    """
    rounds, records = history.iterations(), history.records()
    asked = history.settings.get(ASKED, {})
    damaged = f"history {history.where} is damaged"
    if not isinstance(asked, dict) or not all(type(k) is int for k in asked.values()):
        raise MolvaeError(f"{damaged}: {ASKED} = {asked!r:.60}")
    for k, iteration in enumerate(rounds):
        if iteration.iteration != k:
            raise MolvaeError(f"{damaged}: round {k} is missing")
    for k in {record.iteration for record in records} | set(asked.values()):
        if not -1 <= k < max(len(rounds), 1):
            raise MolvaeError(f"{damaged}: there are molecules of round {k}, but no such round")
    for record in records:
        if parse(record.smiles) is None:
            raise MolvaeError(f"{damaged}: {record.smiles!r:.60} is not a valid SMILES")
    made = Counter(record.iteration for record in records)
    made.update(k for name, k in asked.items() if name not in history)
    for iteration in rounds[:-1]:  # the last one may have been stopped
        if made[iteration.iteration] < iteration.candidates:
            raise MolvaeError(
                f"{damaged}: {iteration.candidates - made[iteration.iteration]} evaluations of "
                f"round {iteration.iteration} are missing"
            )
