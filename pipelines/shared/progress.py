"""Show trainings in a progress bar."""

from __future__ import annotations

from collections.abc import Callable

from tqdm import tqdm

from molvae.latent.training import Progress


def follow(bar: tqdm) -> Callable[[Progress], None]:
    """Progress bar -> an observer of `fit` that moves it with every step, resumed ones at once."""
    last = 0

    def observe(progress: Progress) -> None:
        nonlocal last
        bar.update(progress.state.step - last)
        last = progress.state.step

    return observe
