"""How fast is it here? Training, encoding, decoding, and a round of the search beside its oracle.

python pipelines/speed.py             # about three minutes; leave the machine idle otherwise
python pipelines/speed.py --quick     # seconds, numbers worth little
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch

from molvae import MolVAE, OptimizeConfig, Oracle, optimize
from molvae.chem.datasets import load
from molvae.latent.training import FitConfig, Progress

T = TypeVar("T")


def main() -> None:
    """Measure and print one line a figure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="zinc")
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    model = MolVAE.load(args.model)
    smiles = load(model.summary["data"], progress=True).split("test")
    molecules, observations = (512, 60) if args.quick else (5_120, 500)
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")

    z, seconds = timed(lambda: model.encode(smiles[:molecules]))
    print(f"encode:   {len(z) / seconds:7.0f} molecules/s, SMILES checked by RDKit included")
    _, seconds = timed(lambda: model.decode(z))
    print(f"decode:   {len(z) / seconds:7.0f} molecules/s, greedy, batches of 512")

    history = Oracle("logP", observations, heavy_atoms=model.summary["heavy_atoms"])
    result = optimize(model, history, smiles, OptimizeConfig(batch=10))
    last = [iteration.seconds for iteration in result.iterations[-10:]]
    print(
        f"optimize: {np.median(last):7.2f} s a batch of 10 beside the oracle, "
        f"median of the last 10 before {observations} observations"
    )
    print(f"train:    {train_rate(smiles, quick=args.quick):7.0f} molecules/s, default model")


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """Run `work` once and return its result and the seconds it took."""
    started = time.perf_counter()
    result = work()
    return result, time.perf_counter() - started


def train_rate(smiles: list[str], quick: bool) -> float:
    """Molecules a second of the default model in training, without its first steps."""
    rates: list[float] = []

    def observe(progress: Progress) -> None:
        if progress.row is not None:
            rates.append(progress.row.examples_per_second)

    config = FitConfig(minutes=0.1 if quick else 1.5, validate_every=10**9)
    shape = {"encoder_hidden": 64, "decoder_hidden": 64} if quick else {}
    MolVAE.fit(smiles, smiles[:100], shape=shape, config=config, observe=observe)
    return float(np.median(rates[1:-1] or rates))


if __name__ == "__main__":
    main()
