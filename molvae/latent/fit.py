"""The minibatch loop: maximise a bound on log p(x), validate, checkpoint, resume."""

from __future__ import annotations

import copy
import csv
import math
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from molvae.base.errors import MolvaeError
from molvae.base.files import lock_folder
from molvae.latent.batches import Array, Table
from molvae.latent.checkpoint import load_weights, read_tensors, write_tensors
from molvae.latent.devices import Graphed, launch_fabric
from molvae.latent.inputs import check_arrays
from molvae.latent.optimizers import collect_slots, load_slots, make_optimizers
from molvae.latent.training import FitConfig, Observer, Progress, Row, State

if TYPE_CHECKING:
    from lightning_fabric import Fabric

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

    It is validated before the first step, so these may be the weights that it started with.

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
        MolvaeError: no data, or some that are not finite; a loss that is no longer finite; a
            checkpoint of another training; another process that trains in the folder.
        OSError: the folder cannot be written.
    """
    tables = [
        Table(*check_arrays(name, part if isinstance(part, tuple) else (part,)))
        for name, part in (("training", train), ("validation", validation))
    ]
    with ExitStack() as stack:
        fabric = launch_fabric(config, model)
        if folder is not None and fabric.is_global_zero:  # the other processes share its lock
            stack.enter_context(lock_folder(folder))
        run = _Run(model, config, fabric, folder, len(tables[0]))
        stack.enter_context(torch.random.fork_rng())
        if run.train(tables[0], tables[1], observe) and config.keep_best:
            run.use_best()
        return run.state


class _Run:
    """A model under training: optimiser, place in the data, best weights so far, files."""

    def __init__(
        self,
        model: nn.Module,
        config: FitConfig,
        fabric: Fabric,
        folder: Path | None,
        examples: int,
    ) -> None:
        self.model, self.config, self.fabric, self.folder = model, config, fabric, folder
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
        self.since: tuple[int, float] = (0, 0.0)  # examples and seconds at the last row
        if folder is not None:
            self._resume(folder)
        self.started = time.monotonic() - self.state.seconds

    @property
    def share(self) -> float:
        """The part of the training that is done, 0 to 1."""
        return self.config.share(self.state.step / self.steps_per_epoch, self.state.seconds)

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

    def train(self, train: Table, validation: Table, observe: Observer) -> bool:
        """Train until the end, or until the observer stops it; return whether it is the end."""
        saved = time.monotonic()
        if self.state.step == 0 and self.state.start_loss is None:
            row: Row | None = self.validate(validation)
            if self.agree(observe(Progress(self.state, self.share, row))):
                self.save()
                return False
        for batch in self.batches(train):
            row = self.train_step(*batch)
            if self.state.step % self.config.validate_every == 0:
                row = self.validate(validation)
            stop = self.agree(observe(Progress(self.state, self.share, row)))
            if stop or time.monotonic() - saved > 60 * self.config.checkpoint_minutes:
                self.save()
                saved = time.monotonic()
            if stop:
                return False
        if self.state.step % self.config.validate_every:
            observe(Progress(self.state, self.share, self.validate(validation)))
        self.save()
        return True

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
                stale = self.config.keep_best and self.state.stale >= self.config.patience
                if self.share >= 1 or stale:
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
        total, size, losses = np.zeros(2), 4 * self.config.batch, []
        chosen = np.arange(len(table))
        if len(table) > VALIDATE_ON:  # a file may be sorted, so the first ones may be special
            rng = np.random.default_rng(self.config.seed)
            chosen = rng.choice(len(table), VALIDATE_ON, replace=False)
        examples = len(chosen)
        for i in range(0, examples, size):
            terms = self.wrapped(*table.take(chosen[i : i + size], self.fabric.device))
            total += [-terms.log_likelihood.sum().item(), terms.kl.sum().item()]
            losses.append(-terms.value(self.config.kl_weight).double())
        reconstruction, kl = total / examples
        loss = reconstruction + self.config.kl_weight * kl
        if not math.isfinite(loss):
            raise self._diverged()
        self._compare(float(loss), _standard_error(torch.cat(losses)))
        self.state.validated = examples
        self.state.seconds = time.monotonic() - self.started
        return self._log(float(loss), float(reconstruction), float(kl))

    def _compare(self, loss: float, error: float | None) -> None:
        """Keep the weights if their validation loss is the lowest so far."""
        state = self.state
        if state.step == 0:
            state.start_loss, state.start_error = loss, error
        if loss < state.best_loss:
            self.best = copy.deepcopy(self.model.state_dict())
            state.best_loss, state.best_error, state.best_step = loss, error, state.step
            state.stale = 0
        else:
            state.stale += 1

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
        if self.sums:
            tensors["row.sums"] = torch.stack(self.sums)
        row = {"means": self.means, "since": self.since}
        write_tensors(
            self.folder / CHECKPOINT,
            tensors,
            {"state": asdict(self.state), "config": asdict(self.config), "row": row},
        )

    def _resume(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / CHECKPOINT
        if path.is_file():
            tensors, metadata = read_tensors(path)
            groups: dict[str, dict[str, Tensor]] = {
                kind: {} for kind in ("model", "best", "optimizer", "row")
            }
            for key, value in tensors.items():
                kind, _, name = key.partition(".")
                groups.setdefault(kind, {})[name] = value
            load_weights(self.model, groups["model"], path)
            self.best = {k: v.to(self.fabric.device) for k, v in groups["best"].items()}
            try:
                used, kl_weight = (metadata["config"].get(n) for n in ("optimizer", "kl_weight"))
                state = State(**metadata["state"])
            except (KeyError, TypeError, AttributeError) as error:
                raise MolvaeError(f"{path}: damaged, or not a checkpoint: {error!r}") from error
            if used != self.config.optimizer:
                raise MolvaeError(f"{path}: made with the optimizer {used}: train in a new folder")
            load_slots(self.optimizers, groups["optimizer"], path)
            self.state = state
            if kl_weight != self.config.kl_weight:
                self.state.best_loss, self.state.stale = math.inf, 0  # losses no longer compare
                self.state.start_loss = self.state.start_error = None
            self.since = (self.state.examples, self.state.seconds)
            if row := metadata.get("row"):  # which the first versions did not store
                self.means, self.since = row["means"], (row["since"][0], row["since"][1])
                device = self.fabric.device
                self.sums = [s.to(device) for s in groups["row"].get("sums", torch.empty(0))]
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
        if self.state.step == 0:
            return MolvaeError(
                "the loss of the held-out examples is not finite before the first step: "
                "check the data and the weights that the training starts from"
            )
        return MolvaeError(
            f"the loss is no longer finite at step {self.state.step}: try a lower --learning-rate "
            "(the last checkpoint is kept)"
        )


def _standard_error(losses: Tensor) -> float | None:
    """Losses (n,) -> the standard error of their mean; None for a single one."""
    return None if len(losses) < 2 else losses.std().item() / math.sqrt(len(losses))
