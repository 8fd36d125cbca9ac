"""Answers and request bodies as Express 4 makes them, measured against wppconnect-server 2.10.4."""

import asyncio
import html
import json
from typing import Any
from urllib.parse import parse_qsl, quote

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

HEADERS = {"X-Powered-By": "Express", "Access-Control-Allow-Origin": "*"}
ERROR_HEADERS = {**HEADERS, "Content-Security-Policy": "default-src 'none'", "X-Content-Type-Options": "nosniff"}
ERROR_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Error</title>
</head>
<body>
<pre>{text}</pre>
</body>
</html>
"""
# The scope's key for the server's own `send`, unwrapped, which `Dropped` needs.
RAW_SEND = "sandbox.send"


class BodyRefused(Exception):
    """The body parser says no: too large (413) or not JSON (400), answered with Express's HTML error page."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class DroppedConnection(Response):
    """Closes the connection without an answer, at once or after `hang` seconds (sooner when the client gives up)."""

    def __init__(self, hang: float = 0.0) -> None:
        super().__init__()
        self.hang = hang

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        try:
            async with asyncio.timeout(self.hang):
                await _wait_for_disconnect(receive)
        except TimeoutError:
            # ASGI has no message for this: uvicorn's `send` is a method of the cycle that owns the transport.
            transport = getattr(getattr(scope.get(RAW_SEND), "__self__", None), "transport", None)
            if transport is not None:
                transport.abort()
                await _wait_for_disconnect(receive)


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def reply(request: Request, status: int, data: Any, session: str = "") -> Response:
    """`res.status(status).json(data)`. A request typed exactly `application/json` gets an extra `session` key."""
    if request.headers.get("content-type") == "application/json" and isinstance(data, dict) and not data.get("session"):
        data = {**data, "session": session}
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return Response(text.encode(), status, HEADERS, "application/json; charset=utf-8")


def error_page(status: int, text: str) -> Response:
    """The HTML page that Express answers when no handler did."""
    page = ERROR_PAGE.format(text=html.escape(text).replace("&#x27;", "&#39;"))
    return Response(page, status, ERROR_HEADERS, "text/html")


def route_not_found(request: Request) -> Response:
    """404 for a route that does not exist, which includes a known path with another method."""
    path = quote(request.scope["path"], safe="/:@!$&'()*+,;=~-._%")
    return error_page(404, f"Cannot {request.method} {path}")


async def read_body(request: Request, limit: int) -> dict[str, Any]:
    """The parsed body, `{}` when there is none. Raises BodyRefused past `limit` bytes or for broken JSON."""
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        # The rest is still read, as Express does: a client in the middle of writing must see the answer.
        if size <= limit:
            parts.append(part)
        else:
            parts.clear()
    if size > limit:
        raise BodyRefused(413, "PayloadTooLargeError: request entity too large")
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    return _parse_body(kind, b"".join(parts))


def _parse_body(kind: str, raw: bytes) -> dict[str, Any]:
    if kind == "application/x-www-form-urlencoded":
        return dict(parse_qsl(raw.decode("utf-8", "replace"), keep_blank_values=True))
    if kind != "application/json" or not raw:
        return {}
    try:
        data = json.loads(raw)
    except ValueError:
        raise BodyRefused(400, f"SyntaxError: Unexpected token in JSON: {len(raw)} bytes") from None
    return data if isinstance(data, dict) else {}
