"""What all pages of a studio share, and the watching of its runs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from molvae.studio.runs import WatchedRun
from molvae.studio.searches import Searches
from molvae.studio.view import View

if TYPE_CHECKING:
    from molvae.studio.space import Space

WEIGHTS = Path(__file__).parents[1] / "weights"  # `molvae.model.storage` would load torch
DEFAULT = "zinc"  # the model of a page without a run, and of a new search
TICK = 0.2  # seconds between two looks at the histories
KEPT = 64  # views of pages, the latest ones


class Studio:
    """What all pages share: the runs, the models, and what each page shows."""

    def __init__(self, runs: list[WatchedRun], folder: Path, allow_programs: bool = False) -> None:
        """Show these runs, and write new ones into `folder`."""
        self.runs, self.folder, self.allow_programs = runs, folder, allow_programs
        self.spaces: dict[tuple[str, str], Space] = {}
        self.views: dict[str, View] = {}
        self.models = list(dict.fromkeys([*list_shipped(), *filter(None, (r.model for r in runs))]))
        self._loading: asyncio.Task[None] | None = None
        self._behind: asyncio.Task[None]
        self.searches = Searches(folder, self.models, allow_programs)

    async def add_run(self, path: Path) -> WatchedRun:
        """Watch a run folder, too."""
        run = next((one for one in self.runs if one.path == path), None)
        if run is None:
            run = WatchedRun(path)
            self.runs.append(run)
        return run

    def add_view(self, runs: list[WatchedRun]) -> View:
        """Make what a new page shows."""
        view = View(runs)
        self.views[view.id] = view
        while len(self.views) > KEPT:
            del self.views[next(iter(self.views))]
        return view

    def find_space(self, runs: list[WatchedRun], method: str = "PCA") -> Space | None:
        """Runs -> the model of the first one, not loaded yet; None where it names none.

        Without a run it is the one that a new search is offered.
        """
        name = next((run.model for run in runs), None if runs else DEFAULT)
        if name is None:
            return None
        from molvae.studio.space import Space  # with torch, when the page is already there

        return self.spaces.setdefault((name, method), Space(name, method))

    def begin_loading(self) -> asyncio.Task[None]:
        """Load in the background what the rows of a page need; the task ends when it is there.

        A page is sent first. While the browser reads it, this process has nothing else to do. What
        the map needs, torch above all, follows behind.
        """
        if self._loading is None:
            self._loading = asyncio.create_task(asyncio.to_thread(_load_properties))
            self._loading.add_done_callback(lambda _: self._load_behind())
        return self._loading

    def _load_behind(self) -> None:
        self._behind = asyncio.create_task(asyncio.to_thread(_load_torch))

    async def watch(self) -> None:
        """Read the histories again and again."""
        while True:
            await asyncio.to_thread(_refresh, list(self.runs))
            await asyncio.sleep(TICK)


def _refresh(runs: list[WatchedRun]) -> None:
    for run in runs:
        run.refresh()


def _load_properties() -> None:
    import molvae.oracles.objectives  # noqa: F401
    from molvae.studio.facts import measure

    measure("C")  # reads the table of the SAS


def _load_torch() -> None:
    import molvae.studio.space  # noqa: F401


def list_shipped() -> list[str]:
    """Return the names of the models that ship."""
    return sorted(path.stem for path in WEIGHTS.glob("*.safetensors"))
