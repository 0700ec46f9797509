"""Strategies that differ from `neighbourhood` in one part, each named after that part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from molvae.search.acquisition import choose_highest
from molvae.search.latent_surrogate import fit_surrogate
from molvae.search.proposals import clip_to_bounds, draw_by_rank, propose_nearby, sample_prior
from molvae.search.protocols import Features, Floats, Kind, Observations, Seed
from molvae.search.strategies import strategies
from molvae.search.strategies.neighbourhood import Neighbourhood
from molvae.search.surrogate import MixedProcess, select_observations

Propose = Callable[[Neighbourhood, Observations, int], Floats]
Choose = Callable[[Neighbourhood, Observations, Features, int], NDArray[np.intp]]


def propose_as_usual(usual: Neighbourhood, seen: Observations, p: int) -> Floats:
    """Propose as `neighbourhood` does."""
    return usual.propose(p)


def propose_steps(length: float) -> Propose:
    """Make a proposal of Gaussian steps of one length around the best, in eighths of the bounds."""

    def propose(usual: Neighbourhood, seen: Observations, p: int) -> Floats:
        z = draw_by_rank(seen.known()[0][:100], p, 0.1, usual.rng)
        scale = (seen.bounds[1] - seen.bounds[0]) / 8
        return clip_to_bounds(z + length * scale * usual.rng.standard_normal(z.shape), seen.bounds)

    return propose


def propose_from_prior(usual: Neighbourhood, seen: Observations, p: int) -> Floats:
    """Propose samples of the prior."""
    return sample_prior(seen.bounds, p, usual.rng)


def choose_by_bound(deviations: float) -> Choose:
    """Make a choice by the upper confidence bound: mean + `deviations` standard deviations."""

    def choose(
        usual: Neighbourhood, seen: Observations, features: Features, q: int
    ) -> NDArray[np.intp]:
        mean, deviation = usual.surrogate.predict(features)
        order: NDArray[np.intp] = np.argsort(-(mean + deviations * deviation), kind="stable")
        return order[:q]

    return choose


def choose_at_random(
    usual: Neighbourhood, seen: Observations, features: Features, q: int
) -> NDArray[np.intp]:
    """Choose at random, without the surrogate."""
    return usual.rng.permutation(len(features))[:q]


def choose_as_usual(
    usual: Neighbourhood, seen: Observations, features: Features, q: int
) -> NDArray[np.intp]:
    """Choose as `neighbourhood` does."""
    return usual.choose(features, q)


def make_variant(
    propose: Propose = propose_as_usual, choose: Choose = choose_as_usual, refined: bool = False
) -> type:
    """Make a strategy from a way to propose and a way to choose.

    Unless `refined`, the later pools of a round are proposed like its first.
    """

    class Variant:
        sees: Kind = "molecules"
        several = False

        def __init__(self, seen: Observations, seed: Seed) -> None:
            self.usual, self.seen = Neighbourhood(seen, seed), seen

        def propose(self, p: int) -> Floats:
            return propose(self.usual, self.seen, p)

        def choose(self, features: Features, q: int) -> NDArray[np.intp]:
            return choose(self.usual, self.seen, features, q)

    class Refined(Variant):
        def consider(self, z: Floats, features: Features) -> None:
            self.usual.consider(z, features)

    return Refined if refined else Variant


class OnParts(Neighbourhood):
    """`neighbourhood` with a surrogate that sees fingerprints only."""

    def __init__(self, seen: Observations, seed: Seed) -> None:
        super().__init__(replace(seen, features=drop_numbers(seen.features)), seed)

    def consider(self, z: Floats, features: Features) -> None:
        """Update with the decoded pool, by that surrogate."""
        super().consider(z, drop_numbers(features))

    def choose(self, features: Features, q: int) -> NDArray[np.intp]:
        """Choose by that surrogate."""
        return super().choose(drop_numbers(features), q)


def drop_numbers(features: Features) -> Features:
    """Features (n,) -> the same with the descriptors set to 0, so that only the parts differ."""
    parts = features.copy()
    parts["numbers"] = 0
    return parts


class OnValues(Neighbourhood):
    """`neighbourhood` with a surrogate that sees the values in place of their ranks."""

    def __init__(self, seen: Observations, seed: Seed) -> None:
        super().__init__(seen, seed)
        self.surrogate = MixedProcess(seen.features, seen.y[:, 0], self.rng)


class OnLatents:
    """The proposals of `neighbourhood`, ranked by a Gaussian process on the latents."""

    sees: Kind = "latents"
    several = False

    def __init__(self, seen: Observations, seed: Seed) -> None:
        self.bounds, self.z, self.rng = seen.bounds, seen.known()[0], np.random.default_rng(seed)
        rows = np.sort(select_observations(seen.y[:, 0], self.rng))
        self.surrogate = fit_surrogate(seen.z[rows], seen.y[rows])

    def propose(self, p: int) -> Floats:
        """Propose around and between the best."""
        return propose_nearby(self.z, self.bounds, p, self.rng)

    def choose(self, features: Features, q: int) -> NDArray[np.intp]:
        """Choose by that Gaussian process."""
        with torch.no_grad():
            posterior = self.surrogate.posterior(torch.as_tensor(features, dtype=torch.float64))
        mean, variance = posterior.mean[:, 0].numpy(), posterior.variance[:, 0].numpy()
        return choose_highest(mean, np.sqrt(variance), q, self.rng)


VARIANTS = {
    "proposal-unrefined": make_variant(),  # the reference for the rows of other proposals
    "proposal-short": make_variant(propose=propose_steps(0.2)),
    "proposal-long": make_variant(propose=propose_steps(0.8)),
    "proposal-prior": make_variant(propose=propose_from_prior),
    "surrogate-none": make_variant(choose=choose_at_random),
    "surrogate-parts": OnParts,
    "surrogate-latents": OnLatents,
    "surrogate-values": OnValues,
    "acquisition-mean": make_variant(choose=choose_by_bound(0.0), refined=True),
    "acquisition-1sd": make_variant(choose=choose_by_bound(1.0), refined=True),
    "acquisition-2sd": make_variant(choose=choose_by_bound(2.0), refined=True),
}
for _name, _entry in VARIANTS.items():
    strategies.register(_name)(_entry)
