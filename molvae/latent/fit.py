"""The minibatch loop: maximise a bound on log p(x), validate, checkpoint, resume."""

from __future__ import annotations

import copy
import csv
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from molvae.base.errors import MolvaeError
from molvae.latent.batches import Array, Table
from molvae.latent.checkpoint import load_weights, read_tensors, write_tensors
from molvae.latent.devices import Graphed, launch_fabric
from molvae.latent.optimizers import collect_slots, load_slots, make_optimizers
from molvae.latent.training import FitConfig, Observer, Progress, Row, State

CHECKPOINT, METRICS = "checkpoint.safetensors", "metrics.csv"
LOG_EVERY = 25  # steps that a row of metrics.csv averages over
WARMUP_STEPS, WARMUP_SHARE = 200, 0.03  # of the learning rate: whichever is shorter
VALIDATE_ON = 4_000  # examples at most: enough to rank weights, and a few seconds


def fit(
    model: nn.Module,
    train: Array | tuple[Array, ...],
    validation: Array | tuple[Array, ...],
    config: FitConfig,
    folder: Path | None = None,
    observe: Observer = lambda progress: None,
) -> State:
    """Train `model` in place on examples x (N, ...); it ends up with its best validated weights.

    Calling the model must return the `Bound` to maximise. If it takes more than x, such as labels,
    `train` and `validation` are tuples of arrays. On a GPU its steps are replayed as CUDA graphs
    (`latent.devices`): numbers that it draws or counts in Python, outside torch, keep the values
    they had when a step was recorded.

    With a `folder`, metrics.csv and a checkpoint are kept there, and a training that finds its
    checkpoint resumes from it with the same batches and the same noise; its length and its KL
    weight may differ.

    Args:
        model: trained in place.
        train: examples to train on.
        validation: held-out examples, which select the best weights.
        config: how to train.
        folder: of the checkpoint and metrics.csv; None keeps nothing.
        observe: called after every step; when it returns True, training saves and stops.

    Returns:
        The state in which it ended.

    Raises:
        MolvaeError: no data, a loss that is no longer finite, a checkpoint of another training.
        OSError: the folder cannot be written.
    """
    tables = [Table(*(t if isinstance(t, tuple) else (t,))) for t in (train, validation)]
    if not all(map(len, tables)):
        raise MolvaeError("training needs at least one example to train on and one to validate on")
    run = _Run(model, config, folder, len(tables[0]))
    saved = time.monotonic()
    with torch.random.fork_rng():
        for batch in run.batches(tables[0]):
            row = run.train_step(*batch)
            if run.state.step % config.validate_every == 0:
                row = run.validate(tables[1])
            stop = run.agree(observe(Progress(run.state, run.share, row)))
            if stop or time.monotonic() - saved > 60 * config.checkpoint_minutes:
                run.save()
                saved = time.monotonic()
            if stop:
                return run.state
        if run.state.step % config.validate_every:
            observe(Progress(run.state, run.share, run.validate(tables[1])))
    run.save()
    run.use_best()
    return run.state


class _Run:
    """A model under training: optimiser, place in the data, best weights so far, files."""

    def __init__(
        self, model: nn.Module, config: FitConfig, folder: Path | None, examples: int
    ) -> None:
        self.model, self.config, self.folder = model, config, folder
        self.fabric = launch_fabric(config)
        device = self.fabric.device
        graphed = device.type == "cuda" and self.fabric.world_size == 1
        self.wrapped, *self.optimizers = self.fabric.setup(
            model, *make_optimizers(model, config.optimizer, device if graphed else None)
        )
        self.kl = torch.zeros((), device=device)  # the weight of the KL term at this step
        self.step = Graphed(self._step) if graphed else self._step
        self.steps_per_epoch = max(1, examples // (config.batch * self.fabric.world_size))
        self.state, self.best = State(), copy.deepcopy(model.state_dict())
        self.sums: list[Tensor] = []
        self.means: list[float] = [math.nan] * 3
        if folder is not None:
            self._resume(folder)
        self.since = (self.state.examples, self.state.seconds)
        self.started = time.monotonic() - self.state.seconds

    @property
    def share(self) -> float:
        """The part of the training that is done, 0 to 1."""
        if self.config.minutes is not None:
            return min(1.0, self.state.seconds / (60 * self.config.minutes))
        return min(1.0, self.state.step / (self.steps_per_epoch * self.config.epochs))

    @property
    def kl_weight(self) -> float:
        """The weight of the KL term at this step: a linear ramp up to its final value."""
        ramp = self.share / self.config.kl_warmup if self.config.kl_warmup > 0 else 1.0
        return self.config.kl_weight * min(1.0, ramp)

    @property
    def learning_rate(self) -> float:
        """The learning rate at this step: short linear warm-up, then a cosine down to zero."""
        steps = (self.state.step + 1) / WARMUP_STEPS
        warmup = min(1.0, max(steps, self.share / WARMUP_SHARE))
        return self.config.learning_rate * warmup * (0.5 + 0.5 * math.cos(math.pi * self.share))

    def batches(self, table: Table) -> Iterator[tuple[Tensor, ...]]:
        """Yield this process's batches until the training is done, from the current step.

        The order of epoch e follows from (seed, e) alone.
        """
        rank, world = self.fabric.global_rank, self.fabric.world_size
        while True:
            epoch, skip = divmod(self.state.step, self.steps_per_epoch)
            rng = np.random.default_rng([self.config.seed, epoch])
            # processes share a batch, so that none waits for another
            parts = table.shuffle(self.config.batch * world, rng)
            for rows in parts[skip : self.steps_per_epoch]:
                if self.share >= 1 or self.state.stale >= self.config.patience:
                    return
                yield table.take(rows[rank::world], self.fabric.device)

    def train_step(self, *batch: Tensor) -> Row | None:
        """Take one gradient step; return the row of metrics.csv where one is due."""
        seed = [self.config.seed, self.state.step, self.fabric.global_rank]
        torch.manual_seed(int(np.random.SeedSequence(seed).generate_state(1)[0]))
        self.kl.fill_(self.kl_weight)
        for group in (g for o in self.optimizers for g in o.param_groups):
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(self.learning_rate)
            else:
                group["lr"] = self.learning_rate
        self.wrapped.train()
        self.sums.append(self.step(*batch))
        self.state.step += 1
        self.state.examples += len(batch[0]) * self.fabric.world_size
        self.state.seconds = time.monotonic() - self.started
        due = self.state.step % LOG_EVERY == 0 and self.state.step % self.config.validate_every
        return self._log() if due else None

    def _step(self, *batch: Tensor) -> Tensor:
        """Loss, reconstruction, KL in nats and the gradient's norm (4,); moves the weights."""
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        terms = self.wrapped(*batch)
        loss = -terms.value(self.kl).mean()
        self.fabric.backward(loss)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip)
        if not isinstance(self.step, Graphed) and not norm.isfinite():
            raise self._diverged()  # before such a gradient can spoil the weights
        for optimizer in self.optimizers:
            optimizer.step()
        nats = [loss, -terms.log_likelihood.mean(), terms.kl.mean(), norm]
        return torch.stack([n.detach().float() for n in nats])

    @torch.no_grad()
    def validate(self, table: Table) -> Row:
        """Measure the bound on held-out examples with fixed noise; keep the best weights."""
        self.wrapped.eval()
        torch.manual_seed(self.config.seed)
        total, size = np.zeros(2), 4 * self.config.batch
        examples = min(len(table), VALIDATE_ON)
        for i in range(0, examples, size):
            rows = np.arange(i, min(i + size, examples))
            terms = self.wrapped(*table.take(rows, self.fabric.device))
            total += [-terms.log_likelihood.sum().item(), terms.kl.sum().item()]
        reconstruction, kl = total / examples
        loss = reconstruction + self.config.kl_weight * kl
        if not math.isfinite(loss):
            raise self._diverged()
        if loss < self.state.best_loss:
            self.best = copy.deepcopy(self.model.state_dict())
            self.state.best_loss, self.state.best_step = loss, self.state.step
            self.state.stale = 0
        else:
            self.state.stale += 1
        self.state.seconds = time.monotonic() - self.started
        return self._log(float(loss), float(reconstruction), float(kl))

    def agree(self, stop: bool | None) -> bool:
        """Let the first process decide for all: its clock, and whether to stop."""
        if self.fabric.world_size > 1:
            self.state.seconds, stop = self.fabric.broadcast((self.state.seconds, stop))
        return bool(stop)

    def use_best(self) -> None:
        """Put the best validated weights into the model."""
        self.model.load_state_dict(self.best)

    def save(self) -> None:
        """Write the checkpoint: everything that is needed to resume as if uninterrupted."""
        self._average()
        if self.folder is None or not self.fabric.is_global_zero:
            return
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"best.{k}": v for k, v in self.best.items()}
        tensors |= {f"optimizer.{k}": v for k, v in collect_slots(self.optimizers).items()}
        write_tensors(
            self.folder / CHECKPOINT,
            tensors,
            {"state": asdict(self.state), "config": asdict(self.config)},
        )

    def _resume(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / CHECKPOINT
        if path.is_file():
            tensors, metadata = read_tensors(path)
            groups: dict[str, dict[str, Tensor]] = {"model": {}, "best": {}, "optimizer": {}}
            for key, value in tensors.items():
                kind, _, name = key.partition(".")
                groups[kind][name] = value
            load_weights(self.model, groups["model"], path)
            self.best = {k: v.to(self.fabric.device) for k, v in groups["best"].items()}
            used = metadata["config"].get("optimizer")
            if used != self.config.optimizer:
                raise MolvaeError(f"{path}: made with the optimizer {used}: train in a new folder")
            load_slots(self.optimizers, groups["optimizer"], path)
            self.state = State(**metadata["state"])
            if metadata["config"]["kl_weight"] != self.config.kl_weight:
                self.state.best_loss, self.state.stale = math.inf, 0  # losses no longer compare
        self._trim_metrics(folder / METRICS)

    def _trim_metrics(self, path: Path) -> None:
        """Drop the rows that were written after the checkpoint."""
        if not self.fabric.is_global_zero:
            return
        rows = []
        if path.is_file():
            with path.open(newline="") as file:
                rows = [r for r in csv.DictReader(file) if int(r["step"]) <= self.state.step]
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, [f.name for f in fields(Row)])
            writer.writeheader()
            writer.writerows(rows)

    def _log(self, *validation: float) -> Row:
        self._average()
        self.sums = []
        examples, seconds = self.since
        rate = (self.state.examples - examples) / max(1e-9, self.state.seconds - seconds)
        self.since = (self.state.examples, self.state.seconds)
        row = Row(
            self.state.step,
            self.state.step / self.steps_per_epoch,
            self.state.seconds,
            rate,
            self.learning_rate,
            self.kl_weight,
            *self.means,
            *validation,
        )
        if self.folder is not None and self.fabric.is_global_zero:
            with (self.folder / METRICS).open("a", newline="") as file:
                csv.writer(file).writerow(asdict(row).values())
        return row

    def _average(self) -> None:
        """Average the steps since the last row; without any, the last means are kept.

        A CUDA graph cannot stop at a gradient that is not finite, so that is detected here.
        """
        if self.sums:
            *self.means, norm = torch.stack(self.sums).mean(0).tolist()
            if not math.isfinite(norm):
                raise self._diverged()

    def _diverged(self) -> MolvaeError:
        return MolvaeError(
            f"the loss is no longer finite at step {self.state.step}: try a lower --learning-rate "
            "(the last checkpoint is kept)"
        )
