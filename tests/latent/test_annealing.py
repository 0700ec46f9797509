"""Latents given an event, against the posterior of a linear Gaussian model."""

import math

import torch
from torch import Tensor
from torch.distributions import Normal

from molvae.latent.annealing import anneal_latents, resample

D, NOISE = 8, 0.3
generator = torch.Generator


def observe(targets: Tensor):
    """p(y|z) = N(y; z, NOISE^2) for each label's y."""

    def weigh(z: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        return labels, Normal(z, NOISE).log_prob(targets[labels]).sum(1)

    return weigh


def test_posterior_and_evidence_of_two_groups_are_those_of_the_closed_form() -> None:
    mean, scale, runs = torch.full((D,), 0.5), 2.0, 20
    targets = torch.stack([torch.full((D,), 3.0), torch.linspace(-2, 2, D)])
    labels = torch.tensor([[0] * 1_000, [1] * 1_000])
    found = [
        anneal_latents(observe(targets), labels, mean, scale, generator().manual_seed(seed))
        for seed in range(runs)
    ]
    gain = scale**2 / (scale**2 + NOISE**2)
    expected = mean + gain * (targets - mean)  # (G, D)
    sd = NOISE * math.sqrt(gain)
    error = torch.stack([(f.z.mean(1) - expected) / sd for f in found])  # (runs, G, D)
    assert error.mean(0).abs().max() < 0.1
    assert error.abs().mean() < 0.1
    spread = torch.stack([f.z.std(1) / sd for f in found]).mean(0)
    assert ((spread - 1).abs() < 0.05).all()
    total = Normal(mean, math.sqrt(scale**2 + NOISE**2))
    exact = total.log_prob(targets).sum(1)
    ratios = torch.stack([(f.log_evidence - exact).exp() for f in found]).mean(0)
    assert ((ratios - 1).abs() < 0.5).all()
    for f in found:
        assert torch.equal(f.labels, labels)
        assert torch.equal(f.drawn, labels)
        assert len(f.z[0].unique(dim=0)) > 800  # plain importance sampling leaves a handful


def test_variants_of_an_event_compete_by_their_probability() -> None:
    near, far = torch.full((2,), 0.5), torch.full((2,), 1.5)
    targets = torch.stack([near, far])
    labels = (torch.arange(4_000) % 2)[None]
    found = anneal_latents(observe(targets), labels, torch.zeros(2), 1.0, generator())
    odds = Normal(0.0, math.sqrt(1 + NOISE**2)).log_prob(targets).sum(1).diff().exp()
    share = found.labels.float().mean()
    assert abs(share / (1 - share) / odds - 1) < 0.25


def test_the_same_generator_gives_the_same_points() -> None:
    targets, labels = torch.full((1, 3), 2.0), torch.zeros(1, 50, dtype=torch.long)
    runs = [
        anneal_latents(
            observe(targets), labels, torch.zeros(3), 1.0, generator().manual_seed(seed)
        ).z
        for seed in (4, 4, 5)
    ]
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_resampling_takes_each_as_often_as_its_weight_says() -> None:
    weights = torch.tensor([[0.5, 0.3, 0.2, 0.0], [0.0, 0.0, 0.0, 1.0]])
    log_w = (weights.log() - 700).repeat_interleave(25, dim=1)  # far below what exp can hold
    for seed in range(20):
        chosen = resample(log_w, generator().manual_seed(seed)) // 25
        counts = torch.stack([torch.bincount(row, minlength=4) for row in chosen])
        assert ((counts - 100 * weights).abs() < 1).all()
    uniform = resample(torch.zeros(1, 7), generator())
    assert uniform.tolist() == [list(range(7))]
