"""Strategies that differ from `neighbourhood` in one part, each under the name of that part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from molvae.search.neighbourhood import Neighbourhood, choose_highest, propose_nearby
from molvae.search.strategy import (
    Features,
    Floats,
    Kind,
    Observations,
    Seed,
    clip_to_bounds,
    draw_by_rank,
    sample_prior,
    strategies,
)
from molvae.search.surrogate import MixedProcess, fit_surrogate, select_observations

Propose = Callable[[Neighbourhood, Observations, int], Floats]
Choose = Callable[[Neighbourhood, Observations, Features, int], NDArray[np.intp]]


def near(usual: Neighbourhood, seen: Observations, p: int) -> Floats:
    """Propose as usual."""
    return usual.propose(p)


def steps(length: float) -> Propose:
    """Steps of one length around the best, in eighths of the bounds."""

    def propose(usual: Neighbourhood, seen: Observations, p: int) -> Floats:
        z = draw_by_rank(seen.known()[0][:100], p, 0.1, usual.rng)
        scale = (seen.bounds[1] - seen.bounds[0]) / 8
        return clip_to_bounds(z + length * scale * usual.rng.standard_normal(z.shape), seen.bounds)

    return propose


def prior(usual: Neighbourhood, seen: Observations, p: int) -> Floats:
    """Samples of the prior."""
    return sample_prior(seen.bounds, p, usual.rng)


def above(deviations: float) -> Choose:
    """Rank by mean + so many standard deviations."""

    def choose(
        usual: Neighbourhood, seen: Observations, features: Features, q: int
    ) -> NDArray[np.intp]:
        mean, deviation = usual.surrogate.predict(features)
        order: NDArray[np.intp] = np.argsort(-(mean + deviations * deviation), kind="stable")
        return order[:q]

    return choose


def at_random(
    usual: Neighbourhood, seen: Observations, features: Features, q: int
) -> NDArray[np.intp]:
    """Choose without a surrogate."""
    return usual.rng.permutation(len(features))[:q]


def usual_choice(
    usual: Neighbourhood, seen: Observations, features: Features, q: int
) -> NDArray[np.intp]:
    """Choose as usual."""
    return usual.choose(features, q)


def variant(propose: Propose = near, choose: Choose = usual_choice, refined: bool = False) -> type:
    """Make a strategy of a way to propose and a way to choose.

    Not `refined`: later pools of a round are proposed like its first.
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
    """The usual search, but its surrogate sees fingerprints only."""

    def __init__(self, seen: Observations, seed: Seed) -> None:
        super().__init__(replace(seen, features=without_numbers(seen.features)), seed)

    def consider(self, z: Floats, features: Features) -> None:
        """Take note as usual, by that process."""
        super().consider(z, without_numbers(features))

    def choose(self, features: Features, q: int) -> NDArray[np.intp]:
        """Choose as usual, by that process."""
        return super().choose(without_numbers(features), q)


def without_numbers(features: Features) -> Features:
    """Features (n,) -> the same with nothing but their parts."""
    parts = features.copy()
    parts["numbers"] = 0
    return parts


class OnValues(Neighbourhood):
    """The usual search, but its surrogate sees the values themselves in place of their ranks."""

    def __init__(self, seen: Observations, seed: Seed) -> None:
        super().__init__(seen, seed)
        self.surrogate = MixedProcess(seen.features, seen.y[:, 0], self.rng)


class OnLatents:
    """The usual proposals, ranked by a Gaussian process on the latents."""

    sees: Kind = "latents"
    several = False

    def __init__(self, seen: Observations, seed: Seed) -> None:
        self.bounds, self.z, self.rng = seen.bounds, seen.known()[0], np.random.default_rng(seed)
        rows = np.sort(select_observations(seen.y[:, 0], self.rng))
        self.surrogate = fit_surrogate(seen.z[rows], seen.y[rows])

    def propose(self, p: int) -> Floats:
        """Propose as usual."""
        return propose_nearby(self.z, self.bounds, p, self.rng)

    def choose(self, features: Features, q: int) -> NDArray[np.intp]:
        """Choose as usual, by that process."""
        with torch.no_grad():
            posterior = self.surrogate.posterior(torch.as_tensor(features, dtype=torch.float64))
        mean, variance = posterior.mean[:, 0].numpy(), posterior.variance[:, 0].numpy()
        return choose_highest(mean, np.sqrt(variance), q, self.rng)


VARIANTS = {
    "proposal-unrefined": variant(),  # what the rows of other proposals are compared with
    "proposal-short": variant(propose=steps(0.2)),
    "proposal-long": variant(propose=steps(0.8)),
    "proposal-prior": variant(propose=prior),
    "surrogate-none": variant(choose=at_random),
    "surrogate-parts": OnParts,
    "surrogate-latents": OnLatents,
    "surrogate-values": OnValues,
    "acquisition-mean": variant(choose=above(0.0), refined=True),
    "acquisition-1sd": variant(choose=above(1.0), refined=True),
    "acquisition-2sd": variant(choose=above(2.0), refined=True),
}
for _name, _entry in VARIANTS.items():
    strategies.register(_name)(_entry)
