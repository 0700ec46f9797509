"""Refining a decoder: more of what it writes is right, and latent points keep their meaning."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from molvae import MolVAE
from molvae.cli import main
from molvae.errors import MolvaeError
from molvae.latent import BOS, EOS, PAD
from molvae.latent.fit import fit
from molvae.latent.refine import CANDIDATES, _Refined, refine
from molvae.latent.training import FitConfig
from molvae.latent.vae import VAE, VAEConfig
from molvae.refining import refine as refine_molecules

HALF, SYMBOLS = 5, 4


def repeats(n: int, seed: int) -> np.ndarray:
    """Sequences that say the same thing twice: ids (n, 2 HALF + 2)."""
    said = np.random.default_rng(seed).integers(3, 3 + SYMBOLS, (n, HALF))
    ends = [np.full((n, 1), end) for end in (BOS, EOS)]
    return np.concatenate([ends[0], said, said, ends[1]], axis=1)


def is_repeat(ids: Tensor) -> Tensor:
    whole = (ids[:, 2 * HALF + 1] == EOS) & (ids[:, 1 : 2 * HALF + 1] > EOS).all(1)
    return whole & (ids[:, 1 : HALF + 1] == ids[:, HALF + 1 : 2 * HALF + 1]).all(1)


def check(ids: Tensor) -> tuple[Tensor, Tensor]:
    rows = is_repeat(ids).nonzero()[:, 0]
    return ids[rows, : 2 * HALF + 2], rows


@pytest.fixture(scope="module")
def trained() -> VAE:
    torch.manual_seed(0)
    sizes = {"latent": 8, "encoder_hidden": 64, "decoder_hidden": 64}
    model = VAE(VAEConfig(vocabulary=3 + SYMBOLS, max_length=2 * HALF + 4, **sizes))
    config = FitConfig(epochs=8, batch=32, kl_weight=0.1, validate_every=100, precision="32-true")
    fit(model, repeats(3_000, 0), repeats(200, 1), config)
    return model.eval()


def copied(model: VAE) -> VAE:
    twin = VAE(model.config).eval()
    twin.load_state_dict(model.state_dict())
    return twin


def share_right(model: VAE) -> float:
    z = torch.randn(2_000, 8, generator=torch.Generator().manual_seed(0))
    return float(is_repeat(model.decoder.generate(z)).float().mean())


def test_more_of_the_samples_are_right_and_only_the_decoder_has_changed(trained: VAE) -> None:
    model = copied(trained)
    config = FitConfig(epochs=2, batch=32, learning_rate=2e-3, precision="32-true")
    state = torch.get_rng_state()
    refine(model, repeats(3_000, 0), repeats(200, 1), check, 1.0, config)
    assert torch.equal(torch.get_rng_state(), state)
    before, after = share_right(trained), share_right(model)
    assert 0.05 < before < 0.5
    assert after > 1.3 * before, (before, after)
    for name, weight in model.state_dict().items():
        same = torch.equal(weight, trained.state_dict()[name])
        assert same != name.startswith("decoder."), name
    assert all(p.requires_grad for p in model.parameters())
    assert not model.training


def test_the_nearest_right_candidate_of_each_point_is_learned(trained: VAE) -> None:
    z = torch.randn(6, 8, generator=torch.Generator().manual_seed(1))
    forms = torch.from_numpy(repeats(6 * CANDIDATES, 2))
    kept = [row for row in range(6 * CANDIDATES) if row % 6 != 4]  # nothing right at point 4

    def some(ids: Tensor) -> tuple[Tensor, Tensor]:
        assert len(ids) == 6 * CANDIDATES
        return forms[kept], torch.tensor(kept)

    with torch.no_grad():
        right, points = _Refined(trained, some, 1.0).written(z)
        q = trained.posterior(forms)
        every = q.log_prob(z.repeat(CANDIDATES, 1)).view(CANDIDATES, 6)
        nats = trained.posterior(right).log_prob(points)
    assert sorted(points[:, 0].tolist()) == sorted(z[[0, 1, 2, 3, 5], 0].tolist())
    for point, best in zip(points, nats, strict=True):
        i = int((z == point).all(1).nonzero())
        assert best == pytest.approx(float(every[:, i].max()), abs=1e-4)


def test_where_nothing_is_right_the_data_is_learned_as_before(trained: VAE) -> None:
    model = copied(trained)
    x = torch.from_numpy(repeats(50, 3))

    def none(ids: Tensor) -> tuple[Tensor, Tensor]:
        return torch.full((0, 2), PAD), torch.zeros(0, dtype=torch.long)

    refined = _Refined(model, none, 1.0)
    torch.manual_seed(0)
    terms = refined(x)
    torch.manual_seed(0)
    assert torch.allclose(terms.log_likelihood, model(x).log_likelihood)


def test_bad_input_is_refused(trained: VAE) -> None:
    with pytest.raises(MolvaeError, match="weight must not be negative"):
        refine(trained, repeats(9, 0), repeats(9, 1), check, -1.0, FitConfig())
    with pytest.raises(MolvaeError, match="at least one example"):
        refine(trained, repeats(0, 0), repeats(9, 1), check, 1.0, FitConfig())
    numbers = VAE(VAEConfig(shape=(3,), encoder="mlp", decoder="mlp", likelihood="gaussian"))
    with pytest.raises(MolvaeError, match="only a model that writes symbols"):
        refine(numbers, np.zeros((9, 3)), np.zeros((9, 3)), check, 1.0, FitConfig())


def test_molecules_keep_their_latent_points(small_model_file: str, zinc: list[str]) -> None:
    model = MolVAE.load(small_model_file)
    z, written = model.encode(zinc[:50]), model.sample(50)
    config = FitConfig(epochs=0.5, batch=32)
    refine_molecules(model, [*zinc[:200], "[Xe]"], zinc[200:250], config=config)
    assert torch.equal(model.encode(zinc[:50]), z)
    assert model.sample(50) != written
    assert model.summary["refined"]["step"] > 0


def test_the_verb_says_what_it_bought(
    small_model_file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "refined.safetensors"
    words = ["refine", small_model_file, "--molecules", "100", "--epochs", "0.5"]
    assert main([*words, "--out", str(out)]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in shown] == ["before:", "after:", "model:"]
    assert "of 1,000 samples valid" in shown[1]
    assert MolVAE.load(out).summary["refined"]["weight"] == 1.0
    assert main(["refine", "zinc"]) == 1
    assert "zinc is a shipped model: say with --out" in capsys.readouterr().err
