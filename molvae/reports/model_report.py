"""The report of a model: statistics table, samples, reconstruction of held-out molecules."""

from __future__ import annotations

import importlib.metadata
import math
import random
import time
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from molvae.chem.datasets import DataSet
from molvae.chem.molecules import canonicalize
from molvae.chem.properties import REPORTED
from molvae.chem.property_tables import compute_properties
from molvae.loop.genetic import breed_at_random
from molvae.model.molvae import MolVAE
from molvae.reports.metrics import (
    SampleQuality,
    build_statistics_table,
    compute_moments,
    measure_samples,
)
from molvae.reports.published import PUBLISHED, Moments
from molvae.reports.reconstruction import measure_reconstruction

VERSIONS = ("molvae", "torch", "rdkit")
SHARES = ("validity", "uniqueness", "novelty")


@dataclass(frozen=True)
class ReportConfig:
    """How much to measure; a smaller data set gives fewer molecules."""

    molecules: int = 5_000
    """Data-set molecules, GA molecules and held-out test molecules, each."""
    samples: int = 5_000
    """Strings drawn from the model."""
    seed: int = 0
    """Of the choice of molecules, the GA and the samples."""


@dataclass(frozen=True)
class Report:
    """All figures of one model on one data set."""

    config: ReportConfig
    data: str
    trained_on: str | None
    sets: dict[str, pd.DataFrame]
    """"Data", "GA", "VAE" -> properties of their molecules, one row each."""
    samples: SampleQuality
    validity_greedy: float
    """Valid share of the strings that the same points decode to greedily."""
    held_out: dict[str, float]
    """`MolVAE.evaluate` and `surroundings` on the test split, and r2_NAME, the R^2 of each property
    that the model predicts; empty where no test molecule can be encoded."""
    not_encodable: int
    """Test molecules left out because the model has no token for a part of them."""
    seconds: float

    @property
    def table(self) -> pd.DataFrame:
        """The statistics table as text, with the published row where this data set has one."""
        return build_statistics_table(self.sets, PUBLISHED.get(self.data))

    def to_json(self) -> dict[str, Any]:
        """All numbers as plain values that JSON knows; what could not be measured is None."""
        statistics = {
            source: {"molecules": len(frame), **_mean_sd(compute_moments(frame))}
            for source, frame in self.sets.items()
        }
        shares = {name: _number(getattr(self.samples, name)) for name in SHARES}
        return {
            "data": self.data,
            "trained_on": self.trained_on,
            "config": asdict(self.config),
            "statistics": statistics,
            "published": _published(self.data),
            "samples": {**asdict(self.samples), **shares},
            "validity_greedy": _number(self.validity_greedy),
            "held_out": {name: _number(value) for name, value in self.held_out.items()},
            "not_encodable": self.not_encodable,
            "seconds": round(self.seconds, 1),
            "versions": {name: importlib.metadata.version(name) for name in VERSIONS},
        }


def measure_model(
    model: MolVAE, data: DataSet, config: ReportConfig | None = None, progress: bool = False
) -> Report:
    """A model and a data set -> the figures of `molvae report`.

    Novelty is measured against the training split of `data`, and reconstruction on its test split;
    since the split follows from the molecule alone, a model never trained on a test molecule.

    Raises:
        MolvaeError: fewer than two molecules in the data set.
    """
    config = config or ReportConfig()
    began = time.perf_counter()
    held_out, not_encodable = _held_out(model, data, config, progress)
    drawing: dict[str, Any] = {"seed": config.seed, "progress": progress}
    strings = model.sample(config.samples, **drawing)
    greedy = model.sample(config.samples, beam=1, **drawing)
    drawn = sorted({form for form in map(canonicalize, strings) if form is not None})
    return Report(
        config=config,
        data=data.name,
        trained_on=model.summary.data,
        sets=compute_property_sets(data, drawn, config.molecules, config.seed, progress),
        samples=measure_samples(strings, data.split("train")),
        validity_greedy=_valid_share(greedy),
        held_out=held_out,
        not_encodable=not_encodable,
        seconds=time.perf_counter() - began,
    )


def compute_property_sets(
    data: DataSet, drawn: list[str], molecules: int, seed: int = 0, progress: bool = False
) -> dict[str, pd.DataFrame]:
    """A data set and molecules drawn from a model -> the properties behind the statistics table.

    Returns:
        "Data", "GA" and "VAE" -> one row a molecule: `molecules` random ones of the data set (all
        where it has fewer), as many new ones from a GA that starts there, and all of `drawn`.

    Raises:
        MolvaeError: fewer than two molecules in the data set.
    """
    offspring = breed_at_random(data.smiles, molecules, seed, progress)
    whole = molecules >= len(data.smiles)  # its table is computed once and cached
    rows = data if whole else _draw(data.smiles, molecules, seed)
    sources: dict[str, DataSet | list[str]] = {"Data": rows, "GA": offspring, "VAE": drawn}
    return {name: compute_properties(smiles, progress) for name, smiles in sources.items()}


def _held_out(
    model: MolVAE, data: DataSet, config: ReportConfig, progress: bool
) -> tuple[dict[str, float], int]:
    chosen = _draw(data.split("test"), config.molecules, config.seed)
    usable = [smiles for smiles in chosen if model.can_encode(smiles)]
    left_out = len(chosen) - len(usable)
    if not usable:
        return {}, left_out
    z = model.encode(usable, progress=progress)
    figures = measure_reconstruction(model, usable, seed=config.seed, progress=progress)
    figures |= measure_surroundings(model, z, config.seed, progress)
    predicted = [name for name in model.vae.config.properties if name in REPORTED]
    if predicted:
        found, true = model.predict_properties(z), compute_properties(usable, progress)
        figures |= {f"r2_{name}": _r2(found[name], true[name]) for name in predicted}
    return figures, left_out


def measure_surroundings(
    model: MolVAE, z: Tensor, seed: int = 0, progress: bool = False
) -> dict[str, float]:
    """Latent points (n, D) of molecules -> validity of strings decoded near them.

    Returns local_validity, of z + 0.5 N(0, I), where the points of a data set have a standard
    deviation of about 1, and midpoint_validity, halfway between random pairs: what a search lives
    on. The same with _greedy: of the strings that greedy decoding gives.
    """
    generator = torch.Generator().manual_seed(seed)
    near = z + 0.5 * torch.randn(z.shape, generator=generator)
    middle = (z + z[torch.randperm(len(z), generator=generator)]) / 2
    places = {"local_validity": near, "midpoint_validity": middle}
    greedy = {f"{name}_greedy": model.decode(z, beam=1) for name, z in places.items()}
    found = {name: model.decode(z, progress=progress) for name, z in places.items()}
    return {name: _valid_share(strings) for name, strings in (found | greedy).items()}


def _valid_share(strings: list[str]) -> float:
    return sum(canonicalize(s) is not None for s in strings) / len(strings)


def _r2(predicted: pd.Series[float], true: pd.Series[float]) -> float:
    """R^2, the share of the variance that is predicted; NaN where there is none."""
    spread = ((true - true.mean()) ** 2).sum()
    return 1 - float(((true - predicted) ** 2).sum() / spread) if spread > 0 else math.nan


def _draw(smiles: list[str], n: int, seed: int) -> list[str]:
    """Draw up to n of `smiles` at random."""
    return random.Random(seed).sample(smiles, min(n, len(smiles)))


def _published(data: str) -> dict[str, Any] | None:
    rows = PUBLISHED.get(data)
    return rows and {source: _mean_sd(row) for source, row in rows.items()}


def _mean_sd(row: Moments) -> dict[str, dict[str, float | None]]:
    return {name: {"mean": _number(mean), "sd": _number(sd)} for name, (mean, sd) in row.items()}


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
