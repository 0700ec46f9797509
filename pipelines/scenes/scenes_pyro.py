"""The model of scenes a second time: as a Pyro model and a guide.

Pyro asks for two programs that name the same random variables, and derives the objective from them
(Bingham et al. 2019). The networks are those of `molvae.latent.scenes`; what is written again is
everything that the bound is made of: which variables there are, what they depend on, and that the
number of digits is summed out (`enumerate`), which there is an explicit sum.
"""

from __future__ import annotations

import copy

import pyro
import torch
from pyro import distributions as dist
from pyro import poutine
from pyro.infer import TraceEnum_ELBO
from torch import Tensor

from molvae.latent.scenes import Scenes


class ScenesInPyro:
    """A model p(n, where, what, x) and a guide q(n, where, what | x) around the same networks."""

    def __init__(self, networks: Scenes) -> None:
        self.networks = networks
        self.most = networks.config.most

    def model(self, x: Tensor) -> None:
        """x (B, C, H, W): draw a number, then that many objects, then the scene."""
        net = self.networks
        pyro.module("scenes", net)
        with pyro.plate("scenes", len(x), dim=-1):
            costs = net.config.cost * torch.arange(self.most + 1, dtype=x.dtype)
            n = pyro.sample("n", dist.Categorical(logits=-costs))
            drawing = torch.zeros_like(x)
            for t in range(self.most):
                there = t < n  # (B,), or (N + 1, 1) where n is enumerated
                with poutine.mask(mask=there):
                    where = pyro.sample(
                        f"where_{t}", dist.Normal(net.middle, net.reach).to_event(1)
                    )
                    what = pyro.sample(
                        f"what_{t}",
                        dist.Normal(x.new_zeros(net.config.part.latent), 1.0).to_event(1),
                    )
                drawn = net.draw(where[None], what[None])[0]
                drawing = drawing + there[..., None, None, None] * drawn
            noise = net.decoder.likelihood.log_scale.exp()
            pyro.sample("x", dist.Normal(drawing, noise).to_event(3), obs=x)

    def guide(self, x: Tensor) -> None:
        """x (B, C, H, W): look, and draw all that the model draws, the number enumerated."""
        pyro.module("scenes", self.networks)
        attention = self.networks.attend(x)
        with pyro.plate("scenes", len(x), dim=-1):
            n = pyro.sample(
                "n",
                dist.Categorical(logits=attention.number.logits),
                infer={"enumerate": "parallel"},
            )
            for t, (where, what) in enumerate(zip(attention.where, attention.what, strict=True)):
                with poutine.mask(mask=t < n):
                    pyro.sample(f"where_{t}", _as_normal(where))
                    pyro.sample(f"what_{t}", _as_normal(what))

    def make_loss(self) -> TraceEnum_ELBO:
        """Return the objective: minus the bound, summed over scenes, in nats."""
        return TraceEnum_ELBO(max_plate_nesting=1)


def _as_normal(q: torch.distributions.Distribution) -> dist.Distribution:
    """Rewrite a Gaussian of torch that is a product over dimensions as one of Pyro's."""
    return dist.Normal(q.mean, q.stddev).to_event(1)


def compare_bounds(networks: Scenes, x: Tensor, seed: int) -> tuple[float, float]:
    """Scenes x (B, C, H, W) -> the bound by `Scenes` and by Pyro, mean over B, in nats.

    Both with the same weights and the same draws of where and what. Pyro estimates the KL from
    these draws too, so `Scenes` is made to do the same. In float64, so that what differs is not
    rounding.
    """
    networks, x = copy.deepcopy(networks).double(), x.double()
    program = ScenesInPyro(networks)
    with torch.no_grad(), pyro.get_param_store().scope():
        torch.manual_seed(seed)
        theirs = -program.make_loss().loss(program.model, program.guide, x) / len(x)
        torch.manual_seed(seed)
        a = networks.attend(x)
        draws = [(p.rsample(), q.rsample()) for p, q in zip(a.where, a.what, strict=True)]
        where, what = (torch.stack(part) for part in zip(*draws, strict=True))
        paid = [
            a.where[t].log_prob(where[t])
            - networks.prior_where().log_prob(where[t])
            + a.what[t].log_prob(what[t])
            - networks.prior_what().log_prob(what[t])
            for t in range(len(where))
        ]
        kl = torch.stack([x.new_zeros(len(x)), *paid]).cumsum(0)
        joint = networks.log_likelihoods(x, where, what) - kl
        joint = joint + networks.prior_count().logits[:, None]
        log_q = a.number.logits.t()
        ours = (log_q.exp() * (joint - log_q)).sum(0).mean()
    return float(ours), float(theirs)
