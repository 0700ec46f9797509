"""Work spread over processes, by joblib and the backend that it is set to."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

import joblib
from tqdm import tqdm

T = TypeVar("T")
CHUNK = 2_000  # molecules a worker process gets at a time


def map_parallel(
    work: Callable[[list[str]], list[T]], smiles: list[str], label: str, progress: bool
) -> list[T]:
    """Apply `work` to chunks of `smiles`, in processes where there is more than one chunk."""
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
        return joblib.Parallel(**how)
