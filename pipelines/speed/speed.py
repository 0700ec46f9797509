"""Measure the speed of training, encoding, decoding and search rounds on this machine.

python pipelines/speed/speed.py  # about three minutes; run nothing else
OMP_NUM_THREADS=1 python pipelines/speed/speed.py --devices 2  # train in two processes
python pipelines/speed/speed.py --quick  # seconds, meaningless numbers
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from molvae import MolVAE, OptimizeConfig, Oracle, optimize
from molvae.chem.datasets import load
from molvae.chem.tokenizers import Tokenizer
from molvae.cli.watch import is_worker
from molvae.latent.batches import Table
from molvae.latent.refine import STEPS
from molvae.latent.training import FitConfig, Progress
from molvae.model.decoding import BEAM
from molvae.model.training import BLUR, TrainingSet, build_vae

T = TypeVar("T")
SMALL = {"encoder_hidden": 64, "decoder_hidden": 64}


def main() -> None:
    """Measure everything; print one line per figure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="zinc")
    parser.add_argument("--devices", type=int, default=1, help="training processes")
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    model = MolVAE.load(args.model)
    smiles = load(model.summary.data, progress=True).split("test")
    if args.quick:
        smiles = smiles[:1_000]
    rate = measure_training(smiles, args.devices, quick=args.quick)
    if is_worker():  # a second training process runs this script too, and ends here
        return
    molecules, observations = (192, 40) if args.quick else (5_120, 500)
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")

    for steps, what in ((0, "posterior means"), (STEPS, "refined")):
        z, seconds = measure_time(
            lambda steps=steps: model.encode(smiles[:molecules], refine=steps)
        )
        print(f"encode:   {len(z) / seconds:7.0f} molecules/s, {what}, RDKit's check included")
    for beam, what in ((1, "greedy"), (BEAM, f"by beam search, {BEAM} strings wide")):
        _, seconds = measure_time(lambda beam=beam: model.decode(z, beam=beam))
        print(f"decode:   {len(z) / seconds:7.0f} molecules/s, {what}")

    history = Oracle("logP", observations, heavy_atoms=model.summary.heavy_atoms)
    result = optimize(model, history, start=smiles, config=OptimizeConfig(batch=10))
    last = [iteration.seconds for iteration in result.iterations[-10:]]
    print(
        f"optimize: {np.median(last):7.2f} s a batch of 10, excluding oracle calls, "
        f"median of the last 10 batches up to {observations} observations"
    )
    work, peak = (
        count_operations(smiles, quick=args.quick),
        args.devices * measure_matrix_products(10 if args.quick else 100),
    )
    print(
        f"train:    {rate:7.0f} molecules/s, default model, {args.devices} processes: "
        f"{rate * work / 1e9:.0f} GFLOP/s, {rate * work / peak:.0%} of the matrix rate here"
    )


def measure_time(work: Callable[[], T]) -> tuple[T, float]:
    """Run `work` once; return its result and its seconds."""
    started = time.perf_counter()
    result = work()
    return result, time.perf_counter() - started


def measure_training(smiles: list[str], devices: int, quick: bool) -> float:
    """Training speed of the default model in molecules per second, without the first steps.

    Args:
        smiles: Training molecules.
        devices: Training processes.
        quick: Train a small model for seconds.
    """
    rates: list[float] = []

    def observe(progress: Progress) -> None:
        if progress.row is not None:
            rates.append(progress.row.examples_per_second)

    minutes = 0.02 if quick else 1.5
    config = FitConfig(minutes=minutes, validate_every=10**9, devices=devices, batch=128 // devices)
    shape = SMALL if quick else {}
    MolVAE.fit(smiles, smiles[:100], shape=shape, config=config, observe=observe)
    return float(np.median(rates[1:-1] or rates))


def count_operations(smiles: list[str], quick: bool) -> float:
    """Floating-point operations of a training step per molecule, matrix products only."""
    tokenizer = Tokenizer.fit("pairs", smiles)
    data = TrainingSet.make((smiles, smiles[:100]), tokenizer)
    vae = build_vae(data, len(tokenizer), SMALL if quick else {}, BLUR, seed=0)
    batches = Table(*data.train).shuffle(128, np.random.default_rng(0))[: 2 if quick else 20]
    with FlopCounterMode(display=False) as counter:
        for rows in batches:
            vae(*Table(*data.train).take(rows, torch.device("cpu"))).value().mean().backward()
    return counter.get_total_flops() / sum(map(len, batches))


def measure_matrix_products(products: int) -> float:
    """Floating-point operations per second of one process, in bfloat16 where training uses it."""
    gpu = torch.cuda.is_available()
    device, (m, k, n) = ("cuda", [8_192] * 3) if gpu else ("cpu", [2_048, 512, 1_536])
    bfloat16 = torch.cuda.is_bf16_supported() if gpu else torch.cpu._is_avx512_bf16_supported()
    kind = torch.bfloat16 if bfloat16 else torch.float32
    a, b = torch.randn(m, k, device=device).to(kind), torch.randn(k, n, device=device).to(kind)

    def work() -> None:
        for _ in range(products):
            a @ b
        if gpu:
            torch.cuda.synchronize()

    work()
    _, seconds = measure_time(work)
    return products * 2 * m * k * n / seconds


if __name__ == "__main__":
    main()
