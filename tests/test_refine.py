from itertools import pairwise

import pytest
import torch
from torch import Tensor

from molvae.errors import MolvaeError
from molvae.latent.refine import refined
from molvae.latent.vae import VAE, VAEConfig


@pytest.fixture
def linear() -> tuple[VAE, Tensor, Tensor]:
    """A linear decoder with Gaussian noise, x, and their likeliest latents: of least squares."""
    torch.manual_seed(0)
    parts = {"encoder": "mlp", "decoder": "linear", "likelihood": "gaussian", "noise": 0.5}
    vae = VAE(VAEConfig(shape=(12,), latent=3, **parts)).double()
    x, layer = torch.randn(40, 12, dtype=torch.float64), vae.decoder.layers[0]
    with torch.no_grad():
        return vae, x, torch.linalg.lstsq(layer.weight, (x - layer.bias).T).solution.T


def test_steps_lead_to_the_likeliest_latents(linear: tuple[VAE, Tensor, Tensor]) -> None:
    vae, x, best = linear
    z = vae.encode(x).detach()
    away = [(refined(vae, x, z, n) - best).norm(dim=1) for n in (0, 2, 4, 8)]
    for farther, nearer in pairwise(away):
        assert (nearer < farther).float().mean() > 0.9
    assert torch.equal(refined(vae, x, z, 0), z)
    assert (refined(vae, x, z, 1000) - best).abs().max() < 0.02


def test_no_latents_end_less_likely(linear: tuple[VAE, Tensor, Tensor]) -> None:
    vae, x, best = linear
    z = best + 1e-3
    assert torch.equal(refined(vae, x, z, 1), z)  # every step from here is too long
    with pytest.raises(MolvaeError, match="negative"):
        refined(vae, x, z, -1)
