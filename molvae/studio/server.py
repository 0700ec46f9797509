"""The studio's server: its routes, and its start."""

from __future__ import annotations

import asyncio
import json
import math
import secrets
import socket
import webbrowser
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from fastapi import FastAPI, Response
from nicegui import core, ui

from molvae.base.errors import MolvaeError
from molvae.chem.pictures import draw_molecules
from molvae.studio.facts import LONGEST, describe, picture_address
from molvae.studio.guard import Guard
from molvae.studio.runs import open_runs
from molvae.studio.studio import Studio
from molvae.studio.view import View

PICTURE = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox"}


def make_app(studio: Studio) -> FastAPI:
    """Studio -> its web application, without a guard."""
    from molvae.studio.page import Page

    @asynccontextmanager
    async def watching(app: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(studio.watch())
        yield
        task.cancel()

    app = FastAPI(lifespan=watching, openapi_url=None)

    @app.get("/molecule.svg")
    def draw(smiles: str, lost: str = "") -> Response:
        atoms = [int(i) for i in lost.split(",") if i.isdecimal()]
        marked = {0: atoms} if atoms else {}
        text = smiles if len(smiles) <= LONGEST else ""
        try:
            content = draw_molecules([text], columns=1, picture="svg", highlighted=marked)
        except (MolvaeError, RuntimeError, ValueError, IndexError):
            content = draw_molecules([""], columns=1, picture="svg")
        headers = PICTURE | {"cache-control": "private, max-age=86400"}
        return Response(content, media_type="image/svg+xml", headers=headers)

    @app.get("/points")
    def points(view: str) -> Response:
        found, space = studio.views.get(view), None
        if found is not None:
            space = studio.find_space(found.runs)
        rows = np.empty((0, 4), np.float32)
        if found is not None and space is not None:
            rows = found.points(space, found.owners)
        return Response(rows.tobytes(), media_type="application/octet-stream")

    @app.get("/card")
    def card(view: str, index: int) -> Response:
        found = studio.views.get(view)
        if found is None or not 0 <= index < len(found.owners):
            return Response(status_code=404)
        return Response(
            json.dumps(_write_card(studio, found, index)), media_type="application/json"
        )

    @ui.page("/")
    async def index() -> None:
        await Page(studio).build()

    ui.run_with(
        app,
        title="molvae studio",
        show_welcome_message=False,
        reconnect_timeout=30.0,
        favicon=_FAVICON,
    )
    # the guard alone says who may talk to the page: no cross-origin headers at all
    core.sio.eio.cors_allowed_origins = []
    return app


def _write_card(studio: Studio, view: View, index: int) -> dict[str, Any]:
    run, number = view.owners[index]
    record = view.runs[run].records[number]
    lines = []
    for one, value in zip(view.runs[run].objectives, view.runs[run].values[number], strict=True):
        lines.append(f"{one.title} {'failed' if math.isnan(value) else f'{value:.4g}'}")
    if record.error is not None:
        lines.append(record.error[:200])
    space = studio.find_space(view.runs)
    domain = space.model.domain if space is not None else None
    shown = {one.name for one in view.runs[run].objectives}
    lines += [
        f"{name} {text}" for name, text in describe(record.smiles, domain)[:-1] if name not in shown
    ]
    lines.append(f"evaluation {number} of {view.runs[run].name}")
    return {"picture": picture_address(record.smiles), "lines": lines}


def serve(
    paths: list[Path], *, port: int = 0, browser: bool = True, allow_programs: bool = False
) -> None:
    """Serve the studio until it is interrupted.

    Args:
        paths: run folders, folders of run folders, history files.
        port: of the address; 0 for a free one.
        browser: open it in the browser, where there is one.
        allow_programs: let the page name programs, functions and files.

    Raises:
        MolvaeError: a path is no run, or the port is taken.
    """
    studio = Studio(open_runs(paths), _choose_folder(paths), allow_programs)
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
        app = Guard(make_app(studio), port, token)
        config = uvicorn.Config(app, log_level="error", lifespan="on", server_header=False)
        print(f"molvae studio: {address}\nstop with Ctrl-C", flush=True)
        if browser:
            webbrowser.open(address)
        uvicorn.Server(config).run(sockets=[listening])


def _choose_folder(paths: list[Path]) -> Path:
    """Paths of the command -> the folder for new runs: beside the first run, else runs/."""
    first = paths[0] if paths else Path("runs")
    if first.is_dir() and (first / "config.json").exists():
        return first.parent
    return first if first.is_dir() else Path("runs")


_FAVICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E"
    "%3Cpath d='M8 1l6 3.5v7L8 15l-6-3.5v-7z' fill='%23247ba0'/%3E%3C/svg%3E"
)
