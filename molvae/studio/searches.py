"""Searches that the page starts: each is `molvae optimize` in a process of its own.

So a run that was started from the page is the run that the shell would have made, in a folder that
the shell can resume, and it goes on when the page or the studio is closed. To pause a search is to
end its process, as Ctrl-C does; to resume it is `molvae optimize --resume`.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from molvae.base.errors import MolvaeError
from molvae.base.files import write_file
from molvae.chem.molecules import canonicalize
from molvae.studio.facts import read_list
from molvae.studio.runs import WatchedRun

LOG = "search.log"
LEADS = "leads.smi"
MOST = 1_000_000  # evaluations
LEAST_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,60}")


@dataclass(frozen=True)
class Wanted:
    """What the page asks for, as its user has typed it."""

    name: str
    objectives: Sequence[str]
    constraints: Sequence[str]
    model: str
    leads: str
    budget: int
    seed: int


class Searches:
    """The processes that this studio has started."""

    def __init__(self, folder: Path, models: Sequence[str], allow_programs: bool) -> None:
        """Write runs into `folder`; `models` may be named."""
        self.folder, self.models, self.allow_programs = folder, models, allow_programs
        self._running: dict[Path, subprocess.Popen[bytes]] = {}

    def start(self, wanted: Wanted) -> Path:
        """Begin a search and return its run folder.

        Raises:
            MolvaeError: something in it is not valid, or may not be named from the page.
        """
        from molvae.studio.foreign import check_constraint, check_quantity

        if not LEAST_NAME.fullmatch(wanted.name) or ".." in wanted.name:
            raise MolvaeError("a name is made of letters, digits, dots, dashes and underscores")
        if wanted.model not in self.models and not self.allow_programs:
            raise MolvaeError(f"{wanted.model!r:.60} is not one of the models that are offered")
        if not 1 <= wanted.budget <= MOST or not 0 <= wanted.seed < 2**31:
            raise MolvaeError(f"the budget is from 1 to {MOST:,}, the seed from 0 to 2147483647")
        objectives = [check_quantity(text, self.allow_programs) for text in wanted.objectives]
        constraints = [
            check_constraint(text, self.allow_programs).text for text in wanted.constraints
        ]
        if not objectives:
            raise MolvaeError("a search needs an objective")
        path = self.folder / wanted.name
        if path.exists():
            raise MolvaeError(f"{path} exists already: choose another name")
        words = ["--objective", *objectives, "--model", wanted.model]
        words += ["--budget", str(wanted.budget), "--seed", str(wanted.seed)]
        words += ["--constraint", *constraints] if constraints else []
        if wanted.leads.strip():
            # under a name of ours, and read as a table of SMILES, whatever is in it
            write_file(path / LEADS, _list_leads(wanted.leads))
            words += ["--start", str(path / LEADS)]
        self._run(path, words)
        return path

    def resume(self, run: WatchedRun, budget: int | None = None) -> None:
        """Go on with a run that has stopped.

        Raises:
            MolvaeError: it is running, has spent its budget, or is no run folder; it would run
            somebody's program.
        """
        from molvae.studio.foreign import check_constraint, check_quantity

        if run.status.state == "running" or self.is_running(run):
            raise MolvaeError("this run is being written by a process: wait until it has ended")
        if not run.config:
            raise MolvaeError("only a run folder can be resumed")
        for text in run.config.get("objective", []):
            check_quantity(str(text), self.allow_programs)
        for text in run.config.get("constraint", []):
            check_constraint(str(text), self.allow_programs)
        if run.budget and max(run.budget, budget or 0) <= run.spent:
            raise MolvaeError("its budget is spent: give a larger one to go on to")
        words = ["--resume"] + (["--budget", str(int(budget))] if budget else [])
        self._run(run.path, words + ["--trust-folder"] * self.allow_programs)

    def pause(self, run: WatchedRun) -> None:
        """End the process of a run that was started here; what it has found is saved.

        Raises:
            MolvaeError: it was not started here.
        """
        process = self._running.get(run.path)
        if process is None or process.poll() is not None:
            raise MolvaeError("this studio has not started this run: stop it where it was started")
        process.send_signal(signal.SIGTERM)

    def is_running(self, run: WatchedRun) -> bool:
        """Whether a process that was started here works on the run."""
        process = self._running.get(run.path)
        return process is not None and process.poll() is None

    def find_fault(self, run: WatchedRun) -> str:
        """Why the process of a run ended early: what it said last; empty where it did not."""
        process = self._running.get(run.path)
        if process is None or process.poll() in (None, 0, 128 + signal.SIGTERM):
            return ""
        try:
            lines = (run.path / LOG).read_text(errors="replace").strip().splitlines()
        except OSError:
            lines = []
        if process.returncode < 0:
            return f"its process was killed by signal {-process.returncode}: resume it"
        return lines[-1][:300] if lines else f"it ended with code {process.returncode}"

    def _run(self, path: Path, words: list[str]) -> None:
        path.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "molvae", "optimize", "--out", str(path), *words]
        with (path / LOG).open("ab") as log:
            self._running[path] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C of the studio does not end it
            )


def _list_leads(text: str) -> str:
    """Pasted text -> a file of SMILES, one a line, without what stands behind each.

    Raises:
        MolvaeError: it is too long, or a SMILES is not valid.
    """
    if len(text) > 1_000_000:
        raise MolvaeError("a pasted list may have a million characters")
    names = [smiles for smiles, _ in read_list(text)]
    if wrong := [name for name in names if canonicalize(name) is None]:
        more = f", and {len(wrong) - 1:,} more" if len(wrong) > 1 else ""
        raise MolvaeError(f"{wrong[0]!r:.80} is not a valid SMILES{more}")
    return "".join(f"{name}\n" for name in names)
