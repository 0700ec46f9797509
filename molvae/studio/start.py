"""The start of the studio: an address at once, and what answers there as soon as it is loaded."""

from __future__ import annotations

import importlib.util
import secrets
import socket
import webbrowser
from contextlib import closing
from pathlib import Path

from molvae.base.errors import MolvaeError
from molvae.studio.guard import Guard
from molvae.studio.runs import open_runs

NEEDED = ("nicegui", "fastapi", "uvicorn")


def serve(
    paths: list[Path],
    *,
    model: str | None = None,
    port: int = 0,
    browser: bool = True,
    allow_programs: bool = False,
) -> None:
    """Serve the studio until it is interrupted.

    Args:
        paths: run folders, folders of run folders, history files.
        model: that of history files, which do not name it.
        port: of the address; 0 for a free one.
        browser: open it in the browser, where there is one.
        allow_programs: let the page name programs, functions and files.

    Raises:
        MolvaeError: a path is no run, the port is taken, or an extra is not installed.
    """
    if not all(map(importlib.util.find_spec, NEEDED)):
        raise MolvaeError("the studio needs an extra: pip install 'molvae[studio]'")
    runs = open_runs(paths, model)
    with closing(socket.socket()) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(("127.0.0.1", port))
        except OSError as error:
            raise MolvaeError(f"port {port} is taken: choose another --port") from error
        listening.listen()  # whoever reads the address may use it at once
        port = listening.getsockname()[1]
        token = secrets.token_urlsafe(24)
        address = f"http://127.0.0.1:{port}/?token={token}"
        print(f"molvae studio: {address}\nstop with Ctrl-C", flush=True)
        if browser:
            webbrowser.open(address)
        # while the browser starts
        import uvicorn

        from molvae.studio.server import make_app
        from molvae.studio.studio import Studio

        studio = Studio(runs, _choose_folder(paths), allow_programs)
        app = Guard(make_app(studio), port, token)
        config = uvicorn.Config(app, log_level="error", lifespan="on", server_header=False)
        uvicorn.Server(config).run(sockets=[listening])


def _choose_folder(paths: list[Path]) -> Path:
    """Paths of the command -> the folder for new runs: beside the first run, else runs/."""
    first = paths[0] if paths else Path("runs")
    if first.is_dir() and (first / "config.json").exists():
        return first.parent
    return first if first.is_dir() else Path("runs")
