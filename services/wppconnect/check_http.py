"""Raw HTTP for the contract check: calls of one server, and a listener for its webhooks."""

import hmac
import json
import secrets
import socket
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import quote

import httpx

from services.wppconnect.contract import Answer, Post
from services.wppconnect.http_caller import KEEPALIVE_SECONDS
from services.wppconnect.session_tokens import create_session_token

# Seconds. A whole check takes two minutes at most.
CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 6.0
MAX_BYTES = 16 * 1024 * 1024


class Caller:
    """Raw calls of one server, whose answers are looked at and not understood."""

    def __init__(self, url: str, secret: str, session: str) -> None:
        """`session`: whose calls they are unless a call says otherwise."""
        self.url = url.rstrip("/")
        self.secret = secret
        self.session = session
        self._http = httpx.Client(
            trust_env=False,
            follow_redirects=False,  # a redirect would carry the token, or a secret URL, to somebody else
            limits=httpx.Limits(keepalive_expiry=KEEPALIVE_SECONDS),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._http.close()

    def api(self, method: str, route: str, body: Mapping[str, Any] | None = None, **more: Any) -> Answer:
        """A call of the session's (`session` names another), with the token computed here unless `token` is one."""
        session = more.pop("session", self.session)
        token = more.pop("token", None) or create_session_token(session, self.secret)
        return self.ask(method, f"/api/{session}/{route}", body, headers={"Authorization": f"Bearer {token}"}, **more)

    def with_secret(self, method: str, before: str, route: str, secret: str | None = None) -> Answer:
        """A call under the SECRET_KEY: `before` is the session's name and a slash, or nothing."""
        return self.ask(method, f"/api/{before}{quote(secret or self.secret, safe='')}/{route}")

    def ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        raw: bytes | None = None,
        content_type: str = "application/json",
        seconds: float = ANSWER_SECONDS,
    ) -> Answer:
        """Any call; without an answer within `seconds` the answer's status is None."""
        content = raw if raw is not None else None if body is None else json.dumps(body).encode()
        sent = {**(headers or {}), **({"Content-Type": content_type} if content is not None else {})}
        timeout = httpx.Timeout(seconds, connect=CONNECT_SECONDS)
        deadline = time.monotonic() + seconds + CONNECT_SECONDS
        try:
            with self._http.stream(method, self.url + path, content=content, headers=sent, timeout=timeout) as response:
                kind = response.headers.get("content-type", "").split(";")[0].strip().lower()
                return Answer(response.status_code, kind, _parse_body(kind, _read_body(response, deadline)))
        except (httpx.RequestError, httpx.InvalidURL) as error:
            return Answer(None, "", type(error).__name__)


def _read_body(response: httpx.Response, deadline: float) -> bytes:
    """The body, cut at MAX_BYTES or `deadline`: httpx's own time-out only bounds each piece."""
    read = b""
    for chunk in response.iter_bytes():
        read += chunk
        if len(read) > MAX_BYTES or time.monotonic() > deadline:
            break
    return read


def _parse_body(kind: str, raw: bytes) -> Any:
    if kind == "application/json":
        try:
            return json.loads(raw)
        except ValueError:
            return "(no JSON)"
    return raw.decode("utf-8", "replace") if kind.startswith("text/") else "(binary)"


class Listener:
    """Takes a server's webhooks on an address of its own, answers 200 and keeps them."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Raises OSError where it cannot listen there."""
        self._posts: list[Post] = []
        self._more = threading.Condition()
        self._path = f"/check/{secrets.token_urlsafe(16)}"
        password = secrets.token_urlsafe(16)
        self._authorization = "Basic " + b64encode(f"wpp:{password}".encode()).decode()
        listener = self

        class Handler(BaseHTTPRequestHandler):
            timeout = ANSWER_SECONDS

            def do_POST(self) -> None:
                length = self.headers.get("Content-Length", "")
                known = self.path == listener._path and length.isdigit() and int(length) <= MAX_BYTES
                self.send_response(200 if known else 404)
                if known:
                    listener._take(self.rfile.read(int(length)), self.headers.get("Authorization", ""))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                """Its path is a secret."""

        server = _Ipv6Server if ":" in host else ThreadingHTTPServer
        self._server = server((host, port), Handler)
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://wpp:{password}@{shown}:{self._server.server_address[1]}{self._path}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _take(self, raw: bytes, authorization: str) -> None:
        try:
            body = json.loads(raw)
        except ValueError:
            body = {}
        known = hmac.compare_digest(authorization.encode(), self._authorization.encode())
        with self._more:
            self._posts.append(Post(body if isinstance(body, dict) else {}, time.monotonic(), known))
            self._more.notify_all()

    def wait(self, enough: Callable[[list[Post]], bool], seconds: float, since: int = 0) -> list[Post]:
        """What arrived since the first `since`, as soon as it is enough, after `seconds` at the latest."""
        with self._more:
            self._more.wait_for(lambda: enough(self._posts[since:]), seconds)
            return self._posts[since:]

    def __len__(self) -> int:
        return len(self._posts)


class _Ipv6Server(ThreadingHTTPServer):
    address_family = socket.AF_INET6
