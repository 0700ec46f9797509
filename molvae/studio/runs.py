"""A run as the page sees it: what its history holds now, and how it is doing."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from molvae.base.errors import MolvaeError
from molvae.base.files import read_json_object
from molvae.oracles.history import RUN, STOPPED, History, Record
from molvae.oracles.watching import HistoryReader, find_writers, list_runs

if TYPE_CHECKING:
    from molvae.loop.result import Result
    from molvae.oracles.objectives import Objective
    from molvae.studio.space import Space

State = Literal["running", "waiting", "finished", "stopped", "empty", "damaged", "failed"]
GLANCE = 3.0  # seconds between two looks for the process that writes
QUIET = 60.0  # seconds without a new evaluation after which a run is taken for stopped


@dataclass(frozen=True)
class Status:
    """How a run is doing: a word, and a sentence."""

    state: State
    text: str


class WatchedRun:
    """A run folder, or one run of a history file, read again and again."""

    def __init__(
        self, path: Path, run: str = RUN, history: Path | None = None, model: str | None = None
    ) -> None:
        """Take a run folder; or a history file and the name of a run in it, and of its model."""
        self.path, self._model = path, model
        self.name = path.name if run == RUN else f"{path.name} {run}"
        self.config: dict[str, Any] = {}
        self.fault = ""
        self.reader = HistoryReader(history or path / "history.sqlite", run)
        self._read = 0.0  # when the settings that were read were written
        if history is None:
            self._read_config()
        self.changes = 0  # grows with each change
        self._writers: list[int] | None = []
        self._looked = -GLANCE
        self._spent = (0, 0)  # records that were counted, and how many of them were evaluations
        self._y = np.empty((0, 1))
        self._z = np.empty((0, 0), np.float32)

    def _read_config(self) -> None:
        """Read the settings of the run, which may not be there yet."""
        path = self.path / "config.json"
        try:
            written = path.stat().st_mtime
        except OSError:
            return
        if written == self._read:
            return
        self._read = written
        try:
            self.config = read_json_object(path)
        except MolvaeError as error:
            self.fault = str(error)
            return
        file = Path(str(self.config.get("history") or self.path / "history.sqlite"))
        run = str(self.config.get("run", RUN))
        if (file, run) != (self.reader.path, self.reader.run):
            self.reader = HistoryReader(file, run)

    @property
    def records(self) -> list[Record]:
        """All evaluations so far."""
        return self.reader.records

    def refresh(self) -> bool:
        """Read what is new; return whether anything has changed."""
        if self.path.is_dir():
            self._read_config()  # a run that goes on may have another budget
        before = self.status
        changed = False
        try:
            changed = self.reader.read()
            if changed and self.fault.startswith("history "):
                self.fault = ""
        except MolvaeError as error:
            changed, self.fault = str(error) != self.fault, str(error)
        if time.monotonic() - self._looked > GLANCE:
            self._looked = time.monotonic()
            self._writers = find_writers(self.reader.path)
        if changed or self.status != before:
            self.changes += 1
            return True
        return False

    @property
    def budget(self) -> int | None:
        """The evaluations that the run may make, where its folder says so."""
        found = self.config.get("budget")
        return found if isinstance(found, int) else None

    @property
    def spent(self) -> int:
        """The evaluations that it has made."""
        new = self.records[self._spent[0] :]
        if self._spent[0] > len(self.records):
            self._spent, new = (0, 0), self.records
        self._spent = len(self.records), self._spent[1] + sum(not one.known for one in new)
        return self._spent[1]

    @property
    def status(self) -> Status:
        """Say how the run is doing."""
        n, budget = self.spent, self.budget
        of = f"{n:,} of {budget:,} evaluations" if budget else f"{n:,} evaluations"
        if self.fault:
            return Status("damaged", self.fault)
        if self._is_written():
            return Status("running", of)
        if not self.records:
            there = self.reader.path.exists()
            return Status("empty", "no evaluation yet" if there else "no history.sqlite yet")
        if self.asked:
            return Status("waiting", f"{of}; {len(self.asked):,} molecules wait for a value")
        if budget and n < budget:
            why = self.reader.settings.get(STOPPED) or "no process is writing: resume it"
            return Status("stopped", f"{of}; {why}")
        return Status("finished", of)

    def _is_written(self) -> bool:
        if self._writers is not None:
            return bool(self._writers)
        try:
            return time.time() - self.reader.path.stat().st_mtime < QUIET
        except OSError:
            return False

    @property
    def model(self) -> str | None:
        """The model of the run: a shipped name or a file."""
        found = self.config.get("model")
        return found if isinstance(found, str) else self._model

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """What is maximised, by name, direction and unit; nothing of the user's is imported."""
        from molvae.oracles.objectives import find_registered, measured_objective

        rest = str(self.reader.settings.get("objective", "y"))
        found = []
        for label in self.reader.settings.get("maximised") or [rest]:
            text = str(label)
            maximise = rest.startswith(text) or not text.startswith("-")
            name = text if maximise else text[1:]
            rest = rest.removeprefix(name).removeprefix(", ")
            known = find_registered(name)
            one = measured_objective(name, maximise=maximise)
            found.append(one if known is None else replace(known, maximise=maximise))
        return tuple(found)

    @property
    def values(self) -> NDArray[np.float64]:
        """The objectives (n, M) with the user's signs, NaN where they failed."""
        aims = self.objectives
        new = self.records[len(self._y) :]
        if self._y.shape[1] != len(aims) or len(self._y) > len(self.records):
            self._y, new = np.empty((0, len(aims))), self.records
        signs = [one.restore_sign(1.0) for one in aims]
        rows = np.array([r.values[: len(aims)] for r in new], np.float64).reshape(-1, len(aims))
        self._y = np.concatenate([self._y, rows * signs])
        return self._y

    @property
    def latents(self) -> NDArray[np.float32]:
        """The latent points (n, D), NaN where a molecule has none."""
        d = next((r.z.size for r in self.records if r.z is not None), 0)
        new = self.records[len(self._z) :]
        if self._z.shape[1] != d or len(self._z) > len(self.records):
            self._z, new = np.empty((0, d), np.float32), self.records
        if new:
            rows = np.full((len(new), d), np.nan, np.float32)
            for row, record in zip(rows, new, strict=True):
                if record.z is not None:
                    row[:] = record.z
            self._z = np.concatenate([self._z, rows])
        return self._z

    @property
    def asked(self) -> dict[str, int]:
        """Molecules that were asked for and have no value yet -> their rounds."""
        asked = self.reader.settings.get("asked for")  # `molvae.loop.begin.ASKED`
        if not isinstance(asked, dict):
            return {}
        done = {record.smiles for record in self.records[-10 * (len(asked) + 1) :]}
        left = {str(name): k for name, k in asked.items() if name not in done}
        return {} if len(left) > 1_000 else left

    @property
    def is_measured(self) -> bool:
        """Whether its values come from outside: no `molvae optimize`, and nothing computes them."""
        sources = self.reader.settings.get("sources")  # `molvae.oracles.oracle.SOURCES`
        if not isinstance(sources, dict) or not sources or "objective" in self.config:
            return False
        return not any(sources.values())

    def tell(self, name: str, values: list[float], space: Space | None) -> None:
        """Store what was measured of a molecule that was asked for, as `molvae.Search.tell` does.

        Args:
            name: the molecule.
            values: of each objective with its own sign, NaN for a failed measurement.
            space: the model of the run, which says where the molecule lies.

        Raises:
            MolvaeError: the molecule was not asked for or has a value already; not a finite number
                or NaN for each objective; the model is not known.
        """
        from molvae.oracles.oracle import Oracle

        self.refresh()
        asked = self.asked
        if name not in asked:
            raise MolvaeError(f"{name!r:.80} does not wait for a value")
        if space is None:
            raise MolvaeError("name the model of this run: molvae studio HISTORY --model MODEL")
        # with the others of its round, as the search would: a batch changes the last bits
        round_ = [one for one, k in self.reader.settings["asked for"].items() if k == asked[name]]
        z = space.locate(round_)[round_.index(name)]
        with History(self.reader.path, self.reader.run) as history:
            left = history.spent + len(asked)
            oracle = Oracle(list(self.objectives), left, history, heavy_atoms="any")
            oracle.tell(name, values, asked[name], z)
        self.refresh()

    def steer(self, kind: str, text: str, allow_programs: bool = False) -> None:
        """Store a wish in the history; see `molvae.loop.steering`.

        Raises:
            MolvaeError: it cannot be heeded, may not be named from the page, or the run has not
                begun.
        """
        from molvae.loop.steering import check_wish
        from molvae.studio.foreign import check_constraint

        if not self.reader.settings:
            raise MolvaeError("this run has not begun yet")
        if kind == "add":
            check_constraint(text, allow_programs)
        if kind == "pin" and any(record.smiles == text for record in self.records):
            raise MolvaeError("this molecule was evaluated already")
        with History(self.reader.path, self.reader.run) as history:
            history.steer(kind, check_wish(kind, text))

    @property
    def result(self) -> Result:
        """What the run has found so far."""
        from molvae.loop.result import Result

        text = self.status.text
        return Result(list(self.records), list(self.reader.iterations), text, self.objectives)


def open_runs(paths: list[Path], model: str | None = None) -> list[WatchedRun]:
    """Run folders, folders of run folders, and history files -> the runs.

    Args:
        paths: where they are.
        model: that of history files, which do not name it.

    Raises:
        MolvaeError: a path does not exist, or there is no run in it.
    """
    found: list[WatchedRun] = []
    for path in paths:
        if path.is_file():
            found += [WatchedRun(path, name, path, model) for name in list_runs(path)]
        elif not path.is_dir():
            raise MolvaeError(f"{path}: no such run folder")
        elif _is_run(path):
            found.append(WatchedRun(path))
        else:
            inside = sorted(folder for folder in path.iterdir() if _is_run(folder))
            if not inside:
                raise MolvaeError(f"{path} holds no run: it has no config.json or history.sqlite")
            found += map(WatchedRun, inside)
    return found


def _is_run(folder: Path) -> bool:
    return (folder / "config.json").exists() or (folder / "history.sqlite").exists()
