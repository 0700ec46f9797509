"""The registered parts of a VAE against their conformance suites, and what is special to some.

The suites take every part with every kind of x that it handles, those of a plug-in too:
`pytest -p my_module tests/latent/test_parts.py`.
"""

import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal

from conformance.latent_parts import (
    COMPLETE,
    HIDDEN,
    LATENT,
    SMALL_PRIOR,
    check_decoder,
    check_dropout,
    check_encoder,
    check_greedy_decoding,
    check_kind,
    check_learning,
    check_locator,
    check_posterior,
    check_prior,
    check_sequence_decoder,
    check_sequence_encoder,
    check_standardise,
    check_vae,
    handling,
    lengthen,
    make_vae,
    parts_for,
    require_gradients,
)
from molvae.base.errors import MolvaeError
from molvae.latent import BOS, EOS, PAD
from molvae.latent.autoregressive import beam_search
from molvae.latent.decoders import decoders
from molvae.latent.elbo import elbo
from molvae.latent.encoders import encoders
from molvae.latent.kinds import Example, Kind, is_a, kinds
from molvae.latent.layers import Symbols
from molvae.latent.likelihoods import likelihoods
from molvae.latent.likelihoods.bernoulli import Bernoulli
from molvae.latent.likelihoods.categorical import CategoricalSequence
from molvae.latent.likelihoods.gaussian import Gaussian
from molvae.latent.locators import locators
from molvae.latent.posteriors import posteriors
from molvae.latent.priors import priors
from molvae.latent.priors.base import Prior
from molvae.latent.vae import VAE, VAEConfig
from random_ids import IDS, LONGEST, VOCABULARY, sequences

IMAGE = kinds["images"].draw(1, 0)[0]
NO_DROPOUT = {"linear"}  # decoders without hidden units, which ignore it


ENCODERS = [(name, kind) for kind in kinds for name in handling(encoders, kind)]
DECODERS = [
    (name, likelihood, kind)
    for kind in kinds
    for name in handling(decoders, kind)
    for likelihood in handling(likelihoods, kind)
]
SEQUENCE_DECODERS = [case for case in DECODERS if is_a(case[2], "ids")]


def make_decoder(name: str, example: Example, dropout: float = 0.0) -> Any:
    likelihood = Bernoulli() if example.vocabulary is None else CategoricalSequence()
    return decoders[name](example, LATENT, HIDDEN, likelihood, dropout)


def of_ids(registry: Any) -> list[str]:
    return handling(registry, "ids")


def small(**options: Any) -> VAE:
    """A small VAE of images, or of ids where the encoder or decoder handles these."""
    torch.manual_seed(0)
    of_numbers = {"encoder": "mlp", "decoder": "mlp", "likelihood": "bernoulli"}
    shape: dict[str, Any] = {"shape": IMAGE.shape, **of_numbers}
    if options.get("encoder") in of_ids(encoders) or options.get("decoder") in of_ids(decoders):
        shape = {"vocabulary": VOCABULARY, "max_length": LONGEST}
    sizes = {"latent": LATENT, "encoder_hidden": HIDDEN, "decoder_hidden": HIDDEN}
    return VAE(VAEConfig(**{**sizes, **shape, **options}))


@pytest.mark.parametrize("kind", kinds)
def test_kind(kind: str) -> None:
    check_kind(kind)


@pytest.mark.parametrize(("name", "kind"), ENCODERS)
def test_encoder(name: str, kind: str) -> None:
    check_encoder(encoders[name], kind)
    if is_a(kind, "ids"):
        check_sequence_encoder(encoders[name], kind)


@pytest.mark.parametrize("name", locators)
def test_locator(name: str) -> None:
    check_locator(locators[name], locators[name].handles)


@pytest.mark.parametrize(("name", "likelihood", "kind"), DECODERS)
def test_decoder(name: str, likelihood: str, kind: str) -> None:
    check_decoder(decoders[name], partial(likelihoods[likelihood], None), kind)
    if name not in NO_DROPOUT:
        check_dropout(decoders[name], partial(likelihoods[likelihood], None), kind)


@pytest.mark.parametrize(("name", "likelihood", "kind"), SEQUENCE_DECODERS)
def test_sequence_decoder(name: str, likelihood: str, kind: str) -> None:
    check_sequence_decoder(decoders[name], partial(likelihoods[likelihood], None), kind)


@pytest.mark.parametrize(("name", "likelihood", "kind"), SEQUENCE_DECODERS)
def test_greedy_decoding(name: str, likelihood: str, kind: str) -> None:
    check_greedy_decoding(decoders[name], partial(likelihoods[likelihood], None), kind)


@pytest.mark.parametrize(("decoder", "likelihood", "kind"), DECODERS)
def test_a_vae_learns(decoder: str, likelihood: str, kind: str) -> None:
    check_learning(kind, **parts_for(kind, decoder=decoder, likelihood=likelihood))


@pytest.mark.parametrize("name", posteriors)
def test_posterior(name: str) -> None:
    check_posterior(posteriors[name])


@pytest.mark.parametrize("name", priors)
def test_prior(name: str) -> None:
    def model(latent: int) -> VAE:
        return make_vae("images", **{**parts_for("images"), "encoder": "mlp", "latent": latent})

    check_prior(partial(priors[name], **SMALL_PRIOR.get(name, {})), model, "images")


@pytest.mark.parametrize("prior", priors)
@pytest.mark.parametrize("kind", COMPLETE)
def test_any_prior_serves_a_vae_of_any_kind(kind: str, prior: str) -> None:
    check_vae(kind, **parts_for(kind, prior=prior))


@pytest.mark.parametrize("prior", priors)
@pytest.mark.parametrize("posterior", posteriors)
@pytest.mark.parametrize("decoder", decoders)
def test_standardised_coordinates(posterior: str, decoder: str, prior: str) -> None:
    kind = decoders[decoder].handles
    check_standardise(kind, **parts_for(kind, decoder=decoder, posterior=posterior, prior=prior))


STROKES = Path(__file__).parents[1] / "plugins"


def test_a_kind_from_elsewhere_is_one_file_and_runs_the_suites() -> None:
    names = "test_kind or test_encoder or test_decoder or learns or serves or standardised"
    command = [sys.executable, "-m", "pytest", "-n", "0", "-p", "strokes", "-p", "no:cacheprovider"]
    command += ["-rp", __file__, "-k", f"strokes and ({names})"]
    paths = [str(STROKES), *filter(None, [os.environ.get("PYTHONPATH")])]
    result = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )
    assert result.returncode == 0, result.stdout + result.stderr
    for test in names.split(" or "):
        assert re.search(rf"PASSED \S*{test}\S*strokes", result.stdout), test


def test_parts_from_elsewhere_are_named_by_their_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(STROKES)
    registries = (kinds, encoders, decoders, likelihoods)
    before = [dict(registry._entries) for registry in registries]
    parts = ("encoder", "Encoder"), ("decoder", "Decoder"), ("likelihood", "Likelihood")
    config = VAEConfig(
        shape=(6, 5), latent=2, kind="strokes", **{a: f"strokes:Stroke{b}" for a, b in parts}
    )
    try:
        model = VAE(config)
        with pytest.raises(MolvaeError, match="'mlp' handles arrays of numbers, but x is of"):
            VAE(VAEConfig(**{**vars(config), "decoder": "mlp"}))
        x = kinds["strokes"].draw(64, 0)[1]
        optimizer, losses = torch.optim.Adam(model.parameters(), 5e-3), []
        for _ in range(40):
            optimizer.zero_grad()
            losses.append(-model(x).value().mean())
            losses[-1].backward()
            optimizer.step()
        assert losses[-1] < 0.8 * losses[0]
    finally:
        for registry, entries in zip(registries, before, strict=True):
            registry._entries = entries
        del sys.modules["strokes"]


class Reader(nn.Module):
    """An encoder that is whole."""

    handles = "numbers"

    def forward(self, x: Tensor) -> Tensor:
        return x


def without(attribute: str, part: Any) -> Any:
    """A module class with all that `part` has but one attribute."""
    classes = [c for c in reversed(part.__mro__) if c not in nn.Module.__mro__]
    own = {name: value for c in classes for name, value in vars(c).items()}
    own.pop(attribute)
    return type("Incomplete", (nn.Module,), own)


@pytest.mark.parametrize(
    ("registry", "part", "message"),
    [
        (encoders, without("forward", Reader), "the encoder 'new' lacks forward: see Encoder in"),
        (
            encoders,
            without("handles", Reader),
            "'new' needs a class attribute `handles`, one of ids",
        ),
        (encoders, type("Odd", (Reader,), {"handles": "smells"}), "not 'smells'"),
        (encoders, lambda example, hidden: None, "'new' is not a class derived from torch.nn.Mod"),
        (decoders, without("generate", decoders["mlp"]), "lacks generate"),
        (decoders, without("step", decoders["gru"]), "'new' lacks step: see SequenceDecoder"),
        (
            decoders,
            type("Half", (decoders["gru"].__base__,), {}),
            "lacks standardise: see Decoder in",
        ),
        (likelihoods, without("log_prob", Gaussian), "lacks log_prob: see Likelihood"),
        (posteriors, without("point", posteriors["flow"]), "lacks point: see PosteriorHead"),
        (priors, type("Empty", (Prior,), {}), "lacks forward: see PriorModule"),
        (kinds, Kind("smells", IDS, "senses"), "generalises to 'senses', which is not"),
        (kinds, "smells", "'new' is not a molvae.latent.kinds.Kind"),
    ],
)
def test_a_part_that_lacks_something_is_refused_when_it_is_registered(
    registry: Any, part: Any, message: str
) -> None:
    with pytest.raises(MolvaeError, match=message):
        registry.register("new")(part)
    assert "new" not in registry


def test_the_kind_of_x_is_inferred_or_stated() -> None:
    assert VAEConfig(9, 14).example == Example((14,), 9, "ids")
    assert VAEConfig(shape=(1, 7, 6)).example.kind == "images"
    assert VAEConfig(shape=(7, 6)).example.kind == "numbers"
    assert VAEConfig(shape=(1, 7, 6), kind="numbers").example.kind == "numbers"
    for shape, kind in (((7, 6), "images"), ((7,), "ids")):
        with pytest.raises(MolvaeError, match=f"cannot be of the kind '{kind}'"):
            _ = VAEConfig(shape=shape, kind=kind).example
    with pytest.raises(MolvaeError, match="did you mean 'images'"):
        _ = VAEConfig(shape=(1, 7, 6), kind="image").example


@pytest.mark.parametrize("name", of_ids(decoders))
def test_a_wide_enough_beam_finds_all_sequences_in_order(name: str) -> None:
    torch.manual_seed(2)
    decoder = make_decoder(name, Example((5,), 5)).eval()  # begin, then up to four symbols of two
    z = 3 * torch.randn(7, LATENT)
    ids, log_p, left_out = beam_search(decoder, z, 40)
    assert ids.shape == (7, 40, 5)
    there = log_p.isfinite()
    assert (there.sum(dim=1) == 1 + 2 + 4 + 8 + 16).all()  # the last 16 have no room for the end
    assert all(len({tuple(row) for row in rows.tolist()}) == 31 for rows in ids[:, :31])
    assert (log_p.diff(dim=1)[:, :30] <= 0).all()
    torch.testing.assert_close(log_p.exp().sum(dim=1), torch.ones(7))
    x, points = ids[:, :31].flatten(0, 1), z.repeat_interleave(31, dim=0)
    logits = decoder(points, x).detach()
    logits[..., [PAD, BOS]] = -torch.inf
    steps = logits.log_softmax(-1).gather(2, x[:, 1:, None])[..., 0]
    expected = steps.masked_fill(x[:, 1:] == PAD, 0.0).sum(1).view(7, 31)
    torch.testing.assert_close(log_p[:, :31], expected)
    assert (left_out == -torch.inf).all()
    some = beam_search(decoder, z, 40, floor=log_p[:, 9])
    torch.testing.assert_close(some.log_p[:, :9], log_p[:, :9])
    assert torch.equal(some.ids[:, :9], ids[:, :9])
    assert (some.log_p[:, 9:] == -torch.inf).all()
    few = beam_search(decoder, z, 3)
    missing = [
        [row not in kept for row in rows]
        for kept, rows in zip(few.ids.tolist(), ids.tolist(), strict=True)
    ]
    best_missing = log_p.where(torch.tensor(missing), -torch.inf).amax(dim=1)
    assert (few.left_out >= best_missing - 1e-5).all()
    assert (few.left_out < few.log_p[:, 0]).any()


@pytest.mark.parametrize("name", of_ids(decoders))
def test_a_beam_of_one_is_greedy_and_a_margin_drops_the_unlikely(name: str) -> None:
    torch.manual_seed(1)
    decoder, z = make_decoder(name, IDS).eval(), 9 * torch.randn(40, LATENT)
    ids = beam_search(decoder, z, 1).ids
    assert torch.equal(ids[:, 0], decoder.generate(z))
    wide, near = (beam_search(decoder, z, 6, margin).log_p for margin in (torch.inf, 0.5))
    assert (near >= near[:, :1] - 0.5)[near.isfinite()].all()
    assert near.isfinite().sum() < wide.isfinite().sum()
    assert near[:, 0].isfinite().all()


@pytest.mark.parametrize("encoder", of_ids(encoders))
@pytest.mark.parametrize("decoder", of_ids(decoders))
def test_a_large_vocabulary_has_learned_vectors(encoder: str, decoder: str) -> None:
    model, x = small(encoder=encoder, decoder=decoder, vocabulary=100), sequences(6)
    x[x > EOS] += 80
    model(x).value().sum().backward()
    require_gradients(model.parameters())
    model.eval()
    with torch.no_grad():
        z = model.encode(x)
        torch.testing.assert_close(model.encode(x[:2]), z[:2])
        ids = model.decoder.generate(z)
        step = model.decoder(z, ids).argmax(-1)
    written = ids[:, 1:] != PAD
    assert torch.equal(step[written], ids[:, 1:][written])


@pytest.mark.parametrize("name", of_ids(decoders))
def test_hidden_symbols_change_the_training_of_a_sequence_decoder_only(name: str) -> None:
    torch.manual_seed(0)
    decoder, x, z = make_decoder(name, IDS, dropout=0.9), sequences(6), torch.randn(6, LATENT)
    first = [decoder(z, x)[:, 0] for _ in range(2)]
    torch.testing.assert_close(*first)  # BOS is never hidden
    assert not torch.equal(decoder(z, x), decoder(z, x))
    decoder.eval()
    assert torch.equal(decoder(z, x), decoder(z, x))


@pytest.mark.parametrize("name", handling(decoders, "images"))
def test_array_decoder_generates_means_and_draws(name: str) -> None:
    torch.manual_seed(0)
    decoder, z = make_decoder(name, IMAGE).eval(), torch.randn(2_000, LATENT)
    mean = decoder.generate(z)
    assert mean.shape == (2_000, *IMAGE.shape)
    assert ((mean > 0) & (mean < 1)).all()
    drawn = decoder.generate(z, 1.0, torch.Generator().manual_seed(5))
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    error = (mean * (1 - mean)).sum(0).sqrt()
    assert ((drawn - mean).sum(0).abs() < 4.5 * error).all()


def test_likelihoods_are_those_of_their_distributions() -> None:
    torch.manual_seed(0)
    out, x = torch.randn(4, 2, 3).double(), torch.rand(4, 2, 3).double().round()
    bernoulli = Independent(torch.distributions.Bernoulli(logits=out), 2)
    torch.testing.assert_close(Bernoulli().log_prob(out, x), bernoulli.log_prob(x))
    y = torch.randn(4, 2, 3).double()
    for likelihood, scale in ((Gaussian(0.3), 0.3), (Gaussian(), 1.0)):
        expected = Independent(Normal(out, scale), 2).log_prob(y)
        torch.testing.assert_close(likelihood.log_prob(out, y), expected, atol=1e-5, rtol=1e-5)
    assert not list(Gaussian(0.3).parameters())
    learned = Gaussian()
    best = (y - out).square().mean().sqrt().log()  # of the one scale, by maximum likelihood
    learned.log_scale.data = best.clone()
    learned.double().log_prob(out, y).sum().backward()
    assert abs(learned.log_scale.grad) < 1e-9
    noise = Gaussian(0.3).generate(torch.zeros(9_000), 2.0, torch.Generator().manual_seed(1))
    assert abs(noise.std() - 0.6) < 0.02
    logits, ids = torch.randn(3, LONGEST - 1, VOCABULARY), sequences(3)
    each = logits.log_softmax(-1).gather(2, ids[:, 1:, None])[..., 0]
    expected = (each * (ids[:, 1:] != PAD)).sum(1)
    torch.testing.assert_close(CategoricalSequence().log_prob(logits, ids), expected)


def test_priors_start_from_the_examples() -> None:
    torch.manual_seed(0)
    z = torch.tensor([2.0, -1.0, 0.5]) + torch.tensor([0.3, 1.0, 2.0]) * torch.randn(4_000, LATENT)
    x = torch.rand(4_000, *IMAGE.shape)
    for name in ("mixture", "flow", "flow-matching"):
        prior = priors[name](LATENT, IMAGE, **SMALL_PRIOR.get(name, {}))
        before = prior(lambda x: None).log_prob(z).mean()
        prior.initialise(x, z)
        after = prior(lambda x: None).log_prob(z).mean()
        best = Independent(Normal(z.mean(0), z.std(0)), 1).log_prob(z).mean()
        assert after > before
        assert after > best - 0.5
    vamp = priors["vamp"](LATENT, IMAGE, components=7)
    vamp.initialise(x, z)
    assert torch.equal(vamp.pseudo_inputs, x[:7])
    vamp = priors["vamp"](LATENT, lengthen(IDS, 5), components=10)
    vamp.initialise(sequences(4), z)
    assert torch.equal(vamp.pseudo_inputs[:4, :LONGEST], sequences(4))
    assert (vamp.pseudo_inputs[:, LONGEST:] == PAD).all()


def test_a_prior_that_cannot_follow_keeps_the_coordinates() -> None:
    class Own(Prior):
        """A prior as a user writes it: only `forward`."""

        def __init__(self, latent: int, example: Example) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(latent))

        def forward(self, posterior: Any) -> Any:
            return Independent(torch.distributions.Laplace(torch.zeros(LATENT), self.scale), 1)

    priors.register("own")(Own)
    try:
        model, x = small(prior="own"), kinds["images"].draw(30, 1)[1]
        model.initialise(x)
        before = model.encode(x)
        model.standardise(x)
        assert torch.equal(model.encode(x), before)
        assert elbo(model, x).value().isfinite().all()
    finally:
        del priors._entries["own"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoder": "gru"}, "'mlp' handles arrays"),
        ({"encoder": "image", "shape": (10,)}, "'image' handles images"),
        ({"likelihood": "categorical"}, "'categorical' handles sequences"),
        ({"noise": 0.1}, "takes no noise"),
        ({"likelihood": "gaussian", "noise": -1.0}, "noise must be above 0"),
        ({"prior": "mixture", "prior_options": {"parts": 3}}, "'mixture' cannot be made"),
        ({"prior": "vampp"}, "did you mean 'vamp'"),
        ({"prior": "torch.nn:Linear"}, "lacks initialise|lacks gain, initialise, standardise"),
        ({"latent": 0}, "latent must be at least 1"),
    ],
)
def test_parts_that_do_not_fit_are_one_clear_error(options: dict[str, Any], message: str) -> None:
    if options.get("encoder") == "gru":
        options = {**options, "decoder": "mlp"}
    with pytest.raises(MolvaeError, match=message):
        small(**options)


@pytest.mark.parametrize("known", [False, True])
def test_the_encoder_reads_the_other_form_with_and_without_properties(known: bool) -> None:
    config = VAEConfig(
        VOCABULARY, LONGEST, latent=4, encoder_hidden=16, decoder_hidden=16, properties=("logP",)
    )
    torch.manual_seed(0)
    model = VAE(config).eval()
    x, other = sequences(6), sequences(6, 1)
    y = torch.zeros(6, 1) if known else None
    bound = model(x, y, other[:, None].expand(-1, 3, -1))
    torch.testing.assert_close(bound.kl, model(other, y).kl)
    assert not torch.allclose(bound.kl, model(x, y).kl)


@pytest.mark.parametrize("vocabulary", [Symbols.widest, Symbols.widest + 1])
def test_symbols_are_looked_up_as_by_a_product_with_one_hot_vectors(vocabulary: int) -> None:
    torch.manual_seed(0)
    symbols, ids = Symbols(vocabulary), torch.randint(vocabulary, (5, 7))
    one_hot = nn.functional.one_hot(ids, vocabulary).float()
    for training in (True, False):
        symbols.train(training)
        assert torch.equal(symbols(ids), symbols.vectors(one_hot))
