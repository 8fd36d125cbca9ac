"""One HTTP call to a WPPConnect server: its token, its time-out, and what a failure means."""

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeVar
from urllib.parse import quote

import httpx
import structlog

from services import counters
from services.errors import ConfigurationError, InvalidInput
from services.wppconnect import errors, responses
from services.wppconnect.http_transport import base_url, get_transport_error, read_body
from services.wppconnect.responses import Answer
from services.wppconnect.routes import Route
from services.wppconnect.session_tokens import MAX_CACHED_TOKENS, TokenCache, create_session_token

T = TypeVar("T")
KEEPALIVE_SECONDS = 2.0  # under Node's 5 s, or a send could land on a connection that the server is just closing

_SESSION_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")  # a ":" would be read as "session:token", a "/" as another route
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Timeouts:
    """Seconds. `connect` also bounds the wait for a free connection; the others bound one call's answer."""

    connect: float = 3.0
    status: float = 5.0  # what the server knows by itself
    query: float = 10.0  # what it must ask WhatsApp for
    start: float = 15.0
    send: float = 30.0
    upload: float = 40.0  # a file of tens of MB has to get there, and from there to WhatsApp
    logout: float = 15.0


class WppCaller:
    """Sends requests of one route to servers that are configured, over one pool of connections."""

    def __init__(
        self,
        servers: Mapping[str, str],
        timeouts: Timeouts | None = None,
        max_connections: int = 256,
        max_tokens: int = MAX_CACHED_TOKENS,
    ) -> None:
        """`servers`: base URL → SECRET_KEY.

        Raises: ConfigurationError for an address that is not http(s).
        """
        self._timeouts = timeouts or Timeouts()
        self._servers = {base_url(url): secret for url, secret in servers.items()}
        self._tokens = TokenCache(max_tokens)
        self._http = httpx.Client(
            trust_env=False,  # no proxy, and no .netrc that would replace the Authorization header
            follow_redirects=False,  # a redirect would carry the token, or a secret URL, to somebody else
            limits=httpx.Limits(
                max_connections=max_connections,
                max_keepalive_connections=64,
                keepalive_expiry=KEEPALIVE_SECONDS,
            ),
        )

    def close(self) -> None:
        """Close the pool's connections; the client is of no use afterwards."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _call(
        self,
        server_url: str,
        session: str,
        route: Route,
        parse: Callable[[Route, Answer], T],
        *,
        tail: str = "",
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        text: str | None = None,
        secret: str | None = None,
    ) -> T:
        request = self._request(server_url, session, route, tail, params, body, text, secret)
        started = time.perf_counter()
        outcome, status = "interrompido", None
        try:
            answer = self._exchange(request, route)
            status = answer.status
            result = parse(route, responses.raise_for_error(route, answer))
            outcome = "ok"
        except errors.WppError as error:
            outcome = error.code
            raise
        finally:
            seconds = time.perf_counter() - started
            counters.get_counters().calls.labels(route.name, outcome).observe(seconds)
            ms = round(seconds * 1000, 1)
            write = _log.info if outcome == "ok" else _log.warning
            write("wpp_call", route=route.name, session=session, ms=ms, outcome=outcome, http_status=status)
        return result

    def _request(
        self,
        server_url: str,
        session: str,
        route: Route,
        tail: str,
        params: Mapping[str, str] | None,
        body: Mapping[str, Any] | None,
        text: str | None,
        other_secret: str | None,
    ) -> httpx.Request:
        server = (server_url or "").rstrip("/")  # the column admits null
        secret = self._servers.get(server)
        if secret is None:
            raise ConfigurationError("WPP_SERVER_URL: the session's server is not a configured one")
        if session and not _SESSION_NAME.fullmatch(session):
            raise InvalidInput("a session's name has only letters, digits, - and _")
        private = quote(secret, safe="") if route.secret_in_url else ""
        path = "/".join(part for part in (session, private, route.name, quote(tail, safe="@")) if part)
        timeout = httpx.Timeout(self._seconds(route), connect=self._timeouts.connect, pool=self._timeouts.connect)
        # Escaped to ASCII: a lone surrogate in a text would raise an error that quotes the text.
        content = text.encode() if text is not None else None if body is None else json.dumps(body).encode()
        headers = self._headers(server, session, secret, has_body=body is not None)
        if other_secret is not None:
            headers["Authorization"] = f"Bearer {create_session_token(session, other_secret)}"
        return self._http.build_request(
            route.method,
            f"{server}/{route.name if route.bare else f'api/{path}'}",
            params=params,
            content=content,
            headers=headers,
            timeout=timeout,
        )

    def _seconds(self, route: Route) -> float:
        return float(getattr(self._timeouts, route.wait))

    def _headers(self, server: str, session: str, secret: str, has_body: bool) -> dict[str, str]:
        headers = {"Accept": "application/json"}
        if has_body:
            headers["Content-Type"] = "application/json"
        if session:
            headers["Authorization"] = f"Bearer {self._tokens.token(server, session, secret)}"
        request_id = structlog.contextvars.get_contextvars().get("request_id")
        if isinstance(request_id, str) and _REQUEST_ID.fullmatch(request_id):
            headers["X-Request-Id"] = request_id
        return headers

    def _exchange(self, request: httpx.Request, route: Route) -> Answer:
        deadline = time.monotonic() + self._timeouts.connect + self._seconds(route)
        failure: errors.WppError | None = None
        try:
            response = self._http.send(request, stream=True)
            try:
                body = read_body(response, deadline)
            finally:
                response.close()
        except httpx.RequestError as error:
            failure = get_transport_error(error, route)
        if failure is not None:  # raised here, so that httpx's exception (URL, headers) is not its __context__
            raise failure
        if body is None:
            raise route.broken("the answer was too long or too slow")
        return responses.read_answer(response.status_code, body)
