"""What a model relies on in each of its parts, as functions of a constructor.

Each takes the constructor of a part, as its protocol in `molvae.latent.protocols` has it, and the
kind of x to run it on. A part or a kind from elsewhere can call them from its own tests; those that
are registered are run by test_parts.py.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from molvae.base.registry import Registry
from molvae.latent import BOS, EOS, PAD
from molvae.latent.decoders import decoders
from molvae.latent.elbo import elbo, iwae
from molvae.latent.encoders import encoders
from molvae.latent.kinds import Example, is_a, kinds
from molvae.latent.likelihoods import likelihoods
from molvae.latent.vae import VAE, VAEConfig

LATENT, HIDDEN = 3, 16
Make = Callable[..., Any]


def handling(registry: Registry[Any], kind: str) -> list[str]:
    """The parts that handle x of a kind."""
    return [name for name in registry if is_a(kind, registry[name].handles)]


COMPLETE = [kind for kind in kinds if handling(encoders, kind) and handling(decoders, kind)]
SMALL_PRIOR = {"flow-matching": {"layers": 1, "hidden": 12}}


def parts_for(kind: str, **parts: str) -> dict[str, Any]:
    """An encoder, decoder and likelihood for x of a kind, those that are given first."""
    found = {
        "encoder": handling(encoders, kind)[0],
        "decoder": handling(decoders, kind)[0],
        "likelihood": handling(likelihoods, kind)[0],
        **parts,
    }
    if "prior" in parts:
        found["prior_options"] = SMALL_PRIOR.get(parts["prior"], {})
    return found


def draw(kind: str, n: int = 6) -> tuple[Example, Tensor]:
    """What an x of a kind looks like, and n of them."""
    return kinds[kind].draw(n, 1)


def require_gradients(parameters: Iterable[Tensor]) -> None:
    """Fail where a weight has no part in the result."""
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in parameters)


def bend(module: nn.Module) -> None:
    """Move a module away from the simple start of its training."""
    torch.manual_seed(3)
    with torch.no_grad():
        for p in module.parameters():
            p += 0.5 * torch.randn_like(p) / max(1, p.shape[-1] if p.ndim else 1) ** 0.5


def integrate(distribution: Any, batch: int | None = None) -> Tensor:
    """The mass of a distribution over R^2 on a grid from -10 to 10."""
    axis = torch.linspace(-10, 10, 301).double()
    grid = torch.cartesian_prod(axis, axis)
    z = grid if batch is None else grid[:, None].expand(-1, batch, -1)
    return distribution.log_prob(z).exp().sum(0) * (axis[1] - axis[0]) ** 2


def lengthen(example: Example, by: int) -> Example:
    """The same sequences with room for more symbols."""
    return Example((example.shape[0] + by,), example.vocabulary, example.kind)


def pad(x: Tensor, by: int) -> Tensor:
    """Ids (B, L) -> the same with more padding (B, L + by)."""
    return torch.cat([x, torch.full((len(x), by), PAD)], dim=1)


def check_kind(kind: str) -> None:
    """The examples of a kind are of that kind, reproducible and as many as were asked for."""
    example, x = kinds[kind].draw(5, 3)
    assert example.kind == kind
    assert x.shape == (5, *example.shape)
    assert torch.equal(x, kinds[kind].draw(5, 3)[1])
    assert not torch.equal(x, kinds[kind].draw(5, 4)[1])
    assert x.is_floating_point() == kinds[kind].has_gradient
    Example(example.shape, example.vocabulary, kind)  # is accepted as one


def check_encoder(make: Make, kind: str) -> None:
    """Each x has its own hidden vector, and every weight has a part in it."""
    torch.manual_seed(0)
    example, x = draw(kind)
    encoder = make(example, HIDDEN)
    hidden = encoder(x)
    assert hidden.shape == (6, HIDDEN)
    torch.testing.assert_close(torch.cat([encoder(x[i : i + 1]) for i in range(6)]), hidden)
    hidden.square().sum().backward()
    require_gradients(encoder.parameters())


def check_sequence_encoder(make: Make, kind: str) -> None:
    """Padding is not read."""
    torch.manual_seed(0)
    example, x = draw(kind)
    encoder = make(lengthen(example, 5), HIDDEN)
    torch.testing.assert_close(encoder(pad(x, 5)), encoder(x))
    one_by_one = [encoder(row[None, : (row != PAD).sum()]) for row in x]
    torch.testing.assert_close(torch.cat(one_by_one), encoder(x))


def check_decoder(make: Make, likelihood: Callable[[], Any], kind: str) -> None:
    """Each x is scored by its own z, every weight counts, and what is generated looks like x."""
    torch.manual_seed(0)
    example, x = draw(kind)
    decoder = make(example, LATENT, HIDDEN, likelihood(), 0.0)
    z = torch.randn(6, LATENT, requires_grad=True)
    log_likelihood = decoder.log_likelihood(x, z)
    assert log_likelihood.shape == (6,)
    one_by_one = [decoder.log_likelihood(x[i : i + 1], z[i : i + 1]) for i in range(6)]
    torch.testing.assert_close(torch.cat(one_by_one), log_likelihood)
    log_likelihood.sum().backward()
    require_gradients([z, *decoder.parameters()])

    decoder.eval()
    z = 3 * torch.randn(50, LATENT)
    best = decoder.generate(z)
    assert best.shape == (50, *example.shape)
    assert best.dtype == x.dtype
    assert torch.equal(best, decoder.generate(z))
    drawn = [decoder.generate(z, 1.0, torch.Generator().manual_seed(5)) for _ in range(2)]
    assert torch.equal(*drawn)
    assert drawn[0].shape == best.shape
    assert not torch.equal(drawn[0], best)
    assert not drawn[0].requires_grad
    assert decoder.log_likelihood(drawn[0], z).isfinite().all()


def check_dropout(make: Make, likelihood: Callable[[], Any], kind: str) -> None:
    """Dropout makes training noisy, and evaluation not."""
    torch.manual_seed(0)
    example, x = draw(kind)
    decoder, z = make(example, LATENT, HIDDEN, likelihood(), 0.9), torch.randn(6, LATENT)
    noisy = [decoder.log_likelihood(x, z) for _ in range(2)]
    assert not torch.equal(*noisy)
    decoder.eval()
    assert torch.equal(decoder.log_likelihood(x, z), decoder.log_likelihood(x, z))


def check_sequence_decoder(make: Make, likelihood: Callable[[], Any], kind: str) -> None:
    """Logits depend on the symbols before alone, and `step` computes the same ones."""
    torch.manual_seed(0)
    example, x = draw(kind)
    decoder = make(lengthen(example, 5), LATENT, HIDDEN, likelihood(), 0.0).eval()
    z = torch.randn(6, LATENT)
    torch.testing.assert_close(decoder.log_likelihood(pad(x, 5), z), decoder.log_likelihood(x, z))
    changed = x.clone()
    changed[:, 5:] = 3
    logits = decoder(z, x).detach()
    torch.testing.assert_close(decoder(z, changed)[:, :5], logits[:, :5])
    assert not torch.allclose(decoder(z, changed)[:, 5:], logits[:, 5:])
    with torch.no_grad():
        state, rows = decoder.begin(z), torch.arange(len(x))
        for t in range(x.shape[1] - 1):
            torch.testing.assert_close(
                decoder.step(x[rows, t], z[rows], rows, state), logits[rows, t]
            )
            if t == 3:  # some rows go on alone
                rows = rows[1::2]


def check_greedy_decoding(make: Make, likelihood: Callable[[], Any], kind: str) -> None:
    """Greedy decoding writes the likeliest symbol, stops at the end, and `gives` knows its result.

    An untrained decoder need not ever write the end, so this one is trained until it does.
    """
    torch.manual_seed(1)
    example, x = draw(kind, 60)
    decoder, z = make(example, LATENT, HIDDEN, likelihood(), 0.0), 2 * torch.randn(60, LATENT)
    optimizer = torch.optim.Adam(decoder.parameters(), 0.02)
    for _ in range(500):
        ids = decoder.eval().generate(z)
        ended = (ids == EOS).any(dim=1)
        if ended.sum() >= 20:
            break
        optimizer.zero_grad()
        (-decoder.train().log_likelihood(x, z).mean()).backward()
        optimizer.step()
    assert ended.sum() >= 20, "a decoder that was fitted to sequences does not write their end"

    assert (ids[:, 0] == BOS).all()
    logits = decoder(z, ids).detach()
    logits[..., [PAD, BOS]] = -torch.inf
    likeliest = logits.argmax(-1)
    written = ids[:, 1:] != PAD
    assert torch.equal(likeliest[written], ids[:, 1:][written])
    after_end = (ids == EOS).cumsum(1) - (ids == EOS).long() > 0
    assert (ids[after_end] == PAD).all()
    assert (ids[:, 1:][~after_end[:, 1:]] != PAD).all()

    expected = ((likeliest == ids[:, 1:]) | ~written).all(dim=1)
    assert expected.all()
    assert decoder.gives(ids, z).all()
    last = written.sum(dim=1)  # place of the last symbol
    for place in (torch.ones_like(last), last):  # one other symbol, at the first or last place
        wrong = ids.clone()
        rows = torch.arange(len(ids))
        wrong[rows, place] = torch.where(ids[rows, place] == EOS, EOS + 1, EOS)
        assert not decoder.gives(wrong, z).any()
    others = decoder.gives(x, z)  # sequences as they come
    logits = decoder(z, x).detach()
    logits[..., [PAD, BOS]] = -torch.inf
    right = (logits.argmax(-1) == x[:, 1:]) | (x[:, 1:] == PAD)
    assert torch.equal(others, right.all(dim=1))


def check_locator(make: Make, kind: str) -> None:
    """A place inside each image, from that image alone; it and the features use every weight."""
    torch.manual_seed(0)
    example, x = draw(kind)
    locator = make(example, HIDDEN)
    place, features = locator(x)
    assert place.shape == (6, 2)
    assert features.shape == (6, HIDDEN)
    sides = torch.tensor(example.shape[1:])
    assert ((place >= 0) & (place <= sides - 1)).all()
    one_by_one = [locator(x[i : i + 1]) for i in range(6)]
    for parts, whole in zip(zip(*one_by_one, strict=True), (place, features), strict=True):
        torch.testing.assert_close(torch.cat(parts), whole)
    weights = torch.linspace(0.5, 1, features.shape[1])
    (place.square().sum() + (weights * features).sum()).backward()
    require_gradients(p for p in locator.parameters() if p.numel() > 1)
    torch.manual_seed(0)
    large = make(Example((1, 40, 48)), HIDDEN)
    optimizer = torch.optim.Adam(large.parameters(), 0.02)
    for _ in range(120):  # a bright square, somewhere
        target = torch.stack([torch.randint(4, side - 4, (16,)) for side in (40, 48)], 1)
        image = torch.zeros(16, 1, 40, 48)
        for i, (row, column) in enumerate(target):
            image[i, 0, row - 2 : row + 3, column - 2 : column + 3] = 1
        loss = (large(image)[0] - target).square().sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 8, "a locator does not learn to find a square"  # the middle gives about 280


def check_posterior(make: Make) -> None:
    """A head gives a distribution for each example, whose density integrates to 1."""
    torch.manual_seed(0)
    head, hidden = make(HIDDEN, LATENT), torch.randn(6, HIDDEN)
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

    torch.manual_seed(0)
    head = make(HIDDEN, 2).double()
    bend(head)
    head.standardise(torch.tensor([0.5, -1.0]), torch.tensor([0.8, 1.5]))
    q = head(0.3 * torch.randn(3, HIDDEN).double())  # no scale finer than the grid
    with torch.no_grad():
        torch.testing.assert_close(integrate(q, 3), torch.ones(3).double(), atol=1e-4, rtol=0)


def make_prior(make: Make, model: VAE, kind: str, latent: int) -> Any:
    """A prior that has left its start; `model` gives the posterior it is called with."""
    torch.manual_seed(0)
    example, x = draw(kind, 20)
    prior = make(latent, example)
    prior.initialise(x, model.posterior(x).sample())
    bend(prior)
    return prior.double()


def check_prior(make: Make, model: Callable[[int], VAE], kind: str) -> None:
    """A density that integrates to 1, is that of the samples, and learns with every weight.

    Args:
        make: latent and example -> prior.
        model: latent -> a VAE whose posterior the prior may use.
        kind: of the x of that VAE, real-valued.
    """
    vae = model(2)
    prior = make_prior(make, vae, kind, 2)
    p = prior(vae.double().posterior)
    assert p.batch_shape == ()
    assert p.event_shape == (2,)
    with torch.no_grad():
        torch.testing.assert_close(float(integrate(p)), 1.0, atol=1e-4, rtol=0)
        torch.manual_seed(0)
        z = p.sample(torch.Size([20_000]))
        inside = z.abs().amax(1) < 1
        axis = torch.linspace(-1, 1, 201).double()
        grid = torch.cartesian_prod(axis, axis)
        mass = p.log_prob(grid).exp().mean() * 4
        error = (mass * (1 - mass) / len(z)).sqrt()
        assert abs(inside.double().mean() - mass) < 4 * error + 0.01

    vae = model(LATENT)
    prior = make_prior(make, vae, kind, LATENT)
    log_p = prior(vae.double().posterior).log_prob(torch.randn(30, LATENT).double())
    if parameters := list(prior.parameters()):
        log_p.sum().backward()
    require_gradients(parameters)


def make_vae(kind: str, **parts: Any) -> VAE:
    """A small VAE for examples of a kind."""
    torch.manual_seed(0)
    example = draw(kind, 1)[0]
    x = {"shape": example.shape, "vocabulary": example.vocabulary or 0, "kind": kind}
    sizes = {"latent": LATENT, "encoder_hidden": HIDDEN, "decoder_hidden": HIDDEN}
    return VAE(VAEConfig(**{**x, **sizes, **parts}))


def check_vae(kind: str, **parts: Any) -> None:
    """A VAE of these parts has finite bounds, and its weights are all that another one needs."""
    model, x = make_vae(kind, **parts), draw(kind, 40)[1]
    model.initialise(x)
    for bound in (elbo(model, x), iwae(model, x, 3)):
        assert bound.value().isfinite().all()
    model(x).value().sum().backward()
    require_gradients(model.parameters())
    again = make_vae(kind, **parts)
    again.load_state_dict(model.state_dict())
    z = torch.randn(5, LATENT)
    torch.testing.assert_close(again.prior().log_prob(z), model.prior().log_prob(z))


def check_learning(kind: str, steps: int = 60, **parts: Any) -> None:
    """A few gradient steps raise the ELBO of the examples."""
    model, x = make_vae(kind, **parts), draw(kind, 64)[1]
    model.initialise(x)
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = -model(x).value().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < sum(losses[:5])


def check_standardise(kind: str, **parts: Any) -> None:
    """Standardised coordinates have mean 0 and scale 1, and decode to the same x."""
    model, x = make_vae(kind, **parts).eval(), draw(kind, 200)[1]
    model.initialise(x)
    bend(model)
    model.double()
    x = x.double() if x.is_floating_point() else x
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
        if model.config.prior != "standard-normal":
            torch.testing.assert_close(
                model.prior().log_prob(moved), of_prior + scale.log().sum(), atol=0.02, rtol=0.02
            )
