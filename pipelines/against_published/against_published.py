"""Compare the default model with the MOSES VAE after the same training time.

The character VAE of MOSES (Polykovskiy et al. 2020, package molsets) is a widely used published
implementation. Here its own trainer trains it with its own settings. Its KL weight rises from zero
over the epochs, so during the first epoch it is a plain autoencoder, for which reconstruction is
easiest. Both models decode greedily from the posterior means of held-out molecules.

    pip install --no-deps molsets
    python pipelines/against_published/against_published.py  # 10 minutes a model, idle machine
    python pipelines/against_published/against_published.py --quick  # seconds
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
import types
from collections.abc import Iterable, Iterator
from typing import Any

import torch

from molvae import MolVAE
from molvae.chem.datasets import load
from molvae.chem.molecules import canonicalize
from molvae.latent.training import FitConfig

HELD_OUT = 1_000
LONGEST = 150  # characters of a decoded string


def main() -> None:
    """Train both models and print one line for each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="training time of each model")
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    minutes, data = (0.02 if args.quick else args.minutes), load("zinc", progress=True)
    train = data.split("train")[: 2_000 if args.quick else None]
    held_out = data.split("test")[: 20 if args.quick else HELD_OUT]
    validation = data.split("validation")[: 200 if args.quick else None]
    print(f"{minutes:g} minutes each, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print_result("molvae", *train_molvae(train, held_out, validation, minutes))
    found = importlib.util.find_spec("moses")
    if found is None or not found.submodule_search_locations:
        print("moses    is not installed: pip install --no-deps molsets")
        return
    print_result(
        "moses", *train_moses(found.submodule_search_locations[0], train, held_out, minutes)
    )


def print_result(name: str, molecules: int, seconds: float, exact: float) -> None:
    """Print one line for a model.

    Args:
        name: Model name.
        molecules: Molecules seen in training, repeats included.
        seconds: Training time.
        exact: Share of held-out molecules that are reconstructed exactly.
    """
    print(
        f"{name:<8} {molecules:8d} molecules in training, {molecules / seconds:5.0f} a second; "
        f"{exact:.1%} of held-out molecules come back exactly",
        flush=True,
    )


def train_molvae(
    train: list[str], held_out: list[str], validation: list[str], minutes: float
) -> tuple[int, float, float]:
    """Train the default model and return what `print_result` takes: molecules, seconds, share.

    Args:
        train: SMILES to train on.
        held_out: SMILES to reconstruct.
        validation: SMILES that choose the weights to keep.
        minutes: Training time.
    """
    model = MolVAE.fit(train, validation, config=FitConfig(minutes=minutes))
    training = model.summary.training
    decoded = model.decode(model.encode(held_out, refine=0), beam=1)  # greedy, as for MOSES
    return training.examples, training.seconds, compute_exact_share(decoded, held_out)


def train_moses(
    package_folder: str, train: list[str], held_out: list[str], minutes: float
) -> tuple[int, float, float]:
    """Train the VAE of an installed MOSES and return molecules, seconds and share as above.

    Args:
        package_folder: Folder of the installed package.
        train: SMILES to train on.
        held_out: SMILES to reconstruct.
        minutes: Training time.
    """
    package = types.ModuleType("moses")  # its __init__ imports packages that the VAE does not need
    package.__path__ = [package_folder]
    sys.modules["moses"] = package
    from moses.vae.config import get_parser
    from moses.vae.model import VAE
    from moses.vae.trainer import VAETrainer

    torch.manual_seed(0)
    config = get_parser().parse_args([])
    trainer = VAETrainer(config)
    model = VAE(trainer.get_vocabulary(train), config)
    optimizer = torch.optim.Adam(trainer.get_optim_params(model), lr=config.lr_start)
    batches = TimedBatches(trainer.get_dataloader(model, train), minutes)
    model.train()
    trainer._train_epoch(model, 0, batches, config.kl_w_start, optimizer)
    model.eval()
    with torch.no_grad():
        # a batch is sorted by length; encoding one by one keeps the order
        inputs = (model.x_emb(model.string2tensor(smiles))[None] for smiles in held_out)
        z = torch.cat([model.q_mu(model.encoder_rnn(x)[1][-1]) for x in inputs])
        strings = decode_greedily(model, z)
    return batches.molecules, batches.seconds, compute_exact_share(strings, held_out)


def decode_greedily(model: Any, z: torch.Tensor) -> list[str]:
    """Decode latents (n, D) greedily; `VAE.sample` of MOSES draws, and needs an older torch."""
    h = model.decoder_lat(z)[None].repeat(model.decoder_rnn.num_layers, 1, 1)
    ids = torch.full((len(z), 1), model.bos)
    for _ in range(LONGEST):
        x = torch.cat([model.x_emb(ids[:, -1:]), z[:, None]], dim=-1)
        output, h = model.decoder_rnn(x, h)
        ids = torch.cat([ids, model.decoder_fc(output).argmax(-1)], dim=1)
    rows = (row[: row.index(model.eos) + 1] if model.eos in row else row for row in ids.tolist())
    return [model.tensor2string(torch.tensor(row)) for row in rows]


class TimedBatches:
    """Yield batches, epoch after epoch, until the time is up; count molecules and seconds."""

    def __init__(self, loader: Iterable[Any], minutes: float) -> None:
        self.loader, self.limit = loader, 60 * minutes
        self.molecules, self.seconds = 0, 0.0

    def __iter__(self) -> Iterator[Any]:
        started = time.perf_counter()
        while True:
            for batch in self.loader:
                self.seconds = time.perf_counter() - started
                if self.seconds > self.limit:
                    return
                yield batch
                self.molecules += len(batch)

    def set_postfix_str(self, text: str) -> None:
        """Ignore the progress text that the MOSES trainer sends to a progress bar."""


def compute_exact_share(strings: list[str], held_out: list[str]) -> float:
    """Decoded strings and their molecules -> share of strings that are the same molecule."""
    pairs = zip(strings, held_out, strict=True)
    return sum(canonicalize(string) == smiles for string, smiles in pairs) / len(held_out)


if __name__ == "__main__":
    main()
