"""Small servers on free loopback ports that really misbehave: hang, reset, cut bodies, answer HTML."""

import contextlib
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from services.wppconnect.http_caller import Timeouts

SECRET = "S3cr3t/Key+with%odd&chars-and-more-than-31-bytes"
SESSION = "user_0b8a6f7e-2c1d-4e5f-9a3b-7c6d5e4f3a2b"
# Seconds that a client waits: the servers here never answer later.
SHORT_TIMEOUTS = Timeouts(connect=0.5, status=0.5, query=0.5, start=0.5, send=0.5, logout=0.5)
NOT_FOUND_PAGE = "<!DOCTYPE html><html><body><pre>Cannot POST /api/x/send-text</pre></body></html>"


@dataclass
class ReceivedRequest:
    """One request as it arrived."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: Any


@dataclass
class FakeServer:
    """Answers every request with `answer` and remembers what it saw."""

    url: str = ""
    answer: Callable[[ReceivedRequest], Response] = field(default=lambda _seen: Response(status_code=500))
    seen: list[ReceivedRequest] = field(default_factory=list)

    def answers(self, status: int, data: Any, media_type: str = "application/json") -> None:
        body = data if isinstance(data, str | bytes) else json.dumps(data)
        self.answer = lambda _seen: Response(body, status, media_type=media_type)

    @property
    def last(self) -> ReceivedRequest:
        return self.seen[-1]

    async def handle(self, request: Request) -> Response:
        raw = await request.body()
        path, query = request.scope["raw_path"].decode(), request.scope["query_string"].decode()
        seen = ReceivedRequest(request.method, path, query, dict(request.headers), json.loads(raw) if raw else None)
        self.seen.append(seen)
        return self.answer(seen)


@contextlib.contextmanager
def serving(app: ASGIApp, **options: Any) -> Iterator[str]:
    """Run `app` under uvicorn in a thread; yields its base URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="on", **options))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = server.force_exit = True
        thread.join(10)
        listener.close()


@contextlib.contextmanager
def fake_server() -> Iterator[FakeServer]:
    fake = FakeServer()
    app = Starlette(routes=[Route("/{path:path}", fake.handle, methods=["GET", "POST", "PUT", "DELETE"])])
    with serving(app) as url:
        fake.url = url
        yield fake


@contextlib.contextmanager
def raw_server(behave: Callable[[socket.socket], None]) -> Iterator[str]:
    """A TCP server that reads one request's beginning on each connection and then does what `behave` says."""
    listener = socket.create_server(("127.0.0.1", 0))
    open_ones: list[socket.socket] = []

    def run() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            open_ones.append(connection)
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    def serve(connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            connection.recv(65536)
            behave(connection)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)
        for connection in open_ones:
            connection.close()


def keep_open(_connection: socket.socket) -> None:
    """Keep the connection open and never answer."""


def reset_connection(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def close_connection(connection: socket.socket) -> None:
    connection.shutdown(socket.SHUT_RDWR)


def respond_with(
    *lines: str, body: bytes = b"", then: Callable[[socket.socket], None] = close_connection
) -> Callable[..., None]:
    """Send these header lines and this body as they are, and then do `then`."""

    def behave(connection: socket.socket) -> None:
        connection.sendall("\r\n".join([*lines, "", ""]).encode() + body)
        then(connection)

    return behave


answer_truncated = respond_with("HTTP/1.1 201 Created", "Content-Length: 500", body=b'{"status":"succ')
answer_not_http = respond_with("SSH-2.0-OpenSSH_9.2", body=b"\x00\x01")
answer_bad_gzip = respond_with("HTTP/1.1 201 Created", "Content-Encoding: gzip", "Content-Length: 4", body=b"nope")
answer_half_headers = respond_with("HTTP/1.1 201 Created", then=reset_connection)


def closed_port() -> str:
    """An address where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


@contextlib.contextmanager
def full_backlog() -> Iterator[str]:
    """An address that takes no more connections: the kernel drops the SYN, so connecting times out."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    address = listener.getsockname()
    waiting = [socket.socket() for _ in range(4)]
    for one in waiting:
        one.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            one.connect(address)
    try:
        yield f"http://127.0.0.1:{address[1]}"
    finally:
        for one in waiting:
            one.close()
        listener.close()
