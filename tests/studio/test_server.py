"""The real server, attacked over the network; no browser is needed."""

import base64
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from molvae.cli import main
from studio_runs import EVIL


@pytest.fixture(scope="module")
def address(runs: Path) -> Iterator[str]:
    """The printed address of a studio, with its secret."""
    command = [sys.executable, "-m", "molvae", "studio", "--no-browser", str(runs)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        found = re.search(r"http://127\.0\.0\.1:\d+/\?token=\S{20,}", process.stdout.readline())
        assert found is not None
        yield found[0]
        process.terminate()


@pytest.fixture(scope="module")
def home(address: str) -> str:
    return address.partition("?")[0]


@pytest.fixture(scope="module")
def known(address: str) -> Iterator[httpx.Client]:
    """Who has opened the printed address."""
    with httpx.Client(follow_redirects=True, timeout=120) as client:
        page = client.get(address)
        assert page.status_code == 200
        assert "molvae studio" in page.text
        assert "token" not in str(page.url)
        yield client


SOCKET = "_nicegui_ws/socket.io/?EIO=4&transport=polling"


@pytest.mark.parametrize(
    "path",
    ["", SOCKET, "molecule.svg?smiles=C", "points?view=x", "jsme/jsme.nocache.js", "no/thing"],
)
def test_who_does_not_know_the_secret_gets_nothing(home: str, path: str) -> None:
    for headers in ({}, {"origin": "http://evil.example"}, {"host": "evil.example"}):
        answer = httpx.get(home + path, headers=headers, timeout=60)
        assert answer.status_code == 403
        assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("path", ["", SOCKET, "points?view=x"])
def test_another_site_gets_nothing_even_with_the_users_cookie(
    known: httpx.Client, home: str, path: str
) -> None:
    for headers in (
        {"origin": "http://evil.example"},
        {"host": "evil.example"},
        {"sec-fetch-site": "cross-site"},
    ):
        answer = known.get(home + path, headers=headers)
        assert answer.status_code == 403
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_the_page_itself_gets_no_cross_origin_headers(known: httpx.Client, home: str) -> None:
    answer = known.get(home + SOCKET, headers={"origin": home.rstrip("/")})
    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert "default-src 'self'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("origin", "cookie", "status"),
    [("own", True, 101), ("own", False, 403), ("http://evil.example", True, 403), ("", True, 403)],
)
def test_a_socket_opens_for_the_page_alone(
    known: httpx.Client, home: str, origin: str, cookie: bool, status: int
) -> None:
    port = int(home.rstrip("/").rpartition(":")[2])
    lines = [
        "GET /_nicegui_ws/socket.io/?EIO=4&transport=websocket HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
        "Sec-WebSocket-Version: 13",
    ]
    if origin:
        lines.append(f"Origin: {home.rstrip('/') if origin == 'own' else origin}")
    if cookie:
        lines.append("Cookie: " + "; ".join(f"{k}={v}" for k, v in known.cookies.items()))
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        answer = connection.recv(4096).decode(errors="replace")
    assert f" {status} " in answer.splitlines()[0]


def test_it_listens_on_this_machine_alone(home: str) -> None:
    port = int(home.rstrip("/").rpartition(":")[2])
    own = {str(entry[4][0]) for entry in socket.getaddrinfo(socket.gethostname(), None)}
    for name in own:
        if "." in name and not name.startswith("127."):
            with socket.socket() as other:
                other.settimeout(2)
                assert other.connect_ex((name, port)) != 0


@pytest.mark.parametrize("smiles", [EVIL, "C" * 100_000, "", "C(C", "</svg><script>x</script>"])
def test_a_drawing_never_holds_what_it_was_asked_for(
    known: httpx.Client, home: str, smiles: str
) -> None:
    if len(smiles) > 50_000:
        smiles = smiles[:20_000]  # as long as a server takes in an address
    answer = known.get(f"{home}molecule.svg?smiles={quote(smiles, safe='')}&lost=1,x,99999")
    assert answer.status_code in (200, 400, 414, 431)
    assert "<script" not in answer.text
    assert "onerror" not in answer.text
    if answer.status_code == 200:
        assert answer.headers["content-type"].startswith("image/svg+xml")
        assert "sandbox" in answer.headers["content-security-policy"]


def test_a_path_is_never_read(known: httpx.Client, home: str) -> None:
    for path in (
        "../../etc/passwd",
        "%2e%2e/%2e%2e/etc/passwd",
        "_nicegui/%2e%2e/%2e%2e/server.py",
    ):
        answer = known.get(home + path)
        assert answer.status_code in (400, 403, 404)
        assert "root:" not in answer.text


def test_a_run_that_is_not_there_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["studio", "--no-browser", str(tmp_path / "nothing")]) == 1
    assert "no such run folder" in capsys.readouterr().err
    assert main(["studio", "--no-browser", str(tmp_path)]) == 1
    assert "holds no run" in capsys.readouterr().err


def test_a_taken_port_is_named(home: str, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    port = home.rstrip("/").rpartition(":")[2]
    assert main(["studio", "--no-browser", "--port", port, str(runs)]) == 1
    assert "is taken" in capsys.readouterr().err
