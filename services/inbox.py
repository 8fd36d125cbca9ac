"""The durable inbox: a webhook delivery is committed raw before it is answered, and thought about afterwards.

Receiving (the receiver's process, asynchronous): `Inbox.receive` groups the deliveries that arrive together into one
commit and returns when that commit is done. Processing (the worker's process): `process` takes waiting events in their
order and moves sessions and messages; an event that fails is retried, then kept with its traceback.
"""

import asyncio
import base64
import hashlib
import hmac
import itertools
import struct
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from secrets import token_bytes
from typing import Any, Literal, NamedTuple
from uuid import UUID

import orjson
import psycopg
import structlog
from psycopg import pq
from sqlalchemy import Connection, Select, func, or_, select, text
from sqlalchemy.exc import InterfaceError, OperationalError

from services import conversations, files, messages, meters, rules, sessions
from services.db.actor import SYSTEM
from services.db.engine import opening, psycopg_url, transaction
from services.db.models import Record, events
from services.errors import DatabaseUnavailable
from services.files import parsed
from services.trouble import Watch
from services.wppconnect import events as webhook

log = structlog.get_logger(__name__)

# More rows in one statement gain nothing (measured), and one bad row then costs the others a longer detour.
BATCH_ROWS = 256
BATCH_BYTES = 8 * 1024 * 1024
# While one batch waits for the disk, the next is made and sent.
WRITERS = 2
# What may wait for the database before new deliveries are told to go away: about 20 s of full load with small bodies.
WAITING_BYTES = 256 * 1024 * 1024
# The server tries once, so a delivery is held this long while the database is away rather than refused at once.
HOLD_SECONDS = 30.0
RECONNECT_SECONDS = 0.2

# How long a looked-up webhook secret serves. A mismatch asks again at once, so a fresh secret works immediately.
SECRET_SECONDS = 5.0
SECRET_RETRY_SECONDS = 0.2
SECRETS_KEPT = 20_000
# The earlier secret stays good this long after the newest was first used: deliveries may overtake each other.
PREVIOUS_SECRET_GRACE = timedelta(seconds=60)

SECURITY_FLUSH_SECONDS = 1.0
SECURITY_KEYS = 1_000

MAX_ATTEMPTS = 3
RETRY_AFTER = timedelta(seconds=5)
PROCESS_ROWS = 100
# Bodies that are in memory at once; a single larger one is handled by itself.
PROCESS_BYTES = 32 * 1024 * 1024

ROOT = Path(__file__).parents[1]
# When a session usually speaks: what a silence is held against. In order, so that two workers never wait in a circle.
COUNT_HOURS = text("""
insert into public.session_hours as h (session, hour, events, last_at)
select session, date_trunc('hour', received_at), count(*), max(received_at)
  from public.events where id = any(:ids) and session is not null and handled_at is null
 group by 1, 2 order by 1, 2
on conflict (session, hour) do update
  set events = h.events + excluded.events, last_at = greatest(h.last_at, excluded.last_at)
""")
TURNS = text("""
select pg_advisory_xact_lock(hashtextextended('inbox ' || name, 0))
  from (select name from unnest(cast(:names as text[])) as x (name) order by name) as sorted
""")
NOTE_RESULTS = text("""
update public.events set
    verdict = r.verdict, error = r.error, attempts = attempts + 1, handled_at = now(), retry_at = now() + :retry_after
  from unnest(cast(:ids as bigint[]), cast(:verdicts as text[]), cast(:errors as text[])) as r (id, verdict, error)
 where events.id = r.id
""")
INVALID = webhook.EventKey("invalid")
RECEIVED, REFUSED = b"received", b"invalid"
TRUE, FALSE = b"\x01", b"\x00"
# Prepared once a connection; its own transaction, whose rights end with the function (migration 0004).
STATEMENT = b"store_events"
STORE = b"select app.store_events($1, $2, $3, $4, $5, $6, $7)"
# The parameters' element types, by the numbers of PostgreSQL's catalogue pg_type, in the order of _Row's fields.
OF_TEXT, OF_BOOLEAN, OF_UUID = 25, 16, 2950
TYPES = (OF_TEXT, OF_BOOLEAN, OF_TEXT, OF_UUID, OF_TEXT, OF_UUID, OF_TEXT)
BINARY = tuple(pq.Format.BINARY for _ in TYPES)
# Dimensions, whether nulls may be in it, element type, length, lower bound (PostgreSQL's array_recv); then each element
# behind its length, -1 for null.
ARRAY_HEAD = struct.Struct(">iiIii")
ELEMENT_LENGTH = struct.Struct(">i")
NULL = ELEMENT_LENGTH.pack(-1)
SECRETS = """
select webhook_secret_hash, webhook_secret_previous_hash,
       webhook_secret_used_at is null or webhook_secret_used_at > now() - %s
  from whatsapp_sessions where session_id = %s
"""
SECURITY = """
insert into security_events (kind, subject, ip, detail) select k, s, i, json_build_object('count', n)
  from json_to_recordset(%s::json) as x (k text, s text, i text, n integer)
"""


class Delivery(NamedTuple):
    """One webhook delivery, its sender already proved. `session` is the one that the URL proved, or None."""

    session: str | None
    current_secret: bool
    body: bytes | bytearray


class _Row(NamedTuple):
    """An event as `app.store_events` takes it, each field in PostgreSQL's binary form."""

    session: bytes | None
    current_secret: bytes
    kind: bytes
    dedupe_key: bytes | None
    verdict: bytes
    request_id: bytes
    body: bytes | bytearray


@dataclass(eq=False)
class _Group:
    """Deliveries that arrived together and are answered together. `since` is on the monotonic clock."""

    stored: asyncio.Future[None]
    since: float
    rows: list[_Row] = field(default_factory=list)

    def succeed(self) -> None:
        if not self.stored.done():
            self.stored.set_result(None)

    def fail(self, error: Exception) -> None:
        if not self.stored.done():
            self.stored.set_exception(error)


class Inbox:
    """The receiving side, one per receiver process, living in its event loop."""

    def __init__(self, url: str) -> None:
        self._url = psycopg_url(url)
        self._group: _Group | None = None
        self._writing: set[_Group] = set()
        # Unique without a system call for each delivery: random once for the process, then counted.
        self._id_prefix = token_bytes(8)
        self._numbers = itertools.count()
        self._wake = asyncio.Event()
        self._one_file = asyncio.Lock()
        self._security: Counter[tuple[str, str, str]] = Counter()
        # Of those how many the log knows already: what cannot be stored is tried again.
        self._security_told: Counter[tuple[str, str, str]] = Counter()
        self._security_watch = Watch("security_events")
        self._secrets = _Secrets(self._url)
        storing = Watch("store_events")
        self._writers = [_Writer(self._url, storing) for _ in range(WRITERS)]
        self._tasks: list[asyncio.Task[None]] = []
        self.waiting_bytes = 0

    async def start(self) -> None:
        """Start the writers; the database may still be away."""
        self._tasks = [asyncio.create_task(self._write_forever(writer)) for writer in self._writers]
        self._tasks.append(asyncio.create_task(self._report_forever()))

    async def stop(self) -> None:
        """Store what waits, for as long as a delivery is held at the most, then end."""
        if waiting := [group.stored for group in self._unanswered()]:
            await asyncio.wait(waiting, timeout=HOLD_SECONDS)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._secrets.close()
        for writer in self._writers:
            await writer.close()

    async def verify(self, session: str, secret: str) -> Literal["current", "previous"] | None:
        """Whose secret this is: of the session's newest start, of the one before, or (None) not this session's."""
        return await self._secrets.verify(session, secret)

    def security_event(self, kind: str, subject: str, ip: str) -> None:
        """Note an attempt to get in; equal ones within a second become one row with a count."""
        key = (kind, subject[:80].replace("\x00", ""), ip)
        if key not in self._security and len(self._security) >= SECURITY_KEYS:
            key = (kind, "…", "…")
        self._security[key] += 1

    async def receive(self, delivery: Delivery) -> bool:
        """Store one delivery durably; returns after its commit. False where its body is no JSON object: it is kept all
        the same, marked `invalid`. Raises DatabaseUnavailable where it could not be stored in time.
        """
        if files.may_hold_one(delivery.body):
            delivery = await self._lightened(delivery)
        if self.waiting_bytes and self.waiting_bytes + len(delivery.body) > WAITING_BYTES:
            raise DatabaseUnavailable("too much is waiting")
        row = _row(delivery, self._id_prefix + next(self._numbers).to_bytes(8))
        group = self._group
        if group is None:
            group = self._group = _Group(asyncio.get_running_loop().create_future(), time.monotonic())
            self._wake.set()
        group.rows.append(row)
        self.waiting_bytes += len(row.body)  # as it comes off again: what is no text is kept in a longer form
        # Shared by all that arrived together: cheaper than a future and a timer each; the writer keeps the time.
        await group.stored
        return row.verdict == RECEIVED

    async def _lightened(self, delivery: Delivery) -> Delivery:
        """Its file goes into the media store, one after the other: decoding needs the memory of another body."""
        async with self._one_file:
            body = await asyncio.to_thread(files.put_aside, delivery.session, delivery.body)
        return delivery._replace(body=body)

    async def _write_forever(self, writer: "_Writer") -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while (group := self._group) is not None:
                self._group = None
                self._writing.add(group)
                for chunk in _chunks(group.rows):
                    await writer.store(chunk, self._refuse_the_impatient)
                    self.waiting_bytes -= sum(len(row.body) for row in chunk)
                group.succeed()
                self._writing.discard(group)

    def _unanswered(self) -> list[_Group]:
        return [*self._writing, *([self._group] if self._group else [])]

    def _refuse_the_impatient(self) -> None:
        for group in self._unanswered():
            if time.monotonic() - group.since > HOLD_SECONDS:
                group.fail(DatabaseUnavailable("not stored in time"))

    async def _report_forever(self) -> None:
        while True:
            await asyncio.sleep(SECURITY_FLUSH_SECONDS)
            # A database that hangs raises nothing: only the clock tells.
            self._refuse_the_impatient()
            if self._security:
                await self._report()

    async def _report(self) -> None:
        noted, self._security = self._security, Counter()
        rows = [{"k": kind, "s": subject, "i": ip, "n": count} for (kind, subject, ip), count in noted.items()]
        for (kind, subject, ip), count in (noted - self._security_told).items():
            log.warning("security_event", kind=kind, subject=subject, ip=ip, count=count)
        try:
            async with await psycopg.AsyncConnection.connect(
                self._url, autocommit=True, connect_timeout=5
            ) as connection:
                await connection.execute(opening(SYSTEM))
                await connection.execute(SECURITY, (orjson.dumps(rows).decode(),))
                await connection.execute("commit")
        except psycopg.Error as error:
            self._security_watch.failed(error)
            self._security_told = noted
            self._security += noted
        else:
            self._security_watch.worked()
            self._security_told = Counter()


class _Writer:
    """One connection that commits batches, one after the other."""

    def __init__(self, url: str, watch: Watch) -> None:
        self._url = url
        self._watch = watch
        self._connection: psycopg.AsyncConnection | None = None
        self._readable = asyncio.Event()

    async def store(self, rows: list[_Row], on_trouble: Callable[[], None]) -> None:
        """Commit `rows`, for as long as it takes: nothing handed in is dropped, even once its sender was told no.

        `on_trouble` is called at each try that finds the database away.
        """
        while rows:
            try:
                await self._commit(rows)
                meters.of_process().deliveries.inc(len(rows))
                self._watch.worked()
                return
            except (psycopg.DataError, psycopg.IntegrityError) as error:
                log.warning("event_refused_by_database", error=type(error).__name__, rows=len(rows))
                if len(rows) > 1:
                    # One bad row fails its whole batch: each gets a transaction of its own.
                    for row in rows:
                        await self.store([row], on_trouble)
                    return
                rows = [_storable(rows[0])]
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

    async def _commit(self, rows: list[_Row]) -> None:
        """Through libpq's own calls: psycopg's cursor costs as much again as everything else that a batch does."""
        connection = self._connection or await self._connect()
        server, descriptor = connection.pgconn, connection.fileno()
        # Only for this command: a connection that died while idle is readable without end.
        asyncio.get_running_loop().add_reader(descriptor, self._readable.set)
        try:
            columns = [_array(type_, column) for type_, column in zip(TYPES, zip(*rows, strict=True), strict=True)]
            server.send_query_prepared(STATEMENT, columns, BINARY)
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
        connection.pgconn.prepare(STATEMENT, STORE)
        self._connection = connection
        return connection


class _Secrets:
    """The webhook secrets' hashes of the sessions that post just now."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._known: dict[str, tuple[float, bytes | None, bytes | None]] = {}
        self._lock = asyncio.Lock()
        self._watch = Watch("webhook_secrets")
        self._connection: psycopg.AsyncConnection | None = None

    async def verify(self, session: str, secret: str) -> Literal["current", "previous"] | None:
        offered = hashlib.sha256(secret.encode()).digest()
        entry = self._known.get(session)
        if entry is not None and time.monotonic() - entry[0] < SECRET_SECONDS:
            verdict = _compare(entry, offered)
            if verdict or time.monotonic() - entry[0] < SECRET_RETRY_SECONDS:
                return verdict
        return _compare(await self._look_up(session), offered)

    async def _look_up(self, session: str) -> tuple[float, bytes | None, bytes | None]:
        async with self._lock:
            entry = self._known.get(session)
            if entry is not None and time.monotonic() - entry[0] < SECRET_RETRY_SECONDS:
                return entry
            row = await self._query(session)
            current, previous = (row[0], row[1] if row[2] else None) if row else (None, None)
            if len(self._known) >= SECRETS_KEPT:
                self._known.clear()
            self._known[session] = (time.monotonic(), current, previous)
            return self._known[session]

    async def _query(self, session: str) -> Any:
        deadline = time.monotonic() + HOLD_SECONDS
        while True:
            try:
                if self._connection is None:
                    self._connection = await psycopg.AsyncConnection.connect(
                        self._url, autocommit=True, connect_timeout=5
                    )
                await self._connection.execute(opening(SYSTEM))
                found = await self._connection.execute(SECRETS, (PREVIOUS_SECRET_GRACE, session))
                row = await found.fetchone()
                await self._connection.execute("commit")
                self._watch.worked()
                return row
            except psycopg.Error as error:
                self._watch.failed(error)
                await self.close()
                if time.monotonic() > deadline:
                    raise DatabaseUnavailable(type(error).__name__) from error
                await asyncio.sleep(RECONNECT_SECONDS)

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()
            self._connection = None


def _compare(entry: tuple[float, bytes | None, bytes | None], offered: bytes) -> Literal["current", "previous"] | None:
    current = hmac.compare_digest(entry[1] or b"", offered)
    previous = hmac.compare_digest(entry[2] or b"", offered)
    return "current" if current else "previous" if previous else None


def _row(delivery: Delivery, request_id: bytes) -> _Row:
    body = delivery.body
    payload = parsed(body)
    valid = isinstance(payload, dict)
    key = webhook.summary(payload) if valid else INVALID
    session = delivery.session or key.session
    return _Row(
        session=session.encode(errors="surrogatepass") if session else None,
        current_secret=TRUE if delivery.current_secret else FALSE,
        kind=key.kind.encode(errors="surrogatepass"),
        dedupe_key=webhook.dedupe_key(session or "", key),
        verdict=RECEIVED if valid else REFUSED,
        request_id=request_id,
        # What is valid JSON is valid UTF-8 without a NUL; the rest is kept in a form that can be stored.
        body=body if valid else body.decode("utf-8", "backslashreplace").replace("\x00", "\\x00").encode(),
    )


def _storable(row: _Row) -> _Row:
    """A row that the database refuses, in a form in which there is nothing left to refuse."""
    body = b"base64:" + base64.b64encode(row.body)
    return row._replace(session=None, kind=b"invalid", dedupe_key=None, verdict=REFUSED, body=body)


def _array(element_type: int, values: Sequence[bytes | bytearray | None]) -> bytes:
    """A list of values in PostgreSQL's binary form: unlike JSON or text, nothing in it has to be escaped or parsed."""
    length = ELEMENT_LENGTH.pack
    parts: list[bytes | bytearray] = [ARRAY_HEAD.pack(1, 1, element_type, len(values), 1)]
    for value in values:
        if value is None:
            parts.append(NULL)
        else:
            parts += (length(len(value)), value)
    return b"".join(parts)


def _chunks(rows: list[_Row]) -> Iterator[list[_Row]]:
    chunk: list[_Row] = []
    size = 0
    for row in rows:
        if chunk and (len(chunk) == BATCH_ROWS or size + len(row.body) > BATCH_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(row)
        size += len(row.body)
    if chunk:
        yield chunk


# --- processing (the worker's process) --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Result:
    """What became of one event. `error` holds the places of its traceback; with it, `received` means: tried again."""

    id: int
    verdict: Literal["received", "handled", "unsupported", "failed"]
    error: str | None = None


def process(limit: int = PROCESS_ROWS) -> int:
    """Handle up to `limit` waiting events in their order; returns how many were taken.

    One that fails takes no other with it. Several workers may process at once: nothing that an event does depends on
    the order of events.
    """
    with transaction(SYSTEM) as tx:
        waiting = tx.execute(_waiting(limit)).all()
        if not waiting:
            return 0
        _take_turns(tx, waiting)
        results = _handle_together(tx, waiting) or [handle(tx, row) for row in waiting]
        ids = [one.id for one in results]
        tx.execute(COUNT_HOURS, {"ids": ids})
        verdicts = {"verdicts": [one.verdict for one in results], "errors": [one.error for one in results]}
        tx.execute(NOTE_RESULTS, {"ids": ids, "retry_after": RETRY_AFTER, **verdicts})
    for row, result in zip(waiting, results, strict=True):
        meters.event(row.kind, "retried" if result.verdict == "received" else result.verdict)
    return len(results)


def _waiting(limit: int) -> Select[Any]:
    """The events that are due, in their order, held for this worker: as many as may be in memory at once."""
    held = (
        select(events.c.id, func.octet_length(events.c.body).label("size"))
        .where(
            events.c.verdict == "received",
            or_(events.c.retry_at.is_(None), events.c.retry_at <= func.now()),
        )
        .order_by(events.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("held")
    )
    ahead = func.sum(held.c.size).over(order_by=held.c.id) - held.c.size
    fitting = select(held.c.id, ahead.label("ahead")).subquery()
    return (
        select(events)
        .join(fitting, fitting.c.id == events.c.id)
        .where(fitting.c.ahead < PROCESS_BYTES)
        .order_by(events.c.id)
    )


def _take_turns(tx: Connection, waiting: Sequence[Record]) -> None:
    """One worker at a time for a session, in one order of sessions for all: none waits for another in a circle."""
    names = sorted({row.session for row in waiting if row.session})
    if names:
        tx.execute(TURNS, {"names": names})


def _handle_together(tx: Connection, waiting: Sequence[Record]) -> list[Result] | None:
    """All of `waiting` in one savepoint, which costs the fewest trips to the database; None where one of them fails."""
    try:
        with tx.begin_nested():
            return _Round(tx, waiting).handle()
    except (OperationalError, InterfaceError):
        raise
    # The outermost loop of one round: which event it was is found, logged and counted one by one.
    except Exception as error:
        log.exception("events_one_by_one", events=len(waiting), error=type(error).__name__)
        return None


def handle(tx: Connection, row: Record) -> Result:
    """Move what one event is evidence for, in a savepoint of its own; an event that fails moves nothing."""
    with structlog.contextvars.bound_contextvars(request_id=row.request_id.hex, event=row.id):
        try:
            with tx.begin_nested():
                return _Round(tx, [row]).handle()[0]
        except (OperationalError, InterfaceError):
            raise
        # The outermost loop of one event: whatever is wrong with it must not stop the others.
        except Exception as error:
            log.exception("event_failed", kind=row.kind, session=row.session)
            again = row.attempts + 1 < MAX_ATTEMPTS
            return Result(row.id, "received" if again else "failed", _where(error))


class _Round:
    """Events that are handled in one savepoint. What they share is asked for, or written, once for all of them."""

    def __init__(self, tx: Connection, rows: Sequence[Record]) -> None:
        self._tx = tx
        self._rows = rows
        self._sessions = sessions.ids_of(tx, {row.session for row in rows if row.session})
        self._rules: dict[UUID, list[rules.Rule]] = {}
        self._used: set[str] = set()
        self._proofs: dict[str, tuple[datetime, sessions.Proof]] = {}

    def handle(self) -> list[Result]:
        """Move what the events are evidence for, in their order. Raises whatever is wrong with one of them."""
        results = []
        for row in self._rows:
            with structlog.contextvars.bound_contextvars(request_id=row.request_id.hex, event=row.id):
                results.append(Result(row.id, "handled" if self._apply(row) else "unsupported"))
        for name in sorted(self._used):
            sessions.webhook_secret_used(self._tx, name)
        for name, (at, proof) in sorted(self._proofs.items()):
            sessions.prove(self._tx, name, proof, at)
        return results

    def _apply(self, row: Record) -> bool:
        """Move what the event is evidence for; False where it is kept unhandled."""
        event = webhook.parse(parsed(row.body))
        handler = self.HANDLERS.get(type(event))
        if row.session is None or handler is None:
            return False
        if row.current_secret:
            self._used.add(row.session)
        return handler(self, row, event)

    def _prove(self, row: Record, proof: sessions.Proof) -> None:
        known = self._proofs.get(row.session)
        if known is None or known[0] < row.received_at:
            self._proofs[row.session] = (row.received_at, proof)

    def _active_rules(self, user_id: UUID) -> list[rules.Rule]:
        if user_id not in self._rules:
            self._rules[user_id] = rules.active_of(self._tx, user_id)
        return self._rules[user_id]

    def _on_qr(self, row: Record, event: webhook.QrCode) -> bool:
        if row.current_secret:
            sessions.show_qr(self._tx, row.session, event.urlcode, event.png_base64, row.received_at)
        return True

    def _on_phone_code(self, row: Record, event: webhook.PhoneCode) -> bool:
        if row.current_secret:
            sessions.show_phone_code(self._tx, row.session, event.code, row.received_at)
        return True

    def _on_status(self, row: Record, event: webhook.StatusFind) -> bool:
        sessions.report_status(self._tx, row.session, event.status, row.received_at, current=row.current_secret)
        return True

    def _on_closed(self, row: Record, event: webhook.SessionClosed) -> bool:
        sessions.report_status(self._tx, row.session, event.kind, row.received_at, current=row.current_secret)
        return True

    def _on_ack(self, row: Record, event: webhook.Ack) -> bool:
        session_id = self._sessions.get(row.session)
        if session_id is None:
            return False
        messages.acknowledge(self._tx, session_id, event.message_id, event.ack, row.received_at)
        if event.ack >= 1:
            self._prove(row, sessions.Proof.ACK)
            if event.participant is not None:
                conversations.receipt(
                    self._tx, session_id, event.message_id, event.participant, event.ack, row.received_at
                )
        return True

    def _on_message(self, row: Record, event: webhook.InboundMessage) -> bool:
        """A message becomes part of a conversation; what somebody else sent just now proves that its session lives."""
        session_id = self._sessions.get(row.session)
        if session_id is None:
            return False
        # The page itself posts what is typed or sent through it, and at a start what it had stored as unread.
        if not event.from_me and row.kind != "unreadmessages":
            self._prove(row, sessions.Proof.EVENT if event.type == "call" else sessions.Proof.MESSAGE)
        taken = conversations.take_in(self._tx, session_id, event, row.received_at)
        if taken is not None:
            rules.apply(self._tx, taken, self._active_rules(taken.user_id))
        return True

    def _on_mark(self, row: Record, event: webhook.Mark) -> bool:
        session_id = self._sessions.get(row.session)
        # One's own reaction is posted by the page before WhatsApp has it, and a deletion may be one's own.
        if session_id is not None and event.kind in ("reaction", "vote") and event.who != "me":
            self._prove(row, sessions.Proof.EVENT)
        return session_id is not None and conversations.mark(self._tx, session_id, event, row.received_at)

    HANDLERS: Mapping[type[Any], Callable[["_Round", Record, Any], bool]] = {
        webhook.QrCode: _on_qr,
        webhook.PhoneCode: _on_phone_code,
        webhook.StatusFind: _on_status,
        webhook.SessionClosed: _on_closed,
        webhook.Ack: _on_ack,
        webhook.InboundMessage: _on_message,
        webhook.Mark: _on_mark,
    }


def _where(error: Exception) -> str:
    """Our own frames and the error's class. Not its message: a body, a QR or a text may stand in one."""
    frames = (frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(str(ROOT)))
    places = [f"{Path(frame.filename).relative_to(ROOT)}:{frame.lineno} in {frame.name}" for frame in frames]
    return "\n".join([*places, type(error).__name__])
