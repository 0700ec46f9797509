"""Running evaluations: in this process or others, with a time limit and retries."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import ModuleType
from typing import Any, NamedTuple, TypeAlias

import joblib
from joblib.externals.loky import get_reusable_executor
from rdkit.Chem import Mol

from molvae.base.errors import MolvaeError
from molvae.base.parallel import end_with_parent, parallel_unordered
from molvae.chem.molecules import parse, silence_rdkit
from molvae.oracles.objectives import Objective
from molvae.oracles.transport import pack_objectives, unpack_objectives

Attempt: TypeAlias = tuple[float, str | None]  # the value of one objective, or NaN and the reason

KNOWN_METHODS = multiprocessing.get_all_start_methods()
START = 300.0  # seconds that a process may take to start; they are not those of the evaluation
GREATEST = 1e30  # a larger magnitude is no value: surrogates overflow from about 1e38 on


@dataclass(frozen=True)
class Effort:
    """How evaluations are run.

    Attributes:
        jobs: evaluations at once, each in a process, with joblib's current backend; 1 runs them one
            after the other in this process.
        seconds: time limit of an evaluation, None for none. With a limit, each has its own process,
            which is killed with everything it started; so a crash is one failed evaluation, too.
        retries: how often a failed evaluation is tried again.
    """

    jobs: int = 1
    seconds: float | None = None
    retries: int = 0

    def __post_init__(self) -> None:
        if self.jobs < 1:
            raise MolvaeError(f"the number of jobs must be at least 1, not {self.jobs}")
        if self.seconds is not None and not self.seconds > 0:
            raise MolvaeError(f"the time limit must be above 0 seconds, not {self.seconds}")
        if self.retries < 0:
            raise MolvaeError(f"the number of retries must not be negative, got {self.retries}")


class Outcome(NamedTuple):
    """The result of an evaluation: M values in their own direction, NaN for what failed and why."""

    smiles: str
    values: tuple[float, ...]
    error: str | None
    seconds: float


def evaluate_molecules(
    objectives: Sequence[Objective], smiles: Sequence[str], effort: Effort
) -> Iterator[Outcome]:
    """M objectives and canonical SMILES -> outcomes, in order of completion.

    Raises:
        MolvaeError: an objective cannot be sent to another process, or a worker process died.
    """
    if effort.jobs == 1:
        yield from (_evaluate(objectives, name, effort) for name in smiles)
    else:
        packed = pack_objectives(objectives)
        here = os.getpid(), os.getcwd()
        tasks = (joblib.delayed(_evaluate_packed)(packed, name, effort, *here) for name in smiles)
        outcomes = parallel_unordered(effort.jobs)(tasks)
        try:
            # `yield from` would close the generator before its warning is silenced
            for outcome in outcomes:  # noqa: UP028
                yield outcome
        except BrokenExecutor as error:
            raise _died() from error
        finally:
            with warnings.catch_warnings():  # about tasks cancelled when the consumer stopped early
                warnings.simplefilter("ignore")
                if isinstance(outcomes, Generator):
                    outcomes.close()


@contextmanager
def start_workers(
    objectives: Sequence[Objective], effort: Effort
) -> Iterator[Callable[[str], Future[Outcome]]]:
    """Local processes: yields a function that submits a canonical SMILES for evaluation.

    Evaluations that are still running when the context ends are killed.

    Raises:
        MolvaeError: an objective cannot be sent to another process, or a worker process died.
    """
    packed, here = pack_objectives(objectives), (os.getpid(), os.getcwd())
    executor = get_reusable_executor(max_workers=effort.jobs)
    try:
        yield lambda name: executor.submit(_evaluate_packed, packed, name, effort, *here)
    except BrokenExecutor as error:
        raise _died() from error
    finally:
        executor.shutdown(kill_workers=True)


def _died() -> MolvaeError:
    return MolvaeError(
        "a process died during an evaluation; all results so far are kept. With a time limit, only "
        "that evaluation fails"
    )


def _evaluate_packed(packed: bytes, name: str, effort: Effort, parent: int, folder: str) -> Outcome:
    """An evaluation in a worker process of the process `parent`, in its working folder."""
    end_with_parent(parent)
    with suppress(OSError):  # another machine may not have it
        os.chdir(folder)  # a worker is kept between searches, and the user may have moved on
    return _evaluate(unpack_objectives(packed), name, effort)


def _evaluate(objectives: Sequence[Objective], name: str, effort: Effort) -> Outcome:
    started = time.perf_counter()
    for _ in range(effort.retries + 1):
        if effort.seconds is None:
            attempts = [_attempt(objective, name) for objective in objectives]
        else:
            attempts = _attempt_in_time(objectives, name, effort.seconds)
        if all(reason is None for _, reason in attempts):
            break
    values, reasons = zip(*attempts, strict=True)
    return Outcome(name, values, _explain(objectives, reasons), time.perf_counter() - started)


def _explain(objectives: Sequence[Objective], reasons: Sequence[str | None]) -> str | None:
    """Why each objective failed, if it did -> one text, or None where none failed."""
    if len(objectives) == 1:
        return reasons[0]
    pairs = zip(objectives, reasons, strict=True)
    return "; ".join(f"{o.name}: {reason}" for o, reason in pairs if reason is not None) or None


def _attempt(objective: Objective, name: str) -> Attempt:
    """One objective of one molecule, which is its own: what a function does to it is undone."""
    try:
        with silence_rdkit():
            return _number(objective.function(_molecule(name))), None
    except (Exception, SystemExit) as failure:  # whatever a user's function raises, it has failed
        return math.nan, f"{type(failure).__name__}: {failure}"


def _attempt_in_time(objectives: Sequence[Objective], name: str, seconds: float) -> list[Attempt]:
    """An attempt in its own process, which is killed at the time limit.

    Time is counted from when the process has loaded the objectives.
    """
    packed = pack_objectives(objectives)
    method = "forkserver" if "forkserver" in KNOWN_METHODS else "spawn"
    if multiprocessing.get_start_method(allow_none=True) not in (None, *KNOWN_METHODS):
        multiprocessing.set_start_method(
            method, force=True
        )  # joblib's method, unknown in a child process
    context: Any = multiprocessing.get_context(method)
    context.set_forkserver_preload([__name__])  # import once, not per evaluation
    answer, ask = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(ask, packed, name))
    with _hide_script():
        process.start()
    ask.close()
    attempts = list[Attempt]()
    try:
        reason = f"TimeoutError: its process did not start within {START:g} s"
        if answer.poll(START):
            if (problem := answer.recv()) is not None:
                raise MolvaeError(problem)
            reason = f"TimeoutError: no answer after {seconds:g} s"
            end = time.monotonic() + seconds
            while len(attempts) < len(objectives) and answer.poll(max(0, end - time.monotonic())):
                attempts.append(answer.recv())
    except EOFError:
        process.join()
        reason = f"its process died, exit code {process.exitcode}"
    finally:
        _kill(process)
        answer.close()
    return attempts + [(math.nan, reason) for _ in objectives[len(attempts) :]]


@contextmanager
def _hide_script() -> Iterator[None]:
    """Hide the user's script from multiprocessing, which would run it in each new process.

    The objectives are sent by value, so nothing of it is needed there.
    """
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


def _answer(ask: Connection, packed: bytes, name: str) -> None:
    """In a new process: send None once the objectives are loaded, or why not; then each attempt."""
    if hasattr(os, "setsid"):
        os.setsid()  # so that the objective's child processes can be killed with it
    threading.Thread(target=_end_with_caller, daemon=True).start()
    try:
        objectives = unpack_objectives(packed)
    except MolvaeError as error:
        ask.send(str(error))
        return
    ask.send(None)
    for objective in objectives:
        ask.send(_attempt(objective, name))


def _end_with_caller() -> None:
    """Wait until the process that asks has died, then end this one and what it has started."""
    caller = multiprocessing.parent_process()
    if caller is not None:
        caller.join()
        try:
            os.killpg(0, signal.SIGKILL)
        except AttributeError:  # no groups on this platform
            os._exit(1)


def _kill(process: Any) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (AttributeError, OSError):  # no killpg on this platform, no group yet, or already gone
        process.kill()
    process.join()


def _molecule(name: str) -> Mol:
    mol = parse(name)
    if mol is None:
        raise ValueError("RDKit cannot parse its own canonical SMILES")
    return mol


def _number(value: object) -> float:
    """Return value of an objective -> a finite float.

    Raises:
        ValueError: the value is not a finite number, or one that no surrogate can work with.
    """
    if isinstance(value, (str, bytes)):
        raise ValueError(f"returned the text {value!r}, not a number")
    try:
        y = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise ValueError(f"returned {value!r}, not a number") from None
    if not math.isfinite(y):
        raise ValueError(f"returned {y}")
    if abs(y) > GREATEST:
        raise ValueError(f"returned {y:g}, which is beyond {GREATEST:g}")
    return y
