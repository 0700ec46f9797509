"""Progress and stopping by signal for long commands: a bar on a terminal, else a line at times."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any, NoReturn, Self

from tqdm import tqdm

if TYPE_CHECKING:
    from molvae.latent.training import Progress
    from molvae.oracles.history import Iteration, Record
    from molvae.oracles.oracle import Oracle

LOG_SECONDS = 30.0  # between the lines in a log file


def is_worker() -> bool:
    """Whether this is an extra process that Fabric starts for --devices or --nodes."""
    return any(os.environ.get(k, "0") != "0" for k in ("LOCAL_RANK", "NODE_RANK"))


class Watch:
    """Observer of a training: shows a progress bar and stops it on Ctrl-C or SIGTERM.

    Signal handlers are installed at the first step; before it, Ctrl-C interrupts at once.
    """

    def __init__(self) -> None:
        self.signal = self.step = 0
        self.shown = time.monotonic()
        self.before: dict[int, Any] = {}
        self.bar: tqdm[NoReturn] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self.bar is not None:
            self.bar.close()
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: object) -> None:
        self.signal = number

    def __call__(self, progress: Progress) -> bool:
        """Update the bar; return whether to stop."""
        if self.bar is None:
            stops = (signal.SIGINT, signal.SIGTERM)
            self.before = {number: signal.signal(number, self._note) for number in stops}
            self.bar = tqdm(
                total=1.0,
                initial=progress.share,
                bar_format="{percentage:3.0f}%|{bar:20}| {elapsed}<{remaining} {postfix}",
                disable=is_worker() or not sys.stderr.isatty(),
            )
        self.bar.n, self.step = progress.share, progress.state.step
        row, now = progress.row, time.monotonic()
        due = not self.bar.disable or (now - self.shown > LOG_SECONDS and not is_worker())
        if row is not None and row.step and due:
            self.shown = now
            text = (
                f"step {row.step:,} | loss {row.loss:.2f} | reconstruction "
                f"{row.reconstruction_nats:.2f} nats | KL {row.kl_nats:.1f} nats | "
                f"{row.examples_per_second:.0f} mol/s"
            )
            if self.bar.disable:
                print(f"{progress.share:.0%} | {text}", file=sys.stderr, flush=True)
            self.bar.set_postfix_str(text)
            self.bar.refresh()
        return self.signal != 0


class Evaluations:
    """A progress bar over the budget of a search, with the best value and the last round."""

    def __init__(self, oracle: Oracle) -> None:
        self._objectives, self._round = oracle.objectives, ""
        self._best: dict[tuple[float, ...], int] = {}  # the front, and how many have these values
        past = oracle.history.records()
        spent = oracle.history.spent
        self._logged = time.monotonic()
        self._bar = tqdm(
            total=oracle.budget,
            initial=spent,
            unit="mol",
            dynamic_ncols=True,
            disable=not sys.stderr.isatty(),
        )
        self._done, self._budget = spent, oracle.budget
        for record in past:
            self._add(record)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def evaluated(self, record: Record) -> None:
        """Count one evaluation."""
        self._add(record)
        self._done += 1
        self._show()
        self._bar.update()

    def finished(self, iteration: Iteration) -> None:
        """Show the figures of a finished round."""
        valid = iteration.valid / max(iteration.decoded, 1)
        self._round = f" | {valid:.0%} valid | {iteration.seconds:.1f} s a round"
        self._show()

    def _add(self, record: Record) -> None:
        """Update the Pareto front, which for one objective is the greatest value."""
        new = record.values
        if record.error is None and not any(_dominates(old, new) for old in self._best):
            alike = self._best.get(new, 0)
            self._best = {old: n for old, n in self._best.items() if not _dominates(new, old)}
            self._best[new] = alike + 1

    def _show(self) -> None:
        first = self._objectives[0]
        if len(self._objectives) > 1:
            text = f"{sum(self._best.values())} on the Pareto front"
        elif self._best:
            best = first.restore_sign(next(iter(self._best))[0])
            text = f"best {first.title} {best:.3f}"
        else:
            text = f"best {first.title} none yet"
        self._bar.set_postfix_str(f"{text}{self._round}", refresh=False)
        if self._bar.disable and time.monotonic() - self._logged > LOG_SECONDS:
            self._logged = time.monotonic()
            line = f"{self._done:,} of {self._budget:,} | {text}{self._round}"
            print(line, file=sys.stderr, flush=True)


def _dominates(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one != other and all(a >= b for a, b in zip(one, other, strict=True))
