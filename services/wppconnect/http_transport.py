"""The part of a call below HTTP: failures of the connection, and the reading of a body within limits.

httpx and httpcore log nothing here: their lines would hold private URLs and headers.
"""

import logging
import time

import httpx

from services.errors import ConfigurationError
from services.wppconnect import errors
from services.wppconnect.routes import Route

MAX_ANSWER_BYTES = 64 * 1024 * 1024


def _discard_record(record: logging.LogRecord) -> bool:  # noqa: ARG001
    return False


for _name in ("httpx", *(f"httpcore.{part}" for part in ("connection", "http11", "http2", "proxy", "socks"))):
    # httpx logs each URL at INFO, httpcore the headers at DEBUG; a filter outlives any later logging set-up.
    logging.getLogger(_name).addFilter(_discard_record)


def base_url(url: str) -> str:
    """The address of a server without a slash at its end.

    Raises: ConfigurationError where it is no http:// or https:// address.
    """
    try:
        parsed = httpx.URL(url)
        usable = parsed.scheme in ("http", "https") and bool(parsed.host)
    except httpx.InvalidURL:
        usable = False
    if not usable:
        raise ConfigurationError("WPP_SERVER_URL: must be an http:// or https:// address")
    return url.rstrip("/")


_NOT_SENT_ERRORS = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)


def get_transport_error(error: httpx.RequestError, route: Route) -> errors.WppError:
    """The error for any failure below HTTP. Only the name of `error`'s class is taken over from it."""
    kind = type(error).__name__
    if isinstance(error, httpx.UnsupportedProtocol):
        return errors.WppRefused(f"{route.name}: {kind}")
    if isinstance(error, _NOT_SENT_ERRORS):
        return errors.WppUnreachable(f"{route.name}: {kind}")
    return route.broken(kind)


def read_body(response: httpx.Response, deadline: float) -> bytes | None:
    """The body, or None past MAX_ANSWER_BYTES or `deadline`: httpx's read time-out only bounds each piece."""
    chunks: list[bytes] = []
    size = 0
    for chunk in response.iter_bytes():
        size += len(chunk)
        if size > MAX_ANSWER_BYTES or time.monotonic() > deadline:
            return None
        chunks.append(chunk)
    return b"".join(chunks)
