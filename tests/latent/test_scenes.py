"""Scenes of a number of objects: the bound against sums written out, and learning to count."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from molvae.base.errors import MolvaeError
from molvae.latent.scenes import SceneConfig, Scenes, break_stick, crop, put
from molvae.latent.vae import VAEConfig

PART = VAEConfig(
    shape=(1, 7, 7),
    latent=2,
    encoder="mlp",
    decoder="mlp",
    encoder_hidden=32,
    decoder_hidden=32,
    likelihood="gaussian",
    noise=0.2,
)
CONFIG = SceneConfig((1, 20, 20), PART, most=2, cost=5.0, locator_hidden=16)


def make_scenes(n: int, seed: int, most: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    """Scenes with 0 to `most` squares of 5 x 5 pixels apart from each other, counts, places."""
    generator = torch.Generator().manual_seed(seed)
    counts = torch.randint(most + 1, (n,), generator=generator)
    x, where = torch.zeros(n, 1, 20, 20), torch.full((n, most, 2), torch.nan)
    for i, count in enumerate(counts):
        places: list[Tensor] = []
        while len(places) < count:
            place = torch.randint(3, 17, (2,), generator=generator)
            if all((place - other).abs().max() > 5 for other in places):
                places.append(place)
                row, column = place.tolist()
                x[i, 0, row - 2 : row + 3, column - 2 : column + 3] = 1
        where[i, : len(places)] = torch.stack(places) if places else where[i, :0]
    return x, counts, where


@pytest.fixture(scope="module")
def trained() -> Scenes:
    torch.manual_seed(0)
    model, x = Scenes(CONFIG), make_scenes(2_000, 0)[0]
    optimizer = torch.optim.Adam(model.parameters(), 4e-3)
    for step in range(400):
        rows = torch.randint(len(x), (32,))
        optimizer.zero_grad()
        (-model(x[rows]).value().mean()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 100.0)
        for group in optimizer.param_groups:
            group["lr"] = 4e-3 * min(1.0, (400 - step) / 200)
        optimizer.step()
    return model.eval()


def test_squares_are_counted_and_found_without_labels(trained: Scenes) -> None:
    x, counts, where = make_scenes(300, 1)
    found = trained.find(x)
    right = found.number == counts
    assert right.float().mean() > 0.95
    gaps = torch.cdist(found.where, where).where(~where[:, None, :, 0].isnan(), torch.inf)
    both = right & (counts == 2)
    for axis in (1, 2):  # every find is at a square, and every square is found
        assert (gaps[both].amin(axis) < 3).float().mean() > 0.95
    there = torch.arange(2) < found.number[:, None]
    drawn = (found.objects * there[..., None, None, None]).sum(1)
    assert (drawn - x).square().mean() < 0.1 * x.square().mean()


def test_an_object_is_where_it_is_drawn_not_where_its_window_is(trained: Scenes) -> None:
    bias = torch.nn.Parameter(torch.full((7, 7), -20.0))
    with torch.no_grad():
        bias[0:3, 4:7] = 20.0  # in the window's upper right corner
    model = copy.deepcopy(trained)
    model.decoder.forward = lambda what: bias.expand(len(what), 1, 7, 7)  # type: ignore[method-assign]
    found = model.find(make_scenes(50, 3)[0])
    inside = ((found.where > 2) & (found.where < 17)).all(-1)  # nothing hangs over the edge
    mass = found.objects[:, :, 0] / found.objects.sum((2, 3, 4))[..., None, None]
    pixels = torch.arange(20.0)
    middle = torch.stack([(mass.sum(3) * pixels).sum(2), (mass.sum(2) * pixels).sum(2)], 2)
    assert inside.sum() > 20
    torch.testing.assert_close(found.where[inside], middle[inside], atol=1e-3, rtol=0)


def test_more_squares_are_found_than_were_ever_seen(trained: Scenes) -> None:
    x, counts, _ = make_scenes(200, 2, most=4)
    many = counts > 2
    assert (trained.find(x, most=5).number[many] == counts[many]).float().mean() > 0.5


@pytest.mark.parametrize("cost", [0.0, 5.0, 500.0])  # exp(-1000) is 0 in float64
def test_the_bound_is_the_sum_over_counts_written_out(cost: float) -> None:
    torch.manual_seed(1)
    model = Scenes(replace(CONFIG, cost=cost)).double()
    x = make_scenes(6, 3)[0].double()
    torch.manual_seed(2)
    bound = model(x)
    torch.manual_seed(2)
    a = model.attend(x)
    where = [q.rsample() for q in a.where]
    what = [q.rsample() for q in a.what]
    log_likelihood, kl = torch.zeros(6).double(), torch.zeros(6).double()
    drawing, paid = torch.zeros_like(x), torch.zeros(6).double()
    for n in range(3):
        if n:
            window = torch.sigmoid(model.decoder(what[n - 1]) - 2)
            drawing = drawing + put(window, where[n - 1], (20, 20))
            for q, p in (
                (a.where[n - 1], Normal(model.middle, 5.0)),
                (a.what[n - 1], Normal(0.0, 1.0)),
            ):
                ratio = p.scale / q.stddev if isinstance(p.scale, Tensor) else 1 / q.stddev
                each = ratio.log() + ratio**-2 / 2 + ((q.mean - p.loc) / p.scale) ** 2 / 2 - 0.5
                paid = paid + each.sum(1)
        share = a.number.probs[:, n]
        log_p = Normal(drawing, model.decoder.likelihood.log_scale.exp()).log_prob(x)
        log_likelihood = log_likelihood + share * log_p.sum((1, 2, 3))
        log_p_n = -cost * n - torch.tensor([0.0, -cost, -2 * cost]).double().logsumexp(0)
        kl = kl + share * (paid + share.log() - log_p_n)
    torch.testing.assert_close(bound.log_likelihood, log_likelihood)
    torch.testing.assert_close(bound.kl, kl)


def test_pyro_gives_the_same_bound(trained: Scenes) -> None:
    pytest.importorskip("pyro")
    from scenes.scenes_pyro import compare_bounds

    torch.manual_seed(4)
    for model in (trained, Scenes(CONFIG)):
        ours, theirs = compare_bounds(model, make_scenes(16, 4)[0], 0)
        assert ours == pytest.approx(theirs, abs=1e-6)


def test_the_stick_is_broken_into_shares_that_sum_to_one() -> None:
    logits = torch.tensor([[0.3, -1.0], [40.0, 40.0]])
    p = torch.sigmoid(logits[0])
    shares = break_stick(logits).probs
    expected = torch.stack([1 - p[0], p[0] * (1 - p[1]), p[0] * p[1]])
    torch.testing.assert_close(shares[0], expected)
    torch.testing.assert_close(shares[1], torch.tensor([0.0, 0.0, 1.0]))


def test_a_window_is_put_where_it_is_cropped() -> None:
    torch.manual_seed(0)
    window = torch.rand(2, 3, 5, 3)
    where = torch.tensor([[4.0, 6.0], [2.0, 1.0]])
    image = put(window, where, (9, 11))
    assert torch.equal(image[0, :, 2:7, 5:8], window[0])
    assert image[0].sum() == pytest.approx(float(window[0].sum()), rel=1e-5)
    torch.testing.assert_close(crop(image, where, (5, 3)), window)
    half = put(window, where + torch.tensor([0.0, 0.5]), (9, 11))
    torch.testing.assert_close(half[0, :, 2:7, 6], (window[0, ..., 0] + window[0, ..., 1]) / 2)
    over_the_edge = put(window, torch.tensor([[0.0, 5.0], [8.0, 5.0]]), (9, 11))
    assert torch.equal(over_the_edge[0, :, :3, 4:7], window[0, :, 2:])


def test_scenes_are_drawn_with_as_many_objects_as_asked(trained: Scenes) -> None:
    torch.manual_seed(0)
    drawn = trained.generate(torch.tensor([0, 1, 3]))
    assert drawn.shape == (3, 1, 20, 20)
    assert drawn[0].abs().max() == 0
    assert trained.generate(torch.zeros(2, dtype=torch.long)).abs().max() == 0


def test_shapes_that_cannot_work_are_one_clear_error() -> None:
    with pytest.raises(MolvaeError, match="at least 1 object"):
        SceneConfig((1, 20, 20), PART, most=0)
    with pytest.raises(MolvaeError, match="scenes are images"):
        SceneConfig((3, 20, 20), PART)
    with pytest.raises(MolvaeError, match="x must have shape"):
        Scenes(CONFIG)(torch.zeros(2, 1, 20, 19))
