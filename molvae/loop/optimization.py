"""The search as one call: a loop over ask and tell with the oracle in between."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import closing
from typing import TypeVar

from molvae.base.errors import MolvaeError
from molvae.loop.ask_tell import Search
from molvae.loop.begin import KnownValues
from molvae.loop.config import OptimizeConfig
from molvae.loop.result import Result
from molvae.loop.space import LatentSpace
from molvae.oracles.evaluation import Outcome, start_workers
from molvae.oracles.history import STOPPED, Iteration
from molvae.oracles.oracle import GLANCE, Oracle

SPENT = "the budget is spent"

Space = TypeVar("Space", bound=LatentSpace)
OnIteration = Callable[[Iteration], None]


def optimize(
    model: Space,
    oracle: Oracle,
    *,
    start: Sequence[str] = (),
    config: OptimizeConfig | None = None,
    leads: Sequence[str] = (),
    known: KnownValues | None = None,
    fine_tune: Callable[[Space, Sequence[str], Sequence[str], int], LatentSpace] | None = None,
    asynchronous: bool = False,
    on_iteration: OnIteration = lambda iteration: None,
) -> Result:
    """Search the latent space until the oracle's budget is spent.

    Round k is a function of (config, start, model, records of the rounds before k), so a run that
    was stopped anywhere and is called again with the same history continues as if it had not been.

    Args:
        model: the latent space, for instance a `MolVAE`.
        oracle: what is maximised, with its budget, its size bound and its history.
        start: SMILES to draw the first molecules from, for instance a data set; may be empty.
        config: how to search.
        leads: SMILES that are evaluated first, all that are usable, in place of molecules drawn
            from `start`.
        known: SMILES -> the value of a molecule, or of M objectives, that is known already, with
            its own sign; NaN for a failure. They are leads that cost nothing of the budget and that
            the surrogate learns from at once.
        fine_tune: fine-tunes the model on the best molecules, ten times in a run:
            `molvae.model.adaptation.fine_tune`; None leaves the model as it is.
        asynchronous: begin a round as soon as fewer molecules are being evaluated than
            `oracle.effort.jobs`, so that no process idles while another takes long. What is found
            then depends on which evaluation ends first.
        on_iteration: called at the end of each round; in asynchronous runs at its beginning.

    Raises:
        MolvaeError: the history belongs to other settings or another model, no molecule to begin
            with is admissible, or every evaluation failed.

    Example:
        >>> from molvae import MolVAE, Oracle
        >>> model, oracle = MolVAE.load("qm9"), Oracle("logP", budget=30)
        >>> len(optimize(model, oracle, start=["CCO", "CCN", "CCOC"]).table)
        30
    """
    search = Search(
        model, oracle, start=start, config=config, leads=leads, known=known, fine_tune=fine_tune
    )
    return run_search(search, asynchronous=asynchronous, on_iteration=on_iteration)


def run_search(
    search: Search,
    *,
    asynchronous: bool = False,
    on_iteration: OnIteration = lambda iteration: None,
) -> Result:
    """Ask, evaluate and tell until the budget is spent; arguments and errors as in `optimize`."""
    oracle = search.oracle
    if oracle.history.settings.get(STOPPED):
        oracle.history.save_settings({STOPPED: ""})
    (_evaluate_continuously if asynchronous else _evaluate_in_rounds)(search, on_iteration)
    if oracle.remaining and not len(oracle.history):
        counts = ", ".join(f"{n:,} for {text}" for text, n in oracle.refused.most_common())
        raise MolvaeError(
            f"no molecule to begin with is admissible{f' (refused: {counts})' if counts else ''}: "
            "allow more sizes, relax the constraints, or provide some molecules that meet them"
        )
    stopped = "several pools in a row held no new valid molecule" if oracle.remaining else SPENT
    history = oracle.history
    history.save_settings({STOPPED: stopped})
    return Result(history.records(), history.iterations(), stopped, oracle.objectives)


def _evaluate_in_rounds(search: Search, on_iteration: OnIteration) -> None:
    oracle = search.oracle
    while names := search.ask():
        known = len(oracle.history)
        with closing(oracle.find_outcomes(names)) as outcomes:
            for outcome in outcomes:
                search.tell_outcome(outcome)
        if len(oracle.history) == known:
            raise MolvaeError("the search makes no progress: the last round evaluated no molecule")
        on_iteration(oracle.history.iterations()[-1])


def _evaluate_continuously(search: Search, on_iteration: OnIteration) -> None:
    oracle = search.oracle
    with start_workers(oracle.objectives, oracle.effort) as submit:
        names, running = search.ask(), set[Future[Outcome]]()
        try:
            while True:
                waiting = list[str]()  # for another run, which is evaluating them
                for name in names:
                    if (known := oracle.look_up(name)) is not None:
                        search.tell_outcome(known)
                    elif oracle.claim(name):
                        running.add(submit(name))
                    else:
                        waiting.append(name)
                names = search.ask(ahead=True) if len(running) < oracle.effort.jobs else []
                if names:
                    on_iteration(oracle.history.iterations()[-1])
                elif running:
                    glance = GLANCE if waiting else None
                    done, running = wait(running, timeout=glance, return_when=FIRST_COMPLETED)
                    for future in done:
                        search.tell_outcome(future.result())
                elif waiting:
                    time.sleep(GLANCE)
                else:
                    return
                names += waiting
        finally:
            oracle.history.release()
