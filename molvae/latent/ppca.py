"""Probabilistic PCA: the linear latent-variable model, whose posterior and log p(x) are exact."""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Integral
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.model_selection import KFold
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor
from torch.distributions import MultivariateNormal

from molvae.base.errors import MolvaeError
from molvae.latent.inputs import refuse_not_finite
from molvae.latent.linear_gaussian import (
    Parameters,
    canonical,
    closed_form,
    expectation_maximisation,
    infer,
)

Table = NDArray[np.float64]


class PPCA(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Table X (n, D) -> the maximum-likelihood model x = W z + mu + noise, with z (K,).

    Prior p(z) = N(0, I), likelihood p(x|z) = N(W z + mu, sigma^2 I) (Tipping & Bishop 1999; Bishop
    2006, 12.2). With the (K, K) matrix M = W^T W + sigma^2 I, the only one that is ever inverted,

        p(z|x) = N(M^-1 W^T (x - mu), sigma^2 M^-1)        p(x) = N(mu, W W^T + sigma^2 I)

    (Bishop 12.35, and 12.42 as exercise 12.8 derives it). Some texts write M for both
    matrices, or the posterior covariance as sigma^-2 M; this form is the right one.

    NaN is an entry missing at random. It is integrated out: every answer is that of the exact
    marginal, and a row with nothing observed has log p = 0 and the prior as its posterior.

    It is a scikit-learn transformer for tables, and a `LatentModel` for tensors on the CPU.

    Args:
        n_components: K, from 1 to D - 1.
        method: "closed-form" (singular values; complete data) or "em", which also takes NaN.
        tol: EM stops when its estimated distance to its limit is below it, relative to W, to
            sigma^2 and to the scale of x.
        max_iter: EM stops after this many iterations, with a `ConvergenceWarning`.
        random_state: seed of the W that EM starts from.

    Attributes:
        loadings_: W (D, K): orthogonal columns, the longest first, the largest entry of each
            positive. The likelihood knows W only up to a rotation; this fixes one.
        mean_: mu (D,).
        noise_variance_: sigma^2.
        log_likelihood_path_: nats per example before each iteration of EM and after the last; of
            the closed form, the one value.
        n_iter_: iterations of EM; 1 for the closed form.
        n_features_in_: D.

    Example:
        >>> X = np.random.default_rng(0).normal(size=(100, 3)) * [3, 1, 1]
        >>> PPCA(n_components=1).fit(X).transform(X).shape
        (100, 1)
    """

    def __init__(
        self,
        n_components: int = 2,
        method: str = "closed-form",
        tol: float = 1e-8,
        max_iter: int = 5_000,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.n_components = n_components
        self.method = method
        self.tol = tol
        self.max_iter = max_iter
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Table X (n, D) -> this model, fitted by maximum likelihood; y is ignored.

        Raises:
            MolvaeError: an argument that cannot work, too few rows, a column with no value, NaN
                without EM, or no variance left over for the noise.
            ValueError: X is not a table of numbers, or some are infinite; from scikit-learn.
        """
        x = self._table(X, reset=True)
        self._check(x)
        centre = x.nanmean(0)
        centred = x - centre  # before anything is squared: a large mean costs no precision
        if self.method == "closed-form":
            fitted = closed_form(centred, self.n_components)
            path = [infer(centred, fitted).log_evidence.mean().item()]
        else:
            rng = check_random_state(self.random_state)
            start = torch.from_numpy(rng.normal(size=(x.shape[1], self.n_components)))
            fitted, path = expectation_maximisation(centred, start, self.tol, self.max_iter)
        self.loadings_: Table = canonical(fitted.loadings).numpy()
        self.mean_: Table = (centre + fitted.mean).numpy()
        self.noise_variance_ = fitted.noise.item()
        self.log_likelihood_path_ = np.array(path)
        self.n_iter_ = max(1, len(path) - 1)
        return self

    def transform(self, X: ArrayLike) -> Table:
        """Table X (n, D), NaN where missing -> posterior means (n, K)."""
        means: Table = infer(self._table(X), self._parameters()).mean.numpy()
        return means

    def inverse_transform(self, Z: ArrayLike) -> Table:
        """Latents Z (n, K) -> E[x|z] = W z + mu, (n, D).

        At a posterior mean this is a little nearer to mu than PCA's projection, because part of the
        deviation is attributed to the noise (Bishop 2006, 12.2.1).
        """
        check_is_fitted(self)
        z: Table = check_array(Z, dtype=np.float64)
        if z.shape[1] != self.loadings_.shape[1]:
            raise MolvaeError(f"Z has {z.shape[1]} columns, the model {self.loadings_.shape[1]}")
        return z @ self.loadings_.T + self.mean_

    def impute(self, X: ArrayLike) -> Table:
        """Table X (n, D) -> the same with E[missing | observed] = W E[z|observed] + mu for NaN."""
        expected = self.inverse_transform(self.transform(X))
        x = self._table(X).numpy()
        return np.where(np.isnan(x), expected, x)

    def score_samples(self, X: ArrayLike) -> Table:
        """Table X (n, D), NaN where missing -> exact log p(observed entries), (n,), in nats."""
        log_p: Table = infer(self._table(X), self._parameters()).log_evidence.numpy()
        return log_p

    def score(self, X: ArrayLike, y: object = None) -> float:
        """Table X (n, D) -> mean of log p(x), in nats per example; y is ignored."""
        return float(self.score_samples(X).mean())

    def sample(
        self, n_samples: int = 1, random_state: int | np.random.RandomState | None = None
    ) -> Table:
        """Count and seed -> draws from p(x), (n_samples, D)."""
        check_is_fitted(self)
        rng = check_random_state(random_state)
        features, components = self.loadings_.shape
        mean = self.inverse_transform(rng.normal(size=(n_samples, components)))
        noise: Table = rng.normal(size=(n_samples, features))
        return mean + math.sqrt(self.noise_variance_) * noise

    def get_covariance(self) -> Table:
        """Return the covariance of x, W W^T + sigma^2 I, (D, D)."""
        check_is_fitted(self)
        return self.loadings_ @ self.loadings_.T + self.noise_variance_ * np.eye(len(self.mean_))

    def prior(self) -> MultivariateNormal:
        """Return p(z) = N(0, I), batch (), event (K,), float64."""
        check_is_fitted(self)
        identity = torch.eye(self.loadings_.shape[1], dtype=torch.float64)
        return MultivariateNormal(identity.new_zeros(len(identity)), scale_tril=identity)

    def posterior(self, x: Tensor) -> MultivariateNormal:
        """Rows x (B, D), NaN where missing -> the exact p(z|x), batch (B,), event (K,)."""
        parameters = self._parameters(x)
        mean, factor, _ = infer(x.double(), parameters)
        return MultivariateNormal(mean, precision_matrix=factor @ factor.mT / parameters.noise)

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """Rows x (B, D), NaN where missing, and z (B, K) -> log p(observed x|z), (B,), in nats."""
        loadings, mean, noise = self._parameters(x)
        missing = x.isnan()
        if z.ndim != 2 or z.shape[1] != loadings.shape[1]:
            raise MolvaeError(f"z must have shape (B, {loadings.shape[1]}), not {tuple(z.shape)}")
        error = torch.where(missing, 0.0, x.double() - mean - z.double() @ loadings.T)
        observed = (~missing).sum(-1).double()
        return -0.5 * (observed * (2 * math.pi * noise).log() + error.square().sum(-1) / noise)

    @property
    def _n_features_out(self) -> int:  # names the columns of what `transform` returns
        components: int = self.loadings_.shape[1]
        return components

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.method == "em"
        return tags

    def _table(self, X: ArrayLike, reset: bool = False) -> Tensor:
        """Check X as scikit-learn does; reset where it is the table to fit."""
        if not reset:
            check_is_fitted(self)
        least = 2 if reset else 1
        x = validate_data(
            self,
            X,
            reset=reset,
            dtype=np.float64,
            ensure_all_finite="allow-nan",
            ensure_min_samples=least,
            ensure_min_features=least,
        )
        return torch.tensor(x)

    def _parameters(self, x: Tensor | None = None) -> Parameters:
        """Return what was learned, as tensors; where rows are given, check their length."""
        check_is_fitted(self)
        if x is not None:
            if x.ndim != 2 or x.shape[1] != len(self.mean_):
                raise MolvaeError(
                    f"x has {x.shape[-1]} columns, the model {len(self.mean_)}: it must be a table "
                    f"(B, {len(self.mean_)}), not {tuple(x.shape)}"
                )
            if len(x) == 0:
                raise MolvaeError("x holds no examples: give at least one")
            refuse_not_finite("x", x.double().where(~x.isnan(), 0.0))  # NaN marks what is missing
        noise = torch.tensor(self.noise_variance_, dtype=torch.float64)
        return Parameters(torch.from_numpy(self.loadings_), torch.from_numpy(self.mean_), noise)

    def _check(self, x: Tensor) -> None:
        (n, features), k = x.shape, self.n_components
        if self.method not in ("closed-form", "em"):
            raise MolvaeError(f"method must be 'closed-form' or 'em', not {self.method!r}")
        if not isinstance(k, Integral) or not 1 <= k < features:
            raise MolvaeError(
                f"n_components must be a whole number from 1 to {features - 1}, one less than the "
                f"columns, not {k!r}"
            )
        if not (self.tol > 0 and self.max_iter >= 1):
            raise MolvaeError(
                f"tol {self.tol} must be above 0, max_iter {self.max_iter} at least 1"
            )
        if n < k + 2:
            raise MolvaeError(f"{n} rows are too few for {k} components: give at least {k + 2}")
        missing = x.isnan()
        if missing.any() and self.method != "em":
            raise MolvaeError("X holds NaN, which only EM can take: use method='em'")
        empty = missing.all(0).nonzero()[:, 0].tolist()
        if empty:
            raise MolvaeError(f"no value is observed in columns {empty}: drop them")
        if np.array_equal(np.nanmin(x, 0), np.nanmax(x, 0)):
            raise MolvaeError("X does not vary: every row is the same")


def choose_components(
    X: ArrayLike, candidates: Iterable[int], folds: int = 5, seed: int = 0
) -> tuple[PPCA, dict[int, Table]]:
    """Table X (n, D) and candidates for K -> the model of the best K, and the scores of each K.

    The best K has the highest mean held-out log p(x) over the folds; the model is then fitted to
    all of X, by EM where entries are missing. The scores are held-out nats per example, (folds,).

    Args:
        X: the table; NaN where an entry is missing.
        candidates: numbers of components to try.
        folds: of the cross-validation.
        seed: of the folds.

    Raises:
        MolvaeError: no candidate, or one that cannot be fitted.
        ValueError: X is not a table of numbers, or has fewer rows than folds; from scikit-learn.
    """
    x = check_array(X, dtype=np.float64, ensure_all_finite="allow-nan")
    method = "em" if np.isnan(x).any() else "closed-form"
    splits = list(KFold(folds, shuffle=True, random_state=seed).split(x))
    models = {k: PPCA(k, method=method, random_state=seed) for k in sorted(set(candidates))}
    if not models:
        raise MolvaeError("no candidate for the number of components: give at least one")
    held_out = {
        k: np.array([model.fit(x[train]).score(x[test]) for train, test in splits])
        for k, model in models.items()
    }
    best = max(held_out, key=lambda k: held_out[k].mean())
    return models[best].fit(x), held_out
