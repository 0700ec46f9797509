"""Metrics of generated molecules and of optimisation runs.

Invalid strings are counted but never scored, and missing values are never imputed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from molvae.chem.molecules import canonicalize
from molvae.chem.properties import STATISTICS
from molvae.reports.published import Moments


@dataclass(frozen=True)
class SampleQuality:
    """Counts of generated strings, and the shares derived from them (NaN where undefined)."""

    drawn: int
    """Strings generated."""
    valid: int
    """Strings that RDKit parses as a molecule."""
    unique: int
    """Distinct canonical SMILES among the valid strings."""
    novel: int
    """Unique molecules that are not in the training set."""

    @property
    def validity(self) -> float:
        """Fraction of valid strings among all strings."""
        return _share(self.valid, self.drawn)

    @property
    def uniqueness(self) -> float:
        """Fraction of unique molecules among the valid strings."""
        return _share(self.unique, self.valid)

    @property
    def novelty(self) -> float:
        """Fraction of the unique molecules that are not in the training set."""
        return _share(self.novel, self.unique)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan


def measure_samples(samples: Sequence[str], training: Iterable[str]) -> SampleQuality:
    """Generated strings and training molecules -> counts for validity, uniqueness and novelty.

    Args:
        samples: generated strings, valid or not.
        training: canonical SMILES that the model was trained on.

    >>> measure_samples(["CCO", "OCC", "CCN", "C1C"], training=["CCN"])
    SampleQuality(drawn=4, valid=3, unique=2, novel=1)
    """
    forms = [form for form in map(canonicalize, samples) if form is not None]
    unique = set(forms)
    return SampleQuality(len(samples), len(forms), len(unique), len(unique.difference(training)))


def compute_moments(properties: pd.DataFrame) -> Moments:
    """Properties, one row per molecule -> mean and population standard deviation of each.

    Missing values are ignored; a property without any value gives (NaN, NaN).
    """
    found: Moments = {}
    for name in STATISTICS:
        values = properties[name].to_numpy(dtype=np.float64)
        values = values[np.isfinite(values)]
        found[name] = (
            (float(values.mean()), float(values.std())) if values.size else (math.nan, math.nan)
        )
    return found


def build_statistics_table(
    sets: dict[str, pd.DataFrame], published: dict[str, Moments] | None = None
) -> pd.DataFrame:
    """Named sets of molecules -> text table with mean (sd) of logP, SAS and QED.

    Args:
        sets: row name ("Data", "GA", "VAE") -> table with the columns of `STATISTICS`.
        published: row name -> published moments; adds a column per property.

    Returns:
        One row per set: `molecules`, then per property the measured value and, where there is
        one, the published value next to it.
    """
    rows = []
    for source, properties in sets.items():
        row: dict[str, object] = {"source": source, "molecules": len(properties)}
        measured = compute_moments(properties)
        for name in STATISTICS:
            row[name] = _mean_sd(measured[name])
            if published:
                row[f"{name} (published)"] = (
                    _mean_sd(published[source][name]) if source in published else ""
                )
        rows.append(row)
    return pd.DataFrame(rows)


def _mean_sd(pair: tuple[float, float]) -> str:
    return f"{pair[0]:.2f} ({pair[1]:.2f})"


def top_mean(scores: npt.ArrayLike, k: int = 10) -> float:
    """Scores (n,) -> mean of the k highest, or of all if fewer; failures (NaN) are ignored.

    >>> top_mean([1.0, float("nan"), 3.0, 2.0], k=2)
    2.5
    """
    values = np.asarray(scores, dtype=np.float64)
    values = np.sort(values[~np.isnan(values)])[-k:]
    return float(values.mean()) if values.size else math.nan


def top_auc(scores: npt.ArrayLike, budget: int, k: int = 10, every: int = 100) -> float:
    """Scores in the order of the oracle calls -> area under the top-k curve, divided by the budget.

    The curve is the mean of the k best scores so far. It starts at 0 and is sampled after every
    `every` calls and after the last one; the area is computed by the trapezoidal rule. If a run
    stops early, its last value is extended to the budget. A failed call (NaN) counts as a call, and
    the curve stays at 0 until the first success.

    Args:
        scores: (n,) one score per unique molecule, in the order of evaluation; maximised.
        budget: maximum number of calls; later scores are ignored.
        k: number of best scores that are averaged.
        every: calls between two samples of the curve.

    Returns:
        The normalised area, in the units of the score; NaN if there are no scores.

    Reference: Gao, Fu, Sun & Coley 2022, "Sample Efficiency Matters: A Benchmark for Practical
    Molecular Optimization" (PMO), k = 10, budget = 10,000, every = 100.
    """
    values = np.asarray(scores, dtype=np.float64)[:budget]
    if values.size == 0 or np.isnan(values).all():
        return math.nan
    calls = [*range(0, values.size, every), values.size]
    curve = np.array(
        [0.0 if np.isnan(values[:n]).all() else top_mean(values[:n], k) for n in calls]
    )
    area = np.sum(np.diff(calls) * (curve[1:] + curve[:-1]) / 2)
    return float(area + (budget - values.size) * curve[-1]) / budget
