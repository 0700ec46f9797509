"""What a search is by default, and whether it can begin: settings, size bound, leads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

from molvae.base.errors import MolvaeError
from molvae.loop.config import OptimizeConfig, default_strategy, find_proposer
from molvae.loop.latent_proposer import FEW
from molvae.loop.run import SearchRun
from molvae.loop.space import LatentSpace
from molvae.oracles.given import use_model
from molvae.oracles.oracle import Oracle

STAGES = 10  # how often a model is fine-tuned in a run

Space = TypeVar("Space", bound=LatentSpace)


class Leads(NamedTuple):
    """The leads that can be evaluated, canonical, and why each of the others cannot."""

    usable: list[str]
    left_out: dict[str, str]


def predict_with(model: LatentSpace, oracle: Oracle) -> None:
    """Let the model predict the quantities of the oracle that are called `predicted:NAME`.

    Raises:
        MolvaeError: the model does not predict one of them.
    """
    constraints = [c.quantity.objective for c in oracle.constraints if c.quantity is not None]
    use_model(model, [*oracle.objectives, *constraints])


def check_leads(model: LatentSpace, oracle: Oracle, leads: Sequence[str]) -> Leads:
    """Sort leads into those that the search can begin with and those that it cannot.

    Raises:
        MolvaeError: there are leads, but none is usable, or more are than the budget allows.
    """
    usable: dict[str, None] = {}
    left_out: dict[str, str] = {}
    for lead in leads:
        name = oracle.admissible(lead)
        if name is None:
            left_out[lead] = "its size is not allowed, or it does not meet a constraint"
        elif not model.can_encode_canonical(name):
            left_out[lead] = "the model cannot encode it"
        else:
            usable[name] = None
    if leads and not usable:
        raise MolvaeError("none of the molecules to begin with can be evaluated")
    if len(usable) > oracle.budget:
        raise MolvaeError(
            f"{len(usable)} molecules to begin with, but the budget is {oracle.budget} evaluations"
        )
    return Leads(list(usable), left_out)


def begin_run(
    model: Space,
    oracle: Oracle,
    *,
    start: Sequence[str],
    leads: Sequence[str],
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
        config: how to search.
        fine_tune: (model, best molecules, other molecules, seed) -> the fine-tuned model.

    Returns:
        The run, and what became of the leads.

    Raises:
        MolvaeError: the history was begun with other settings; a strategy for one objective, but
            several are given; leads as in `check_leads`; the model does not predict what the
            oracle calls `predicted:NAME`.
    """
    predict_with(model, oracle)
    begun = oracle.history.settings
    strategy = config.strategy or begun.get("strategy") or default_strategy(len(oracle.objectives))
    kind = find_proposer(strategy)
    if len(oracle.objectives) > 1 and not kind.several:
        raise MolvaeError(
            f"strategy {strategy} takes one objective: combine several in a file of goals"
        )
    if strategy == "gradient" and fine_tune is not None:
        raise MolvaeError("strategy gradient needs the property head, which fine-tuning drops")
    if not oracle.states_size:
        oracle.limit_size(begun.get("heavy_atoms", model.heavy_atoms))
    checked = check_leads(model, oracle, leads)
    batch = config.batch or begun.get("batch") or kind.default_batch(oracle.budget)
    run = SearchRun(
        model=model,
        oracle=oracle,
        start=start,
        leads=checked.usable,
        fine_tune=None if fine_tune is None else partial(fine_tune, model),
        strategy=strategy,
        batch=batch,
        initial=config.initial or begun.get("initial") or max(30, oracle.budget // 100),
        pool=config.pool or 10 * max(FEW, batch),
        seed=config.seed,
        stage=begun.get("stage") or max(batch, oracle.budget // STAGES),
    )
    for name, value in run.settings(leads).items():
        if name in begun and begun[name] != value:
            raise MolvaeError(
                f"this history was begun with {name} = {begun[name]!r}, not {value!r}"
            )
    oracle.history.save_settings(run.settings(leads))
    return run, checked
