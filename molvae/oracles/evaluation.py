"""Running evaluations: in this process or others, with a time limit and retries."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import time
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Future
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, TypeAlias

import joblib
from joblib.externals.loky import get_reusable_executor
from rdkit.Chem import Mol

from molvae.base.errors import MolvaeError
from molvae.base.parallel import parallel_unordered
from molvae.chem.molecules import parse, silence_rdkit
from molvae.oracles.objectives import Objective

Attempt: TypeAlias = tuple[tuple[float, ...], str | None]  # values, or NaN and the reason

KNOWN_METHODS = multiprocessing.get_all_start_methods()


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
    """The result of an evaluation: M values in their own direction, or NaN and the reason."""

    smiles: str
    values: tuple[float, ...]
    error: str | None
    seconds: float


def evaluate_molecules(
    objectives: Sequence[Objective], smiles: Sequence[str], effort: Effort
) -> Iterator[Outcome]:
    """M objectives and canonical SMILES -> outcomes, in order of completion.

    Raises:
        MolvaeError: a worker process died.
    """
    if effort.jobs == 1:
        yield from (_evaluated(objectives, name, effort) for name in smiles)
    else:
        tasks = (joblib.delayed(_evaluated)(objectives, name, effort) for name in smiles)
        outcomes = parallel_unordered(effort.jobs)(tasks)
        try:
            yield from outcomes
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
        MolvaeError: a worker process died.
    """
    executor = get_reusable_executor(max_workers=effort.jobs)
    try:
        yield lambda name: executor.submit(_evaluated, objectives, name, effort)
    except BrokenExecutor as error:
        raise _died() from error
    finally:
        executor.shutdown(kill_workers=True)


def _died() -> MolvaeError:
    return MolvaeError(
        "a process died during an evaluation; all results so far are kept. With a time limit, only "
        "that evaluation fails"
    )


def _evaluated(objectives: Sequence[Objective], name: str, effort: Effort) -> Outcome:
    started = time.perf_counter()
    for _ in range(effort.retries + 1):
        if effort.seconds is None:
            values, error = _attempt(objectives, name)
        else:
            values, error = _limited(objectives, name, effort.seconds)
        if error is None:
            break
    return Outcome(name, values, error, time.perf_counter() - started)


def _attempt(objectives: Sequence[Objective], name: str) -> Attempt:
    try:
        with silence_rdkit():
            mol = _molecule(name)
            return tuple(_number(objective.function(mol)) for objective in objectives), None
    except Exception as failure:  # any exception in a user's function is a failed evaluation
        return _failed(objectives), f"{type(failure).__name__}: {failure}"


def _failed(objectives: Sequence[Objective]) -> tuple[float, ...]:
    return (math.nan,) * len(objectives)


def _limited(objectives: Sequence[Objective], name: str, seconds: float) -> Attempt:
    """An attempt in its own process, which is killed at the time limit."""
    method = "forkserver" if "forkserver" in KNOWN_METHODS else "spawn"
    if multiprocessing.get_start_method(allow_none=True) not in (None, *KNOWN_METHODS):
        multiprocessing.set_start_method(
            method, force=True
        )  # joblib's method, unknown in a child process
    context: Any = multiprocessing.get_context(method)
    context.set_forkserver_preload([__name__])  # import once, not per evaluation
    answer, ask = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(ask, objectives, name))
    try:
        process.start()
    except Exception as error:  # pickling can fail with many exception types
        raise MolvaeError(
            f"with a time limit the objective must be importable from other processes: {error}"
        ) from error
    ask.close()
    try:
        if not answer.poll(seconds):
            return _failed(objectives), f"TimeoutError: no answer after {seconds:g} s"
        found: Attempt = answer.recv()
        return found
    except EOFError:
        process.join()
        return _failed(objectives), f"its process died, exit code {process.exitcode}"
    finally:
        _kill(process)


def _answer(ask: Connection, objectives: Sequence[Objective], name: str) -> None:
    if hasattr(os, "setsid"):
        os.setsid()  # so that the objective's child processes can be killed with it
    ask.send(_attempt(objectives, name))


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
        ValueError: the value is not a finite number.
    """
    if isinstance(value, (str, bytes)):
        raise ValueError(f"returned the text {value!r}, not a number")
    try:
        y = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise ValueError(f"returned {value!r}, not a number") from None
    if not math.isfinite(y):
        raise ValueError(f"returned {y}")
    return y
