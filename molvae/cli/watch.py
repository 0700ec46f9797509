"""A training as the user sees it: a progress bar, and a way to stop."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Self

from tqdm import tqdm

if TYPE_CHECKING:
    from molvae.latent.training import Progress


def is_worker() -> bool:
    """Whether this is one of the further processes that Fabric starts for --devices or --nodes."""
    return any(os.environ.get(k, "0") != "0" for k in ("LOCAL_RANK", "NODE_RANK"))


class Watch:
    """Observer of a training: a progress bar, and Ctrl-C or SIGTERM as a wish to stop."""

    def __init__(self) -> None:
        self.signal = 0

    def __enter__(self) -> Self:
        self.before = {s: signal.signal(s, self._note) for s in (signal.SIGINT, signal.SIGTERM)}
        self.bar = tqdm(
            total=1.0,
            bar_format="{percentage:3.0f}%|{bar:20}| {elapsed}<{remaining} {postfix}",
            disable=is_worker(),
        )
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.close()
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: object) -> None:
        self.signal = number

    def __call__(self, progress: Progress) -> bool:
        """Draw what is done; return whether to stop."""
        if self.bar.disable:
            return False
        if self.bar.n == 0:
            self.bar.initial = progress.share  # so that the time left counts from here
        self.bar.n = progress.share
        row = progress.row
        if row is not None and (sys.stderr.isatty() or row.validation_loss is not None):
            self.bar.set_postfix_str(
                f"step {row.step:,} | loss {row.loss:.2f} | reconstruction "
                f"{row.reconstruction_nats:.2f} nats | KL {row.kl_nats:.1f} nats | "
                f"{row.examples_per_second:.0f} mol/s"
            )
            self.bar.refresh()
        return self.signal != 0
