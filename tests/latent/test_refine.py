from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from molvae.base.errors import MolvaeError
from molvae.latent.refine import LENGTH, refine_latents
from molvae.latent.vae import VAE, VAEConfig

Judge = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


@pytest.fixture
def linear() -> tuple[VAE, Tensor, Tensor]:
    """A linear decoder with Gaussian noise, x, and their likeliest latents: of least squares."""
    torch.manual_seed(0)
    parts = {"encoder": "mlp", "decoder": "linear", "likelihood": "gaussian", "noise": 0.5}
    vae = VAE(VAEConfig(shape=(12,), latent=3, **parts)).double()
    x, layer = torch.randn(40, 12, dtype=torch.float64), vae.decoder.layers[0]
    with torch.no_grad():
        return vae, x, torch.linalg.lstsq(layer.weight, (x - layer.bias).T).solution.T


def judge_by(vae: VAE, settled: Callable[[Tensor, Tensor], Tensor]) -> Judge:
    return lambda x, z: (vae.log_likelihood(x, z), settled(x, z))


def never(x: Tensor, z: Tensor) -> Tensor:
    return torch.zeros(len(z), dtype=torch.bool)


def test_steps_lead_to_the_likeliest_latents(linear: tuple[VAE, Tensor, Tensor]) -> None:
    vae, x, best = linear
    z, judge = vae.encode(x).detach(), judge_by(vae, never)
    away = [(refine_latents(judge, x, z, n) - best).norm(dim=1) for n in (0, 2, 4, 8)]
    for farther, nearer in pairwise(away):
        assert (nearer < farther).float().mean() > 0.9
    assert torch.equal(refine_latents(judge, x, z, 0), z)
    step = LENGTH * 3**0.5
    torch.testing.assert_close(
        (refine_latents(judge, x, z, 1) - z).norm(dim=1), torch.full((40,), step).double()
    )
    assert (refine_latents(judge, x, z, 500) - best).norm(dim=1).max() < 2 * step


def test_settled_rows_stay_and_the_others_go_on(linear: tuple[VAE, Tensor, Tensor]) -> None:
    vae, x, best = linear
    z, rows = vae.encode(x).detach(), {tuple(row.tolist()): i for i, row in enumerate(x)}

    def near(x: Tensor, z: Tensor) -> Tensor:
        own = best[[rows[tuple(row.tolist())] for row in x]]
        return (z - own).norm(dim=1) < 0.5

    found = refine_latents(judge_by(vae, near), x, z, 100)
    there = near(x, z)
    assert 0 < there.sum() < len(x)
    assert torch.equal(found[there], z[there])
    assert near(x, found).all()
    apart = (found - best)[~there].norm(dim=1)
    assert apart.min() > 0.5 - LENGTH * 3**0.5  # none went further than it had to


def test_steps_where_nothing_is_to_be_gained_stay_finite(
    linear: tuple[VAE, Tensor, Tensor],
) -> None:
    vae, x, _ = linear
    for weight in vae.decoder.parameters():
        torch.nn.init.zeros_(weight)
    z, judge = vae.encode(x).detach(), judge_by(vae, never)
    assert torch.equal(refine_latents(judge, x, z), z)
    with pytest.raises(MolvaeError, match="negative"):
        refine_latents(judge, x, z, -1)
