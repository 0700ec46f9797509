"""Sequences under a constraint, against all sequences of a tiny vocabulary."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from molvae.base.errors import MolvaeError
from molvae.latent import BOS, EOS, PAD
from molvae.latent.autoregressive import Constraint, generate_constrained, generate_sequences
from molvae.latent.decoders import decoders
from molvae.latent.kinds import Example
from molvae.latent.likelihoods import likelihoods
from molvae.latent.protocols import SequenceDecoder

A, B, LONGEST = 3, 4, 7  # two symbols, sequences of up to five of them
NAMES = ["gru", "conv"]


def make_decoder(name: str) -> SequenceDecoder:
    torch.manual_seed(3)
    example = Example((LONGEST,), 5)
    return decoders[name](example, 2, 16, likelihoods["categorical"](None), 0.0).eval()


def as_many_a_as_b() -> Constraint:
    """At least two symbols; as many a as b: a state is a - b, and 11 states beyond the first."""
    following = torch.full((14, 5), -1)
    for difference in range(-5, 6):
        state = 6 + difference
        for symbol, step in ((A, 1), (B, -1)):
            if abs(difference + step) <= 5:
                following[state, symbol] = state + step
    following[6, EOS] = 0
    following[12] = following[6]  # the start, which cannot be the end
    following[12, EOS] = -1
    bound = torch.ones(14, dtype=torch.bool)
    bound[6] = False
    return Constraint(following, bound)


START = 12
BALANCED = {
    s for n in (2, 4) for s in itertools.product((A, B), repeat=n) if s.count(A) == s.count(B)
}


def symbols(ids: Tensor) -> list[tuple[int, ...]]:
    rows = ids.tolist()
    assert all(row[0] == BOS and EOS in row for row in rows)
    assert all(set(row[row.index(EOS) + 1 :]) <= {PAD} for row in rows)
    return [tuple(row[1 : row.index(EOS)]) for row in rows]


@pytest.mark.parametrize("name", NAMES)
def test_all_sequences_that_fulfil_the_constraint_are_drawn_and_no_other(name: str) -> None:
    z, start = torch.randn(3_000, 2), torch.full((3_000,), START)
    generator = torch.Generator().manual_seed(0)
    found = generate_constrained(
        make_decoder(name), z, as_many_a_as_b(), start, generator=generator
    )
    assert set(symbols(found.ids)) == BALANCED  # also those for which room runs out


@pytest.mark.parametrize("name", NAMES)
def test_the_masses_are_importance_weights(name: str) -> None:
    """Their mean is the probability of the event, and weighted draws have its distribution."""
    decoder, constraint = make_decoder(name), as_many_a_as_b()
    z = torch.tensor([[1.0, -2.0]])
    n = 20_000
    generator = torch.Generator().manual_seed(1)
    found = generate_constrained(
        decoder,
        z.expand(n, 2),
        constraint,
        torch.full((n,), START),
        generator=generator,
        until_free=True,
    )
    # the first return to balance: ab, ba, aabb, bbaa
    exact = {}
    for path in [(A, B), (B, A), (A, A, B, B), (B, B, A, A)]:
        ids = torch.tensor([[BOS, *path]])
        logits = decoder(z, ids).detach()
        logits[..., [PAD, BOS]] = -torch.inf
        steps = logits.log_softmax(-1).gather(2, ids[:, 1:, None])
        exact[path] = math.exp(float(steps.sum()))
    weights = found.log_mass.exp()
    assert float(weights.mean()) == pytest.approx(sum(exact.values()), rel=0.03)
    paths = [tuple(s for s in row[1:] if s != PAD) for row in found.ids.tolist()]
    assert set(paths) == set(exact)
    for path, p in exact.items():
        at = torch.tensor([other == path for other in paths])
        assert float(weights[at].sum() / n) == pytest.approx(p, rel=0.1)
        assert found.log_p[at].exp().tolist() == pytest.approx([p] * int(at.sum()), rel=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_given_symbols_are_kept_and_a_free_state_leaves_the_decoder_alone(name: str) -> None:
    decoder, z = make_decoder(name), 9 * torch.randn(500, 2)
    free = Constraint(torch.zeros(1, 5, dtype=torch.long), torch.zeros(1, dtype=torch.bool))
    start = torch.zeros(500, dtype=torch.long)
    greedy = generate_constrained(decoder, z, free, start, temperature=0.0)
    alone = generate_sequences(decoder, z, 0.0, None)
    ended = (alone == EOS).any(1)  # the others had no room for the end
    assert ended.any()
    assert torch.equal(greedy.ids[ended], alone[ended])
    assert (greedy.log_mass == 0).all()
    log_p = decoder.log_likelihood(greedy.ids, z)
    given = torch.full((500, LONGEST), PAD)
    given[:, :4] = torch.tensor([BOS, B, A, B])
    kept = generate_constrained(decoder, z, free, start, given=given).ids
    assert (kept[:, :4] == given[:, :4]).all()
    assert len(set(symbols(kept))) > 1
    logits = decoder(z, greedy.ids).detach()
    never = logits[..., [PAD, BOS]].logsumexp(-1).exp() / logits.logsumexp(-1).exp()
    correction = (1 - never).log().masked_fill(greedy.ids[:, 1:] == PAD, 0).sum(1)
    torch.testing.assert_close(greedy.log_p, log_p.detach() - correction, atol=1e-4, rtol=1e-4)


def test_a_constraint_that_no_sequence_has_room_for_is_refused() -> None:
    following = torch.full((8, 5), -1)
    for state in range(7):
        following[state, A] = state + 1
    following[7, EOS] = 0
    constraint = Constraint(following, torch.ones(8, dtype=torch.bool))
    states = torch.tensor([0, 1, 2, 7])
    assert constraint.can_end(states, LONGEST - 1).tolist() == [False, False, True, True]
    with pytest.raises(MolvaeError, match="no sequence of up to 6 symbols"):
        generate_constrained(make_decoder("gru"), torch.zeros(4, 2), constraint, states)
    for symbol in (None, PAD, BOS):  # which are no symbols to write
        following = torch.full((2, 5), -1)
        following[1, EOS] = 0
        if symbol is not None:
            following[0, symbol] = 1
        dead = Constraint(following, torch.ones(2, dtype=torch.bool))
        assert dead.can_end(torch.tensor([0, 1]), 100).tolist() == [False, True]
