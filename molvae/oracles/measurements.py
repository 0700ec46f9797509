"""The user's own measurements as a quantity: model:my.csv:pIC50, say.

A chemist has a table of 40 molecules and what an assay gave for each. A Gaussian process on
substructures and descriptors (`molvae.search.surrogate`) learns from it what other molecules may
give, and how uncertain that is. So there are four quantities:

model:my.csv:pIC50           the predicted value
lower(model:my.csv:pIC50)    the same minus its standard deviation: what is promised cautiously
upper(model:my.csv:pIC50)    plus its standard deviation: what is possible
P(model:my.csv:pIC50>7)      the probability that a measurement would be above 7; < for below

The table is what `molvae.chem.files` reads, FILE or FILE:COLUMN for the SMILES; the last part is
the column of values. Salts, ions and labelled molecules count as their parents, in the table and
in what is predicted, and the values of a molecule that occurs several times are averaged.

One slip among 12 values spoils a Gaussian process. So a value farther than `FAR` robust standard
deviations from the median counts as that limit, and with more noise (`DOUBT`). The others then
predict nearly as well as without it, but where it is a hit it still draws the search to its
molecule; the user is told which it is. Of twelve values from a normal distribution, one is that far
off in 3 % of cases.

How much can be learned is found by cross-validation, whose errors also say how much too small the
standard deviations of the process are; they are widened by that factor.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rdkit.Chem import Mol, MolToSmiles
from scipy.special import ndtr

from molvae.base.errors import MolvaeError, MolvaeWarning
from molvae.chem.datasets import load
from molvae.chem.files import find_column, names_a_file, open_molecules
from molvae.chem.fingerprints import MoleculeFeatures
from molvae.chem.neighbors import Neighbors
from molvae.chem.property_tables import load_columns
from molvae.chem.standardize import standardize
from molvae.oracles.identity import hash_files
from molvae.search.surrogate import MixedProcess

LEARNED = "model:"
FUNCTIONS = ("lower(", "upper(", "P(")
NEEDED = 8  # measured molecules below which nothing is learned
FOLDS, FEW = 5, 30  # up to so few molecules each one is left out alone
MOST = 1_500  # molecules that the process is fitted to
FAR = 5.0  # robust standard deviations from the median, beyond which a value is far off
DOUBT = 0.3  # further noise variance of such a value, relative to the amplitude
DOMAIN = 0.3  # similarity to the nearest measured molecule, below which a prediction is a guess

_FORMS = re.compile(
    r"(?P<bound>lower|upper)\((?P<bounded>model:.+)\)"
    r"|P\((?P<compared>model:.+?)\s*(?P<sign>[<>])=?\s*(?P<limit>[^<>=]+)\)"
    r"|(?P<plain>model:.+)"
)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Regression:
    """What the measured molecules of a table say about others.

    Attributes:
        name: such as "model:my.csv:pIC50", without the folder of the file.
        column: the column of values.
        smiles: the molecules that it is fitted to, parents.
        values: their values.
        doubts: the further noise variance of each, as `MixedProcess` takes it.
        widening: factor of the standard deviation, at least 1.
        report: for the user, a line each: the error in cross-validation, and what was read.
        hashes: SHA-256 of the file by its path.
    """

    name: str
    column: str
    smiles: tuple[str, ...]
    values: tuple[float, ...]
    doubts: tuple[float, ...]
    widening: float
    report: tuple[str, ...]
    hashes: tuple[tuple[str, str], ...]

    def predict(self, mol: Mol) -> tuple[float, float]:
        """Molecule -> mean and standard deviation of a measurement of its parent.

        Raises:
            ValueError: it has no parent.
        """
        mean, deviation = _predict(self._process, MoleculeFeatures()([_find_parent(mol)]))
        return float(mean[0]), self.widening * float(deviation[0])

    def measure_deviation(self, mol: Mol) -> float:
        """Molecule -> the standard deviation alone; errors as in `predict`."""
        return self.predict(mol)[1]

    def measure_nearest(self, mol: Mol) -> float:
        """Molecule -> Tanimoto similarity of its parent to the nearest that this is fitted to.

        Raises:
            ValueError: it has no parent.
        """
        return float(self._neighbors.find_nearest([_find_parent(mol)])["similarity"].iloc[0])

    @cached_property
    def _neighbors(self) -> Neighbors:
        return Neighbors.compute(self.smiles)

    @cached_property
    def _process(self) -> MixedProcess:
        features = MoleculeFeatures()(self.smiles)
        return _fit(features, np.array(self.values), np.array(self.doubts))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the table, which is smaller than the process; a worker fits it once."""
        return _recall, tuple(getattr(self, field.name) for field in fields(self))


def _correlate_ranks(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Two rows of numbers -> Spearman's rank correlation."""
    return float(pd.Series(a).rank().corr(pd.Series(b).rank()))


@lru_cache(8)
def _recall(*fields: Any) -> Regression:
    return Regression(*fields)


@dataclass(frozen=True)
class Learned:
    """A quantity that a regression gives: its mean, a bound or a probability.

    Attributes:
        regression: of the table.
        kind: "" for the mean, "lower", "upper", or ">" and "<" for a probability.
        limit: what a measurement is compared with for a probability.
    """

    regression: Regression
    kind: str = ""
    limit: float = math.nan

    @property
    def name(self) -> str:
        """The name in tables, such as "P(model:my.csv:pIC50>7)"."""
        inner = self.regression.name
        if self.is_probability:
            return f"P({inner}{self.kind}{self.limit:.12g})"
        return f"{self.kind}({inner})" if self.kind else inner

    @property
    def is_probability(self) -> bool:
        """Whether it is one, and so has neither the direction nor the unit of the column."""
        return self.kind in (">", "<")

    def __call__(self, mol: Mol) -> float:
        """Molecule -> the value.

        Raises:
            ValueError: the molecule has no parent.
        """
        mean, deviation = self.regression.predict(mol)
        if self.is_probability:
            above = (mean - self.limit) / deviation
            return float(ndtr(above if self.kind == ">" else -above))
        return mean + {"lower": -deviation, "": 0.0, "upper": deviation}[self.kind]


def names_measurements(name: str) -> bool:
    """Tell whether a name, without a sign, is one of the four forms above.

    `model:function` is none: a module of the user's may be called like that.
    """
    if not name.startswith(LEARNED):
        return name.startswith(FUNCTIONS)
    rest = name.removeprefix(LEARNED)
    return ":" in rest or names_a_file(rest)


def learn_measurements(name: str) -> Learned:
    """One of the four forms above -> the quantity, learned from the table.

    Raises:
        MolvaeError: no file, no such column, a limit that is not a number, fewer than `NEEDED`
            molecules with a value, or all values are equal.

    Warns:
        MolvaeWarning: some values are not numbers or are far from the others, or the predictions
            are no better than the mean. Once for each content of a table.
    """
    found = _FORMS.fullmatch(name)
    if found is None:
        raise MolvaeError(
            f"{name!r} is not complete: use lower(model:FILE:COLUMN), upper(model:FILE:COLUMN) or "
            "P(model:FILE:COLUMN>VALUE), with a minus only before it"
        )
    text = found["plain"] or found["bounded"] or found["compared"]
    source, _, column = text.removeprefix(LEARNED).rpartition(":")
    if not source or not column:
        raise MolvaeError(f"{text}: name the column of values, as in model:my.csv:pIC50")
    limit = math.nan
    if found["limit"]:
        with suppress(ValueError):
            limit = float(found["limit"])
        if not math.isfinite(limit):
            raise MolvaeError(f"{name}: {found['limit']!r} is not a number")
    file = open_molecules(source)
    column = find_column(file.columns, column, file.path)
    hashes = tuple(hash_files([file.path]).items())
    return Learned(_learn(source, column, hashes), found["bound"] or found["sign"] or "", limit)


class Errors(NamedTuple):
    """Held-out errors: root mean squares, and how well the order is predicted."""

    rmse: float
    rmse_mean: float  # of predicting the mean of the other molecules
    spearman: float
    widening: float
    how: str

    @property
    def r2(self) -> float:
        """1 - (error / error of the mean)^2: below 0 where the mean is better."""
        return float(1 - (self.rmse / self.rmse_mean) ** 2)


def cross_validate(smiles: Sequence[str], values: Floats, doubts: Floats) -> Errors:
    """Molecules (n), values (n,), their doubts (n,) -> errors of predicting each from the others.

    Five folds, or each molecule alone where they are few. The widening is the root mean square
    error over the root mean square of the predicted standard deviations, at least 1. Values in
    doubt are used, but their errors do not count.
    """
    features, n = MoleculeFeatures()(smiles), len(values)
    folds = n if n <= FEW else FOLDS
    fold = np.random.default_rng(0).permutation(n) % folds
    held = np.empty((3, n))  # mean, standard deviation, mean of the others
    for k in range(folds):
        out = fold == k
        process = _fit(features[~out], values[~out], doubts[~out])
        held[:2, out] = _predict(process, features[out])
        held[2, out] = values[~out].mean()
    sure = doubts == 0
    mean, deviation, others = held[:, sure]
    rmse, rmse_mean = (_root_mean_square(values[sure] - row) for row in (mean, others))
    varied = np.ptp(mean) > 0
    return Errors(
        rmse,
        rmse_mean,
        _correlate_ranks(mean, values[sure]) if varied else math.nan,
        max(1.0, rmse / _root_mean_square(deviation)),
        "leave-one-out" if folds == n else f"{folds}-fold cross-validation",
    )


@lru_cache(8)
def _learn(source: str, column: str, hashes: tuple[tuple[str, str], ...]) -> Regression:
    """Table and column -> what is learned from it; `hashes` tell one content from another."""
    data = load(source, standardize=True)
    known = load_columns(data, [column])[column].dropna().sort_index()
    if len(known) < NEEDED:
        raise MolvaeError(
            f"{source}: {len(known)} molecules have a value of {column!r}, and to learn from them "
            f"takes {NEEDED}"
        )
    if known.nunique() == 1:
        raise MolvaeError(
            f"{source}: all {len(known)} values of {column!r} are {known.iloc[0]:g}: there is "
            "nothing to learn"
        )
    name = f"{LEARNED}{Path(hashes[0][0]).name}:{column}"
    values, doubts = _limit(known, name)
    order = np.argsort(values, kind="stable")
    rows = np.sort(order[np.linspace(0, len(order) - 1, min(MOST, len(order))).astype(int)])
    smiles, values, doubts = tuple(known.index[rows]), values[rows], doubts[rows]
    errors = cross_validate(smiles, values, doubts)
    if errors.rmse >= errors.rmse_mean:
        warnings.warn(
            f"{name} predicts no better than the mean of the values (error {errors.rmse:.3g} "
            f"against {errors.rmse_mean:.3g}): do not trust what it prefers",
            MolvaeWarning,
            stacklevel=2,
        )
    far = int((doubts > 0).sum())
    aside = f" (without {far} far {'values' if far > 1 else 'value'})" if far else ""
    count = f"{len(known):,} molecules have a value of {column!r}, repeats averaged"
    if len(rows) < len(known):
        count += f"; {len(rows):,} of them, evenly over the range of values, are used"
    report = (
        f"{name}: error in {errors.how}{aside}: RMSE {errors.rmse:.3g} ({errors.rmse_mean:.3g} for "
        f"predicting the mean), R2 {errors.r2:.2f}, Spearman {errors.spearman:.2f}",
        f"{data.description}; {count}",
    )
    numbers = tuple(values.tolist()), tuple(doubts.tolist())
    return Regression(name, column, smiles, *numbers, errors.widening, report, hashes)


def _limit(known: pd.Series, name: str) -> tuple[Floats, Floats]:
    """Values by SMILES (n,) -> the same, far ones as the limit; and the doubt of each (n,).

    Warns:
        MolvaeWarning: some are far off.
    """
    values = known.to_numpy(np.float64)
    center = float(np.median(values))
    # where most values are equal their median distance is 0, and says nothing
    reach = FAR * 1.4826 * float(np.median(np.abs(values - center))) or math.inf
    limited: Floats = np.clip(values, center - reach, center + reach)
    far = np.flatnonzero(limited != values)
    if len(far):
        worst = far[np.argmax(np.abs(values[far] - center))]
        such = "is" if len(far) == 1 else f"and {len(far) - 1} more are"
        warnings.warn(
            f"{name}: {values[worst]:g} of {known.index[worst]} {such} far from the other values "
            f"(median {center:g}): check that; it counts as {limited[worst]:.3g}, in doubt. If "
            "values span orders of magnitude, give their logarithms",
            MolvaeWarning,
            stacklevel=3,
        )
    return limited, np.where(limited != values, DOUBT, 0.0)


def _find_parent(mol: Mol) -> str:
    try:
        return standardize(MolToSmiles(mol)).smiles
    except MolvaeError as error:
        raise ValueError(str(error)) from None  # of this molecule alone


def _fit(features: NDArray[Any], values: Floats, doubts: Floats) -> MixedProcess:
    return MixedProcess(features, values, np.random.default_rng(0), doubts)


def _predict(process: MixedProcess, features: NDArray[Any]) -> tuple[Floats, Floats]:
    """Features (m,) -> mean (m,) and standard deviation (m,) of a measurement."""
    mean, deviation = process.predict(features)
    return mean, np.sqrt(deviation**2 + process.noise_variance)


def _root_mean_square(x: Floats) -> float:
    return float(np.sqrt(np.mean(x**2)))
