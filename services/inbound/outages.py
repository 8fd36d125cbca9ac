"""Outages: times in which incoming messages may have been missed. `backfill` reads them back.

    open ──session is back──▶ waiting ──claimed──▶ reading ──every chat read, or given up──▶ done
                                 ▲                    ├──────session or server away──▶ waiting, later
      receiver, database, server back, requested      └──────too often───────────────▶ failed

A server posts each webhook once and keeps nothing. So messages are missed whenever the receiver did not answer or
WhatsApp was not connected. A stopped worker is no outage: received events wait for it. The database itself records what
a session or a server missed when it comes back; the receiver's outages show in the silence between its heartbeats.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Select, func, null, select, text

from services.db import queries
from services.db.actor import SYSTEM, Actor
from services.db.engine import transaction
from services.db.rows import read_rows
from services.db.tables.accounts import directory
from services.db.tables.inbound import outage_chats
from services.db.tables.inbound import outages as outage_rows
from services.platform import heartbeats

_QUERIES = queries.load(__file__)

log = structlog.get_logger(__name__)

RECEIVER = "receiver"
# What is older is not read back.
LOOKBACK = timedelta(days=30)
RETENTION = timedelta(days=90)


class OutageReason(StrEnum):
    """Who was away."""

    RECEIVER = "receiver"
    DATABASE = "database"  # or the receiver stood still: it could put nothing down
    SESSION = "session"
    SERVER = "server"
    ASKED = "asked"  # nobody: a person wants a chat read again


class OutageState(StrEnum):
    """Where an outage of a session is."""

    OPEN = "open"  # it lasts
    WAITING = "waiting"
    READING = "reading"
    DONE = "done"
    FAILED = "failed"  # given up: `failure` says at what


@dataclass(frozen=True)
class SessionOutage:
    """An outage of one session. `email` is its owner's, for staff; None for the owner.

    `recovered` counts messages that were missing; of `chats` that were to be read `failed` could not be, wholly or in
    part. `next_at`: when a waiting one is tried (again); `failure` is the code of its newest one.
    """

    id: UUID
    user_id: UUID
    email: str | None
    from_at: datetime
    to_at: datetime | None
    reason: OutageReason
    state: OutageState
    next_at: datetime
    attempts: int
    chats: int
    recovered: int
    failed: int
    failure: str | None

    @property
    def unread(self) -> int:
        """1 while it is still to be read, as an outage of this one session counts it."""
        return int(self.state in (OutageState.WAITING, OutageState.READING))

    @property
    def given_up(self) -> int:
        """1 where nobody tries again, as an outage counts it."""
        return int(self.state is OutageState.FAILED)

    @property
    def fraction(self) -> float:
        """A rough share of what is done, from 0 to 1."""
        return {OutageState.OPEN: 0.0, OutageState.WAITING: 0.1, OutageState.READING: 0.5}.get(self.state, 1.0)


@dataclass(frozen=True)
class Outage:
    """What one time in which somebody was away meant for all sessions: their outages of one beginning, end and reason.

    Of its `sessions` some are still to be read (`unread`) and some were given up; `recovered` counts messages, `failed`
    chats, as in `SessionOutage`.
    """

    from_at: datetime
    to_at: datetime | None
    reason: OutageReason
    sessions: int
    unread: int
    given_up: int
    recovered: int
    failed: int


@dataclass(frozen=True)
class LostChat:
    """A chat that could not be read back, and the code of why."""

    address: str
    failure: str


def list_own(actor: Actor, limit: int = 50) -> list[SessionOutage]:
    """The outages of the actor's own session that are over, the newest first."""
    return _read_outages(actor, _select_ended().where(outage_rows.c.user_id == actor.user_id).limit(limit))


def list_outages(actor: Actor, limit: int = 30) -> list[Outage]:
    """What all sessions missed, for staff, the newest first.

    Raises: Forbidden.
    """
    actor.require_staff("outages")
    row = outage_rows.c
    of = (row.from_at, row.to_at, row.reason)
    with transaction(actor) as tx:
        totals = (
            select(
                *of,
                func.count().label("sessions"),
                func.count().filter(row.state.in_((OutageState.WAITING, OutageState.READING))).label("unread"),
                func.count().filter(row.state == OutageState.FAILED).label("given_up"),
                func.sum(row.recovered).label("recovered"),
                func.sum(row.failed).label("failed"),
            )
            .where(row.state != OutageState.OPEN, row.reason != OutageReason.ASKED)
            .group_by(*of)
            .order_by(func.max(row.created_at).desc(), row.from_at.desc())
            .limit(limit)
        )
        return read_rows(Outage, tx.execute(totals))


def list_session_outages(actor: Actor, outage: Outage, limit: int = 100) -> list[SessionOutage]:
    """What an outage meant for each session, for staff: no chats, no texts; what is not done and what failed first.

    Raises: Forbidden.
    """
    actor.require_staff("outages")
    row = outage_rows.c
    listed = (
        select(outage_rows, directory.c.email)
        .outerjoin(directory, directory.c.user_id == row.user_id)
        .where(
            row.from_at == outage.from_at,
            row.to_at.is_not_distinct_from(outage.to_at),
            row.reason == outage.reason,
            row.state != OutageState.OPEN,
        )
        .order_by(row.state == OutageState.DONE, row.failed.desc(), directory.c.email)
    )
    return _read_outages(actor, listed.limit(limit))


def list_lost_chats(actor: Actor, outage_id: UUID, limit: int = 50) -> list[LostChat]:
    """The chats that could not be read for an outage, for the session's owner only."""
    with transaction(actor) as tx:
        lost = tx.execute(
            select(outage_chats.c.address, func.coalesce(outage_chats.c.failure, "").label("failure"))
            .where(outage_chats.c.outage_id == outage_id, outage_chats.c.state == "failed")
            .order_by(outage_chats.c.address)
            .limit(limit)
        )
        return read_rows(LostChat, lost)


class HeartbeatMonitor:
    """The receiver's heartbeat, which notices what was missed between two of its beats."""

    def __init__(self) -> None:
        self._beats = 0

    def beat(self) -> None:
        """Say that the receiver is alive, and put down for how long it was not.

        Raises: DatabaseUnavailable.
        """
        first = self._beats == 0
        with transaction(SYSTEM) as tx:
            last, now = tx.execute(_LAST_SIGN_OF_LIFE, {"own": None if first else heartbeats.instance_name()}).one()
            silence = (now - last).total_seconds() if last is not None else 0.0
            # At its first beat nobody knows for how short a time it was away: a start is always an outage.
            if silence > 0 and (first or silence > heartbeats.ALIVE_SECONDS):
                reason = OutageReason.RECEIVER if first else OutageReason.DATABASE
                tx.execute(_RECORD_OUTAGE, {"reason": reason, "began": last, "ended": now})
                log.info("outage_recorded", reason=reason, seconds=round(silence, 1))
        heartbeats.beat(RECEIVER)
        self._beats += 1


def purge_expired() -> None:
    """Drop outages that ended over 90 days ago."""
    with transaction(SYSTEM) as tx:
        tx.execute(_DELETE_EXPIRED, {"kept": RETENTION})


def _select_ended() -> Select[Any]:
    ended = select(outage_rows, null().label("email")).where(outage_rows.c.state != OutageState.OPEN)
    return ended.order_by(outage_rows.c.created_at.desc())


def _read_outages(actor: Actor, chosen: Select[Any]) -> list[SessionOutage]:
    with transaction(actor) as tx:
        return read_rows(SessionOutage, tx.execute(chosen))


_LAST_SIGN_OF_LIFE = _QUERIES["last_sign_of_life"]

_RECORD_OUTAGE = text("select app.record_outage(:reason, :began, :ended, null, null)")

_DELETE_EXPIRED = text("delete from public.outages where done_at < now() - :kept")
