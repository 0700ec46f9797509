"""The linear Gaussian model x = W z + mu + noise in tensors: inference and maximum likelihood.

The mathematics of `molvae.latent.ppca`. Rows are float64 (n, D), NaN where an entry is missing at
random, which integrates it out. Everything goes through M = W^T W + sigma^2 I, (K, K): one matrix
for complete rows, one for each row where entries are missing, its sum then over the observed ones.
"""

from __future__ import annotations

import math
import warnings
from typing import NamedTuple

import torch
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from molvae.base.errors import MolvaeError

SMALLEST_NOISE = 1e-12  # share of the mean variance; with none, log p(x) has no maximum


class Parameters(NamedTuple):
    """What is learned, float64."""

    loadings: Tensor  # W (D, K)
    mean: Tensor  # mu (D,)
    noise: Tensor  # sigma^2, ()


class Inference(NamedTuple):
    """What each row says of its z."""

    mean: Tensor  # of the posterior, (n, K)
    factor: Tensor  # Cholesky factor of M: (1, K, K), or (n, K, K) where entries are missing
    log_evidence: Tensor  # log p(observed entries), (n,), nats


def infer(x: Tensor, parameters: Parameters) -> Inference:
    """Rows x (n, D), NaN where missing -> their exact posteriors and evidence.

    log N(r; 0, C) without C: log det C = (D - K) log sigma^2 + log det M, and with the posterior
    mean m, r^T C^-1 r = |r - W m|^2 / sigma^2 + |m|^2, which, unlike Woodbury's form, subtracts no
    large numbers.
    """
    loadings, mean, noise = parameters
    missing = x.isnan()
    residual = torch.where(missing, 0.0, x - mean)
    gram = (loadings.T @ loadings)[None]
    if missing.any():
        gram = ((~missing).double() @ _outer(loadings).flatten(1)).view(-1, *gram.shape[1:])
    factor = torch.linalg.cholesky(gram + noise * torch.eye(gram.shape[-1], dtype=x.dtype))
    z = _solve(factor, residual @ loadings)
    error = torch.where(missing, 0.0, residual - z @ loadings.T).square().sum(1)
    log_det = 2 * factor.diagonal(dim1=1, dim2=2).log().sum(1)
    observed = (~missing).sum(1).double()
    log_det = log_det + (observed - z.shape[1]) * noise.log()
    quadratic = error / noise + z.square().sum(1)
    return Inference(z, factor, -0.5 * (observed * math.log(2 * math.pi) + log_det + quadratic))


def closed_form(x: Tensor, k: int) -> Parameters:
    """Centred rows x (n, D) -> the global maximum (Tipping & Bishop 1999, eqs. 7 and 8).

    The divisor is n, as maximum likelihood has it.

    Raises:
        MolvaeError: no variance is left over for the noise.
    """
    n, features = x.shape
    _, singular, basis = torch.linalg.svd(x / math.sqrt(n), full_matrices=False)
    variances = singular.square()
    noise = variances[k:].sum() / (features - k)
    _require_noise(noise, variances.sum() / features, k)
    lengths = (variances[:k] - noise).clamp_min(0).sqrt()
    return Parameters(basis[:k].T * lengths, x.new_zeros(features), noise)


def expectation_maximisation(
    x: Tensor, start: Tensor, tol: float, max_iter: int
) -> tuple[Parameters, list[float]]:
    """Centred rows x (n, D), NaN where missing, and a random W -> the maximum, and the path there.

    The path is log p(x) in nats per example, before each iteration and after the last.

    Args:
        x: the rows.
        start: W (D, K) to begin with.
        tol: iterations end when the last step of the parameters and those to come are shorter.
        max_iter: iterations at most.

    Raises:
        MolvaeError: no variance is left over for the noise.
    """
    variance = x[~x.isnan()].square().mean()
    loadings = start * (variance / start.shape[1]).sqrt()
    # a small first noise: a large one shrinks the weak columns of W, which take long to come back
    parameters = Parameters(loadings, x.new_zeros(x.shape[1]), 1e-3 * variance)
    path, last_step = [], math.inf
    for _ in range(max_iter):
        inference = infer(x, parameters)
        path.append(inference.log_evidence.mean().item())
        updated = _maximise(x, inference, parameters.noise)
        _require_noise(updated.noise, variance, start.shape[1])
        step, parameters = _distance(parameters, updated), updated
        # steps shrink by a nearly constant factor r: those to come sum to step * r / (1 - r)
        to_come = step * step / (last_step - step) if step < last_step else math.inf
        last_step = step
        if max(step, to_come) < tol:
            break
    else:
        warnings.warn(
            f"EM did not converge in {max_iter} iterations (last step {step:.1e}, tol {tol:.1e}): "
            "raise max_iter or tol",
            ConvergenceWarning,
            stacklevel=3,
        )
    path.append(infer(x, parameters).log_evidence.mean().item())
    return parameters, path


def _maximise(x: Tensor, inference: Inference, noise: Tensor) -> Parameters:
    """Rows x (n, D) and their posteriors -> the parameters of the next iteration of EM.

    Each column of x is regressed on (z, 1) over the rows where it is observed, and the noise is the
    expected squared error that is left. In plain EM (Bishop 2006, 12.56 and 12.57) the scale of W
    creeps; here z ~ N(nu, Psi) is fitted with the rest, then mapped back to N(0, I), which costs
    nothing, is as monotone and needs a fraction of the iterations (PX-EM, Liu, Rubin & Wu 1998).
    """
    n, k = inference.mean.shape
    observed = (~x.isnan()).double()
    x = x.nan_to_num(0.0)
    covariance = noise * torch.cholesky_inverse(inference.factor)  # (1 or n, K, K)
    inputs = torch.cat([inference.mean, x.new_ones(n, 1)], 1)
    if len(covariance) == 1:
        spread = n * covariance  # (1 or D, K, K): sum over rows of the covariances of z
        moments = (inputs.T @ inputs)[None]
    else:
        spread = (observed.T @ covariance.flatten(1)).view(-1, k, k)
        moments = (observed.T @ _outer(inputs).flatten(1)).view(-1, k + 1, k + 1)
    moments[:, :k, :k] += spread
    weights = _solve(torch.linalg.cholesky(moments), x.T @ inputs)  # (D, K + 1)
    error = observed * (x - inputs @ weights.T)
    loadings, mean = weights[:, :k], weights[:, k]
    uncertainty = ((loadings[:, None] @ spread)[:, 0] * loadings).sum()
    noise = (error.square().sum() + uncertainty) / observed.sum()
    nu = inference.mean.mean(0)
    away = inference.mean - nu
    psi = away.T @ away / n + covariance.mean(0)
    return Parameters(loadings @ torch.linalg.cholesky(psi), mean + loadings @ nu, noise)


def _distance(old: Parameters, new: Parameters) -> float:
    """Relative change of W, of sigma^2, and of mu against the scale of x: the largest of the three.

    W's change is measured along each of its own directions. A direction that is still tiny has not
    converged while it grows, though it adds nothing to the length of W: near such a saddle the
    likelihood stands still for many iterations.
    """
    _, lengths = torch.linalg.qr(old.loadings)
    turn = torch.linalg.solve_triangular(
        lengths, new.loadings - old.loadings, upper=True, left=False
    )
    scale = (new.loadings.square().sum() + len(new.mean) * new.noise).sqrt()
    changes = (
        turn.norm() / math.sqrt(len(lengths)),
        (new.noise - old.noise).abs() / new.noise,
        (new.mean - old.mean).norm() / scale,
    )
    return max(change.item() for change in changes)


def canonical(loadings: Tensor) -> Tensor:
    """W (D, K) -> W R: orthogonal columns, the longest first, the largest entry of each positive.

    R is a rotation, so that W W^T is the same.
    """
    left, lengths, _ = torch.linalg.svd(loadings, full_matrices=False)
    largest = left.gather(0, left.abs().argmax(0, keepdim=True))
    turned: Tensor = left * lengths * largest.sign()
    return turned


def _require_noise(noise: Tensor, variance: Tensor, k: int) -> None:
    if noise <= SMALLEST_NOISE * variance:
        raise MolvaeError(
            f"no variance is left over for the noise: the data lie in {k} dimensions or fewer, "
            "use fewer components"
        )


def _solve(factor: Tensor, right: Tensor) -> Tensor:
    """Cholesky factors (1 or n, K, K) and vectors (n, K) -> solutions (n, K)."""
    if len(factor) == 1:
        return torch.cholesky_solve(right.T, factor[0]).T
    return torch.cholesky_solve(right[..., None], factor)[..., 0]


def _outer(rows: Tensor) -> Tensor:
    """Rows (n, K) -> their outer products (n, K, K)."""
    return rows[:, :, None] * rows[:, None, :]
