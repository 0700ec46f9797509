"""The surrogates: (features, y) -> a fitted Gaussian process, standardised, float64."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from botorch.exceptions.warnings import InputDataWarning, OptimizationWarning
from botorch.models import SingleTaskGP
from botorch.models.transforms import Normalize, Standardize
from botorch.optim.fit import fit_gpytorch_mll_scipy
from gpytorch.mlls import ExactMarginalLogLikelihood
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import cho_solve, cholesky, eigh, solve_triangular

from molvae.errors import MolvaeError

BEST, OTHERS = 1_000, 500  # observations that a surrogate is made of


def fit_surrogate(features: ArrayLike, y: ArrayLike, max_steps: int = 10) -> SingleTaskGP:
    """Features (n, F) and y (n, 1) -> a Gaussian process fitted by type-II maximum a posteriori.

    Features are normalised to the unit cube, y is standardised; the kernel is BoTorch's default,
    an RBF with one lengthscale per feature whose prior grows with sqrt(F) (Hvarfner, Hellsten &
    Nardi 2024, "Vanilla Bayesian optimization performs great in high dimensions"). Rows whose y is
    NaN are failed evaluations and are ignored. The fit draws no random number. `max_steps` bounds
    the L-BFGS steps: further ones fit many lengthscales to noise (on 64 latents of QM9 and up to
    500 observations held-out R2 of logP and of drug is highest near 10 steps, and falls after).

    Raises:
        MolvaeError: fewer than two values of y are known.
    """
    x_all = torch.as_tensor(features, dtype=torch.float64)  # the one cast, law 9
    y_all = torch.as_tensor(y, dtype=torch.float64)
    known = ~y_all.isnan().squeeze(-1)
    if int(known.sum()) < 2:
        raise MolvaeError("a surrogate needs at least two molecules whose objective is known")
    with warnings.catch_warnings(), torch.enable_grad():
        warnings.simplefilter("ignore", InputDataWarning)  # all y equal: nothing to standardise
        warnings.simplefilter("ignore", OptimizationWarning)  # max_steps reached, as intended
        surrogate = SingleTaskGP(
            x_all[known],
            y_all[known],
            input_transform=Normalize(x_all.shape[-1]),
            outcome_transform=Standardize(1),
        )
        likelihood = ExactMarginalLogLikelihood(surrogate.likelihood, surrogate)
        fit_gpytorch_mll_scipy(likelihood, options={"maxiter": max_steps})
    return surrogate.eval()


def kept(y: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.intp]:
    """Values (n,) -> rows that an exact surrogate is made of: the best, and random others.

    So its cost stops growing with n. Rows whose y is NaN are left out.

    Raises:
        MolvaeError: fewer than two values are known.
    """
    order = np.argsort(-y, kind="stable")[: len(y) - int(np.isnan(y).sum())]
    if len(order) < 2:
        raise MolvaeError("a surrogate needs at least two molecules whose objective is known")
    others = order[BEST:]
    others = rng.choice(others, min(OTHERS, len(others)), replace=False)
    return np.concatenate([order[:BEST], others])


class TanimotoProcess:
    """A Gaussian process on sets: its kernel is the share of members that two sets have in common.

    k(a, b) = amplitude |a and b| / |a or b| (Jaccard; Ralaivola et al. 2005), and noise. Amplitude
    and noise maximise the marginal likelihood of `FITTED` rows, the amplitude in closed form. It
    is made of the rows that `kept` chooses.
    """

    FITTED = 400
    NOISE = 10.0 ** np.arange(-4, 0.5, 0.5)  # variances to choose from, the amplitude being 1

    def __init__(self, features: ArrayLike, y: ArrayLike, rng: np.random.Generator) -> None:
        """Features (n, F), 0 or 1, and y (n,), NaN where it failed.

        Raises:
            MolvaeError: fewer than two values of y are known.
        """
        values = np.asarray(y, dtype=np.float64)
        rows = kept(values, rng)
        self._x = np.asarray(features)[rows].astype(np.float32)  # sums of ones are exact
        self._mean, self._scale = values[rows].mean(), values[rows].std() or 1.0
        standard = (values[rows] - self._mean) / self._scale
        kernel = _common_share(self._x, self._x)
        fitted = rng.permutation(len(rows))[: self.FITTED]
        self.noise, self.amplitude = self._likeliest(
            kernel[np.ix_(fitted, fitted)], standard[fitted]
        )
        kernel[np.diag_indices_from(kernel)] += self.noise
        self._root = cholesky(kernel, lower=True, overwrite_a=True)
        self._weights = cho_solve((self._root, True), standard)

    def _likeliest(
        self, kernel: NDArray[np.float64], y: NDArray[np.float64]
    ) -> tuple[float, float]:
        """A kernel (n, n) and y (n,) -> noise and amplitude; see Rasmussen & Williams 2006, 5.8."""
        values, vectors = eigh(kernel)
        squares = (vectors.T @ y) ** 2
        variances = values.clip(0)[:, None] + self.NOISE
        amplitudes = (
            (squares[:, None] / variances).mean(axis=0).clip(1e-12)
        )  # where all y are equal
        losses = np.log(variances).sum(axis=0) + len(y) * np.log(amplitudes)
        best = int(losses.argmin())
        return float(self.NOISE[best]), float(amplitudes[best])

    def predict(self, features: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Features (m, F) -> mean (m,) and standard deviation (m,) of the objective."""
        mean, half = self._explained(np.asarray(features, dtype=np.float32))
        variance = self.amplitude * (1 - (half**2).sum(axis=0)).clip(0)
        return mean, self._scale * np.sqrt(variance)

    def joint(self, features: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Features (m, F) -> mean (m,) and covariance (m, m) of the objective."""
        x = np.asarray(features, dtype=np.float32)
        mean, half = self._explained(x)
        return mean, self._scale**2 * self.amplitude * (_common_share(x, x) - half.T @ half)

    def _explained(self, x: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Features (m, F) -> mean (m,), and h (n, m): h'h is the covariance that is explained."""
        shares = _common_share(x, self._x)
        half: NDArray[np.float64] = solve_triangular(self._root, shares.T, lower=True)
        return self._mean + self._scale * (shares @ self._weights), half


def _common_share(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    """Sets (n, F) and (m, F) as 0 and 1 -> Jaccard similarities (n, m); of two empty sets 1."""
    common = (a @ b.T).astype(np.float64)
    union = a.sum(axis=1)[:, None] + b.sum(axis=1) - common
    shares: NDArray[np.float64] = np.divide(
        common, union, out=np.ones_like(common), where=union > 0
    )
    return shares
