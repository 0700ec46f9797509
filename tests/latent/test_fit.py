"""The minibatch loop: it learns, resumes exactly, stops when it should, explains what is wrong."""

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from molvae.base.errors import MolvaeError
from molvae.base.files import lock_folder
from molvae.latent.checkpoint import read_tensors, write_tensors
from molvae.latent.elbo import Bound, elbo
from molvae.latent.fit import CHECKPOINT, METRICS, fit
from molvae.latent.training import FitConfig, Progress
from molvae.latent.vae import VAE, VAEConfig
from random_ids import LONGEST, VOCABULARY, sequences


def small(seed: int = 0) -> VAE:
    torch.manual_seed(seed)
    return VAE(VAEConfig(VOCABULARY, LONGEST, latent=4, encoder_hidden=16, decoder_hidden=16))


def train(folder: Path | None, stop_at: int | None = None, **options: object) -> tuple[VAE, list]:
    """Train on 300 random sequences; returns the model and the rows that were logged."""
    model, rows = small(), []
    config = FitConfig(**{"epochs": 6, "batch": 16, "validate_every": 40, **options})

    def observe(progress: Progress) -> bool:
        if progress.row:
            rows.append(progress.row)
        return progress.state.step == stop_at

    fit(model, sequences(300).numpy(), sequences(40, 1).numpy(), config, folder, observe)
    return model, rows


def test_training_lowers_the_loss_and_ends_with_the_best_weights(tmp_path: Path) -> None:
    model, rows = train(tmp_path)
    losses = [r.validation_loss for r in rows if r.validation_loss is not None]
    assert min(losses) < losses[0]
    with (tmp_path / METRICS).open() as file:
        assert [int(r["step"]) for r in csv.DictReader(file)] == [r.step for r in rows]
    again = train(None)[0]
    for a, b in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("stop_at", [33, 80])
def test_a_stopped_and_resumed_training_equals_the_unbroken_one(
    tmp_path: Path, stop_at: int
) -> None:
    unbroken, rows = train(tmp_path / "a")
    train(tmp_path / "b", stop_at=stop_at)
    resumed, _ = train(tmp_path / "b")
    for a, b in zip(unbroken.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)
    assert len(rows) > 3
    assert timeless(tmp_path / "b") == timeless(tmp_path / "a")


def test_of_many_held_out_examples_some_are_drawn_from_all_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A file may be sorted, so its first rows may be special."""
    monkeypatch.setattr("molvae.latent.fit.VALIDATE_ON", 50)
    x = np.repeat(np.linspace(0, 1, 1_000, dtype=np.float32)[:, None], 16, axis=1)
    drawn = []

    def bound(model: VAE, batch: torch.Tensor) -> Bound:
        drawn.append(batch[:, 0])
        return elbo(model, batch)

    torch.manual_seed(0)
    config = VAEConfig(shape=(16,), latent=2, encoder="mlp", decoder="mlp", likelihood="bernoulli")
    model = VAE(config, validation_bound=bound)
    state = fit(model, x, x, FitConfig(epochs=0.02, batch=100, precision="32-true"))
    assert state.validated == 50
    before, after = torch.cat(drawn).split(50)
    assert torch.equal(before, after)
    assert len(before.unique()) == 50
    assert before.mean() == pytest.approx(0.5, abs=0.1)


def test_mixed_precision_leaves_the_data_as_they_are() -> None:
    """In bfloat16 a pixel of .5005 is .5: log p of what was rounded is not log p of the data."""
    x = np.random.default_rng(0).random((128, 16)).astype(np.float32)
    seen = []

    def bound(model: VAE, batch: torch.Tensor) -> Bound:
        seen.append(batch)
        return elbo(model, batch)

    torch.manual_seed(0)
    config = VAEConfig(shape=(16,), latent=2, encoder="mlp", decoder="mlp", likelihood="bernoulli")
    model = VAE(config, bound, validation_bound=bound)
    fit(model, x, x, FitConfig(epochs=2, batch=32, precision="bf16-mixed"))
    rows = {row.tobytes() for row in x}
    assert {row.tobytes() for batch in seen for row in batch.numpy()} == rows


@pytest.mark.parametrize(("hidden", "rounded"), [(16, False), (1_024, True)])
@pytest.mark.parametrize("known", [False, True])
def test_only_large_models_are_rounded_where_the_cpu_is_fast_at_it(
    hidden: int, rounded: bool, known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: known)
    seen = []

    def bound(model: VAE, batch: torch.Tensor) -> Bound:
        seen.append(torch.is_autocast_enabled("cpu"))
        return elbo(model, batch)

    parts = {"encoder": "mlp", "decoder": "mlp", "likelihood": "bernoulli"}
    config = VAEConfig(shape=(16,), latent=2, encoder_hidden=hidden, decoder_hidden=hidden, **parts)
    x = np.zeros((512, 16), np.float32)
    fit(VAE(config, bound), x, x, FitConfig(epochs=1, batch=512))
    assert set(seen) == {rounded and known}


def timeless(folder: Path) -> list[dict[str, str]]:
    """The rows of metrics.csv without the columns that depend on the clock."""
    with (folder / METRICS).open() as file:
        rows = list(csv.DictReader(file))
    return [{k: v for k, v in r.items() if "second" not in k} for r in rows]


def test_a_folder_takes_one_training_at_a_time(tmp_path: Path) -> None:
    data, code = sequences(40).numpy(), "import sys; from molvae.base.files import lock_folder\n"
    code += "from pathlib import Path\nwith lock_folder(Path(sys.argv[1])): print(); input()"
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdin is not None
    assert other.stdout is not None
    other.stdout.readline()
    with pytest.raises(MolvaeError, match="another process is writing there"):
        fit(small(), data, data, FitConfig(epochs=1), tmp_path)
    assert not (tmp_path / METRICS).exists()
    other.communicate("\n", timeout=60)
    with lock_folder(tmp_path):  # as a caller that has prepared the folder may hold it
        assert fit(small(), data, data, FitConfig(epochs=1), tmp_path).step == 1
    fit(small(), data, data, FitConfig(epochs=1), tmp_path)


def test_training_does_not_touch_the_random_state_of_its_caller() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    model, data = small(), sequences(40).numpy()
    torch.manual_seed(7)
    fit(model, data, data, FitConfig(epochs=1, batch=16))
    assert torch.equal(torch.rand(3), expected)


def test_patience_stops_a_training_that_no_longer_improves(tmp_path: Path) -> None:
    options = {"epochs": 500, "learning_rate": 0.0, "validate_every": 10, "patience": 3}
    _, rows = train(tmp_path, **options)
    assert rows[-1].step == 30  # the start is validated too
    last = train(None, **options | {"epochs": 4}, keep_best=False)[1][-1]
    assert last.step == 4 * (300 // 16)


def weights_of(model: VAE) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_a_training_that_makes_it_worse_ends_with_the_start() -> None:
    """Trained to repeat one symbol, a model gets worse at random sequences."""
    model, held_out = train(None, epochs=20)[0], sequences(40, 1).numpy()
    start, data = weights_of(model), sequences(40).numpy()
    data[:, 1:-1] = 3
    ends = []
    for keep_best in (True, False):
        worse = small()
        worse.load_state_dict(model.state_dict())
        config = FitConfig(epochs=5, batch=8, validate_every=5, keep_best=keep_best)
        state = fit(worse, data, held_out, config)
        assert (state.best_step, state.best_loss) == (0, state.start_loss)
        assert state.validated == 40
        ends.append(weights_of(worse))
    assert torch.equal(ends[0], start)
    assert not torch.equal(ends[1], start)


def test_the_error_of_a_held_out_loss_is_that_of_the_mean_over_examples() -> None:
    model, data = small().eval(), sequences(50).numpy()
    settings = {"learning_rate": 0.0, "batch": 100, "kl_weight": 2.0, "precision": "32-true"}
    state = fit(model, data, data, FitConfig(epochs=1, **settings))
    torch.manual_seed(0)  # the seed of the configuration
    losses = -model.eval()(torch.from_numpy(data).long()).value(2.0)
    assert state.start_loss == pytest.approx(losses.mean().item(), rel=1e-5)
    assert state.start_error == pytest.approx(losses.std().item() / 50**0.5, rel=1e-3)
    assert state.best_error == state.start_error
    assert fit(model, data, data[:1], FitConfig(epochs=1)).start_error is None


def test_of_two_limits_the_nearer_one_ends_a_training() -> None:
    assert FitConfig().share(5, 1e9) == 0.25
    assert FitConfig(epochs=10, minutes=1).share(5, 6) == 0.5
    assert FitConfig(epochs=10, minutes=1).share(1, 45) == 0.75
    assert FitConfig(minutes=1).share(1e9, 15) == 0.25
    assert FitConfig(batch=10, validate_every=7).validate_each_epoch(50).validate_every == 5
    assert FitConfig(batch=10, validate_every=7).validate_each_epoch(5_000).validate_every == 7
    assert FitConfig(batch=10, devices=2).validate_each_epoch(100).validate_every == 5
    assert FitConfig(batch=10).validate_each_epoch(5).validate_every == 1


def test_a_damaged_or_foreign_checkpoint_is_one_clear_error(tmp_path: Path) -> None:
    train(tmp_path, epochs=1)
    path = tmp_path / CHECKPOINT
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(MolvaeError, match="damaged"):
        train(tmp_path)
    path.write_bytes(whole)
    with pytest.raises(MolvaeError, match="made with the optimizer muon"):
        train(tmp_path, optimizer="adam")
    tensors, metadata = read_tensors(path)
    tensors["optimizer.0.0.exp_avg"] = tensors.pop("optimizer.0.0.exp_avg")[1:]
    write_tensors(path, tensors, metadata)
    with pytest.raises(MolvaeError, match="has other optimizers"):
        train(tmp_path)
    wider = VAE(VAEConfig(VOCABULARY, LONGEST, latent=5, encoder_hidden=16, decoder_hidden=16))
    data = sequences(20).numpy()
    with pytest.raises(MolvaeError, match="do not fit"):
        fit(wider, data, data, FitConfig(), tmp_path)


def test_a_loss_that_is_not_finite_is_reported() -> None:
    with pytest.raises(MolvaeError, match="no longer finite"):
        train(None, learning_rate=1e30, clip=1e30, precision="32-true")
