"""Who may talk to the studio: whoever has read the printed address, from this machine's browser.

The page can start work, and any web site that the user visits can send requests to 127.0.0.1. So a
request is answered only if it was sent to this machine by name (`Host`, against DNS rebinding), by
a page of the studio itself (`Origin`, `Sec-Fetch-Site`), and knows the secret of the address, which
a cookie keeps that no script can read. Requests and websockets pass the same gate.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any, TypeAlias
from urllib.parse import parse_qs

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

NAMES = ("127.0.0.1", "localhost")
LARGEST = 4_000_000  # bytes of a request
HEADERS = {
    # 'unsafe-eval' is for Vue's templates, which the framework compiles in the browser
    "content-security-policy": "default-src 'self'; script-src 'self' 'unsafe-inline' "
    "'unsafe-eval'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'; object-src 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}


class Guard:
    """An ASGI application that lets through to another one only what belongs."""

    def __init__(self, app: App, port: int, token: str) -> None:
        """Guard `app`, which is served at `port`, with a secret."""
        self.app, self.token = app, token
        self.hosts = {f"{name}:{port}" for name in NAMES}
        self.origins = {f"http://{host}" for host in self.hosts}
        self.cookie = f"molvae-studio-{port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request or a websocket, or refuse it."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        headers = {
            name.decode().lower(): value.decode("latin-1") for name, value in scope["headers"]
        }
        reason = self._find_fault(scope, headers)
        if reason is None and not self._is_known(headers):
            given = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token", [""])[0]
            if scope["type"] == "http" and secrets.compare_digest(
                given.encode(), self.token.encode()
            ):
                await self._welcome(send)
                return
            reason = "open the address that molvae studio has printed, with its token"
        if reason is not None:
            await _refuse(scope, send, reason)
            return

        async def answer(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                own = [
                    (name, value)
                    for name, value in message.get("headers", [])
                    if not name.lower().startswith(b"access-control-")
                ]
                stated = {name.lower() for name, _ in own}  # of a drawing, which may do less
                more = [(name, value) for name, value in _encode(HEADERS) if name not in stated]
                message["headers"] = [*own, *more]
            await send(message)

        await self.app(scope, receive, answer)

    def _find_fault(self, scope: Scope, headers: dict[str, str]) -> str | None:
        """Request -> why it does not come from the studio's own page, None if it may."""
        if headers.get("host") not in self.hosts:
            return "this name is not served here"
        origin = headers.get("origin")
        if origin is not None and origin not in self.origins:
            return "requests of other sites are refused"
        if origin is None and (
            scope["type"] == "websocket" or scope["method"] not in ("GET", "HEAD")
        ):
            return "a request that does something must say where it comes from"
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return "requests of other sites are refused"
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > LARGEST:
            return f"a request may have {LARGEST:,} bytes"
        if "chunked" in headers.get("transfer-encoding", "").lower():
            return "a request must say how long it is"
        return None

    def _is_known(self, headers: dict[str, str]) -> bool:
        try:
            cookies = SimpleCookie(headers.get("cookie", ""))
        except CookieError:
            return False
        found = cookies.get(self.cookie)
        return found is not None and secrets.compare_digest(
            found.value.encode(), self.token.encode()
        )

    async def _welcome(self, send: Send) -> None:
        """Keep the secret in a cookie, and take it out of the address bar and its history."""
        cookie = f"{self.cookie}={self.token}; Path=/; HttpOnly; SameSite=Strict"
        headers = HEADERS | {"location": "/", "set-cookie": cookie, "cache-control": "no-store"}
        await send({"type": "http.response.start", "status": 303, "headers": _encode(headers)})
        await send({"type": "http.response.body", "body": b""})


async def _refuse(scope: Scope, send: Send, reason: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 4403, "reason": reason})
        return
    headers = HEADERS | {"content-type": "text/plain; charset=utf-8", "connection": "close"}
    await send({"type": "http.response.start", "status": 403, "headers": _encode(headers)})
    await send({"type": "http.response.body", "body": f"molvae studio: {reason}\n".encode()})


def _encode(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in headers.items()]
