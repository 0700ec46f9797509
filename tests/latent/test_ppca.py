"""Probabilistic PCA against dense Gaussians, its own closed form, and scikit-learn."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import multivariate_normal
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_estimator
from torch.distributions import MultivariateNormal, kl_divergence

from molvae.base.errors import MolvaeError
from molvae.latent.elbo import elbo
from molvae.latent.ppca import PPCA, choose_components

Table = NDArray[np.float64]


def rows(n: int, features: int, components: int, seed: int = 0, noise: float = 0.5) -> Table:
    """Draw from a random PPCA model whose mean is far from 0: (n, features)."""
    rng = np.random.default_rng(seed)
    loadings = rng.normal(size=(components, features)) * np.linspace(2, 1, components)[:, None]
    x = rng.normal(size=(n, components)) @ loadings + noise * rng.normal(size=(n, features))
    return x + 10 * rng.normal(size=features)


def holes(x: Table, share: float = 0.3, seed: int = 0) -> Table:
    """Hide a share of the entries; the first row entirely, the second not at all."""
    missing = np.random.default_rng(seed).random(x.shape) < share
    missing[0], missing[1] = True, False
    return np.where(missing, np.nan, x)


def dense_log_p(model: PPCA, x: Table) -> Table:
    """Each row's log density under the dense marginal of its observed entries."""
    covariance, answers = model.get_covariance(), []
    for row in x:
        seen = ~np.isnan(row)
        part = covariance[np.ix_(seen, seen)]
        gaussian = multivariate_normal(model.mean_[seen], part) if seen.any() else None
        answers.append(gaussian.logpdf(row[seen]) if gaussian else 0.0)
    return np.array(answers)


shapes = st.tuples(st.integers(2, 9), st.integers(1, 8), st.integers(10, 40), st.integers(0, 99))
shapes = shapes.filter(lambda shape: shape[1] < shape[0])


@given(shapes, st.sampled_from(["complete", "missing"]))
def test_log_p_and_posterior_are_those_of_the_dense_joint_gaussian(
    shape: tuple[int, int, int, int], kind: str
) -> None:
    features, components, n, seed = shape
    x = rows(n, features, min(3, features), seed)
    model = PPCA(components).fit(x)
    if kind == "missing":
        x = holes(x, seed=seed)
    np.testing.assert_allclose(model.score_samples(x), dense_log_p(model, x), rtol=1e-8, atol=1e-8)
    posterior = model.posterior(torch.from_numpy(x))
    assert posterior.batch_shape == (n,)
    assert posterior.event_shape == (components,)
    covariance = model.get_covariance()
    for row, mean, spread in zip(x, posterior.mean, posterior.covariance_matrix, strict=True):
        seen = ~np.isnan(row)
        cross = model.loadings_[seen]  # covariance of x and z
        gain = np.linalg.solve(covariance[np.ix_(seen, seen)], cross).T
        np.testing.assert_allclose(mean, gain @ (row - model.mean_)[seen], atol=1e-8)
        np.testing.assert_allclose(spread, np.eye(components) - gain @ cross, atol=1e-8)
    np.testing.assert_allclose(model.transform(x), posterior.mean, atol=1e-10)


def test_more_columns_than_rows() -> None:
    x = rows(12, 60, 3)
    model = PPCA(3).fit(x)
    np.testing.assert_allclose(model.score_samples(x), dense_log_p(model, x), rtol=1e-8)
    em = PPCA(3, method="em").fit(x)
    np.testing.assert_allclose(em.get_covariance(), model.get_covariance(), atol=1e-6)


def test_the_closed_form_is_the_maximum_and_scikit_learns_pca_with_divisor_n() -> None:
    x = rows(30, 6, 3)
    model, pca = PPCA(3).fit(x), PCA(3).fit(x)
    # scikit-learn divides the sums of squares by n - 1: the unbiased variances, a factor
    # n / (n - 1) too large for maximum likelihood, so that on its own rows it scores lower
    assert pca.score(x) < model.score(x)
    shrink = (len(x) - 1) / len(x)
    np.testing.assert_allclose(model.get_covariance(), shrink * pca.get_covariance(), atol=1e-10)
    pca.explained_variance_ *= shrink
    pca.noise_variance_ *= shrink
    np.testing.assert_allclose(model.score_samples(x), pca.score_samples(x), atol=1e-8)
    assert_no_better_neighbour(model, x)


def assert_no_better_neighbour(model: PPCA, x: Table) -> None:
    """Small steps in any direction never raise log p(x), and central differences vanish."""
    best, rng, step = model.score(x), np.random.default_rng(0), 1e-4
    for _ in range(20):
        direction = [rng.normal(size=np.shape(p)) for p in (model.loadings_, model.mean_, 0.0)]
        reached = []
        for sign in (-1, 1):
            moved = clone(model)
            moved.n_features_in_ = model.n_features_in_
            moved.loadings_ = model.loadings_ + sign * step * direction[0]
            moved.mean_ = model.mean_ + sign * step * direction[1]
            moved.noise_variance_ = float(model.noise_variance_ + sign * step * direction[2])
            reached.append(moved.score(x))
        assert max(reached) < best
        assert abs(reached[1] - reached[0]) / (2 * step) < 1e-4


@settings(derandomize=True)  # two equal eigenvalues, and EM rightly never ends
@given(shapes)
def test_em_climbs_to_the_closed_form(shape: tuple[int, int, int, int]) -> None:
    features, components, n, seed = shape
    x = rows(5 * n, features, components, seed, noise=0.3)
    exact, em = PPCA(components).fit(x), PPCA(components, method="em", random_state=seed).fit(x)
    assert np.diff(em.log_likelihood_path_).min() > -1e-10
    np.testing.assert_allclose(em.log_likelihood_path_[-1], em.score(x), atol=1e-10)
    np.testing.assert_allclose(em.score(x), exact.score(x), atol=1e-6)
    np.testing.assert_allclose(em.get_covariance(), exact.get_covariance(), atol=1e-6)
    np.testing.assert_allclose(em.mean_, exact.mean_, atol=1e-6)
    np.testing.assert_allclose(em.noise_variance_, exact.noise_variance_, atol=1e-6)
    np.testing.assert_allclose(em.loadings_, exact.loadings_, atol=1e-6)
    assert em.n_iter_ == len(em.log_likelihood_path_) - 1


def test_em_with_missing_entries_reaches_a_maximum_of_the_observed_likelihood() -> None:
    x = holes(rows(200, 6, 2))
    model = PPCA(2, method="em").fit(x)
    assert np.diff(model.log_likelihood_path_).min() > -1e-10
    assert len(model.log_likelihood_path_) == model.n_iter_ + 1 > 5
    np.testing.assert_allclose(model.log_likelihood_path_[-1], dense_log_p(model, x).mean())
    assert_no_better_neighbour(model, x)
    other = PPCA(2, method="em", random_state=7).fit(x)
    np.testing.assert_allclose(other.loadings_, model.loadings_, atol=1e-6)


def test_em_recovers_the_covariance_that_mean_imputation_shrinks() -> None:
    truth = PPCA(2).fit(rows(50, 8, 2))
    x = holes(truth.sample(2_000, random_state=1), share=0.4)
    filled = np.where(np.isnan(x), np.nanmean(x, 0), x)
    target = truth.get_covariance()

    def error(model: PPCA) -> float:
        return float(np.linalg.norm(model.get_covariance() - target) / np.linalg.norm(target))

    assert error(PPCA(2, method="em").fit(x)) < 0.1
    assert error(PPCA(2).fit(filled)) > 0.3


@given(shapes)
def test_imputation_is_the_dense_conditional_mean(shape: tuple[int, int, int, int]) -> None:
    features, components, n, seed = shape
    complete = rows(n, features, min(3, features), seed)
    model = PPCA(components).fit(complete)
    x = holes(complete, seed=seed)
    imputed, covariance = model.impute(x), model.get_covariance()
    for row, answer in zip(x, imputed, strict=True):
        seen = ~np.isnan(row)
        gain = covariance[np.ix_(~seen, seen)] @ np.linalg.pinv(covariance[np.ix_(seen, seen)])
        expected = model.mean_[~seen] + gain @ (row - model.mean_)[seen]
        np.testing.assert_allclose(answer[~seen], expected, atol=1e-8)
        assert np.array_equal(answer[seen], row[seen])
    np.testing.assert_allclose(imputed[0], model.mean_)  # nothing known of it


def test_a_row_without_entries_is_worth_nothing_and_leaves_the_prior() -> None:
    model = PPCA(2).fit(rows(40, 5, 2))
    empty = np.full((1, 5), np.nan)
    assert model.score_samples(empty) == pytest.approx(0, abs=1e-12)
    posterior = model.posterior(torch.from_numpy(empty))
    torch.testing.assert_close(kl_divergence(posterior, model.prior()), torch.zeros(1).double())


@pytest.mark.parametrize("missing", [False, True])
def test_as_a_latent_model_its_exact_posterior_pins_the_evidence(missing: bool) -> None:
    table = rows(20, 6, 3)
    model = PPCA(3).fit(table)
    x = torch.from_numpy(holes(table) if missing else table)
    torch.manual_seed(0)
    posterior, prior = model.posterior(x), model.prior()
    assert isinstance(prior, MultivariateNormal)
    assert prior.sample().dtype == torch.float64
    z = posterior.rsample().requires_grad_()
    joint = prior.log_prob(z) + model.log_likelihood(x, z)
    evidence = torch.from_numpy(model.score_samples(x.numpy()))
    difference = joint - posterior.log_prob(z) - evidence  # 0 at every z, Bayes' rule
    torch.testing.assert_close(difference, torch.zeros(20).double(), atol=1e-10, rtol=0)
    joint.sum().backward()
    assert z.grad is not None
    assert z.grad.isfinite().all()
    assert z.grad.abs().sum() > 0
    repeats = 4_000
    bounds = elbo(model, x.repeat(repeats, 1)).value().view(repeats, 20)
    error = bounds.std(0) / repeats**0.5
    assert ((bounds.mean(0) - evidence).abs() <= 4 * error + 1e-10).all()


def test_samples_have_the_moments_of_the_model() -> None:
    model, n = PPCA(2).fit(rows(60, 5, 2)), 40_000
    x = model.sample(n, random_state=3)
    assert x.shape == (n, 5)
    assert np.array_equal(x, model.sample(n, random_state=3))
    assert not np.array_equal(x, model.sample(n, random_state=4))
    covariance = model.get_covariance()
    variances = np.diag(covariance)
    assert (np.abs(x.mean(0) - model.mean_) < 4 * np.sqrt(variances / n)).all()
    # the variance of a product of two Gaussians
    error = np.sqrt((np.outer(variances, variances) + covariance**2) / n)
    assert (np.abs(np.cov(x.T, ddof=0) - covariance) < 4 * error).all()


def test_reconstruction_is_shrunk_from_the_projection_of_pca() -> None:
    x = rows(80, 6, 2)
    model, pca = PPCA(2).fit(x), PCA(2).fit(x)
    scale = model.loadings_.T @ model.loadings_
    unshrunk = model.transform(x) @ (np.eye(2) + model.noise_variance_ * np.linalg.inv(scale))
    projection = pca.inverse_transform(pca.transform(x))
    np.testing.assert_allclose(model.inverse_transform(unshrunk), projection, atol=1e-8)


@pytest.mark.parametrize("share", [0.0, 0.2])
def test_held_out_likelihood_finds_the_number_of_components(share: float) -> None:
    x = rows(300, 8, 3)
    x = np.where(np.random.default_rng(0).random(x.shape) < share, np.nan, x)
    model, held_out = choose_components(x, [5, 1, 3, 2, 4], folds=4)
    assert model.n_components == 3
    assert list(held_out) == [1, 2, 3, 4, 5]
    assert all(nats.shape == (4,) for nats in held_out.values())
    np.testing.assert_allclose(
        model.loadings_, PPCA(3, method="em" if share else "closed-form").fit(x).loadings_
    )
    again = choose_components(x, [3, 1], folds=4)[1]
    np.testing.assert_array_equal(again[3], held_out[3])


def test_it_is_a_scikit_learn_estimator() -> None:
    x = rows(90, 6, 3)
    y = x[:, 0] > np.median(x[:, 0])
    pipeline = make_pipeline(PPCA(), LogisticRegression())
    assert pipeline.fit(x, y).score(x, y) > 0.8
    assert pipeline[:-1].get_feature_names_out().tolist() == ["ppca0", "ppca1"]
    search = GridSearchCV(PPCA(), {"n_components": [1, 2, 3, 4, 5]}, error_score="raise").fit(x)
    assert search.best_params_ == {"n_components": 3}
    copied = clone(PPCA(3, method="em", tol=1e-5, max_iter=7, random_state=1))
    assert copied.get_params() == PPCA(3, "em", 1e-5, 7, 1).get_params()


@pytest.mark.filterwarnings("ignore")  # its checks allow EM only a few iterations
def test_scikit_learns_own_checks() -> None:
    checks = check_estimator(PPCA(method="em"), on_fail=None)
    failed = [str(c["exception"]) for c in checks if c["status"] == "failed"]
    # a few ask for two components of two columns, which leaves no noise
    assert all(message.startswith("n_components must be") for message in failed), failed
    assert sum(c["status"] == "passed" for c in checks) > 30


def test_em_that_runs_out_of_iterations_warns() -> None:
    with pytest.warns(ConvergenceWarning, match="did not converge in 3 iterations"):
        model = PPCA(2, method="em", max_iter=3).fit(rows(50, 6, 2))
    assert model.n_iter_ == 3


X = rows(20, 5, 2)
FLAT = X[:, :2] @ np.random.default_rng(0).normal(size=(2, 5))
HOLED = holes(X)


@pytest.mark.parametrize(
    ("model", "x", "message"),
    [
        (PPCA(0), X, "n_components must be a whole number from 1 to 4"),
        (PPCA(5), X, "n_components must be a whole number from 1 to 4"),
        (PPCA(2.0), X, "n_components must be a whole number"),  # type: ignore[arg-type]
        (PPCA(2, method="svd"), X, "method must be 'closed-form' or 'em', not 'svd'"),
        (PPCA(2, tol=0), X, "tol 0 must be above 0"),
        (PPCA(2, max_iter=0), X, "max_iter 0 at least 1"),
        (PPCA(3), X[:4], "4 rows are too few for 3 components: give at least 5"),
        (PPCA(2), HOLED, "use method='em'"),
        (PPCA(2), FLAT, "no variance is left over"),
        (PPCA(2, method="em"), FLAT, "no variance is left over"),
        (PPCA(1), np.full((5, 3), 1.1), "X does not vary"),
        (PPCA(1, method="em"), np.full((5, 3), 1.1), "X does not vary"),
        (PPCA(2, method="em"), np.where(np.arange(5) == 3, np.nan, X), r"in columns \[3\]"),
    ],
)
def test_what_cannot_be_fitted_is_refused_in_one_line(model: PPCA, x: Table, message: str) -> None:
    with pytest.raises(MolvaeError, match=message) as caught:
        model.fit(x)
    assert "\n" not in str(caught.value)


def test_tables_that_do_not_fit_are_refused() -> None:
    model = PPCA(2).fit(X)
    with pytest.raises(ValueError, match="infinity"):
        PPCA(2).fit(np.where(np.eye(20, 5), np.inf, X))
    with pytest.raises(ValueError, match="expecting 5 features"):
        model.transform(X[:, :4])
    with pytest.raises(MolvaeError, match="x has 4 columns, the model 5"):
        model.posterior(torch.from_numpy(X[:, :4]))
    with pytest.raises(MolvaeError, match="Z has 3 columns, the model 2"):
        model.inverse_transform(X[:, :3])
    with pytest.raises(MolvaeError, match="no candidate"):
        choose_components(X, [])
    for ask in (
        lambda: PPCA().transform(X),
        lambda: PPCA().inverse_transform(X),
        lambda: PPCA().score(X),
        lambda: PPCA().sample(),
        lambda: PPCA().get_covariance(),
        lambda: PPCA().prior(),
        lambda: PPCA().posterior(torch.from_numpy(X)),
    ):
        with pytest.raises(NotFittedError):
            ask()
