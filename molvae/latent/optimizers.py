"""The optimizers of a training: Adam, and Muon for the matrices of a GRU encoder."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from molvae.base.errors import MolvaeError

# of the Newton-Schulz iteration: x -> a x + b x^3 + c x^5 takes every singular value towards 1
COEFFICIENTS, STEPS = (3.4445, -4.7750, 2.0315), 5
GATES = 3  # of a GRU; torch keeps them in one matrix
RMS = 0.33  # of the entries of an update, in units of the learning rate


def make_optimizers(
    model: nn.Module, name: str, gpu: torch.device | None = None
) -> list[Optimizer]:
    """Adam; with "muon", `Muon` for the matrices of a GRU encoder and of the posterior head on it.

    Models whose encoder has no GRU are trained by Adam alone. With `gpu`, the learning rate is a
    tensor in its memory, so that steps can be part of CUDA graphs.
    """
    parts = dict(model.named_children())
    encoder = parts.get("encoder", model)
    layers = [m for m in encoder.modules() if isinstance(m, nn.GRU) and name == "muon"]
    gates = [p for layer in layers for p in layer.parameters() if p.ndim == 2]
    head = parts.get("head") if layers else None
    matrices = [p for p in head.parameters() if p.ndim == 2] if head is not None else []
    taken = set(map(id, gates + matrices))
    rest = [p for p in model.parameters() if id(p) not in taken]
    rates = [0.0 if gpu is None else torch.zeros((), device=gpu) for _ in range(2)]
    both: list[Optimizer] = [Adam(rest, rates[0], betas=(0.9, 0.99), capturable=gpu is not None)]
    return [*both, Muon(gates, matrices, rates[1])] if layers else both


def collect_slots(used: Sequence[Optimizer]) -> dict[str, Tensor]:
    """Optimizers -> their state as named tensors: optimizer.weight.slot."""
    return {
        f"{i}.{j}.{name}": value
        for i, optimizer in enumerate(used)
        for j, found in optimizer.state_dict()["state"].items()
        for name, value in found.items()
    }


def load_slots(used: Sequence[Optimizer], found: Mapping[str, Tensor], source: Path) -> None:
    """Restore what `collect_slots` returned.

    Raises:
        MolvaeError: the state is of other weights or of another optimizer, as in earlier versions.
    """
    states: list[dict[int, dict[str, Tensor]]] = [{} for _ in used]
    shapes = [[p.shape for g in o.param_groups for p in g["params"]] for o in used]
    for key, value in found.items():
        i, j, name = key.split(".")
        fits = int(i) < len(used) and int(j) < len(shapes[int(i)])
        if not fits or value.shape not in (torch.Size(), shapes[int(i)][int(j)]):
            raise MolvaeError(f"{source}: this version has other optimizers: train in a new folder")
        states[int(i)].setdefault(int(j), {})[name] = value
    for optimizer, state in zip(used, states, strict=True):
        optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


class Muon(Optimizer):
    """Steps along orthogonalised gradients (Jordan et al. 2024), each gate of a GRU separately.

    Updates have the same size whatever the shape (Liu et al. 2025, eq. 4), near that of Adam's, so
    that one learning rate serves both. `torch.optim.Muon` would treat the gates as one matrix.
    """

    def __init__(
        self,
        gates: list[nn.Parameter],
        matrices: list[nn.Parameter],
        lr: float | Tensor,
        momentum: float = 0.95,
    ) -> None:
        groups = [{"params": gates, "parts": GATES}, {"params": matrices, "parts": 1}]
        super().__init__([g for g in groups if g["params"]], {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Take one step; matrices without a gradient are left as they are."""
        for group in self.param_groups:
            alike: dict[torch.Size, list[tuple[Tensor, Tensor]]] = defaultdict(list)
            for p in group["params"]:
                if p.grad is None:
                    continue
                if not self.state[p]:
                    self.state[p]["mean"] = torch.zeros_like(p)
                mean = self.state[p]["mean"].lerp_(p.grad, 1 - group["momentum"])
                ahead = p.grad.lerp(mean, group["momentum"])  # Nesterov's
                alike[p.shape].append((p, ahead.reshape(group["parts"], -1, p.shape[1])))
            for pairs in alike.values():  # at once: a GPU waits for the number of products
                steps = orthogonalise(torch.cat([ahead for _, ahead in pairs]))
                size = RMS * max(steps.shape[1:]) ** 0.5
                for (p, _), step in zip(pairs, steps.chunk(len(pairs)), strict=True):
                    p.sub_(step.reshape(p.shape) * (size * group["lr"]))


def orthogonalise(matrices: Tensor) -> Tensor:
    """U S V^T (..., M, N) -> nearly U V^T: the singular values end between 0.7 and 1.2."""
    a, b, c = COEFFICIENTS
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = (matrices.mT if tall else matrices).bfloat16()  # the iteration forgives rounding
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    for _ in range(STEPS):
        square = x @ x.mT
        x = a * x + (b * square + c * (square @ square)) @ x
    rotated: Tensor = (x.mT if tall else x).to(matrices)
    return rotated
