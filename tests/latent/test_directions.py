"""Effects of known properties on z, and how much each dimension knows of each factor."""

import math

import pytest
import torch

from molvae.base.errors import MolvaeError
from molvae.latent.directions import estimate_effects
from molvae.latent.disentanglement import measure_information, mutual_information_gap


def test_effects_are_those_with_the_other_properties_held() -> None:
    torch.manual_seed(0)
    hat = torch.rand(4_000) < 0.5
    old = torch.rand(4_000) < torch.where(hat, 0.9, 0.1)  # who wears a hat is old, as a rule
    properties = torch.stack([hat, old], 1).float()
    true = torch.tensor([[1.0, 0.0, -2.0], [0.0, 3.0, 1.0]])
    z = properties @ true + 0.1 * torch.randn(4_000, 3)
    torch.testing.assert_close(estimate_effects(z, properties), true, atol=0.02, rtol=0)
    difference = z[hat].mean(0) - z[~hat].mean(0)  # holds what goes with hats, too
    assert (difference - true[0]).abs().max() > 1
    one_hot = torch.cat([properties, 1 - properties], 1)  # redundant columns change no edit
    change = torch.tensor([1.0, 0.0, -1.0, 0.0])
    torch.testing.assert_close(change @ estimate_effects(z, one_hot), true[0], atol=0.02, rtol=0)


def test_information_is_that_of_a_table_written_out() -> None:
    n = 4_000
    factor = torch.arange(n) % 4
    z = torch.stack([factor + 0.5 * torch.rand(n), (factor // 2) + 0.5 * torch.rand(n)], 1)
    info = measure_information(z, torch.stack([factor, factor // 2], 1))
    expected = torch.tensor([[math.log(4), math.log(2)], [math.log(2), math.log(2)]]).double()
    torch.testing.assert_close(info, expected, atol=0.01, rtol=0)
    gaps = mutual_information_gap(z, torch.stack([factor, factor // 2], 1))
    torch.testing.assert_close(gaps, torch.tensor([0.5, 0.0]).double(), atol=0.01, rtol=0)


def test_a_rotation_closes_the_gap() -> None:
    torch.manual_seed(0)
    factors = torch.randint(2, (8_000, 2))
    z = factors + 0.2 * torch.randn(8_000, 2)
    turned = z @ torch.tensor([[1.0, 1.0], [1.0, -1.0]]) / math.sqrt(2)
    assert mutual_information_gap(z, factors).min() > 0.9
    assert mutual_information_gap(turned, factors).max() < 0.1
    noise = torch.randn(8_000, 5)
    assert mutual_information_gap(noise, factors).max() < 0.01
    constant = torch.zeros(8_000, 1, dtype=torch.long)
    assert mutual_information_gap(z, constant) == 0


def test_wrong_tables_are_one_clear_error() -> None:
    z, factors = torch.zeros(5, 2), torch.zeros(5, 1, dtype=torch.long)
    with pytest.raises(MolvaeError, match="not \\(5, 2\\) and \\(4, 1\\)"):
        measure_information(z, factors[:4])
    with pytest.raises(MolvaeError, match="whole numbers"):
        measure_information(z, factors.float())
    with pytest.raises(MolvaeError, match="at least 2"):
        mutual_information_gap(z[:, :1], factors)
    with pytest.raises(MolvaeError, match="effects need"):
        estimate_effects(z, torch.zeros(4, 1))
