"""CUDA graphs: the same training, only faster. Where there is no GPU there is nothing to test."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from molvae.base.errors import MolvaeError
from molvae.latent.devices import Graphed
from molvae.latent.elbo import blurred_elbo, elbo
from molvae.latent.fit import fit
from molvae.latent.training import FitConfig, Progress
from molvae.latent.vae import VAE, VAEConfig

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

CONFIG = FitConfig(batch=64, epochs=4, validate_every=20, precision="32-true", learning_rate=1e-3)


def sequences(n: int) -> np.ndarray:
    """Ids of two lengths: begin, symbols, end, padding."""
    rng = np.random.default_rng(0)
    ids = rng.integers(3, 12, (n, 12)).astype(np.uint8)
    ids[:, 0], ids[:, -1] = 1, 2
    ids[: n // 2, 8], ids[: n // 2, 9:] = 2, 0
    return ids


def vae(**parts: str) -> VAE:
    torch.manual_seed(0)
    shape = {"encoder_hidden": 32, "decoder_hidden": 32, "latent": 4}
    config = VAEConfig(vocabulary=12, max_length=12, **{**shape, **parts})  # type: ignore[arg-type]
    return VAE(config, partial(blurred_elbo, share=0.3), validation_bound=elbo)


def trained(folder: Path, stop: int = -1, **parts: str) -> tuple[float, torch.Tensor]:
    model = vae(**parts)

    def observe(progress: Progress) -> bool:
        return progress.state.step == stop

    state = fit(model, sequences(1_000), sequences(100), CONFIG, folder, observe)
    return state.best_loss, torch.cat([p.detach().cpu().flatten() for p in model.parameters()])


def test_graphs_train_as_single_kernels_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loss, weights = trained(tmp_path / "graphs")
    monkeypatch.setattr(Graphed, "__call__", Graphed._run)
    usual, same = trained(tmp_path / "usual")
    assert loss == pytest.approx(usual, rel=1e-3)
    assert (weights - same).abs().max() < 0.05 * same.abs().max()


def test_a_training_goes_on_as_if_unbroken(tmp_path: Path) -> None:
    loss, weights = trained(tmp_path / "whole")
    trained(tmp_path / "broken", stop=31)
    again, same = trained(tmp_path / "broken")
    assert loss == again
    assert torch.equal(weights, same)


@pytest.mark.parametrize("parts", [{"prior": "mixture"}, {"posterior": "full"}, {"prior": "flow"}])
def test_models_that_wait_for_the_gpu_are_trained_too(
    tmp_path: Path, parts: dict[str, str]
) -> None:
    assert np.isfinite(trained(tmp_path, **parts)[0])


def test_a_loss_that_is_not_finite_is_told(tmp_path: Path) -> None:
    config = FitConfig(batch=64, epochs=4, learning_rate=1e30, precision="32-true")
    with pytest.raises(MolvaeError, match="no longer finite"):
        fit(vae(), sequences(1_000), sequences(100), config, tmp_path)
