"""A client that is slow, greedy or guesses costs the process nothing that others notice."""

import asyncio
import base64
import contextlib
import re
import socket
import time
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import httpx
import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from services.db.actor import Actor
from services.platform.client_ip import client_ip
from tests.support.credentials import bearer_header, make_jwt
from tests.support.databases import Database
from tests.support.library_parts import assert_has_parts, assert_takes
from tests.support.processes import SHARED_TOKEN
from tests.support.waiting import wait_for
from tests.support.web_settings import SHARED_LIMITS
from web.api.messages import SEND
from web.api.sessions import SESSION
from web.receiver.connections import HEADERS_LIMIT
from web.receiver.webhook import BODY_LIMIT

WEBHOOK = "/functions/v1/whatsapp-qr-webhook"
BRISK_SECONDS = 2.0


@pytest.fixture
def strict(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits that a test can reach; asked for before the process starts."""
    for name, value in SHARED_LIMITS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def http(strict: None, companion: int) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{companion}", timeout=10) as client:
        yield client


@contextlib.contextmanager
def raw(http: httpx.Client) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", http.base_url.port or 0)) as sock:
        sock.settimeout(15)
        yield sock


def is_brisk(http: httpx.Client) -> bool:
    """Whether an ordinary client beside is served as if nothing were."""
    begun = time.monotonic()
    assert http.get("/openapi.json").status_code == 200
    return time.monotonic() - begun < BRISK_SECONDS


def ended(sock: socket.socket) -> bytes:
    """What the process says until it closes the connection."""
    said = b""
    with contextlib.suppress(ConnectionResetError):
        while more := sock.recv(65536):
            said += more
    return said


# --- limits at the doors ----------------------------------------------------------------------------------------------


def test_it_limits_each_user_by_themselves(http: httpx.Client, user: Actor, staff: Actor) -> None:
    statuses = [http.get(SESSION, headers=bearer_header(make_jwt(user))).status_code for _ in range(12)]
    assert statuses == [200] * 10 + [429] * 2
    answer = http.get(SESSION, headers=bearer_header(make_jwt(user)))
    assert answer.json()["code"] == "limite_excedido"
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert http.get(SESSION, headers=bearer_header(make_jwt(staff))).status_code == 200


def test_it_limits_sending_more_than_asking(http: httpx.Client, user: Actor) -> None:
    sent = {"phone": "11987654321", "message": "x"}
    statuses = [http.post(SEND, json=sent, headers=bearer_header(make_jwt(user))).status_code for _ in range(4)]
    assert statuses == [409, 409, 429, 429]
    assert http.get(SESSION, headers=bearer_header(make_jwt(user))).status_code == 200


def test_it_slows_whoever_guesses_credentials_and_nobody_else(
    http: httpx.Client, user: Actor, database: Database
) -> None:
    statuses = [http.get(SESSION, headers=bearer_header(f"plk_{number:043}")).status_code for number in range(8)]
    assert statuses == [401] * 5 + [429] * 3
    assert http.get(SESSION, headers=bearer_header("not a token")).status_code == 429
    assert http.get(SESSION, headers=bearer_header(make_jwt(user))).status_code == 200
    assert database.one("select count(*) from security_events where kind = 'rate_limited'") == 1


def test_it_slows_whoever_guesses_webhook_secrets_and_no_true_delivery(http: httpx.Client, database: Database) -> None:
    body = {"event": "onmessage", "session": "user_x", "id": "1"}
    statuses = [http.post(WEBHOOK, json=body, auth=("wpp", f"guess {n}")).status_code for n in range(8)]
    assert statuses == [401] * 5 + [429] * 3
    assert int(http.post(WEBHOOK, json=body).headers["retry-after"]) >= 1
    for _ in range(20):
        assert http.post(WEBHOOK, json=body, headers={"x-verify": SHARED_TOKEN}).status_code == 200
    assert database.one("select count(*) from events") == 20
    wait_for(lambda: database.one("select count(*) > 0 from security_events where kind = 'webhook_refused'"))


# --- what one connection may cost -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "beginning",
    [
        b"",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ",
        b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 999\r\n\r\n",
    ],
    ids=["silent", "in its headers", "in its body"],
)
def test_it_cuts_off_whoever_takes_for_ever(http: httpx.Client, beginning: bytes) -> None:
    with raw(http) as sock:
        sock.sendall(beginning.replace(b"%s", SEND.encode()))
        begun = time.monotonic()
        sock.settimeout(0.1)
        with contextlib.suppress(ConnectionError):
            while time.monotonic() - begun < 12:
                try:
                    if sock.recv(4096) == b"":
                        break
                except TimeoutError:
                    sock.sendall(b"x" if beginning else b"")
        assert time.monotonic() - begun < 8
        assert is_brisk(http)


def test_it_keeps_a_connection_that_only_rests(http: httpx.Client) -> None:
    with raw(http) as sock:
        for _ in range(2):
            sock.sendall(b"GET /docs HTTP/1.1\r\nHost: x\r\n\r\n")
            said = sock.recv(65536)
            assert said.startswith(b"HTTP/1.1 200")
            head, _, body = said.partition(b"\r\n\r\n")
            length = int(re.findall(rb"(?i)content-length: (\d+)", head)[0])
            while len(body) < length:
                body += sock.recv(65536)


@pytest.mark.parametrize(
    "head",
    [
        b"".join(b"X-%d: y\r\n" % number for number in range(10_000)),
        b"X: " + b"y" * 200_000 + b"\r\n",
        b"X: " + b"y" * 200_000,
        b"X: " + b"y" * 40_000 + b"\r\n\r\n",
    ],
    ids=["many", "long", "without end", "in one piece"],
)
def test_it_refuses_headers_without_measure(http: httpx.Client, head: bytes) -> None:
    with raw(http) as sock:
        with contextlib.suppress(ConnectionError):
            sock.sendall(b"GET /docs HTTP/1.1\r\nHost: x\r\n" + head)
        assert ended(sock)[:12] in (b"HTTP/1.1 400", b"")
    assert is_brisk(http)


def test_it_takes_as_many_headers_as_browsers_and_proxies_send(http: httpx.Client) -> None:
    more = {f"X-{number}": "y" for number in range(HEADERS_LIMIT - 20)}
    assert http.get("/docs", headers=more).status_code == 200


def memory_kb() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the process's memory is read as Linux tells it")
@pytest.mark.parametrize("path", [SEND, WEBHOOK, "/nothing"])
@pytest.mark.parametrize("chunked", [True, False])
def test_it_refuses_a_body_of_a_gigabyte_without_holding_it(
    http: httpx.Client, user: Actor, path: str, chunked: bool
) -> None:
    proof = f"Authorization: Bearer {make_jwt(user)}\r\nX-Verify: {SHARED_TOKEN}\r\n"
    size = "Transfer-Encoding: chunked\r\n" if chunked else f"Content-Length: {2**30}\r\n"
    piece = b"x" * 2**20
    sent = 0
    before = memory_kb()
    with raw(http) as sock:
        sock.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\n{proof}{size}\r\n".encode())
        with contextlib.suppress(ConnectionError, TimeoutError):
            sock.settimeout(3)
            while sent < 2**30:
                sock.sendall(b"100000\r\n" + piece + b"\r\n" if chunked else piece)
                sent += len(piece)
                if sent > BODY_LIMIT + 2**24 and path != WEBHOOK:
                    break
        assert memory_kb() - before < 4 * BODY_LIMIT / 1024
        sock.settimeout(3)
        with contextlib.suppress(TimeoutError, ConnectionError):
            assert sock.recv(64)[9:12] in (b"413", b"404", b"")
    assert is_brisk(http)


# --- what is used of uvicorn ------------------------------------------------------------------------------------------

ADAPTER = ("uvicorn", "web/receiver/connections.py")


async def _begin_request() -> HttpToolsProtocol:
    """A connection whose request's head has arrived, and of whose body nothing yet."""
    transport = Mock(spec=asyncio.Transport, **{"get_extra_info.return_value": None})
    config = uvicorn.Config(Starlette(), ws="none", log_config=None)
    made = HttpToolsProtocol(config, ServerState(), {}, asyncio.get_running_loop())
    made.connection_made(transport)
    made.data_received(b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n")
    return made


def test_uvicorn_still_has_the_parts_that_are_used() -> None:
    made = asyncio.run(_begin_request())
    parts = ("loop", "transport", "flow", "scope", "cycle", "url", "headers", "on_headers_complete")
    assert_has_parts(*ADAPTER, made, (*parts, "send_400_response"))
    assert_has_parts(*ADAPTER, made.flow, ("read_paused",))
    assert_has_parts(*ADAPTER, made.cycle, ("scope", "more_body"))
    assert_has_parts(*ADAPTER, ServerState(), ("connections",))
    assert_takes(*ADAPTER, HttpToolsProtocol.data_received, "self", "data")
    assert_takes(*ADAPTER, uvicorn.Server.on_tick, "self", "counter")
    assert made.cycle.scope is made.scope, "the head has arrived"
    assert made.cycle.more_body
    assert made in made.server_state.connections


# --- where a request came from ----------------------------------------------------------------------------------------

PROXIES = (ip_network("10.0.0.0/8"), ip_network("::1/128"))


def scope(peer: str, *forwarded: bytes) -> dict[str, Any]:
    return {"client": (peer, 1), "headers": [(b"x-forwarded-for", value) for value in forwarded]}


@pytest.mark.parametrize(
    ("peer", "forwarded", "seen"),
    [
        ("203.0.113.9", (b"8.8.8.8",), "203.0.113.9"),
        ("10.0.0.1", (b"8.8.8.8",), "8.8.8.8"),
        ("10.0.0.1", (b"6.6.6.6, 8.8.8.8, 10.1.1.1",), "8.8.8.8"),
        ("10.0.0.1", (b"6.6.6.6", b"8.8.8.8"), "8.8.8.8"),
        ("10.0.0.1", (), "10.0.0.1"),
        ("10.0.0.1", (b" , ,",), "10.0.0.1"),
        ("::1", (b"2001:db8::5",), "2001:db8::5"),
    ],
)
def test_it_believes_only_our_proxies(peer: str, forwarded: tuple[bytes, ...], seen: str) -> None:
    assert client_ip(scope(peer, *forwarded), PROXIES) == seen


@given(st.lists(st.binary(max_size=60)))
def test_it_survives_any_forwarded_header(forwarded: list[bytes]) -> None:
    assert len(client_ip(scope("10.0.0.1", *forwarded), PROXIES)) <= 45
    assert client_ip(scope("203.0.113.9", *forwarded), PROXIES) == "203.0.113.9"


def test_it_notes_the_address_behind_the_proxy(
    monkeypatch: pytest.MonkeyPatch, database: Database, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setenv("TRUSTED_PROXIES", "127.0.0.0/8")
    port = request.getfixturevalue("companion")
    wrong = "Basic " + base64.b64encode(b"wpp:wrong").decode()
    headers = {"Authorization": wrong, "X-Forwarded-For": "8.8.8.8"}
    assert httpx.post(f"http://127.0.0.1:{port}{WEBHOOK}", headers=headers, json={}).status_code == 401
    wait_for(lambda: database.one("select count(*) = 1 from security_events where ip = '8.8.8.8'"))
