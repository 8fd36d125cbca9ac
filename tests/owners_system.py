"""An owner's own system: a real HTTP server that hears what the console forwards, and answers as it is told to."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from standardwebhooks import Webhook
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.installation import wait_for


@dataclass(frozen=True)
class Heard:
    """One post."""

    headers: Mapping[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    def verified(self, secret: str) -> Any:
        """The payload, once the library's own verifier has found the signature good."""
        return Webhook(secret).verify(self.body, dict(self.headers))


@dataclass
class OwnersSystem:
    """`status` answers each post; `hangs` keeps every post waiting until it is set to False again."""

    url: str
    status: int = 200
    hangs: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    heard: list[Heard] = field(default_factory=list)
    under_way: int = 0
    most_under_way: int = 0

    def first(self) -> Heard:
        """The first post, waited for."""
        found: Heard = wait_for(lambda: self.heard and self.heard[0], what="a post")
        return found


async def _hear(system: OwnersSystem, request: Request) -> Response:
    system.under_way += 1
    system.most_under_way = max(system.most_under_way, system.under_way)
    try:
        heard = Heard(dict(request.headers), await request.body())
        while system.hangs:
            await asyncio.sleep(0.01)
        system.heard.append(heard)
        return Response("noted", status_code=system.status, headers=system.headers)
    finally:
        system.under_way -= 1


@contextlib.contextmanager
def owners_system() -> Iterator[OwnersSystem]:
    """One that listens on this machine, for the block."""
    listener = socket.create_server(("127.0.0.1", 0))
    system = OwnersSystem(f"http://127.0.0.1:{listener.getsockname()[1]}/hooks/a-token-of-theirs")

    async def hear(request: Request) -> Response:
        return await _hear(system, request)

    app = Starlette(routes=[Route("/{rest:path}", hear, methods=["POST", "GET"])])
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    wait_for(lambda: server.started)
    try:
        yield system
    finally:
        system.hangs = False
        server.should_exit = True
        thread.join(10)
