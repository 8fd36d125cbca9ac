"""Writes batches of received events into the database, in PostgreSQL's binary form.

A batch that the database refuses is written row by row; a row that it refuses is written in an escaped form.
"""

import asyncio
import base64
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import psycopg
import structlog
from psycopg import pq

from services import counters
from services.failure_log import FailureLog
from services.inbound.inline_files import parse_body
from services.wppconnect import event_keys

log = structlog.get_logger(__name__)

# More rows in one statement gain nothing (measured), and one bad row then costs the others a longer detour.
BATCH_ROWS = 256
BATCH_BYTES = 8 * 1024 * 1024
# While one batch waits for the disk, the next is made and sent.
WRITERS = 2
RECONNECT_SECONDS = 0.2
INVALID_KEY = event_keys.EventKey("invalid")
VERDICT_RECEIVED, VERDICT_INVALID = b"received", b"invalid"
TRUE, FALSE = b"\x01", b"\x00"
# Prepared once a connection; its own transaction, whose rights end with the function (app.store_events).
STORE_STATEMENT = b"store_events"
STORE_SQL = b"select app.store_events($1, $2, $3, $4, $5, $6, $7)"
# The parameters' element types, by the numbers of PostgreSQL's catalogue pg_type, in the order of EventRow's fields.
OID_TEXT, OID_BOOLEAN, OID_UUID = 25, 16, 2950
COLUMN_OIDS = (OID_TEXT, OID_BOOLEAN, OID_TEXT, OID_UUID, OID_TEXT, OID_UUID, OID_TEXT)
BINARY_FORMATS = tuple(pq.Format.BINARY for _ in COLUMN_OIDS)
# Dimensions, whether nulls may be in it, element type, length, lower bound (PostgreSQL's array_recv); then each element
# behind its length, -1 for null.
ARRAY_HEAD = struct.Struct(">iiIii")
ELEMENT_LENGTH = struct.Struct(">i")
NULL_ELEMENT = ELEMENT_LENGTH.pack(-1)


class Delivery(NamedTuple):
    """One webhook delivery, its sender already proved. `session` is the one that the URL proved, or None."""

    session: str | None
    current_secret: bool
    body: bytes | bytearray


class EventRow(NamedTuple):
    """An event as `app.store_events` takes it, each field in PostgreSQL's binary form."""

    session: bytes | None
    current_secret: bytes
    kind: bytes
    dedupe_key: bytes | None
    verdict: bytes
    request_id: bytes
    body: bytes | bytearray


class EventWriter:
    """One connection that commits batches, one after the other."""

    def __init__(self, url: str, watch: FailureLog) -> None:
        self._url = url
        self._watch = watch
        self._connection: psycopg.AsyncConnection | None = None
        self._readable = asyncio.Event()

    async def store(self, rows: list[EventRow], on_trouble: Callable[[], None]) -> None:
        """Commit `rows`, for as long as it takes: nothing handed in is dropped, even once its sender was told no.

        `on_trouble` is called at each try that finds the database away.
        """
        while rows:
            try:
                await self._commit(rows)
                counters.get_counters().deliveries.inc(len(rows))
                self._watch.worked()
                return
            except (psycopg.DataError, psycopg.IntegrityError) as error:
                log.warning("event_refused_by_database", error=type(error).__name__, rows=len(rows))
                if len(rows) > 1:
                    # One bad row fails its whole batch: each gets a transaction of its own.
                    for row in rows:
                        await self.store([row], on_trouble)
                    return
                rows = [_escaped_row(rows[0])]
                await asyncio.sleep(RECONNECT_SECONDS)
            except psycopg.Error as error:
                self._watch.failed(error, rows=len(rows))
                await self.close()
                on_trouble()
                await asyncio.sleep(RECONNECT_SECONDS)

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    async def _commit(self, rows: list[EventRow]) -> None:
        """Through libpq's own calls: psycopg's cursor costs as much again as everything else that a batch does."""
        connection = self._connection or await self._connect()
        server, descriptor = connection.pgconn, connection.fileno()
        # Only for this command: a connection that died while idle is readable without end.
        asyncio.get_running_loop().add_reader(descriptor, self._readable.set)
        try:
            columns = [
                _encode_array(type_, column) for type_, column in zip(COLUMN_OIDS, zip(*rows, strict=True), strict=True)
            ]
            server.send_query_prepared(STORE_STATEMENT, columns, BINARY_FORMATS)
            while server.flush():
                await asyncio.sleep(0)
            failure: psycopg.Error | None = None
            while (result := await self._result(server)) is not None:
                if result.status != pq.ExecStatus.TUPLES_OK:
                    failure = psycopg.errors.error_from_result(result)
        finally:
            asyncio.get_running_loop().remove_reader(descriptor)
        if failure is not None:
            raise failure

    async def _result(self, server: pq.abc.PGconn) -> pq.abc.PGresult | None:
        while server.is_busy():
            self._readable.clear()
            await self._readable.wait()
            server.consume_input()
        return server.get_result()

    async def _connect(self) -> psycopg.AsyncConnection:
        connection = await psycopg.AsyncConnection.connect(self._url, autocommit=True, connect_timeout=5)
        connection.pgconn.prepare(STORE_STATEMENT, STORE_SQL)
        self._connection = connection
        return connection


def encode_event(delivery: Delivery, request_id: bytes) -> EventRow:
    """Makes the row of a delivery; what is not a JSON object gets the verdict `invalid`. `request_id` has 16 bytes."""
    body = delivery.body
    payload = parse_body(body)
    valid = isinstance(payload, dict)
    key = event_keys.get_event_key(payload) if valid else INVALID_KEY
    session = delivery.session or key.session
    return EventRow(
        session=session.encode(errors="surrogatepass") if session else None,
        current_secret=TRUE if delivery.current_secret else FALSE,
        kind=key.kind.encode(errors="surrogatepass"),
        dedupe_key=event_keys.get_dedupe_key(session or "", key),
        verdict=VERDICT_RECEIVED if valid else VERDICT_INVALID,
        request_id=request_id,
        # What is valid JSON is valid UTF-8 without a NUL; the rest is kept in a form that can be stored.
        body=body if valid else body.decode("utf-8", "backslashreplace").replace("\x00", "\\x00").encode(),
    )


def _escaped_row(row: EventRow) -> EventRow:
    """A row that the database refuses, in a form in which there is nothing left to refuse."""
    body = b"base64:" + base64.b64encode(row.body)
    return row._replace(session=None, kind=b"invalid", dedupe_key=None, verdict=VERDICT_INVALID, body=body)


def _encode_array(element_type: int, values: Sequence[bytes | bytearray | None]) -> bytes:
    """A list of values in PostgreSQL's binary form: unlike JSON or text, nothing in it has to be escaped or parsed."""
    length = ELEMENT_LENGTH.pack
    parts: list[bytes | bytearray] = [ARRAY_HEAD.pack(1, 1, element_type, len(values), 1)]
    for value in values:
        if value is None:
            parts.append(NULL_ELEMENT)
        else:
            parts += (length(len(value)), value)
    return b"".join(parts)


def split_batches(rows: list[EventRow]) -> Iterator[list[EventRow]]:
    """Splits rows into batches of up to `BATCH_ROWS` rows and `BATCH_BYTES` of bodies; a larger row stands alone."""
    chunk: list[EventRow] = []
    size = 0
    for row in rows:
        if chunk and (len(chunk) == BATCH_ROWS or size + len(row.body) > BATCH_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(row)
        size += len(row.body)
    if chunk:
        yield chunk
