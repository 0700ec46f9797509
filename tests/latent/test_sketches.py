"""Sketches: how they are stored, their density, and how a decoder completes them."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from molvae.base.errors import MolvaeError
from molvae.latent.decoders import decoders
from molvae.latent.encoders import encoders
from molvae.latent.kinds import Example, kinds
from molvae.latent.likelihoods.mixture_density import MixtureDensity
from molvae.latent.sketches import DOWN, END, UP, count_rows, locate, stack_sketches

CORNER = np.array([[1.0, 2.0, 0], [0.5, 0.0, 1]])
DOT = np.array([[-1.0, 0.0, 1]])


def random_out(*shape: int) -> Tensor:
    return torch.randn(*shape, MixtureDensity.width, generator=torch.Generator().manual_seed(0))


def test_points_are_stacked_with_the_state_of_the_pen_and_an_end() -> None:
    x = torch.from_numpy(stack_sketches([CORNER, DOT], 4))
    assert x[0].tolist() == [[1, 2, 1, 0, 0], [0.5, 0, 0, 1, 0], [0, 0, 0, 0, 1], [0, 0, 0, 0, 1]]
    assert x[1, 1:, END].all()
    assert count_rows(x).tolist() == [3, 2]
    assert locate(x)[0, :2].tolist() == [[1, 2], [1.5, 2]]


@pytest.mark.parametrize("points", [np.zeros((0, 3)), np.zeros((4, 3))])
def test_a_sketch_without_points_or_with_too_many_is_refused(points: np.ndarray) -> None:
    with pytest.raises(MolvaeError, match=r"sketch 1 has \d points: it must have 1 to 3"):
        stack_sketches([DOT, points], 4)


def test_the_kind_is_refused_for_other_shapes() -> None:
    with pytest.raises(MolvaeError, match="cannot be of the kind 'sketches'"):
        Example((4, 3), kind="sketches")


def test_the_density_is_that_of_the_mixture_and_stops_at_the_first_end() -> None:
    out, x = random_out(1, 4).double(), torch.from_numpy(stack_sketches([CORNER], 4)).double()
    p = MixtureDensity().read(out)
    a, b = p.scale.unbind(-1)
    off = p.correlation * a * b
    covariance = torch.stack([a.square(), off, off, b.square()], -1).unflatten(-1, (2, 2))
    mixture = MixtureSameFamily(
        Categorical(logits=p.weight), MultivariateNormal(p.mean, covariance)
    )
    move = mixture.log_prob(x[..., :2])[0]
    pen = p.pen.log_softmax(-1)[0]
    rows = [move[0] + pen[0, 0], move[1] + pen[1, 1], pen[2, 2], torch.tensor(0.0).double()]
    torch.testing.assert_close(MixtureDensity().log_prob_points(out, x)[0], torch.stack(rows))
    torch.testing.assert_close(MixtureDensity().log_prob(out, x)[0], sum(rows))


def test_draws_are_those_of_the_mixture_and_cool_down() -> None:
    out = random_out(1)
    p = MixtureDensity().read(out)
    generator = torch.Generator().manual_seed(1)
    drawn = MixtureDensity().generate(out.expand(40_000, -1), 1.0, generator)
    there = drawn[drawn[:, END] == 0, :2]
    weight = p.weight.softmax(-1)[0, :, None]
    mean = (weight * p.mean[0]).sum(0)
    spread = (weight * (p.scale[0].square() + (p.mean[0] - mean).square())).sum(0)
    assert ((there.mean(0) - mean).abs() < 4.5 * (spread / len(there)).sqrt()).all()
    torch.testing.assert_close(there.var(0), spread, atol=0, rtol=0.1)
    shares = drawn[:, 2:].mean(0)
    torch.testing.assert_close(shares, p.pen.softmax(-1)[0], atol=0.01, rtol=0)

    one = out.clone()
    one[:, 0] = 100  # the first component alone
    cool = MixtureDensity().generate(one.expand(9_000, -1), 0.25, generator)
    moves = cool[cool[:, END] == 0, :2]
    torch.testing.assert_close(moves.std(0), 0.5 * p.scale[0, 0], atol=0, rtol=0.1)
    r = np.corrcoef(moves.T.numpy())[0, 1]
    assert r == pytest.approx(float(p.correlation[0, 0]), abs=0.05)
    greedy = MixtureDensity().generate(one)
    if greedy[0, END] == 0:
        torch.testing.assert_close(greedy[0, :2], p.mean[0, 0])
    assert greedy[0, 2:].argmax() == p.pen.argmax()


def test_noise_is_refused() -> None:
    with pytest.raises(MolvaeError, match="takes no noise"):
        MixtureDensity(0.1)


def decoder(dropout: float = 0.0) -> torch.nn.Module:
    torch.manual_seed(0)
    return decoders["sketch-gru"](kinds["sketches"].draw(1, 0)[0], 3, 16, MixtureDensity(), dropout)


def test_rows_after_the_first_end_and_other_sketches_change_nothing() -> None:
    x = kinds["sketches"].draw(6, 1)[1]
    torch.manual_seed(0)
    encoder = encoders["sketch-gru"](kinds["sketches"].draw(1, 0)[0], 16)
    longer = torch.cat([x, x[:, -1:].expand(-1, 5, -1)], 1)
    torch.testing.assert_close(encoder(longer), encoder(x))
    z = torch.randn(6, 3)
    torch.testing.assert_close(decoder().log_likelihood(longer, z), decoder().log_likelihood(x, z))


def test_what_is_written_depends_on_the_points_before_alone() -> None:
    x, z = kinds["sketches"].draw(6, 1)[1], torch.randn(6, 3)
    changed = x.clone()
    changed[:, 1, 0] += 1
    before, after = (decoder()(z, sketch).detach() for sketch in (x, changed))
    torch.testing.assert_close(before[:, :2], after[:, :2])
    assert not torch.allclose(before[:, 2], after[:, 2])


def test_generated_sketches_have_the_density_that_training_sees() -> None:
    """The most likely point at each step of `generate` is that of one pass over the result."""
    part, z = decoder().eval(), 3 * torch.randn(20, 3)
    x = part.generate(z)
    assert x.shape == (20, 8, 5)
    assert (x[:, -1, END] == 1).all()
    assert (x[..., 2:].sum(-1) == 1).all()
    again = part.likelihood.generate(part(z, x).detach())
    written = torch.arange(again.shape[1]) < count_rows(x)[:, None] - 1
    torch.testing.assert_close(again[written], x[:, : again.shape[1]][written])


def test_a_completed_sketch_begins_with_what_was_given() -> None:
    part, z = decoder().eval(), torch.randn(2, 3)
    given = torch.from_numpy(stack_sketches([CORNER, DOT], 8))
    x = part.generate(z, 1.0, torch.Generator().manual_seed(2), given)
    assert torch.equal(x[0, :2], given[0, :2])
    assert torch.equal(x[1, :1], given[1, :1])
    free = part.generate(z, 1.0, torch.Generator().manual_seed(2))
    assert not torch.equal(free[:, 0], x[:, 0])
    points = part.log_likelihood_points(x, z)
    torch.testing.assert_close(points.sum(1), part.log_likelihood(x, z))
    assert points[0, int(count_rows(x)[0]) :].eq(0).all()


def test_the_pen_is_seen_where_the_points_are_hidden() -> None:
    """Dropout hides points from the GRU; the output layer still knows where the pen is."""
    part, z = decoder(dropout=0.999).train(), torch.zeros(1, 3)
    x = torch.from_numpy(stack_sketches([CORNER], 8))
    moved = x.clone()
    moved[0, 0, 0] += math.pi
    torch.manual_seed(0)
    before = part(z, x)[0, 1]
    torch.manual_seed(0)
    after = part(z, moved)[0, 1]
    weight = part.out[0].weight[:, -2]
    torch.testing.assert_close(after - before, math.pi * weight)


def test_states_of_the_pen_are_the_columns_of_the_paper() -> None:
    assert (DOWN, UP, END) == (2, 3, 4)
