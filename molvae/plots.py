"""Pictures of a training."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure


def learning_curve(metrics: Path, path: Path) -> None:
    """Draw metrics.csv of a training: reconstruction and KL, nats per molecule, over the steps."""
    table = pd.read_csv(metrics)
    figure = Figure(figsize=(9, 4), layout="constrained")
    for axes, name in zip(figure.subplots(1, 2), ("reconstruction_nats", "kl_nats"), strict=True):
        axes.plot(table["step"], table[name], label="training")
        held_out = table.dropna(subset=[f"validation_{name}"])
        axes.plot(held_out["step"], held_out[f"validation_{name}"], "o-", label="validation")
        label = f"{name.partition('_')[0]} (nats per molecule)"
        axes.set(xlabel="step", ylabel=label, ylim=(0, None))
        axes.legend()
    figure.savefig(path, dpi=120)
