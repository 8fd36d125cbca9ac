"""Limits for each connection to the companion process.

uvicorn bounds the number of connections, but neither a request's head nor the time in which it arrives, and offers no
public place for that. So this works with parts of its `HttpToolsProtocol` and `Server` that it does not document, as
version 0.54.0 has them: `scope` is the request whose head arrives or came last, `cycle` the one that the application
answers (`more_body` while its body arrives), `flow.read_paused` says that the application does not read, and the server
calls `on_tick` ten times a second. tests/web/receiver/test_connections.py fails where a version has them no more.
"""

import asyncio

import structlog
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

log = structlog.get_logger(__name__)

# A browser sends some thirty headers in 4 KB; proxies add a few. httptools itself takes any number of any size.
HEADERS_LIMIT = 100
HEAD_BYTES_LIMIT = 32 * 1024
# The slowest body that is waited for: a phone's network is faster by far.
BODY_BYTES_PER_SECOND = 50_000
# More connections than this are a flood; each costs some 20 KB.
CONNECTIONS_LIMIT = 5_000
TICKS_PER_SECOND = 10


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol with bounds to a request's head and to the time that a request may take to arrive.

    Who is slow is found by looking at each connection once a second: clocks kept for each request would cost every
    delivery what only a flood needs.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._received = 0
        self._chunk = 0
        self._head = 0
        self._watch(self, self.loop.time())

    def data_received(self, data: bytes) -> None:
        self._chunk = len(data)
        self._received += self._chunk
        before = self.scope
        super().data_received(data)
        if not self._in_head():
            self._head = 0
        elif before is None or before is self.scope:
            self._head += self._chunk
            if self._head > HEAD_BYTES_LIMIT and not self.transport.is_closing():
                self.send_400_response("Headers too large.")

    def on_headers_complete(self) -> None:
        if len(self.headers) > HEADERS_LIMIT or (
            self._head + self._chunk > HEAD_BYTES_LIMIT and self._head_bytes() > HEAD_BYTES_LIMIT
        ):
            raise ValueError("headers too large")  # the parser turns it into its own error, uvicorn that into a 400
        super().on_headers_complete()

    def is_too_slow(self, now: float, seconds: float) -> bool:
        """Whether what arrives has had its time: `seconds`, and one more for each BODY_BYTES_PER_SECOND that came.

        To be asked about once a second; `now` is on the loop's clock.
        """
        awaited = self._awaited()
        if awaited is not self._watched:
            self._watch(awaited, now)
        # While the application does not read, it is not the sender who is slow.
        if awaited is None or self.flow.read_paused:
            return False
        return now - self._watched_since > seconds + (self._received - self._watched_from) / BODY_BYTES_PER_SECOND

    def _in_head(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is None or cycle.scope is not self.scope

    def _awaited(self) -> object:
        """What has not wholly arrived: a request (by its scope), the connection's first one, or None."""
        if self._in_head():
            begun: object = self.scope
            return begun or self
        return self.scope if self.cycle.more_body else None

    def _watch(self, awaited: object, now: float) -> None:
        self._watched = awaited
        self._watched_since = now
        self._watched_from = self._received

    def _head_bytes(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)


class GuardedServer(uvicorn.Server):
    """uvicorn's server, which cuts off whoever takes too long to say what they want."""

    def __init__(self, config: uvicorn.Config, read_seconds: float) -> None:
        super().__init__(config)
        self._read_seconds = read_seconds

    async def on_tick(self, counter: int) -> bool:
        if counter % TICKS_PER_SECOND == 0:
            self._cut_the_slow()
        return await super().on_tick(counter)

    def _cut_the_slow(self) -> None:
        now = asyncio.get_running_loop().time()
        slow = [
            connection
            for connection in self.server_state.connections
            if isinstance(connection, GuardedProtocol) and connection.is_too_slow(now, self._read_seconds)
        ]
        for connection in slow:
            connection.transport.abort()
        if slow:
            log.warning("slow_clients_cut_off", count=len(slow))
