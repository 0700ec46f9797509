"""The processes and precision of a training, and CUDA graphs on a GPU."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from molvae.base.errors import MolvaeError
from molvae.latent.training import FitConfig

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from lightning_fabric.plugins import MixedPrecision

SHAPES = 256  # recorded at most: each takes memory
WORTH_ROUNDING = 2**24  # weights times batch size: below, a CPU loses more by conversions


def launch_fabric(config: FitConfig, model: nn.Module) -> Fabric:
    """Start the processes that share the training of a model.

    Raises:
        MolvaeError: this machine lacks the devices, or does not support the precision.
    """
    from lightning_fabric import Fabric  # takes a second to load, which only a training is worth

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it prints a banner
    name = config.precision
    if name == "auto":
        name = _choose_precision(sum(p.numel() for p in model.parameters()) * config.batch)
    how: dict[str, Any] = {"precision": name}
    if name == "bf16-mixed":
        how = {"plugins": _autocast()}
    try:
        fabric = Fabric(devices=config.devices, num_nodes=config.nodes, **how)
    except (ValueError, RuntimeError) as error:
        raise MolvaeError(
            f"cannot train with precision {config.precision!r}, {config.devices} devices and "
            f"{config.nodes} nodes: {error}"
        ) from error
    fabric.launch()
    return fabric


def _autocast() -> MixedPrecision:
    """bfloat16 autocast that leaves inputs as they are: rounded data have another density."""
    from lightning_fabric.plugins import MixedPrecision

    precision = MixedPrecision("bf16-mixed", "cuda" if torch.cuda.is_available() else "cpu")
    precision.convert_input = lambda data: data  # type: ignore[method-assign]
    return precision


def _choose_precision(work: int) -> str:
    """Weights times batch size -> bfloat16 autocast where the hardware has it, else float32.

    On a CPU also float32 where there is little work: the conversions cost more than they save.
    """
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "32-true"
    known = torch.cpu._is_avx512_bf16_supported()
    return "bf16-mixed" if known and work >= WORTH_ROUNDING else "32-true"


class Graphed:
    """A function of tensors on a GPU, launched as one CUDA graph for each shape of its arguments.

    A step of a small model is hundreds of short kernels, and starting them takes ten times as long
    as running them. The first call with a shape runs as usual, the second is recorded, and from
    then on it is replayed. What the function reads besides its arguments must keep its address in
    memory. A function that synchronises with the GPU, as some distributions do, is never recorded.
    """

    def __init__(self, function: Callable[..., Tensor]) -> None:
        self.function = function
        self.stream: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self.pool = torch.cuda.graph_pool_handle()
        self.graphs: dict[Any, tuple[torch.cuda.CUDAGraph, list[Tensor], Tensor] | None] = {}
        self.waits: bool | None = None  # not known yet

    def __call__(self, *arguments: Tensor) -> Tensor:
        """Call the function; the result is the caller's own."""
        shapes = tuple(a.shape for a in arguments)
        if self.waits or shapes not in self.graphs:
            if len(self.graphs) < SHAPES:
                self.graphs[shapes] = None
            return self._run(*arguments)
        if self.waits is None:
            return self._watch(*arguments)
        graph, inputs, output = self.graphs[shapes] or self._record(*arguments)
        self.graphs[shapes] = graph, inputs, output
        for own, given in zip(inputs, arguments, strict=True):
            own.copy_(given, non_blocking=True)
        graph.replay()
        return output.clone()  # the next graph may use its memory

    def _run(self, *arguments: Tensor) -> Tensor:
        """Run on the recording stream, so that what autograd saves can be used by a recording."""
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            result = self.function(*arguments)
        torch.cuda.current_stream().wait_stream(self.stream)
        return result

    def _watch(self, *arguments: Tensor) -> Tensor:
        """Find out whether the function synchronises: a failed recording breaks later calls."""
        before = torch.cuda.get_sync_debug_mode()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                result = self._run(*arguments)
            finally:
                torch.cuda.set_sync_debug_mode(before)
        self.waits = any("synchronizing CUDA operation" in str(w.message) for w in caught)
        return result

    def _record(self, *arguments: Tensor) -> tuple[torch.cuda.CUDAGraph, list[Tensor], Tensor]:
        graph, inputs = torch.cuda.CUDAGraph(), [a.clone() for a in arguments]
        with torch.cuda.graph(graph, pool=self.pool, stream=self.stream):
            output = self.function(*inputs)
        return graph, inputs, output
