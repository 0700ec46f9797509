"""The surrogate on molecules: (sets and numbers, y) -> a Gaussian process, in float64.

Written in NumPy and SciPy, so that who scores molecules by it need not load BoTorch.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize
from scipy.spatial.distance import cdist
from scipy.special import expit, ndtri

from molvae.base.errors import MolvaeError

Split: TypeAlias = tuple[NDArray[np.float32], NDArray[np.float64]]  # sets (n, F), numbers (n, K)

BEST, OTHERS = 1_000, 500  # maximum number of top and of other random observations to condition on
NOISE, LEAST_NOISE = 0.02, 1e-4  # initial and minimum noise variance, relative to the amplitude
WEIGHT = 2.0  # initial weight of the numbers against the sets, a logit
# so many values are noisy if what is learned of the noise is a larger share of their standard
# deviation; of functions without noise it stays below (pipelines/conditions)
NOISY, ENOUGH = 0.4, 50
LIMIT = 4.0  # bound on the log hyperparameters and on that logit


def select_observations(y: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.intp]:
    """Values (n,) -> the rows that an exact surrogate is fitted to: the best and random others.

    This bounds the surrogate's cost as n grows. Rows whose y is NaN are left out.

    Raises:
        MolvaeError: fewer than two values are known.
    """
    order = np.argsort(-y, kind="stable")[: len(y) - int(np.isnan(y).sum())]
    if len(order) < 2:
        raise MolvaeError("a surrogate needs at least two molecules whose objective is known")
    others = order[BEST:]
    others = rng.choice(others, min(OTHERS, len(others)), replace=False)
    return np.concatenate([order[:BEST], others])


def normal_scores(y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values (n,) -> normal scores of their ranks (van der Waerden 1952); NaN stays NaN.

    Rank-transforming the values to normal scores keeps many values at 0, or a single bad one, from
    hiding the differences among the best.
    """
    scores, known = np.full(len(y), np.nan), ~np.isnan(y)
    _, place, ties = np.unique(y[known], return_inverse=True, return_counts=True)
    ranks = ties.cumsum() - (ties - 1) / 2  # ties share the mean of theirs
    scores[known] = ndtri((ranks[place] - 0.5) / known.sum())
    return scores


class MixedProcess:
    """A Gaussian process on inputs that consist of a set and some numbers.

    The kernel is k(a, b) = amplitude ((1 - w) |a and b| / |a or b| + w exp(-|u - v|^2 / 2)) plus
    noise: the Jaccard similarity of the two sets (Ralaivola et al. 2005), and an RBF of the numbers
    u and v, each standardised and divided by sqrt(K) times its own lengthscale. Lengthscales, w and
    noise are fitted by type-II maximum a posteriori on at most `FITTED` rows, with broad priors;
    the amplitude has a closed form. The process is conditioned on the rows that
    `select_observations` returns.
    """

    FITTED = 300
    STEPS = 10  # L-BFGS steps; more take longer without predicting better

    def __init__(
        self,
        features: ArrayLike,
        y: ArrayLike,
        rng: np.random.Generator,
        doubts: ArrayLike | None = None,
    ) -> None:
        """Features (n,) with packed `parts` (n, F / 8) and `numbers` (n, K); and y (n,).

        Args:
            features: with the fields `parts` (n, F / 8), bits packed by `numpy.packbits`, and
                `numbers` (n, K).
            y: values (n,). Rows whose y is NaN are failed evaluations and are ignored.
            rng: chooses the rows where there are too many.
            doubts: further noise variance of each value (n,), relative to the amplitude; None for
                none. Values in doubt take no part in fitting the hyperparameters.

        Raises:
            MolvaeError: fewer than two values of y are known.
        """
        values = np.asarray(y, dtype=np.float64)
        rows = select_observations(values, rng)
        found = np.asarray(features)[rows]
        doubt = np.zeros(len(rows)) if doubts is None else np.asarray(doubts)[rows]
        sure = doubt == 0
        self._center, scale = found["numbers"].mean(axis=0), found["numbers"].std(axis=0)
        self._mean, self._scale = values[rows][sure].mean(), values[rows][sure].std() or 1.0
        standard = (values[rows] - self._mean) / self._scale
        root = np.sqrt(found["numbers"].shape[1])
        self._unit = root * np.where(scale > 1e-6 * abs(self._center), scale, 1.0)
        self._x = self._split(found)
        order = rng.permutation(len(rows))
        fitted = order[sure[order]][: self.FITTED]
        parts, numbers = self._x[0][fitted], self._x[1][fitted]
        self._lengths, self.weight, self.noise, self.amplitude = _likeliest(
            _common_share(parts, parts), numbers, standard[fitted], self.STEPS
        )
        kernel = self._kernel(self._x, self._x)
        kernel[np.diag_indices_from(kernel)] += self.noise + doubt
        self._root = cholesky(kernel, lower=True, overwrite_a=True)
        self._weights = cho_solve((self._root, True), standard)

    @property
    def lengthscales(self) -> NDArray[np.float64]:
        """The lengthscales (K,), in the units of the numbers."""
        lengthscales: NDArray[np.float64] = self._unit * self._lengths
        return lengthscales

    @property
    def noise_variance(self) -> float:
        """The variance of the noise on y; the deviation from `predict` does not include it."""
        return float(self._scale**2 * self.amplitude * self.noise)

    @property
    def is_noisy(self) -> bool:
        """Whether noise is a large part of what y varies by, so that the greatest y is luck."""
        many = len(self._weights) >= ENOUGH
        return many and self.noise_variance > (NOISY * self._scale) ** 2

    def predict(self, features: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Features (m,) -> posterior mean (m,) and standard deviation (m,) of the objective."""
        mean, half = self._explained(self._split(features))
        variance = self.amplitude * (1 - (half**2).sum(axis=0)).clip(0)
        return mean, self._scale * np.sqrt(variance)

    def joint(self, features: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Features (m,) -> posterior mean (m,) and covariance (m, m) of the objective."""
        x = self._split(features)
        mean, half = self._explained(x)
        return mean, self._scale**2 * self.amplitude * (self._kernel(x, x) - half.T @ half)

    def _split(self, features: ArrayLike) -> Split:
        """Features (n,) -> sets (n, F) as 0 and 1, and standardised numbers (n, K) / sqrt(K)."""
        found = np.asarray(features)
        numbers = (found["numbers"] - self._center) / self._unit
        parts = np.unpackbits(found["parts"], axis=1).astype(np.float32)
        return parts, numbers.astype(np.float64)

    def _kernel(self, a: Split, b: Split) -> NDArray[np.float64]:
        apart = cdist(a[1] / self._lengths, b[1] / self._lengths, "sqeuclidean")
        near: NDArray[np.float64] = np.exp(-apart / 2)
        return (1 - self.weight) * _common_share(a[0], b[0]) + self.weight * near

    def _explained(self, x: Split) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Features (m,) -> posterior mean (m,), and h (n, m); h'h reduces the prior covariance."""
        kernel = self._kernel(x, self._x)
        half: NDArray[np.float64] = solve_triangular(self._root, kernel.T, lower=True)
        return self._mean + self._scale * (kernel @ self._weights), half


def _likeliest(
    shares: NDArray[np.float64], numbers: NDArray[np.float64], y: NDArray[np.float64], steps: int
) -> tuple[NDArray[np.float64], float, float, float]:
    """Similarities (n, n), numbers (n, K), y (n,) -> K lengthscales, weight, noise, amplitude.

    Type-II maximum a posteriori. The marginal likelihood and its gradient are equations 5.8 and 5.9
    of Rasmussen & Williams 2006. The priors are log-normal: lengthscales around 1 with a log
    standard deviation of sqrt(2), noise around NOISE with 3.
    """
    n, size = numbers.shape
    identity = np.eye(n)
    begin = np.array([*np.zeros(size), WEIGHT, math.log(NOISE)])
    precisions = np.array([*np.full(size, 1 / 2), 0, 1 / 9])  # precisions of the priors

    def unpacked(p: NDArray[np.float64]) -> tuple[NDArray[np.float64], float, float]:
        return np.exp(p[:size]), float(expit(p[size])), math.exp(p[size + 1]) + LEAST_NOISE

    def factored(p: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
        lengths, weight, noise = unpacked(p)
        scaled = numbers / lengths
        near = np.exp(-cdist(scaled, scaled, "sqeuclidean") / 2)
        kernel = (1 - weight) * shares + weight * near + noise * identity
        root = cholesky(kernel, lower=True, overwrite_a=True)
        dual = cho_solve((root, True), y)
        return scaled, near, root, dual, (y @ dual / n).clip(1e-12)  # 0 where all y are equal

    def loss(p: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        _, weight, noise = unpacked(p)
        scaled, near, root, dual, amplitude = factored(p)
        by_kernel = (cho_solve((root, True), identity) - np.outer(dual, dual) / amplitude) / 2
        by_apart = weight * by_kernel * near
        crossed = (scaled * (by_apart @ scaled)).sum(axis=0)
        slope = np.empty_like(p)
        slope[:size] = 2 * (by_apart.sum(axis=0) @ scaled**2 - crossed)
        slope[size] = weight * (1 - weight) * (by_kernel * (near - shares)).sum()
        slope[size + 1] = (noise - LEAST_NOISE) * by_kernel.trace()
        value = np.log(root.diagonal()).sum() + n / 2 * np.log(amplitude)
        value += precisions @ (p - begin) ** 2 / 2
        return float(value), slope + precisions * (p - begin)

    bounds = [(-LIMIT, LIMIT)] * size + [(-LIMIT, LIMIT), (math.log(LEAST_NOISE), LIMIT)]
    options = {"maxiter": steps}
    found = minimize(loss, begin, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    return *unpacked(found.x), float(factored(found.x)[-1])


def _common_share(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    """Sets (n, F) and (m, F) as 0 and 1 -> Jaccard similarities (n, m); 1 for two empty sets."""
    shared = a.any(axis=0) & b.any(axis=0)  # the other columns add nothing to the product
    left = a.compress(shared, axis=1)
    right = left if a is b else b.compress(shared, axis=1)  # a @ a.T is twice as fast
    common = (left @ right.T).astype(np.float64)
    union = a.sum(axis=1)[:, None] + b.sum(axis=1) - common
    common[union == 0] = 1
    shares: NDArray[np.float64] = np.divide(common, np.maximum(union, 1, out=union), out=common)
    return shares
