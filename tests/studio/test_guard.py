"""Attacks on the studio: each must be refused, and what belongs must pass."""

import asyncio
from collections.abc import MutableMapping
from typing import Any

import httpx
import pytest

from molvae.studio.guard import HEADERS, LARGEST, Guard, Receive, Scope, Send

PORT = 5123
HOME = f"http://127.0.0.1:{PORT}"


class Answering:
    """An application that counts what reaches it, and shares everything with everybody."""

    def __init__(self) -> None:
        self.reached = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.reached += 1
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
            return
        headers = [(b"access-control-allow-origin", b"*"), (b"content-type", b"text/plain")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"hello"})


def ask(
    headers: dict[str, str], path: str = "/", method: str = "GET", body: bytes = b""
) -> tuple[httpx.Response, int]:
    """A request -> the answer, and whether the application was reached."""
    inner = Answering()
    guard = Guard(inner, PORT, "a-secret")

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(guard)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url=HOME) as client:
            return await client.request(method, path, headers=headers, content=body)

    return asyncio.run(send()), inner.reached


KEY = {"cookie": f"molvae-studio-{PORT}=a-secret"}


def test_the_printed_address_opens_the_page_and_hides_its_secret() -> None:
    answer, reached = ask({}, "/?token=a-secret")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/"
    assert reached == 0
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    answer, reached = ask({"cookie": cookie.partition(";")[0]})
    assert (answer.text, reached) == ("hello", 1)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"cookie": f"molvae-studio-{PORT}=guess"},
        {"cookie": f"molvae-studio-{PORT}="},
        {"cookie": "molvae-studio-1=a-secret"},
        {"cookie": f"molvae-studio-{PORT}=\x7f{'x' * 5000}"},
        KEY | {"host": "evil.example"},  # DNS rebinding
        KEY | {"host": f"evil.example:{PORT}"},
        KEY | {"host": "127.0.0.1:1"},
        KEY | {"host": f"127.0.0.1:{PORT}.evil.example"},
        KEY | {"origin": "http://evil.example"},
        KEY | {"origin": "null"},
        KEY | {"origin": f"https://127.0.0.1:{PORT}"},
        KEY | {"origin": "http://127.0.0.1:9999"},  # another server of this machine
        KEY | {"origin": f"http://127.0.0.1:{PORT}.evil.example"},
        KEY | {"sec-fetch-site": "cross-site"},
        KEY | {"sec-fetch-site": "same-site"},
    ],
    ids=str,
)
def test_who_does_not_belong_is_refused(headers: dict[str, str]) -> None:
    for method in ("GET", "POST", "OPTIONS", "DELETE"):
        answer, reached = ask(headers, method=method)
        assert (answer.status_code, reached) == (403, 0)
        assert not [name for name in answer.headers if name.startswith("access-control")]
    for path in ("/_nicegui/any.js", "/molecule.svg?smiles=C", "/_nicegui_ws/socket.io/"):
        assert ask(headers, path)[1] == 0


@pytest.mark.parametrize("token", ["", "A-SECRET", "a-secre", "a-secret2", "%00"])
def test_a_wrong_token_opens_nothing(token: str) -> None:
    answer, _ = ask({}, f"/?token={token}")
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


def test_a_request_that_does_something_must_say_where_it_comes_from() -> None:
    assert ask(KEY, method="POST")[1] == 0
    assert ask(KEY | {"origin": HOME}, method="POST")[1] == 1


def test_a_request_may_not_be_too_large() -> None:
    own = KEY | {"origin": HOME}
    assert ask(own | {"content-length": str(LARGEST + 1)}, method="POST")[1] == 0
    assert ask(own | {"content-length": "-1"}, method="POST")[1] == 0
    assert ask(own | {"transfer-encoding": "chunked"}, method="POST")[1] == 0


def test_no_answer_may_be_shared_framed_or_load_from_elsewhere() -> None:
    answer, _ = ask(KEY)
    assert not [name for name in answer.headers if name.startswith("access-control")]
    for name, value in HEADERS.items():
        assert answer.headers[name] == value
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


def knock(headers: dict[str, str]) -> tuple[int, list[MutableMapping[str, Any]]]:
    """A websocket -> whether the application was reached, and what was sent."""
    inner, sent = Answering(), list[MutableMapping[str, Any]]()

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "websocket.connect"}

    whole = {"host": f"127.0.0.1:{PORT}"} | headers
    scope = {
        "type": "websocket",
        "path": "/_nicegui_ws/socket.io/",
        "query_string": b"token=a-secret",  # a secret in an address is no key to a socket
        "headers": [(name.encode(), value.encode()) for name, value in whole.items()],
    }
    asyncio.run(Guard(inner, PORT, "a-secret")(scope, receive, send))
    return inner.reached, sent


@pytest.mark.parametrize(
    "headers",
    [
        {},
        KEY,  # browsers always say the origin of a socket
        {"origin": HOME},
        KEY | {"origin": "http://evil.example"},
        KEY | {"origin": HOME, "host": f"evil.example:{PORT}"},
        KEY | {"origin": HOME, "sec-fetch-site": "cross-site"},
    ],
    ids=str,
)
def test_a_socket_of_another_site_is_closed(headers: dict[str, str]) -> None:
    reached, sent = knock(headers)
    assert reached == 0
    assert sent[0]["type"] == "websocket.close"


def test_a_socket_of_the_page_is_opened() -> None:
    assert knock(KEY | {"origin": HOME})[0] == 1
