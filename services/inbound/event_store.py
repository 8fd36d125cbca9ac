"""What the receiver stores: a webhook delivery is committed as it came before it is answered.

`Inbox.receive` puts the deliveries that arrive together into one commit and returns after that commit. It also knows
the webhook secrets of the sessions, and stores refused attempts as security events.
"""

import asyncio
import hashlib
import hmac
import itertools
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from secrets import token_bytes
from typing import Any, Literal

import orjson
import psycopg
import structlog

from services.db.actor import SYSTEM
from services.db.engine import get_begin_statement, psycopg_url
from services.errors import DatabaseUnavailable
from services.failure_log import FailureLog
from services.inbound import inline_files
from services.inbound.event_writer import (
    RECONNECT_SECONDS,
    VERDICT_RECEIVED,
    WRITERS,
    Delivery,
    EventRow,
    EventWriter,
    encode_event,
    split_batches,
)

log = structlog.get_logger(__name__)
# What may wait for the database before new deliveries are told to go away: about 20 s of full load with small bodies.
MAX_WAITING_BYTES = 256 * 1024 * 1024
# The server tries once, so a delivery is held this long while the database is away rather than refused at once.
HOLD_SECONDS = 30.0

# How long a looked-up webhook secret serves. A mismatch asks again at once, so a fresh secret works immediately.
SECRET_CACHE_SECONDS = 5.0
SECRET_RETRY_SECONDS = 0.2
SECRET_CACHE_SIZE = 20_000
# The earlier secret stays good this long after the newest was first used: deliveries may overtake each other.
PREVIOUS_SECRET_GRACE = timedelta(seconds=60)

SECURITY_FLUSH_SECONDS = 1.0
MAX_SECURITY_KEYS = 1_000
SELECT_SECRETS = """
select webhook_secret_hash, webhook_secret_previous_hash,
       webhook_secret_used_at is null or webhook_secret_used_at > now() - %s
  from whatsapp_sessions where session_id = %s
"""
INSERT_SECURITY_EVENTS = """
insert into security_events (kind, subject, ip, detail) select k, s, i, json_build_object('count', n)
  from json_to_recordset(%s::json) as x (k text, s text, i text, n integer)
"""


@dataclass(eq=False)
class _DeliveryGroup:
    """Deliveries that arrived together and are answered together. `since` is on the monotonic clock."""

    stored: asyncio.Future[None]
    since: float
    rows: list[EventRow] = field(default_factory=list)

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
        self._group: _DeliveryGroup | None = None
        self._writing: set[_DeliveryGroup] = set()
        # Unique without a system call for each delivery: random once for the process, then counted.
        self._id_prefix = token_bytes(8)
        self._numbers = itertools.count()
        self._wake = asyncio.Event()
        self._one_file = asyncio.Lock()
        self._security: Counter[tuple[str, str, str]] = Counter()
        # Of those how many the log knows already: what cannot be stored is tried again.
        self._security_told: Counter[tuple[str, str, str]] = Counter()
        self._security_watch = FailureLog("security_events")
        self._secrets = _WebhookSecrets(self._url)
        storing = FailureLog("store_events")
        self._writers = [EventWriter(self._url, storing) for _ in range(WRITERS)]
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
        if key not in self._security and len(self._security) >= MAX_SECURITY_KEYS:
            key = (kind, "…", "…")
        self._security[key] += 1

    async def receive(self, delivery: Delivery) -> bool:
        """Store one delivery durably; returns after its commit. False where its body is no JSON object: it is kept all
        the same, marked `invalid`.

        Raises: DatabaseUnavailable where it could not be stored in time.
        """
        if inline_files.may_hold_file(delivery.body):
            delivery = await self._lightened(delivery)
        if self.waiting_bytes and self.waiting_bytes + len(delivery.body) > MAX_WAITING_BYTES:
            raise DatabaseUnavailable("too much is waiting")
        row = encode_event(delivery, self._id_prefix + next(self._numbers).to_bytes(8))
        group = self._group
        if group is None:
            group = self._group = _DeliveryGroup(asyncio.get_running_loop().create_future(), time.monotonic())
            self._wake.set()
        group.rows.append(row)
        self.waiting_bytes += len(row.body)  # as it comes off again: what is no text is kept in a longer form
        # Shared by all that arrived together: cheaper than a future and a timer each; the writer keeps the time.
        await group.stored
        return row.verdict == VERDICT_RECEIVED

    async def _lightened(self, delivery: Delivery) -> Delivery:
        """Its file goes into the media store, one after the other: decoding needs the memory of another body."""
        async with self._one_file:
            body = await asyncio.to_thread(inline_files.extract_file, delivery.session, delivery.body)
        return delivery._replace(body=body)

    async def _write_forever(self, writer: "EventWriter") -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while (group := self._group) is not None:
                self._group = None
                self._writing.add(group)
                for chunk in split_batches(group.rows):
                    await writer.store(chunk, self._refuse_the_impatient)
                    self.waiting_bytes -= sum(len(row.body) for row in chunk)
                group.succeed()
                self._writing.discard(group)

    def _unanswered(self) -> list[_DeliveryGroup]:
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
                await connection.execute(get_begin_statement(SYSTEM))
                await connection.execute(INSERT_SECURITY_EVENTS, (orjson.dumps(rows).decode(),))
                await connection.execute("commit")
        except psycopg.Error as error:
            self._security_watch.failed(error)
            self._security_told = noted
            self._security += noted
        else:
            self._security_watch.worked()
            self._security_told = Counter()


class _WebhookSecrets:
    """The webhook secrets' hashes of the sessions that post just now."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._known: dict[str, tuple[float, bytes | None, bytes | None]] = {}
        self._lock = asyncio.Lock()
        self._watch = FailureLog("webhook_secrets")
        self._connection: psycopg.AsyncConnection | None = None

    async def verify(self, session: str, secret: str) -> Literal["current", "previous"] | None:
        offered = hashlib.sha256(secret.encode()).digest()
        entry = self._known.get(session)
        if entry is not None and time.monotonic() - entry[0] < SECRET_CACHE_SECONDS:
            verdict = _match_secret(entry, offered)
            if verdict or time.monotonic() - entry[0] < SECRET_RETRY_SECONDS:
                return verdict
        return _match_secret(await self._look_up(session), offered)

    async def _look_up(self, session: str) -> tuple[float, bytes | None, bytes | None]:
        async with self._lock:
            entry = self._known.get(session)
            if entry is not None and time.monotonic() - entry[0] < SECRET_RETRY_SECONDS:
                return entry
            row = await self._query(session)
            current, previous = (row[0], row[1] if row[2] else None) if row else (None, None)
            if len(self._known) >= SECRET_CACHE_SIZE:
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
                await self._connection.execute(get_begin_statement(SYSTEM))
                found = await self._connection.execute(SELECT_SECRETS, (PREVIOUS_SECRET_GRACE, session))
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


def _match_secret(
    entry: tuple[float, bytes | None, bytes | None], offered: bytes
) -> Literal["current", "previous"] | None:
    current = hmac.compare_digest(entry[1] or b"", offered)
    previous = hmac.compare_digest(entry[2] or b"", offered)
    return "current" if current else "previous" if previous else None
