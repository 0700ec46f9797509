"""Train on a machine that has a GPU but no RDKit: only arrays of token ids travel.

    python pipelines/train_elsewhere/train_elsewhere.py prepare job.npz \
        --data zinc --minutes 8 --out runs/zinc
    python pipelines/train_elsewhere/train_elsewhere.py fit job.npz runs/zinc  # there
    molvae train --resume --out runs/zinc  # here: writes the model

`prepare` takes the options of `molvae train`, does all of it but the training and keeps in the job
what `latent.fit` is given. `fit` needs only numpy, torch, safetensors, lightning-fabric, zuko and
tqdm; bring back its folder. It goes on where it was interrupted.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn
from zipfile import BadZipFile

import numpy as np
import torch

from molvae.base.errors import MolvaeError
from molvae.cli.watch import Watch
from molvae.latent.checkpoint import load_weights
from molvae.latent.fit import CHECKPOINT, fit
from molvae.latent.training import FitConfig
from molvae.latent.vae import VAE, VAEConfig


def prepare(job: Path, options: list[str]) -> None:
    """Options of `molvae train` -> the file that `fit_job` reads, and the run folder."""
    import molvae.training

    from molvae.cli import main as molvae_main

    def export(vae: VAE, train: Any, validation: Any, config: FitConfig, *_: Any) -> NoReturn:
        arrays = {f"weights.{k}": v.numpy() for k, v in vae.state_dict().items()}
        for name, tables in (("train", train), ("validation", validation)):
            arrays |= {f"{name}.{i}": table for i, table in enumerate(tables)}
        plain = json.dumps({"vae": asdict(vae.config), "fit": asdict(config)})
        np.savez_compressed(job, plain=np.array(plain), **arrays)
        print(f"{job}: {len(train[0]):,} molecules, {job.stat().st_size / 2**20:.1f} MiB")
        raise SystemExit(0)

    molvae.training.fit = export  # type: ignore[assignment]
    raise SystemExit(molvae_main(["train", *options]))


def fit_job(job: Path, folder: Path) -> int:
    """Train the model of a job; the folder gets checkpoint and metrics. Returns the exit code.

    Raises:
        MolvaeError: the file is no job, or the loss is no longer finite.
        OSError: it is not there, or the folder cannot be written.
    """
    try:
        with np.load(job, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        plain = json.loads(str(arrays.pop("plain")))
        vae, config = VAE(VAEConfig(**plain["vae"])), FitConfig(**plain["fit"])
        weights = {k: torch.from_numpy(v) for k, v in part(arrays, "weights.").items()}
    except (ValueError, KeyError, TypeError, AttributeError, BadZipFile) as error:
        raise MolvaeError(f"{job}: damaged, or not made by prepare: {error!r}") from error
    load_weights(vae, weights, job)
    tables = [tuple(part(arrays, name).values()) for name in ("train.", "validation.")]
    with Watch() as watch:
        fit(vae, *tables, config, folder, watch)
    if watch.signal:
        print("stopped; the same command goes on", file=sys.stderr)
        return 128 + watch.signal
    return 0


def part(arrays: dict[str, Any], prefix: str) -> dict[str, Any]:
    """The arrays whose name begins so, by what follows, in the order of the file."""
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}


def quick() -> None:
    """All three steps with a few molecules, here."""
    with tempfile.TemporaryDirectory() as folder:
        job, run = Path(folder) / "job.npz", Path(folder) / "run"
        size = ("--encoder-hidden", "16", "--decoder-hidden", "16", "--limit", "200")
        me, tool = [sys.executable, __file__], [sys.executable, "-m", "molvae", "train"]
        for command in (
            [*me, "prepare", str(job), *size, "--epochs", "2", "--out", str(run)],
            [*me, "fit", str(job), str(run)],
            [*tool, "--resume", "--out", str(run)],
        ):
            subprocess.run(command, check=True)
        assert (run / CHECKPOINT).is_file()
        assert (run / "model.safetensors").is_file()


def main() -> None:
    """Do the step that the command line names."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="all steps with a few molecules")
    steps = parser.add_subparsers(dest="step", title="steps")
    step = steps.add_parser("prepare", help="write a job; options are those of molvae train")
    step.add_argument("job", type=Path)
    step = steps.add_parser("fit", help="train the model of a job")
    step.add_argument("job", type=Path)
    step.add_argument("folder", type=Path)
    args, options = parser.parse_known_args()
    if args.quick:
        quick()
    elif args.step == "prepare":
        prepare(args.job, options)
    elif args.step == "fit" and not options:
        try:
            raise SystemExit(fit_job(args.job, args.folder))
        except (MolvaeError, OSError) as error:
            raise SystemExit(f"train_elsewhere: {error}") from None
    else:
        parser.error("give a step: prepare or fit")


if __name__ == "__main__":
    main()
