"""Work spread over processes, by joblib and the backend that it is set to."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import joblib
from threadpoolctl import threadpool_limits
from tqdm import tqdm

T = TypeVar("T")
CHUNK = 2_000  # molecules a worker process gets at a time
WATCH = "parent watch"  # the name of the thread
GLANCE = 0.5  # seconds between two looks at the parent
_kept: list[joblib.Parallel] = []  # what `keep_workers` holds, the innermost last


def map_parallel(
    work: Callable[[list[str]], list[T]], smiles: list[str], label: str, progress: bool
) -> list[T]:
    """Apply `work` to chunks of `smiles`, in processes where there is more than one chunk.

    Args:
        work: some rows -> one result for each.
        smiles: all rows.
        label: of the progress bar.
        progress: show it.
    """
    chunks = [smiles[i : i + CHUNK] for i in range(0, len(smiles), CHUNK)]
    if len(chunks) < 2:
        return work(smiles)
    # the processes of one training each come here, and share the cores
    cores = max(1, joblib.cpu_count() // int(os.environ.get("WORLD_SIZE", "1")))
    jobs = joblib.Parallel(cores, return_as="generator")(joblib.delayed(work)(c) for c in chunks)
    with tqdm(total=len(smiles), desc=label, unit="mol", disable=not progress) as bar:
        rows: list[T] = []
        for chunk, part in zip(chunks, jobs, strict=True):
            rows += part
            bar.update(len(chunk))
    return rows


def parallel_unordered(jobs: int | None) -> joblib.Parallel:
    """What runs tasks in processes and gives each result as soon as it is there, if it can."""
    how = {"n_jobs": jobs, "batch_size": 1, "max_nbytes": None}  # no copies of rows on the disk
    try:
        return joblib.Parallel(return_as="generator_unordered", **how)
    except ValueError:  # Ray and multiprocessing tell what is done at the end only
        return _kept[-1] if _kept else joblib.Parallel(**how)


@contextmanager
def keep_workers(jobs: int) -> Iterator[None]:
    """Let calls of `parallel_unordered` share their processes inside a `with` block.

    Loky and Dask do so anyway. Ray starts its processes for each call, and all of them import
    torch: for a search that would be seconds a round.
    """
    parallel = parallel_unordered(jobs)
    if parallel.return_generator:
        yield
        return
    with parallel:
        _kept.append(parallel)
        try:
            yield
        finally:
            _kept.remove(parallel)


@contextmanager
def compute_in_one_thread() -> Iterator[None]:
    """Let numerical libraries compute in one thread inside a `with` block.

    For many small computations: the threads of a library wait for each other after every one of
    them, and where other processes keep the cores busy they wait ten times as long as they compute.
    """
    with threadpool_limits(1):
        yield


def end_with_parent(parent: int) -> None:
    """Let this worker process end, with all that it has started, soon after its parent has died.

    A parent that is killed cannot stop its workers. `parent` is the process that the work comes
    from; nothing is done where it is not the parent of this one, such as on another machine.
    """
    if os.getppid() != parent or any(thread.name == WATCH for thread in threading.enumerate()):
        return

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(GLANCE)
        for process in [*_find_descendants(os.getpid()), os.getpid()]:
            try:
                os.kill(process, signal.SIGKILL)
            except OSError:
                continue  # it has ended by itself

    threading.Thread(target=watch, name=WATCH, daemon=True).start()


def _find_descendants(process: int) -> list[int]:
    """Process -> all that it has started, on Linux; elsewhere they are not known."""
    found = []
    for path in Path(f"/proc/{process}/task").glob("*/children"):
        try:
            children = [int(child) for child in path.read_text().split()]
        except OSError:
            continue
        for child in children:
            found += [child, *_find_descendants(child)]
    return found
