"""The studio's routes."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
from fastapi import FastAPI, Response
from fastapi.staticfiles import StaticFiles
from nicegui import core, ui

from molvae.base.errors import MolvaeError
from molvae.chem.pictures import Arrangement, draw_molecules
from molvae.studio.facts import LONGEST, describe, picture_address
from molvae.studio.sketcher import JSME
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

    arrangement = Arrangement()  # what is drawn anywhere on the page lies like what was before

    @app.get("/molecule.svg")
    def draw(smiles: str, lost: str = "") -> Response:
        atoms = [int(i) for i in lost.split(",") if i.isdecimal()]
        marked = {0: atoms} if atoms else {}
        text = smiles if len(smiles) <= LONGEST else ""
        try:
            content = draw_molecules(
                [text], columns=1, picture="svg", highlighted=marked, arrangement=arrangement
            )
        except (MolvaeError, RuntimeError, ValueError, IndexError):
            content = draw_molecules([""], columns=1, picture="svg")
        headers = PICTURE | {"cache-control": "private, max-age=86400"}
        return Response(content, media_type="image/svg+xml", headers=headers)

    @app.get("/points")
    def points(view: str) -> Response:
        found, space = studio.views.get(view), None
        if found is not None:
            space = studio.find_space(found.runs, found.method)
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

    app.mount("/jsme", StaticFiles(directory=JSME))

    @ui.page("/")
    async def index() -> None:
        await Page(studio).build()

    ui.run_with(
        app,
        title="molvae studio",
        show_welcome_message=False,
        reconnect_timeout=30.0,
        favicon=_FAVICON,
        gzip_middleware_factory=None,  # nothing leaves this machine
        tailwind=False,  # the few rules that are used are in `parts.STYLE`
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


_FAVICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E"
    "%3Cpath d='M8 1l6 3.5v7L8 15l-6-3.5v-7z' fill='%23247ba0'/%3E%3C/svg%3E"
)
