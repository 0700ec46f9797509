"""Work spread over processes."""

import os
from functools import partial

import joblib
import pytest

from molvae.base.parallel import keep_workers, parallel_unordered


def find_processes() -> set[int]:
    """The processes that two tasks ran in."""
    return set(parallel_unordered(2)(joblib.delayed(os.getpid)() for _ in range(2)))


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_processes_are_kept_where_a_backend_starts_new_ones_for_each_call() -> None:
    """Those of multiprocessing and Ray end with each call; a search makes one a round."""
    with joblib.parallel_config("multiprocessing", n_jobs=2):
        assert not find_processes() & find_processes()
        with keep_workers(2):
            found = set.union(*(find_processes() for _ in range(4)))
            assert len(found) <= 2
            with pytest.raises(ZeroDivisionError):
                parallel_unordered(2)([joblib.delayed(partial(divmod, 1))(0)])
            assert find_processes()  # the next round goes on
        assert not find_processes() & found


def test_results_come_as_they_are_ready_where_the_backend_can() -> None:
    with joblib.parallel_config("loky", n_jobs=2), keep_workers(2):
        assert parallel_unordered(2).return_generator
