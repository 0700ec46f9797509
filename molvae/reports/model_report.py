"""The report of a model: statistics table, samples, reconstruction of held-out molecules."""

from __future__ import annotations

import importlib.metadata
import math
import random
import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from molvae.chem.datasets import DataSet
from molvae.chem.molecules import canonicalize, parse
from molvae.chem.plausibility import PASSING
from molvae.chem.properties import REPORTED, STATISTICS
from molvae.chem.property_tables import compute_properties
from molvae.loop.genetic import breed_at_random
from molvae.model.molvae import MolVAE
from molvae.reports.likeness import measure_likeness
from molvae.reports.metrics import (
    SampleQuality,
    build_statistics_table,
    compute_moments,
    measure_samples,
)
from molvae.reports.published import PUBLISHED, Moments
from molvae.reports.reconstruction import measure_reconstruction
from molvae.reports.smoothness import measure_smoothness

VERSIONS = ("molvae", "torch", "rdkit")
LARGE = 8
RING_SIZES = ("3", "4", "5", "6", "7", "8 or more")
SHARES = ("validity", "uniqueness", "novelty")


@dataclass(frozen=True)
class ReportConfig:
    """How much to measure; a smaller data set gives fewer molecules."""

    molecules: int = 5_000
    """Number of molecules from each of: data set, GA, test split."""
    samples: int = 5_000
    """Number of strings sampled from the model."""
    seed: int = 0
    """Random seed of the choice of molecules, the GA and the samples."""


@dataclass(frozen=True)
class Report:
    """Results for one model on one data set."""

    config: ReportConfig
    data: str
    trained_on: str | None
    sets: dict[str, pd.DataFrame]
    """"Data", "GA", "VAE" -> properties of their molecules, one row each."""
    samples: SampleQuality
    validity_greedy: float
    """Validity of the same latent points under greedy decoding."""
    held_out: dict[str, float]
    """`measure_reconstruction`, `measure_surroundings` and `measure_smoothness` on the test split,
    r2_NAME, the R^2 of each predicted property, and r2_NAME_means, that at posterior means, where
    the property head was trained; empty if no test molecule can be encoded."""
    curve: pd.DataFrame
    """Validity and similarity against the distance from a molecule (`reports.smoothness`)."""
    plausible: dict[str, float]
    """Share of plausible molecules: held-out ones and samples; empty without a domain."""
    likeness: dict[str, float]
    """Fréchet ChemNet distance and diversity of samples and of data (`reports.likeness`)."""
    groups: pd.DataFrame
    """Share of molecules with a functional group, of data and samples, where they differ most."""
    rings: pd.DataFrame
    """Share of molecules with a ring of each size: of the data and of the samples."""
    not_encodable: int
    """Number of test molecules that the model cannot encode."""
    seconds: float

    @property
    def table(self) -> pd.DataFrame:
        """The statistics table as text, with published values if there are any for the data set."""
        return build_statistics_table(self.sets, PUBLISHED.get(self.data))

    def to_json(self) -> dict[str, Any]:
        """Return all results as JSON values; None replaces NaN."""
        statistics = {
            source: {"molecules": len(frame), **_mean_sd(compute_moments(frame))}
            for source, frame in self.sets.items()
        }
        figures = {
            "data": self.data,
            "trained_on": self.trained_on,
            "config": asdict(self.config),
            "statistics": statistics,
            "published": _list_published(self.data),
            "samples": asdict(self.samples) | {n: getattr(self.samples, n) for n in SHARES},
            "validity_greedy": self.validity_greedy,
            "held_out": self.held_out,
            "curve": self.curve.to_dict("records"),
            "plausible": self.plausible,
            "likeness": self.likeness,
            "groups": self.groups.rename_axis("group").reset_index().to_dict("records"),
            "rings": self.rings.reset_index().to_dict("records"),
            "not_encodable": self.not_encodable,
            "seconds": round(self.seconds, 1),
            "versions": {name: importlib.metadata.version(name) for name in VERSIONS},
        }
        plain: dict[str, Any] = _replace_nan(figures)
        return plain


def measure_model(
    model: MolVAE, data: DataSet, config: ReportConfig | None = None, progress: bool = False
) -> Report:
    """Model and data set -> the results that `molvae report` prints.

    Novelty is measured against the training split of `data`, reconstruction on its test split. The
    split depends on the molecule alone, so no model was trained on a test molecule.

    Args:
        model: a trained model.
        data: the data set to compare with.
        config: sample sizes and seed.
        progress: show progress bars.

    Raises:
        MolvaeError: the data set has fewer than two molecules.
    """
    config = config or ReportConfig()
    began = time.perf_counter()
    held_out, curve, not_encodable = _measure_held_out(model, data, config, progress)
    drawing: dict[str, Any] = {"seed": config.seed, "progress": progress}
    strings = model.sample(config.samples, **drawing)
    greedy = model.sample(config.samples, beam=1, **drawing)
    drawn = sorted({form for form in map(canonicalize, strings) if form is not None})
    test = _draw(data.split("test"), config.molecules, config.seed)
    others = _draw(data.split("train"), config.molecules, config.seed)
    likeness, groups = measure_likeness(drawn, test, others, config.seed)
    return Report(
        config=config,
        data=data.name,
        trained_on=model.summary.data,
        sets=compute_property_sets(data, drawn, config.molecules, config.seed, progress),
        samples=measure_samples(strings, data.split("train")),
        validity_greedy=_valid_share(greedy),
        held_out=held_out,
        curve=curve,
        plausible=_measure_plausible(model, {"held out": test, "samples": drawn}),
        likeness=likeness,
        groups=groups,
        rings=pd.DataFrame({"data": _count_rings(test), "samples": _count_rings(drawn)}),
        not_encodable=not_encodable,
        seconds=time.perf_counter() - began,
    )


def compute_property_sets(
    data: DataSet, drawn: list[str], molecules: int, seed: int = 0, progress: bool = False
) -> dict[str, pd.DataFrame]:
    """Data set and sampled molecules -> property tables of "Data", "GA" and "VAE".

    Args:
        data: the data set.
        drawn: SMILES sampled from a model.
        molecules: number of molecules for "Data" and for "GA".
        seed: random seed of the choice and of the GA.
        progress: show progress bars.

    Returns:
        Set name -> properties, one row per molecule. "Data" is a random subset of the data set (all
        of it if smaller), "GA" as many new molecules bred from it, "VAE" all of `drawn`.

    Raises:
        MolvaeError: the data set has fewer than two molecules.
    """
    offspring = breed_at_random(data.smiles, molecules, seed, progress)
    whole = molecules >= len(data.smiles)  # its table is computed once and cached
    rows = data if whole else _draw(data.smiles, molecules, seed)
    sources: dict[str, DataSet | list[str]] = {"Data": rows, "GA": offspring, "VAE": drawn}
    return {name: compute_properties(smiles, progress) for name, smiles in sources.items()}


def _measure_held_out(
    model: MolVAE, data: DataSet, config: ReportConfig, progress: bool
) -> tuple[dict[str, float], pd.DataFrame, int]:
    chosen = _draw(data.split("test"), config.molecules, config.seed)
    usable = [smiles for smiles in chosen if model.can_encode(smiles)]
    left_out = len(chosen) - len(usable)
    if not usable:
        return {}, pd.DataFrame(), left_out
    z = model.encode(usable, progress=progress)
    figures = measure_reconstruction(model, usable, seed=config.seed, progress=progress)
    figures |= measure_surroundings(model, z, config.seed, progress)
    predicted = [name for name in model.vae.config.properties if name in REPORTED]
    true = compute_properties(usable, progress)
    if predicted:
        means = torch.from_numpy(model.encode_means(usable))
        for suffix, points in (("", z), ("_means", means)):
            found = model.predict_properties(points)
            figures |= {f"r2_{name}{suffix}": _r2(found[name], true[name]) for name in predicted}
    values = {name: true[name].to_numpy(np.float64) for name in STATISTICS}
    smooth, curve = measure_smoothness(model, usable, values, config.seed)
    return figures | smooth, curve, left_out


def _measure_plausible(model: MolVAE, sets: dict[str, list[str]]) -> dict[str, float]:
    """Sets of molecules -> the share of each that is plausible; empty without a domain."""
    shares: dict[str, float] = {}
    if model.domain is None:
        return shares
    for name, smiles in sets.items():
        mols = [mol for mol in map(parse, smiles) if mol is not None]
        passed = [model.domain.find_plausibility(mol) >= PASSING for mol in mols]
        shares[name] = float(np.mean(passed)) if passed else math.nan
    return shares


def _count_rings(smiles: list[str]) -> dict[str, float]:
    """Molecules -> share that has a ring of each size."""
    counts = dict.fromkeys(RING_SIZES, 0)
    for mol in filter(None, map(parse, smiles)):
        for size in {min(len(ring), LARGE) for ring in mol.GetRingInfo().AtomRings()}:
            counts[RING_SIZES[size - 3]] += 1
    return {size: count / max(1, len(smiles)) for size, count in counts.items()}


def measure_surroundings(
    model: MolVAE, z: Tensor, seed: int = 0, progress: bool = False
) -> dict[str, float]:
    """Latent points (n, D) of molecules -> validity of strings decoded near them.

    Args:
        model: a trained model.
        z: latent points of molecules.
        seed: random seed of the noise and the pairs.
        progress: show progress bars.

    Returns:
        `local_validity`, the fraction of valid strings at z + 0.5 N(0, I), where latent points of a
        data set have a standard deviation of about 1; `midpoint_validity`, the fraction at the
        midpoints of random pairs; and both with the suffix `_greedy` for greedy decoding.
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


def _list_published(data: str) -> dict[str, Any] | None:
    rows = PUBLISHED.get(data)
    return rows and {source: _mean_sd(row) for source, row in rows.items()}


def _mean_sd(row: Moments) -> dict[str, dict[str, float]]:
    return {name: {"mean": mean, "sd": sd} for name, (mean, sd) in row.items()}


def _replace_nan(value: Any) -> Any:
    """JSON values -> the same with None for each number that is not finite."""
    if isinstance(value, dict):
        return {name: _replace_nan(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_replace_nan(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
