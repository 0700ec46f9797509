"""What a training does to a model of one weight, whose every step is known beforehand."""

import time
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from molvae.base.errors import MolvaeError
from molvae.latent.checkpoint import read_tensors
from molvae.latent.elbo import Bound
from molvae.latent.fit import CHECKPOINT, fit
from molvae.latent.training import FitConfig, Observer, Progress, Row

Term = Callable[[Tensor, Tensor], Tensor]


def zero(x: Tensor, w: Tensor) -> Tensor:
    return 0 * w


class OneWeight(nn.Module):
    """The terms of its bound are functions of each number x and of its weight w."""

    def __init__(self, gain: Term = zero, cost: Term = zero) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(1))
        self.gain, self.cost = gain, cost
        self.read: list[list[float]] = []  # the batches that it was trained on
        self.slopes: list[float] = []  # of the loss, one a step
        self.w.register_hook(lambda slope: self.slopes.append(slope.item()))

    def forward(self, x: Tensor) -> Bound:
        if self.training:
            self.read.append(x[:, 0].tolist())
        terms = (term(x[:, 0], self.w).expand(len(x)) for term in (self.gain, self.cost))
        return Bound(*terms)


def train(
    model: OneWeight,
    x: Iterable[float] = (0.0,) * 8,
    held_out: Iterable[float] = (0.0,) * 4,
    *,
    folder: Path | None = None,
    watch: Observer = lambda progress: None,
    **options: object,
) -> tuple[list[float], list[Row]]:
    """Train with two batches an epoch -> w after every step, and the rows that were logged."""
    path: list[float] = []
    rows: list[Row] = []

    def observe(progress: Progress) -> bool | None:
        if progress.state.step > len(path):
            path.append(model.w.item())
        if progress.row is not None:
            rows.append(progress.row)
        return watch(progress)

    tables = (np.array(list(part), np.float32)[:, None] for part in (x, held_out))
    config = FitConfig(**{"batch": 4, "validate_every": 10, "kl_warmup": 0.0, **options})
    fit(model, *tables, config, folder, observe)
    return path, rows


def test_the_best_validated_weights_are_kept_not_the_last() -> None:
    model = OneWeight(gain=lambda x, w: -((x - w) ** 2))
    path, rows = train(model, [3.0] * 8, [1.0] * 4, epochs=100, learning_rate=0.1)
    losses = [row.validation_loss for row in rows if row.validation_loss is not None]
    assert path[-1] == pytest.approx(3, abs=0.1)  # as the training data want it: it overfits
    assert min(losses) < 0.2 < 3 < losses[-1]
    assert (model.w.item() - 1) ** 2 == pytest.approx(min(losses))


def test_each_epoch_takes_every_example_once_in_an_order_of_its_own() -> None:
    model = OneWeight()
    train(model, np.arange(8.0), epochs=6)
    epochs = [a + b for a, b in zip(model.read[::2], model.read[1::2], strict=True)]
    assert len(epochs) == 6
    assert all(sorted(epoch) == list(range(8)) for epoch in epochs)
    assert len(set(map(tuple, epochs))) == 6
    other = OneWeight()
    train(other, np.arange(8.0), epochs=6, seed=1)
    assert other.read != model.read


def test_the_weight_of_the_kl_grows_from_zero_to_its_final_value() -> None:
    model = OneWeight(cost=lambda x, w: w)  # the slope of the loss is the weight of the KL
    train(model, epochs=50, kl_weight=0.4, kl_warmup=0.5)
    np.testing.assert_allclose(model.slopes, 0.4 * np.minimum(1, np.arange(100) / 50), atol=1e-6)
    model = OneWeight(cost=lambda x, w: w)
    train(model, epochs=5, kl_weight=0.4, kl_warmup=0.0)
    np.testing.assert_allclose(model.slopes, 0.4, rtol=1e-6)


def test_validation_is_measured_with_the_final_weight_of_the_kl_from_the_beginning() -> None:
    model = OneWeight(gain=lambda x, w: 0 * w - 2, cost=lambda x, w: 0 * w + 10)
    _, rows = train(model, epochs=20, kl_weight=0.4, kl_warmup=1.0)
    validated = [row for row in rows if row.validation_loss is not None]
    assert len({row.kl_weight for row in validated}) > 1  # else losses could not be compared
    for row in validated:
        assert row.validation_loss == pytest.approx(2 + 0.4 * 10)
        assert (row.validation_reconstruction_nats, row.validation_kl_nats) == (2, 10)


def test_the_learning_rate_warms_up_and_falls_along_a_cosine_to_zero() -> None:
    model = OneWeight(gain=lambda x, w: w)  # a constant slope, so Adam's steps are the rate
    path, _ = train(model, epochs=200, learning_rate=0.01, patience=1_000)
    rate = np.diff([0.0, *path])
    assert len(rate) == 400
    assert rate[0] < 0.05 * 0.01
    assert (np.diff(rate[:10]) > 0).all()
    cosine = 0.005 * (1 + np.cos(np.pi * np.arange(400) / 400))
    np.testing.assert_allclose(rate[20:], cosine[20:], rtol=0.01, atol=2e-6)


def test_a_short_training_warms_up_in_a_share_of_its_steps() -> None:
    model = OneWeight(gain=lambda x, w: w)
    path, _ = train(model, epochs=50, learning_rate=0.01)
    rate = np.diff([0.0, *path])
    assert rate[0] < 0.01 / 10 < 0.009 < rate[3]


def test_a_gradient_is_clipped_to_its_greatest_norm_and_keeps_its_direction() -> None:
    model = OneWeight(gain=lambda x, w: x * w)
    other = nn.Parameter(torch.zeros(1))
    model.register_parameter("other", other)
    model.gain = lambda x, w: x * (3 * w + 4 * other)
    train(model, [1e3] * 8, epochs=0.5, clip=2.0)
    assert [p.grad.item() for p in (model.w, other)] == pytest.approx([-1.2, -1.6], rel=0.01)
    train(model, [1e-3] * 8, epochs=0.5, clip=2.0)
    assert [p.grad.item() for p in (model.w, other)] == pytest.approx([-3e-3, -4e-3], rel=0.01)


def test_what_is_reported_counts_steps_epochs_examples_and_seconds() -> None:
    states: dict[int, tuple[int, float, float]] = {}

    def watch(progress: Progress) -> None:
        state = progress.state
        states.setdefault(state.step, (state.examples, state.seconds, progress.share))

    began = time.monotonic()
    model = OneWeight(gain=lambda x, w: 0 * w - x, cost=lambda x, w: 0 * w + 2)
    _, rows = train(model, epochs=20, kl_weight=0.5, watch=watch)
    elapsed = time.monotonic() - began
    states.pop(0, None)  # where the start is validated
    examples, seconds, shares = zip(*states.values(), strict=True)
    assert list(states) == list(range(1, 41))
    assert examples == tuple(range(4, 164, 4))
    assert seconds[0] > 0
    assert all(a <= b for a, b in pairwise(seconds))
    assert seconds[-1] < elapsed
    np.testing.assert_allclose(shares, np.arange(1, 41) / 40)
    row = next(row for row in rows if row.step)
    assert row.epoch == row.step / 2
    assert (row.loss, row.reconstruction_nats, row.kl_nats) == (1, 0, 2)
    assert row.examples_per_second == pytest.approx(4 * row.step / row.seconds, rel=0.5)


def test_a_row_is_the_mean_of_the_steps_since_the_last() -> None:
    model = OneWeight(gain=lambda x, w: w)
    path, rows = train(model, epochs=50, learning_rate=0.01, validate_every=1_000)
    losses, measured = -np.array([0.0, *path]), [row for row in rows if row.step]
    ends = [0, *(row.step for row in measured)]
    assert len(set(ends)) > 4
    for (start, end), row in zip(pairwise(ends), measured, strict=True):
        if end > start:  # else it holds a validation alone
            assert row.loss == pytest.approx(losses[start:end].mean(), rel=1e-3)


def test_validation_is_the_mean_over_examples_not_over_batches() -> None:
    model = OneWeight(gain=lambda x, w: 0 * w - x)
    _, rows = train(model, held_out=[1.0] * 16 + [9.0], epochs=10)
    validated = [row.validation_loss for row in rows if row.validation_loss is not None]
    assert validated == pytest.approx([25 / 17] * len(validated), rel=0.01)


def test_minutes_set_the_length_where_they_are_given() -> None:
    shares: list[float] = []
    began = time.monotonic()
    path, _ = train(
        OneWeight(),
        epochs=None,
        minutes=0.02,
        patience=10**6,
        watch=lambda progress: shares.append(progress.share),
    )
    assert 1.0 < time.monotonic() - began < 10
    assert len(path) > 1
    assert shares[-1] == 1
    assert all(0 < a <= b <= 1 for a, b in pairwise(shares))


def test_a_checkpoint_is_written_every_few_minutes_and_at_the_end(tmp_path: Path) -> None:
    def read_step(folder: Path) -> int | None:
        path = folder / CHECKPOINT
        return read_tensors(path)[1]["state"]["step"] if path.is_file() else None

    for minutes, expected in ((0.0, [None, 1, 2, 3]), (1.0, [None] * 4)):
        folder, found = tmp_path / str(minutes), dict[int, int | None]()

        def watch(
            progress: Progress, folder: Path = folder, found: dict[int, int | None] = found
        ) -> None:
            found.setdefault(progress.state.step, read_step(folder))

        options = {"folder": folder, "watch": watch, "validate_every": 1_000}
        train(OneWeight(), epochs=2, checkpoint_minutes=minutes, **options)
        assert [found[step] for step in range(1, 5)] == expected
        assert read_step(folder) == 4


def test_a_training_that_resumes_with_another_weight_of_the_kl_chooses_its_best_anew(
    tmp_path: Path,
) -> None:
    def make() -> OneWeight:  # w grows; the KL is least at 0
        return OneWeight(gain=lambda x, w: w, cost=lambda x, w: w**2)

    def stop(progress: Progress) -> bool:
        return progress.state.step == 40

    options = {"folder": tmp_path, "epochs": 40, "learning_rate": 0.1, "patience": 100}
    train(make(), kl_weight=0.0, watch=stop, **options)
    model = make()
    _, rows = train(model, kl_weight=2.0, **options)
    losses = [row.validation_loss for row in rows if row.validation_loss is not None]
    best = read_tensors(tmp_path / CHECKPOINT)[1]["state"]["best_loss"]
    assert best == pytest.approx(min(losses))  # not that of the first part, which was lower
    assert 2 * model.w.item() ** 2 - model.w.item() == pytest.approx(best, rel=0.01)


def test_patience_counts_validations_without_a_better_one() -> None:
    model = OneWeight(gain=lambda x, w: -((x - w) ** 2))
    path, rows = train(
        model, [3.0] * 8, [1.0] * 4, epochs=1_000, learning_rate=0.1, patience=4, validate_every=5
    )
    losses = [row.validation_loss for row in rows if row.validation_loss is not None]
    assert len(losses) - 1 - int(np.argmin(losses)) == 4
    assert len(path) < 100


def test_a_gradient_that_is_not_finite_is_told_before_it_spoils_the_weights() -> None:
    def leave(x: Tensor, w: Tensor) -> Tensor:
        """At 0 a slope of x, elsewhere an infinite one, of a finite value."""
        return x * w if w == 0 else x * (w - w.detach()).sqrt()

    model = OneWeight(gain=leave)
    with pytest.raises(MolvaeError, match="no longer finite at step"):
        train(model, [1.0] * 8, epochs=2)
    assert model.w.isfinite().all()


def test_validation_keeps_no_graph() -> None:
    kept: list[bool] = []

    class Watched(OneWeight):
        def forward(self, x: Tensor) -> Bound:
            if not self.training:
                kept.append(torch.is_grad_enabled())
            return super().forward(x)

    train(Watched(), epochs=10)
    assert kept
    assert not any(kept)
