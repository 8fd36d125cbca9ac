"""The owner's own system: a real HTTP server that receives the console's outgoing webhooks and answers as it is
told."""

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

from tests.support.waiting import wait_for


@dataclass(frozen=True)
class ReceivedPost:
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
class WebhookConsumer:
    """`status` answers each post; `hangs` keeps every post waiting until it is set to False again."""

    url: str
    status: int = 200
    hangs: bool = False
    headers: dict[str, str] = field(default_factory=dict)
    heard: list[ReceivedPost] = field(default_factory=list)
    under_way: int = 0
    most_under_way: int = 0

    def first(self) -> ReceivedPost:
        """The first post, waited for."""
        found: ReceivedPost = wait_for(lambda: self.heard and self.heard[0], what="a post")
        return found


async def _receive(system: WebhookConsumer, request: Request) -> Response:
    system.under_way += 1
    system.most_under_way = max(system.most_under_way, system.under_way)
    try:
        heard = ReceivedPost(dict(request.headers), await request.body())
        while system.hangs:
            await asyncio.sleep(0.01)
        system.heard.append(heard)
        return Response("noted", status_code=system.status, headers=system.headers)
    finally:
        system.under_way -= 1


@contextlib.contextmanager
def running_consumer() -> Iterator[WebhookConsumer]:
    """One that listens on this machine, for the block."""
    listener = socket.create_server(("127.0.0.1", 0))
    system = WebhookConsumer(f"http://127.0.0.1:{listener.getsockname()[1]}/hooks/a-token-of-theirs")

    async def hear(request: Request) -> Response:
        return await _receive(system, request)

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
