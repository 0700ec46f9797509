"""What the public functions refuse, in one line each, for every registered part and kind of x."""

import contextlib
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from conformance.latent_parts import (
    COMPLETE,
    SMALL_PRIOR,
    draw,
    handling,
    make_vae,
    parts_for,
)
from molvae.base.errors import MolvaeError
from molvae.latent.aggregate import fit_prior
from molvae.latent.elbo import blurred_elbo, elbo, free_bits_elbo, iwae, log_marginal, tc_elbo
from molvae.latent.fit import fit
from molvae.latent.gradients import enumerated, estimators
from molvae.latent.kinds import kinds
from molvae.latent.likelihoods import likelihoods
from molvae.latent.posteriors import posteriors
from molvae.latent.ppca import PPCA
from molvae.latent.priors import priors
from molvae.latent.semi import M2
from molvae.latent.training import FitConfig
from molvae.latent.vae import VAEConfig

SHORT = FitConfig(epochs=2, batch=8, precision="32-true")
REAL = [kind for kind in COMPLETE if kinds[kind].has_gradient]
BOUNDS = {
    "elbo": elbo,
    "iwae": partial(iwae, samples=2),
    "blurred": partial(blurred_elbo, share=0.5),
    "free bits": partial(free_bits_elbo, nats=0.1),
    "tc": partial(tc_elbo, examples=10),
    "log p": partial(log_marginal, samples=3),
}


def complete(kind: str, **parts: Any) -> Any:
    return make_vae(kind, **parts_for(kind, **parts))


def small(**options: Any) -> Any:
    """A small VAE of images with a Bernoulli likelihood."""
    return make_vae("images", **parts_for("images", likelihood="bernoulli"), **options)


@pytest.mark.parametrize("bound", BOUNDS)
@pytest.mark.parametrize("kind", COMPLETE)
def test_a_batch_that_a_model_cannot_read_is_one_line(kind: str, bound: str) -> None:
    model, x = complete(kind), draw(kind)[1]
    assert BOUNDS[bound](model, x)[0].isfinite().all()
    wrong = {
        "x holds no examples": x[:0],
        "x must have shape": x[..., None],
        "x holds (int32|float64), and the model reads": x.double()
        if x.is_floating_point()
        else x.int(),
    }
    if x.is_floating_point():
        wrong["row 2 of x is not finite"] = x.index_fill(0, torch.tensor(2), torch.nan)
    for message, batch in wrong.items():
        with pytest.raises(MolvaeError, match=message):
            BOUNDS[bound](model, batch)


@pytest.mark.parametrize("kind", COMPLETE)
def test_ids_that_are_not_in_the_vocabulary_are_one_line(kind: str) -> None:
    example, x = draw(kind)
    if example.vocabulary is None:
        with pytest.raises(MolvaeError, match="x holds int64, and the model reads float32"):
            complete(kind)(x.long())
        return
    for wrong in (-1, example.vocabulary):
        with pytest.raises(MolvaeError, match="x holds ids that are not in 0"):
            complete(kind)(x.index_fill(0, torch.tensor(3), wrong))


@pytest.mark.parametrize(
    ("name", "kind"), [(n, k) for k in REAL for n in likelihoods if n in handling(likelihoods, k)]
)
def test_a_likelihood_takes_any_number_or_says_which_it_takes(name: str, kind: str) -> None:
    model, x = complete(kind, likelihood=name), draw(kind)[1]
    for wrong in (x + 1.5, x - 1.5):
        with contextlib.suppress(MolvaeError):
            assert model(wrong).value().isfinite().all()
    if name == "bernoulli":
        with pytest.raises(MolvaeError, match=r"row 4 of x .* the bernoulli likelihood"):
            model(x.index_fill(0, torch.tensor(4), 1.01))


@pytest.mark.parametrize("prior", priors)
@pytest.mark.parametrize("kind", COMPLETE)
def test_a_prior_starts_from_a_single_example(kind: str, prior: str) -> None:
    """A standard deviation of one example is NaN, and an ODE solver never ends on NaN."""
    model, x = complete(kind, prior=prior), draw(kind, 1)[1]
    model.initialise(x)
    assert model.prior().log_prob(torch.randn(4, model.config.latent)).isfinite().all()
    assert model.prior().sample((4,)).isfinite().all()
    model.standardise(x)
    assert model(x).value().isfinite().all()
    state = fit(model, x.numpy(), x.numpy(), SHORT)
    assert np.isfinite(state.best_loss)
    options = SMALL_PRIOR.get(prior, {})
    fitted = fit_prior(model, prior, x.numpy(), x.numpy(), config=SHORT, options=options)
    assert np.isfinite(fitted.after)


@pytest.mark.parametrize("prior", priors)
@pytest.mark.parametrize("posterior", posteriors)
def test_one_latent_dimension_works_or_is_refused(posterior: str, prior: str) -> None:
    kind = COMPLETE[0]
    parts = parts_for(kind, posterior=posterior, prior=prior)
    if prior == "flow":
        with pytest.raises(MolvaeError, match="needs at least 2 latent dimensions"):
            make_vae(kind, **parts, latent=1)
        return
    model = make_vae(kind, **parts, latent=1)
    assert model(draw(kind)[1]).value().isfinite().all()


@pytest.mark.parametrize("samples", [0, -1, 1.5])
def test_a_number_of_samples_is_at_least_one(samples: Any) -> None:
    model, x = small(), draw("images")[1]
    for bound in (elbo, iwae, log_marginal):
        with pytest.raises(MolvaeError, match="at least 1 sample, not"):
            bound(model, x, samples=samples)
    with pytest.raises(MolvaeError, match="at least 1 sample, not"):
        tc_elbo(model, x, examples=0)
    with pytest.raises(MolvaeError, match="must be from 0 to 1, not"):
        blurred_elbo(model, x, 1.5)
    q = torch.distributions.Normal(torch.zeros(2), 1.0)
    for estimator in set(estimators.values()) - {enumerated}:
        with pytest.raises(MolvaeError, match="at least 1 sample, not"):
            estimator(q, torch.square, samples)


def test_data_to_train_on_are_checked_before_the_first_step() -> None:
    x = draw("images", 40)[1].numpy()
    hole, endless = x.copy(), x.copy()
    hole[[7, 9], 0, 2, 2], endless[3] = np.nan, np.inf
    for data, message in [
        ((hole, x), r"row 7 of training array 0 is not finite \(and 1 more rows\)"),
        ((x, endless), "row 3 of validation array 0 is not finite"),
        ((x[:0], x), "the training data hold no examples"),
        ((x, x[:0]), "the validation data hold no examples"),
        (((x, x[:5]), (x, x)), r"different numbers of rows: \[40, 5\]"),
        ((x.astype(str), x), "training array 0 holds <U32, not numbers"),
        (((x * 255).astype(np.uint8), x), "the model reads float32"),
        ((x + 0.5, x), "the bernoulli likelihood cannot have given"),
    ]:
        with pytest.raises(MolvaeError, match=message):
            fit(small(), *data, SHORT)
    again = [fit(small(), x.astype(kind), x, SHORT) for kind in (np.float32, np.float64)]
    assert again[0].best_loss == again[1].best_loss


def test_what_belongs_to_x_may_be_unknown_but_not_infinite() -> None:
    x, y = draw("images", 40)[1].numpy(), np.ones((40, 2), np.float32)
    y[5] = np.nan
    model = small(properties=("a", "b"))
    assert np.isfinite(fit(model, (x, y), (x, y), SHORT).best_loss)
    y[6, 1] = np.inf
    with pytest.raises(MolvaeError, match="row 6 of training array 1 is not finite"):
        fit(model, (x, y), (x, y), SHORT)


def test_a_semi_supervised_model_checks_its_batches() -> None:
    x = draw("images")[1]
    config = VAEConfig(shape=x.shape[1:], **parts_for("images"), latent=3, encoder_hidden=16)
    model, y = M2(config, 3, 1.0), torch.zeros(6, dtype=torch.long)
    assert model(x, y).value().isfinite().all()
    for message, call in {
        "x holds float64": lambda: model(x.double(), y),
        "x holds no examples": lambda: model.classify(x[:0]),
        "x must have shape": lambda: model.encode(x[0], y),
        r"y must have shape \(6,\)": lambda: model(x, y[:4]),
    }.items():
        with pytest.raises(MolvaeError, match=message):
            call()


def test_a_linear_model_takes_tensors_of_any_precision_and_says_what_is_wrong() -> None:
    table = np.random.default_rng(0).normal(size=(30, 4)) * [3, 2, 1, 1]
    model, x = PPCA(2).fit(table), torch.from_numpy(table)
    z = torch.randn(30, 2)
    torch.testing.assert_close(model.log_likelihood(x, z), model.log_likelihood(x, z.double()))
    assert iwae(model, x.float(), 3).value().dtype == torch.float64
    for message, call in {
        r"z must have shape \(B, 2\)": lambda: model.log_likelihood(x, z[:, :1]),
        "x holds no examples": lambda: elbo(model, x[:0]),
        "row 1 of x is not finite": lambda: elbo(
            model, x.index_fill(0, torch.tensor(1), torch.inf)
        ),
        "at least 1 sample": lambda: iwae(model, x, 0),
    }.items():
        with pytest.raises(MolvaeError, match=message):
            call()
