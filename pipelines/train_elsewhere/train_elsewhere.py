"""Train on a machine that has a GPU but no RDKit: only arrays of token ids travel.

    python pipelines/train_elsewhere/train_elsewhere.py prepare job.npz \
        --data zinc --minutes 8 --out runs/zinc
    python pipelines/train_elsewhere/train_elsewhere.py fit job.npz runs/zinc  # there
    molvae train --resume --out runs/zinc  # here: writes the model

`prepare` takes the options of `molvae train`, does everything but the training, and stores the
training job. `fit` needs only numpy, torch, safetensors, lightning-fabric, zuko and tqdm; bring its
folder back. Rerun it to resume an interrupted training.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from molvae.base.errors import MolvaeError
from molvae.cli.watch import Watch
from molvae.latent.fit import CHECKPOINT
from molvae.model.job import TrainingJob


def prepare(job: Path, options: list[str]) -> None:
    """Options of `molvae train` -> the file that `fit_job` reads, and the run folder.

    Raises:
        MolvaeError: as `molvae train`.
    """
    from molvae.cli.verbs import train  # RDKit is here only

    parser = argparse.ArgumentParser(prog="train_elsewhere.py prepare JOB")
    train.add_arguments(parser)
    args = parser.parse_args(options)
    folder = train.run_folder(args)
    settings = train.resolve_settings(args, folder)
    prepared = train.prepare(settings, folder)[0].job
    folder.save(settings)
    prepared.save(job)
    size = job.stat().st_size / 2**20
    print(f"{job}: {len(prepared.train[0]):,} molecules, {size:.1f} MiB")


def fit_job(job: Path, folder: Path) -> int:
    """Train the model of a job; the folder gets checkpoint and metrics. Returns the exit code.

    Raises:
        MolvaeError: the file is no job, or the loss is no longer finite.
        OSError: it is not there, or the folder cannot be written.
    """
    with Watch() as watch:
        TrainingJob.load(job).run(folder, watch)
    if watch.signal:
        print("stopped; rerun the command to resume", file=sys.stderr)
        return 128 + watch.signal
    return 0


def quick() -> None:
    """All three steps with a few molecules, here."""
    from molvae.cli import main as molvae  # not where only `fit` runs

    with tempfile.TemporaryDirectory() as folder:
        job, run = Path(folder) / "job.npz", Path(folder) / "run"
        size = ("--encoder-hidden", "16", "--decoder-hidden", "16", "--limit", "200")
        main(["prepare", str(job), *size, "--epochs", "2", "--out", str(run)])
        # in a process of its own, as it is elsewhere
        subprocess.run([sys.executable, __file__, "fit", str(job), str(run)], check=True)
        assert (run / CHECKPOINT).is_file()  # without it the next step would train here
        if molvae(["train", "--resume", "--out", str(run)]):
            raise SystemExit("train_elsewhere: the model was not written")
        assert (run / "model.safetensors").is_file()


def main(words: Sequence[str] | None = None) -> None:
    """Do the step that the command line, or `words` in its place, names."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="all steps with a few molecules")
    steps = parser.add_subparsers(dest="step", title="steps")
    step = steps.add_parser("prepare", help="write a job; options are those of molvae train")
    step.add_argument("job", type=Path)
    step = steps.add_parser("fit", help="train the model of a job")
    step.add_argument("job", type=Path)
    step.add_argument("folder", type=Path)
    args, options = parser.parse_known_args(words)
    if args.quick:
        quick()
        return
    try:
        if args.step == "prepare":
            prepare(args.job, options)
        elif args.step == "fit" and not options:
            raise SystemExit(fit_job(args.job, args.folder))
        else:
            parser.error("give a step: prepare or fit")
    except (MolvaeError, OSError) as error:
        raise SystemExit(f"train_elsewhere: {error}") from None


if __name__ == "__main__":
    main()
