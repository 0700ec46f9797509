import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from molvae.base.errors import MolvaeError
from molvae.latent.optimizers import RMS, Muon, make_optimizers, orthogonalise
from molvae.latent.training import FitConfig
from molvae.latent.vae import VAE, VAEConfig

SIZES = st.integers(2, 40)


@given(rows=SIZES, columns=SIZES, size=st.sampled_from([1e-4, 1.0, 1e4]), seed=st.integers(0, 99))
def test_a_gradient_is_rotated_to_singular_values_near_one(
    rows: int, columns: int, size: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    u, _, v = torch.linalg.svd(torch.randn(rows, columns, generator=generator), full_matrices=False)
    values = torch.linspace(0.3, 1, min(rows, columns))
    found = orthogonalise(size * u @ values.diag() @ v)
    inner = u.t() @ found @ v.t()  # diagonal where the singular vectors are kept
    assert ((inner.diag() > 0.6) & (inner.diag() < 1.3)).all()
    assert (inner - inner.diag().diag()).abs().max() < 0.1


def test_a_gate_is_stepped_by_itself() -> None:
    weight = torch.nn.Parameter(torch.zeros(12, 4))
    weight.grad = torch.randn(12, 4, generator=torch.Generator().manual_seed(0))
    alone = [torch.nn.Parameter(torch.zeros(4, 4)) for _ in range(3)]
    for gate, grad in zip(alone, weight.grad.chunk(3), strict=True):
        gate.grad = 8 * grad  # the size of a gradient says nothing
    for muon in (Muon([weight], [], 0.0), Muon([], alone, 0.0)):
        muon.param_groups[0]["lr"] = 0.1
        muon.step()
    torch.testing.assert_close(weight.detach(), torch.cat([g.detach() for g in alone]))
    rms = weight.detach().square().mean().sqrt()
    assert float(rms) == pytest.approx(0.1 * RMS, rel=0.3)


def test_every_weight_has_one_optimizer() -> None:
    molecules = VAE(VAEConfig(vocabulary=9, max_length=8, latent=4, encoder_hidden=16))
    for name, kinds in (("muon", ["Adam", "Muon"]), ("adam", ["Adam"])):
        both = make_optimizers(molecules, name)
        assert [type(o).__name__ for o in both] == kinds
        owned = [id(p) for o in both for group in o.param_groups for p in group["params"]]
        assert sorted(owned) == sorted(id(p) for p in molecules.parameters())
    numbers = VAE(
        VAEConfig(shape=(3,), latent=2, encoder="mlp", decoder="mlp", likelihood="gaussian")
    )
    assert len(make_optimizers(numbers, "muon")) == 1  # no GRU


def test_what_cannot_train_is_refused() -> None:
    with pytest.raises(MolvaeError, match="muon or adam, not 'sgd'"):
        FitConfig(optimizer="sgd")
    with pytest.raises(MolvaeError, match="bf16-mixed or 32-true"):
        FitConfig(precision="16-mixed")


def test_a_step_looks_ahead_along_the_mean_of_the_gradients() -> None:
    """Nesterov's momentum, as Jordan et al. 2024 define Muon."""
    first, second = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0))
    weight, expected = torch.nn.Parameter(torch.zeros(6, 4)), torch.zeros(6, 4)
    muon, mean = Muon([], [weight], 0.1, momentum=0.9), torch.zeros(6, 4)
    for grad in (first, second, first):
        weight.grad = grad
        muon.step()
        mean = 0.9 * mean + 0.1 * grad
        expected -= 0.1 * RMS * 6**0.5 * orthogonalise((0.1 * grad + 0.9 * mean)[None])[0]
    torch.testing.assert_close(weight.detach(), expected)
