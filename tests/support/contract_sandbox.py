"""The sandbox over real HTTP, beside a real receiver of its webhooks."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

from sandbox.calls import make_token
from sandbox.server import SandboxServer, running_sandbox
from sandbox.state import Config

SECRET = "contract-secret-key"
DEADLINE_SECONDS = 8.0
WEBHOOK_PASSWORD = "webhook-password"


def eventually(look: Callable[[], Any], what: str = "it") -> Any:
    """Look until there is something true to see. Fails after the deadline."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.01)
    raise AssertionError(f"{what} did not happen within {DEADLINE_SECONDS:.0f} s")


@dataclass(frozen=True)
class Delivery:
    """One webhook as it arrived."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


class Receiver:
    """Takes webhooks on a port of its own and answers `status`."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []
        self.status = 200
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {key.lower(): value for key, value in self.headers.items()}
                receiver.deliveries.append(Delivery(self.path, headers, json.loads(raw)))
                self.send_response(receiver.status)
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                """Silence: pytest shows what matters."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://wpp:{WEBHOOK_PASSWORD}@127.0.0.1:{self._server.server_port}/hook"

    def bodies(self, event: str | None = None, **fields: Any) -> list[dict[str, Any]]:
        """The bodies that arrived so far, of one event and with these fields."""
        found = [delivery.body for delivery in list(self.deliveries) if event in (None, delivery.body.get("event"))]
        return [body for body in found if all(body.get(key) == value for key, value in fields.items())]

    def wait(self, event: str, count: int = 1, **fields: Any) -> list[dict[str, Any]]:
        """Wait until that many arrived."""
        what = f"{count} × webhook {event} {fields}, only {[body.get('event') for body in self.bodies()]}"
        eventually(lambda: len(self.bodies(event, **fields)) >= count, what)
        return self.bodies(event, **fields)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@dataclass
class Sandbox:
    """What a test needs: the server's address and secret, clients, and the webhooks received."""

    server: SandboxServer
    receiver: Receiver
    secret: str = SECRET
    clients: list[httpx.Client] = field(default_factory=list)

    @property
    def base_url(self) -> str:
        return self.server.url

    def anonymous(self) -> httpx.Client:
        """A client without a token."""
        client = httpx.Client(base_url=self.base_url, timeout=DEADLINE_SECONDS)
        self.clients.append(client)
        return client

    def client(self, session: str = "user_a") -> httpx.Client:
        """A client with the bearer of `session`, whose paths are relative to `/api/<session>/`."""
        client = self.anonymous()
        client.base_url = httpx.URL(f"{self.base_url}/api/{session}/")
        client.headers["Authorization"] = f"Bearer {make_token(session, self.secret, 4)}"
        return client

    def control(self, path: str, **body: Any) -> httpx.Response:
        """Push a button of the control page."""
        response = httpx.post(f"{self.base_url}/_sandbox/{path}", json=body, timeout=DEADLINE_SECONDS)
        assert response.status_code < 300, response.text
        return response

    def fault(self, name: str, on: bool = True, session: str | None = None, **options: Any) -> None:
        self.control(f"faults/{name}", on=on, session=session, **options)

    def sent(self, session: str = "user_a") -> list[dict[str, Any]]:
        """Every message that really went out."""
        rows: list[dict[str, Any]] = httpx.get(f"{self.base_url}/_sandbox/sent", params={"session": session}).json()
        return rows

    def state(self) -> dict[str, Any]:
        """What the control page shows."""
        state: dict[str, Any] = httpx.get(f"{self.base_url}/_sandbox/state").json()
        return state

    def status(self, client: httpx.Client) -> str | None:
        status: str | None = client.get("status-session").json()["status"]
        return status

    def start(self, session: str = "user_a", **body: Any) -> httpx.Client:
        """Start a session and wait for its first QR or code."""
        client = self.client(session)
        client.post("start-session", json={"webhook": self.receiver.url, "waitQrCode": False, **body})
        eventually(lambda: self.status(client) in ("QRCODE", "PHONECODE"), "a QR or a code")
        return client

    def pair(self, session: str = "user_a", phone: str = "5511911112222") -> httpx.Client:
        """Start a session, scan its QR, wait until the server itself says that it is up."""
        client = self.start(session)
        self.scan(client, session, phone)
        return client

    def scan(self, client: httpx.Client, session: str = "user_a", phone: str | None = None) -> None:
        """Scan what a session shows, and wait until the server says that it is up."""
        self.control(f"sessions/{session}/scan", phone=phone)
        self.come_up(client)

    def come_up(self, client: httpx.Client) -> None:
        """Wait until the server says CONNECTED of a session."""
        eventually(lambda: self.status(client) == "CONNECTED", "CONNECTED")


@contextmanager
def sandbox_with(**changes: Any) -> Iterator[Sandbox]:
    """A stand-in whose clock runs 50 times faster, except where `changes` says otherwise."""
    config = {"clock_scale": 0.02, "auto_close": 3000.0, "hang": 100.0} | changes
    receiver = Receiver()
    with running_sandbox(Config(secret=SECRET, **config)) as server:
        sandbox = Sandbox(server, receiver)
        yield sandbox
        for client in sandbox.clients:
            client.close()
    receiver.close()
