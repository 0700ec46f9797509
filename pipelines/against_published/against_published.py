"""How fast does a model learn here, and how fast MOSES's VAE? Both on the same molecules and time.

MOSES's character VAE (Polykovskiy et al. 2020, package molsets) is the usual published
implementation; it is trained by its own trainer with its own settings. Its KL weight grows by
epochs from zero, so that in the first one it is a plain autoencoder, for which reconstruction is
easiest. Both decode greedily from the posterior mean of held-out molecules.

    pip install --no-deps molsets
    python pipelines/against_published/against_published.py                  # 10 minutes each; nothing else running
    python pipelines/against_published/against_published.py --quick          # seconds
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
LONGEST = 150  # characters that are decoded


def main() -> None:
    """Train both, print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="of each training")
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    minutes, data = (0.02 if args.quick else args.minutes), load("zinc", progress=True)
    train = data.split("train")[: 2_000 if args.quick else None]
    held_out = data.split("test")[: 20 if args.quick else HELD_OUT]
    print(f"{minutes:g} minutes each, {torch.get_num_threads()} threads, torch {torch.__version__}")
    shown("molvae", *ours(train, held_out, data.split("validation"), minutes))
    found = importlib.util.find_spec("moses")
    if found is None or not found.submodule_search_locations:
        print("moses    is not installed: pip install --no-deps molsets")
        return
    shown("moses", *theirs(found.submodule_search_locations[0], train, held_out, minutes))


def shown(name: str, molecules: int, seconds: float, exact: float) -> None:
    """Print the line of a model."""
    print(
        f"{name:<8} {molecules:8d} molecules in training, {molecules / seconds:5.0f} a second; "
        f"{exact:.1%} of held-out molecules come back exactly",
        flush=True,
    )


def ours(
    train: list[str], held_out: list[str], validation: list[str], minutes: float
) -> tuple[int, float, float]:
    """Train the default model: molecules in training, seconds, share that comes back."""
    model = MolVAE.fit(train, validation, config=FitConfig(minutes=minutes))
    training = model.summary["training"]
    decoded = model.decode(model.encode(held_out, refine=0), beam=1)  # as of theirs
    return training["examples"], training["seconds"], equal(decoded, held_out)


def theirs(
    place: str, train: list[str], held_out: list[str], minutes: float
) -> tuple[int, float, float]:
    """Train MOSES's VAE from where it is installed: the same three figures."""
    package = types.ModuleType("moses")  # its __init__ wants more packages than its VAE
    package.__path__ = [place]
    sys.modules["moses"] = package
    from moses.vae.config import get_parser
    from moses.vae.model import VAE
    from moses.vae.trainer import VAETrainer

    torch.manual_seed(0)
    config = get_parser().parse_args([])
    trainer = VAETrainer(config)
    model = VAE(trainer.get_vocabulary(train), config)
    optimizer = torch.optim.Adam(trainer.get_optim_params(model), lr=config.lr_start)
    batches = Timed(trainer.get_dataloader(model, train), minutes)
    model.train()
    trainer._train_epoch(model, 0, batches, config.kl_w_start, optimizer)
    model.eval()
    with torch.no_grad():
        # it packs sequences by length, so that one by one is the way to keep their order
        inputs = (model.x_emb(model.string2tensor(smiles))[None] for smiles in held_out)
        z = torch.cat([model.q_mu(model.encoder_rnn(x)[1][-1]) for x in inputs])
        strings = likeliest(model, z)
    return batches.molecules, batches.seconds, equal(strings, held_out)


def likeliest(model: Any, z: torch.Tensor) -> list[str]:
    """Decode greedily, as MOSES's `VAE.sample` does by drawing; that needs an older torch."""
    h = model.decoder_lat(z)[None].repeat(model.decoder_rnn.num_layers, 1, 1)
    ids = torch.full((len(z), 1), model.bos)
    for _ in range(LONGEST):
        x = torch.cat([model.x_emb(ids[:, -1:]), z[:, None]], dim=-1)
        output, h = model.decoder_rnn(x, h)
        ids = torch.cat([ids, model.decoder_fc(output).argmax(-1)], dim=1)
    rows = (row[: row.index(model.eos) + 1] if model.eos in row else row for row in ids.tolist())
    return [model.tensor2string(torch.tensor(row)) for row in rows]


class Timed:
    """Batches, epoch after epoch, until the time is over; counts what it gave."""

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
        """Show nothing: its trainer wants to draw a bar."""


def equal(strings: list[str], held_out: list[str]) -> float:
    """Share of strings that are the molecule."""
    pairs = zip(strings, held_out, strict=True)
    return sum(canonicalize(string) == smiles for string, smiles in pairs) / len(held_out)


if __name__ == "__main__":
    main()
