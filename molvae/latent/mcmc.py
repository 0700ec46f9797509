"""Samples of the true posterior p(z|x) by Hamiltonian Monte Carlo, started at q(z|x)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from molvae.base.errors import MolvaeError
from molvae.latent.protocols import LatentModel

if TYPE_CHECKING:
    from pyro.infer import HMC

CHAINS = 4  # for each example, so that they can be compared
KERNELS = ("nuts", "hmc")


class PosteriorSamples(NamedTuple):
    """Draws from p(z|x), and diagnostics of whether they can be trusted.

    As a rule of thumb, every coordinate should have `r_hat` below 1.01 and more than 400
    `effective_samples` (Vehtari et al. 2021). R-hat is the split one of Gelman et al. 2013, 11.4.
    """

    z: Tensor  # (S, B, D), one chain after the other
    effective_samples: Tensor  # (B, D), independent draws that would estimate a mean as well
    r_hat: Tensor  # (B, D), split R-hat: 1 where the halves of all chains agree
    acceptance_rate: float  # share of the transitions that moved
    divergences: int  # transitions whose integration failed; should be 0


def mcmc(
    model: LatentModel,
    x: Tensor,
    samples: int = 1000,
    warmup: int = 300,
    kernel: str = "nuts",
    seed: int = 0,
) -> PosteriorSamples:
    """Examples x (B, ...) -> samples z (S, B, D) of p(z|x), which q(z|x) only approximates.

    Hamiltonian Monte Carlo (Neal 2011) or its No-U-Turn form (Hoffman & Gelman 2014), by Pyro, with
    the target log p(z) + log p(x|z). Each example has four chains, each started at its own draw of
    q. All move as one point of (4 B D) coordinates, for which step size and a diagonal mass matrix
    are adapted during warm-up, so that one transition costs some tens of batched calls of the
    model; their number grows as the fourth root of B (Neal 2011, section 4.4). An example that
    makes the integration diverge slows down the others: see `divergences`.

    The model is evaluated in eval mode and gets no gradients; it and the random state of the
    caller are left as they were.

    Args:
        model: z must be real and unconstrained, log p(x, z) differentiable in z.
        x: examples.
        samples: S, in all four chains together: a multiple of 4, at least 16.
        warmup: transitions of each chain that adapt the sampler and are discarded.
        kernel: "nuts" or "hmc".
        seed: of the starts and the sampler.

    Raises:
        MolvaeError: Pyro is not installed, a value that cannot work, or a log p(x, z) that is not
            finite at the start.
    """
    _check(samples, warmup, kernel)
    try:
        from pyro.ops.stats import effective_sample_size, split_gelman_rubin
    except ImportError as error:
        raise MolvaeError("MCMC needs Pyro: pip install 'molvae[mcmc]'") from error
    sampler = _sampler(kernel, model, copies := torch.cat([x] * CHAINS))  # (4 B, ...)
    drawn = []
    with _undisturbed(model):
        torch.manual_seed(seed)
        sites = sampler.initial_params = {"z": _start(model, copies)}
        sampler.setup(warmup)
        for step in range(warmup + samples // CHAINS):
            sites = sampler.sample(sites)
            if step >= warmup:
                drawn.append(sites["z"].unflatten(0, (CHAINS, len(x))))
        figures = sampler.diagnostics()
    z = torch.stack(drawn, dim=1)  # (4, S / 4, B, D)
    return PosteriorSamples(
        z.flatten(0, 1),
        effective_sample_size(z),
        split_gelman_rubin(z),
        figures["acceptance rate"],
        len(figures["divergences"]),
    )


def _check(samples: int, warmup: int, kernel: str) -> None:
    if kernel not in KERNELS:
        raise MolvaeError(f"unknown kernel {kernel!r}: known are {', '.join(KERNELS)}")
    if samples < 4 * CHAINS or samples % CHAINS:
        raise MolvaeError(
            f"samples must be a multiple of {CHAINS}, the number of chains, and at least "
            f"{4 * CHAINS}, not {samples}"
        )
    if warmup < 1:
        raise MolvaeError(f"warmup must be at least 1, not {warmup}")


def _sampler(kernel: str, model: LatentModel, x: Tensor) -> HMC:
    """Return Pyro's kernel for p(z|x) of all x (B, ...) at once."""
    from pyro.infer import HMC, NUTS

    def energy(sites: dict[str, Tensor]) -> Tensor:
        return -_log_joint(model, x, sites["z"]).sum()

    if kernel == "nuts":
        return NUTS(potential_fn=energy)
    # A quarter of the period of a Gaussian of unit scale, which decorrelates it; Pyro's default, a
    # whole period, would return to the start.
    return HMC(potential_fn=energy, trajectory_length=math.pi / 2)


def _log_joint(model: LatentModel, x: Tensor, z: Tensor) -> Tensor:
    """Return log p(x, z), (B,), in nats."""
    return model.prior().log_prob(z) + model.log_likelihood(x, z)


@torch.no_grad()
def _start(model: LatentModel, x: Tensor) -> Tensor:
    """Draw z (B, D) from q(z|x)."""
    z = model.posterior(x).sample()
    finite = _log_joint(model, x, z).isfinite()
    if not finite.all():
        raise MolvaeError(
            f"log p(x, z) is not finite at a sample of q(z|x) of {int((~finite).sum())} of "
            f"{len(x)} chains: check x and the model"
        )
    return z


@contextmanager
def _undisturbed(model: LatentModel) -> Iterator[None]:
    """Make the target deterministic and differentiable, then restore everything."""
    from pyro import settings

    modules = list(model.modules()) if isinstance(model, nn.Module) else []
    modes = [module.training for module in modules]
    cuda = range(torch.cuda.device_count())
    # cuDNN refuses to differentiate a recurrent layer in eval mode.
    cudnn = torch.backends.cudnn.flags(enabled=False)
    # Where the integration diverges, it meets NaN and rejects it.
    lenient = settings.context(
        validate_distributions_pyro=False, validate_distributions_torch=False
    )
    with torch.random.fork_rng(cuda), torch.enable_grad(), cudnn, lenient:
        try:
            for module in modules:
                module.training = False
            yield
        finally:
            for module, mode in zip(modules, modes, strict=True):
                module.training = mode
