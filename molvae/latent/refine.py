"""Training the decoder of a finished model between and beyond the points that data is encoded to.

A decoder learns from latent points of data only. At other points it mixes what belongs to several
examples, and what it writes may be none. Here it writes there what it can; what is wrong is thrown
away, and it learns the rest: fine-tuning on its own samples that pass a check (compare Dong et al.
2023, "RAFT", and the sleep phase of Hinton et al. 1995).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from molvae.errors import MolvaeError
from molvae.latent.batches import Array
from molvae.latent.elbo import Bound, blurred
from molvae.latent.fit import fit
from molvae.latent.training import FitConfig, Observer, State
from molvae.latent.vae import VAE

CANDIDATES = 4  # written at each point: the greedy one, and draws
TEMPERATURE = 0.5  # of the draws
NEARBY = 0.3  # share of the points made from data: half 0.5 sd away from it, half between two
AVERAGED = 0.5  # weight of the decoder after training, against the one before
DRAWS = 30_000  # points of the prior, which are used again

Check = Callable[[Tensor], tuple[Tensor, Tensor]]
"""What was written, ids (n, L) -> what should have been, ids (m, L'), and of which rows, (m,)."""


def refine(
    model: VAE,
    train: Array,
    validation: Array,
    check: Check,
    weight: float,
    config: FitConfig,
    observe: Observer = lambda progress: None,
) -> State:
    """Train the decoder in place on ids (N, L) and, besides, on what it writes itself.

    For each example there is one further point z, mostly a draw of the prior. Of what the decoder
    writes at it, `check` rejects some and puts the others right, and the one of them with the
    highest q(z|x) is to be learned, with `weight`: the highest p(x|z) would favour short ones. The
    result is the mean of the weights before and after (Wortsman et al. 2022, eq. 1), so that less
    of the reconstruction is lost. Encoder and prior stay, so points keep their meaning.

    Raises:
        MolvaeError: a model that does not write symbols, no data, a weight below 0.
    """
    if model.config.shape:
        raise MolvaeError("only a model that writes symbols can be refined")
    if not weight >= 0:
        raise MolvaeError(f"the weight must not be negative, got {weight}")
    needed = {id(p) for p in model.decoder.parameters()}
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        refined = _Refined(model, check, weight)
    frozen = [p for p in model.parameters() if p.requires_grad and id(p) not in needed]
    for p in frozen:
        p.requires_grad_(False)
    before = [p.detach().clone() for p in model.decoder.parameters()]
    try:
        state = fit(refined, train, validation, config, None, observe)
        with torch.no_grad():
            for old, p in zip(before, model.decoder.parameters(), strict=True):
                p.lerp_(old.to(p), 1 - AVERAGED)
        return state
    finally:
        for p in frozen:
            p.requires_grad_(True)
        model.cpu().eval()


class _Refined(nn.Module):
    """A VAE whose bound is that of data and, besides, of what it writes at other points."""

    def __init__(self, model: VAE, check: Check, weight: float) -> None:
        super().__init__()
        self.model, self.check, self.weight = model, check, weight
        with torch.no_grad():  # many at once: a flow solves an equation for each batch of them
            prior, size = model.prior(), torch.Size([DRAWS // 30])
            self.drawn = torch.cat([prior.sample(size) for _ in range(30)])

    def forward(self, x: Tensor) -> Bound:
        with torch.no_grad():
            z = self.model.posterior(x).sample()
            z = blurred(z, torch.randn_like(z), self.model.config.blur)
            with torch.autocast(x.device.type, enabled=False):
                written, points = self.written(self.points(x))
        nats = self.model.log_likelihood(x, z)
        if len(written):
            nats = nats + self.weight * self.model.log_likelihood(written, points).mean()
        return Bound(nats, torch.zeros_like(nats))

    def points(self, x: Tensor) -> Tensor:
        """Ids x (B, L) -> as many points (B, D), some drawn from the prior, some near the data."""
        z = self.model.encode(x[: int(NEARBY * len(x))]).float()
        moved, pairs = z[: len(z) // 2], z[len(z) // 2 :]
        drawn = self.drawn[torch.randint(len(self.drawn), (len(x) - len(z),))].to(z)
        middles = (pairs + pairs.roll(1, 0)) / 2
        return torch.cat([drawn, moved + 0.5 * torch.randn_like(moved), middles])

    def written(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Points (n, D) -> the nearest right thing written at each (m, L), and those (m, D)."""
        greedy = self.model.decoder.generate(z)
        drawn = self.model.decoder.generate(z.repeat(CANDIDATES - 1, 1), TEMPERATURE)
        right, rows = self.check(torch.cat([greedy, drawn]))
        if len(right) == 0:
            return right, z[:0]
        at = rows % len(z)
        near = self.model.posterior(right).log_prob(z[at])
        order = near.argsort(descending=True)
        first = torch.full((len(z),), len(right), device=z.device)
        first = first.scatter_reduce(0, at[order], torch.arange(len(at), device=z.device), "amin")
        best = order[first[first < len(right)]]
        return right[best], z[at[best]]
