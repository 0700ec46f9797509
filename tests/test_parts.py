"""Every encoder, decoder, likelihood, posterior and prior by name: what a VAE relies on."""

from typing import Any

import pytest
import torch
from random_ids import LONGEST, VOCABULARY, sequences
from torch import Tensor, nn
from torch.distributions import Independent, Normal

from molvae.base.errors import MolvaeError
from molvae.latent import BOS, EOS, PAD
from molvae.latent.autoregressive import beam_search
from molvae.latent.decoders import decoders
from molvae.latent.elbo import elbo, iwae
from molvae.latent.encoders import encoders
from molvae.latent.kinds import Example
from molvae.latent.likelihoods.bernoulli import Bernoulli
from molvae.latent.likelihoods.categorical import CategoricalSequence
from molvae.latent.likelihoods.gaussian import Gaussian
from molvae.latent.posteriors import posteriors
from molvae.latent.priors import priors
from molvae.latent.priors.base import Prior
from molvae.latent.vae import VAE, VAEConfig

LATENT, HIDDEN = 3, 16
IDS, IMAGE = Example((LONGEST,), VOCABULARY), Example((1, 7, 6))
LONGER = Example((LONGEST + 5,), VOCABULARY)


def examples(handles: str, n: int = 6) -> Tensor:
    torch.manual_seed(1)
    return sequences(n) if handles == "ids" else torch.rand(n, *IMAGE.shape)


def of_ids(registry: Any) -> list[str]:
    return [name for name in registry if registry[name].handles == "ids"]


def of_numbers(registry: Any) -> list[str]:
    return [name for name in registry if registry[name].handles != "ids"]


def make_decoder(name: str, example: Example, dropout: float = 0.0) -> Any:
    likelihood = Bernoulli() if example.vocabulary is None else CategoricalSequence()
    return decoders[name](example, LATENT, HIDDEN, likelihood, dropout)


def small(**options: Any) -> VAE:
    torch.manual_seed(0)
    of_numbers = {"encoder": "mlp", "decoder": "mlp", "likelihood": "bernoulli"}
    shape: dict[str, Any] = {"shape": IMAGE.shape, **of_numbers}
    if options.get("encoder") in of_ids(encoders) or options.get("decoder") in of_ids(decoders):
        shape = {"vocabulary": VOCABULARY, "max_length": LONGEST}
    sizes = {"latent": LATENT, "encoder_hidden": HIDDEN, "decoder_hidden": HIDDEN}
    return VAE(VAEConfig(**{**sizes, **shape, **options}))


def require_gradients(parameters: Any) -> None:
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in parameters)


@pytest.mark.parametrize("name", encoders)
def test_encoder_gives_each_example_its_hidden_vector(name: str) -> None:
    torch.manual_seed(0)
    x = examples(encoders[name].handles)
    encoder = encoders[name](IDS if x.ndim == 2 else IMAGE, HIDDEN)
    hidden = encoder(x)
    assert hidden.shape == (6, HIDDEN)
    torch.testing.assert_close(torch.cat([encoder(x[i : i + 1]) for i in range(6)]), hidden)
    hidden.square().sum().backward()
    require_gradients(encoder.parameters())


@pytest.mark.parametrize("name", of_ids(encoders))
def test_sequence_encoder_ignores_padding(name: str) -> None:
    torch.manual_seed(0)
    encoder, x = encoders[name](LONGER, HIDDEN), sequences(6)
    padded = torch.cat([x, torch.full((6, 5), PAD)], dim=1)
    torch.testing.assert_close(encoder(padded), encoder(x))
    one_by_one = [encoder(row[None, : (row != PAD).sum()]) for row in x]
    torch.testing.assert_close(torch.cat(one_by_one), encoder(x))


@pytest.mark.parametrize("name", decoders)
def test_decoder_scores_each_example_and_learns_with_every_parameter(name: str) -> None:
    torch.manual_seed(0)
    x = examples(decoders[name].handles)
    decoder = make_decoder(name, IDS if x.ndim == 2 else IMAGE)
    z = torch.randn(6, LATENT, requires_grad=True)
    log_likelihood = decoder.log_likelihood(x, z)
    assert log_likelihood.shape == (6,)
    one_by_one = [decoder.log_likelihood(x[i : i + 1], z[i : i + 1]) for i in range(6)]
    torch.testing.assert_close(torch.cat(one_by_one), log_likelihood)
    log_likelihood.sum().backward()
    require_gradients([z, *decoder.parameters()])


@pytest.mark.parametrize("name", of_ids(decoders))
def test_sequence_decoder_ignores_padding_and_what_comes_later(name: str) -> None:
    torch.manual_seed(0)
    decoder, x, z = make_decoder(name, IDS), sequences(6), torch.randn(6, LATENT)
    padded = torch.cat([x, torch.full((6, 5), PAD)], dim=1)
    torch.testing.assert_close(decoder.log_likelihood(padded, z), decoder.log_likelihood(x, z))
    changed = x.clone()
    changed[:, 5:] = 3
    torch.testing.assert_close(decoder(z, changed)[:, :5], decoder(z, x)[:, :5])
    assert not torch.allclose(decoder(z, changed)[:, 5:], decoder(z, x)[:, 5:])


@pytest.mark.parametrize("name", of_ids(decoders))
def test_greedy_generation_takes_the_likeliest_next_symbol(name: str) -> None:
    torch.manual_seed(1)
    decoder = make_decoder(name, IDS).eval()
    z = 9 * torch.randn(40, LATENT)
    ids = decoder.generate(z)
    assert ids.shape == (40, LONGEST)
    assert (ids[:, 0] == BOS).all()
    logits = decoder(z, ids).detach()
    logits[..., [PAD, BOS]] = -torch.inf
    real = ids[:, 1:] != PAD
    assert torch.equal(logits.argmax(-1)[real], ids[:, 1:][real])
    after_end = (ids == EOS).cumsum(1) - (ids == EOS).long() > 0
    assert (ids[after_end] == PAD).all()
    drawn = [decoder.generate(z, 1.0, torch.Generator().manual_seed(5)) for _ in range(2)]
    assert torch.equal(*drawn)
    assert not torch.equal(drawn[0], ids)


@pytest.mark.parametrize("name", of_ids(decoders))
def test_a_decoder_gives_what_it_generates_greedily_and_nothing_else(name: str) -> None:
    decoder = make_decoder(name, IDS).eval()
    z = 9 * torch.randn(300, LATENT)
    x = decoder.generate(z)
    whole = (x == EOS).any(dim=1)  # the others have no end
    x, z = x[whole], z[whole]
    assert len(x) > 20
    assert decoder.gives(x, z).all()
    wrong = x.clone()
    wrong[:, 1] = torch.where(x[:, 1] == EOS, EOS + 1, EOS)
    assert not decoder.gives(wrong, z).any()


@pytest.mark.parametrize("name", of_ids(decoders))
def test_a_wide_enough_beam_finds_all_sequences_in_order(name: str) -> None:
    torch.manual_seed(2)
    decoder = make_decoder(name, Example((5,), 5)).eval()  # begin, then up to four symbols of two
    z = 3 * torch.randn(7, LATENT)
    ids, log_p = beam_search(decoder, z, 40)
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


@pytest.mark.parametrize("name", of_ids(decoders))
def test_a_beam_of_one_is_greedy_and_a_margin_drops_the_unlikely(name: str) -> None:
    torch.manual_seed(1)
    decoder, z = make_decoder(name, IDS).eval(), 9 * torch.randn(40, LATENT)
    ids, _ = beam_search(decoder, z, 1)
    assert torch.equal(ids[:, 0], decoder.generate(z))
    wide, near = (beam_search(decoder, z, 6, margin)[1] for margin in (torch.inf, 0.5))
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


@pytest.mark.parametrize("name", of_numbers(decoders))
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


@pytest.mark.parametrize("name", posteriors)
def test_posterior_is_a_distribution_for_each_example(name: str) -> None:
    torch.manual_seed(0)
    head, hidden = posteriors[name](HIDDEN, LATENT), torch.randn(6, HIDDEN)
    q = head(hidden)
    assert q.batch_shape == (6,)
    assert q.event_shape == (LATENT,)
    z = q.rsample(torch.Size([4]))
    assert z.shape == (4, 6, LATENT)
    log_prob = q.log_prob(z)
    one_by_one = torch.cat([head(hidden[i : i + 1]).log_prob(z[:, i : i + 1]) for i in range(6)], 1)
    torch.testing.assert_close(log_prob, one_by_one)
    (log_prob.sum() + z.square().sum()).backward()
    require_gradients(head.parameters())
    assert head.point(q).shape == (6, LATENT)


def bend(module: nn.Module) -> None:
    """Move a module away from the simple start of its training."""
    torch.manual_seed(3)
    with torch.no_grad():
        for p in module.parameters():
            p += 0.5 * torch.randn_like(p) / max(1, p.shape[-1] if p.ndim else 1) ** 0.5


def integral(distribution: Any, batch: int | None = None) -> Tensor:
    """The mass of a distribution over R^2 on a grid from -10 to 10."""
    axis = torch.linspace(-10, 10, 301).double()
    grid = torch.cartesian_prod(axis, axis)
    z = grid if batch is None else grid[:, None].expand(-1, batch, -1)
    return distribution.log_prob(z).exp().sum(0) * (axis[1] - axis[0]) ** 2


@pytest.mark.parametrize("name", posteriors)
def test_posterior_density_integrates_to_one(name: str) -> None:
    torch.manual_seed(0)
    head = posteriors[name](HIDDEN, 2).double()
    bend(head)
    head.standardise(torch.tensor([0.5, -1.0]), torch.tensor([0.8, 1.5]))
    q = head(0.3 * torch.randn(3, HIDDEN).double())  # no scale finer than the grid
    with torch.no_grad():
        torch.testing.assert_close(integral(q, 3), torch.ones(3).double(), atol=1e-4, rtol=0)


SMALL_PRIOR = {"flow-matching": {"layers": 1, "hidden": 12}}


def make_prior(name: str, latent: int) -> tuple[Prior, Any]:
    """A prior bent out of its start, and the posterior it is called with."""
    torch.manual_seed(0)
    encoder, head = encoders["mlp"](IMAGE, HIDDEN), posteriors["diagonal"](HIDDEN, latent)
    prior = priors[name](latent, IMAGE, **SMALL_PRIOR.get(name, {}))
    x = torch.rand(20, *IMAGE.shape)
    prior.initialise(x, head(encoder(x)).sample())
    bend(prior)
    return prior.double(), lambda x: head.double()(encoder.double()(x))


@pytest.mark.parametrize("name", priors)
def test_prior_density_integrates_to_one_and_is_that_of_its_samples(name: str) -> None:
    prior, posterior = make_prior(name, 2)
    p = prior(posterior)
    assert p.batch_shape == ()
    assert p.event_shape == (2,)
    with torch.no_grad():
        torch.testing.assert_close(float(integral(p)), 1.0, atol=1e-4, rtol=0)
        torch.manual_seed(0)
        z = p.sample(torch.Size([20_000]))
        inside = z.abs().amax(1) < 1
        axis = torch.linspace(-1, 1, 201).double()
        grid = torch.cartesian_prod(axis, axis)
        mass = p.log_prob(grid).exp().mean() * 4
        error = (mass * (1 - mass) / len(z)).sqrt()
        assert abs(inside.double().mean() - mass) < 4 * error + 0.01


@pytest.mark.parametrize("name", priors)
def test_prior_learns_with_every_parameter(name: str) -> None:
    prior, posterior = make_prior(name, LATENT)
    log_p = prior(posterior).log_prob(torch.randn(30, LATENT).double())
    if parameters := list(prior.parameters()):
        log_p.sum().backward()
    require_gradients(parameters)


@pytest.mark.parametrize("name", priors)
@pytest.mark.parametrize("encoder", ["mlp", "gru"])
def test_any_prior_serves_a_vae_of_numbers_or_of_ids(name: str, encoder: str) -> None:
    decoder = encoder
    options = SMALL_PRIOR.get(name, {})
    model = small(encoder=encoder, decoder=decoder, prior=name, prior_options=options)
    x = examples(encoders[encoder].handles, 40)
    model.initialise(x)
    for bound in (elbo(model, x), iwae(model, x, 3)):
        assert bound.value().isfinite().all()
    model(x).value().sum().backward()
    require_gradients(model.parameters())
    again = small(encoder=encoder, decoder=decoder, prior=name, prior_options=options)
    again.load_state_dict(model.state_dict())
    z = torch.randn(5, LATENT)
    torch.testing.assert_close(again.prior().log_prob(z), model.prior().log_prob(z))


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
    vamp = priors["vamp"](LATENT, LONGER, components=10)
    vamp.initialise(sequences(4), z)
    assert torch.equal(vamp.pseudo_inputs[:4, :LONGEST], sequences(4))
    assert (vamp.pseudo_inputs[:, LONGEST:] == PAD).all()


@pytest.mark.parametrize("prior", priors)
@pytest.mark.parametrize("posterior", posteriors)
@pytest.mark.parametrize("decoder", decoders)
def test_standardised_coordinates_match_n01_and_change_no_decode(
    posterior: str, decoder: str, prior: str
) -> None:
    sequence = decoder in of_ids(decoders)
    encoder = "gru" if sequence else "mlp"
    parts = {"encoder": encoder, "decoder": decoder, "posterior": posterior, "prior": prior}
    model = small(**parts, prior_options=SMALL_PRIOR.get(prior, {})).eval()
    x = examples(encoders[encoder].handles, 200)
    model.initialise(x)
    bend(model)
    model.double()
    x = x if sequence else x.double()
    with torch.no_grad():
        torch.manual_seed(4)
        z = model.posterior(x).sample()
        said, written = model.log_likelihood(x, z), model.decoder.generate(z)
        density, point = model.posterior(x).log_prob(z), model.encode(x)
        of_prior = model.prior().log_prob(z)
        torch.manual_seed(5)
        old = model.posterior(x).sample(torch.Size([16])).flatten(0, 1)
        mean, scale = old.mean(0), old.std(0)
        torch.manual_seed(5)
        model.standardise(x)
        moved = (z - mean) / scale
        close = {"atol": 1e-3, "rtol": 1e-3}  # the smallest scale of q is not rescaled
        torch.testing.assert_close(model.encode(x), (point - mean) / scale, **close)
        torch.testing.assert_close(
            model.posterior(x).log_prob(moved), density + scale.log().sum(), atol=0.02, rtol=0.02
        )
        torch.testing.assert_close(model.log_likelihood(x, moved), said)
        torch.testing.assert_close(model.decoder.generate(moved), written)
        if prior != "standard-normal":
            torch.testing.assert_close(
                model.prior().log_prob(moved), of_prior + scale.log().sum(), atol=0.02, rtol=0.02
            )


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
        model, x = small(prior="own"), examples("numbers", 30)
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
