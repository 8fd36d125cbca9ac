"""Gaps: when somebody was away, so that what came in meanwhile may be missing. `backfill` reads it back.

    open ──session is back──▶ waiting ──claimed──▶ reading ──every chat read, or given up──▶ done
                                 ▲                    ├──────session or server away──▶ waiting, later
      receiver, database, server back, asked for      └──────too often───────────────▶ failed

A stock server posts once and keeps nothing, so whenever the receiver was not there to answer, or WhatsApp was not
connected, messages are missing. The worker may be away without a gap: what was received waits for it in the inbox.
What a session or a server missed is put down by the database itself as it comes back (migration 0028); what the
receiver missed shows in the silence between its heartbeats.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Select, func, select, text

from services import health
from services.db.actor import SYSTEM, Actor
from services.db.engine import transaction
from services.db.models import Record, directory, gap_chats, gaps
from services.errors import Forbidden

log = structlog.get_logger(__name__)

RECEIVER = "receiver"
# What is older is not read back.
LOOKBACK = timedelta(days=30)
KEPT = timedelta(days=90)


class Reason(StrEnum):
    """Who was away."""

    RECEIVER = "receiver"
    DATABASE = "database"  # or the receiver stood still: it could put nothing down
    SESSION = "session"
    SERVER = "server"
    ASKED = "asked"  # nobody: a person wants a chat read again


class State(StrEnum):
    """Where a gap is."""

    OPEN = "open"  # it lasts
    WAITING = "waiting"
    READING = "reading"
    DONE = "done"
    FAILED = "failed"  # given up: `why` says at what


@dataclass(frozen=True)
class Gap:
    """A gap of one session. `email` is its owner's, for staff; None for the owner.

    `recovered` counts messages that were missing; of `chats` that were to be read `failed` could not be, wholly or in
    part. `next_at`: when a waiting one is tried (again); `why` is the code of its newest failure.
    """

    id: UUID
    user_id: UUID
    email: str | None
    from_at: datetime
    to_at: datetime | None
    reason: Reason
    state: State
    next_at: datetime
    attempts: int
    chats: int
    recovered: int
    failed: int
    why: str | None

    @property
    def unread(self) -> int:
        """1 while it is still to be read, as an outage of this one session counts it."""
        return int(self.state in (State.WAITING, State.READING))

    @property
    def given_up(self) -> int:
        """1 where nobody tries again, as an outage counts it."""
        return int(self.state is State.FAILED)

    @property
    def fraction(self) -> float:
        """A rough share of what is done, from 0 to 1."""
        return {State.OPEN: 0.0, State.WAITING: 0.1, State.READING: 0.5}.get(self.state, 1.0)


@dataclass(frozen=True)
class Outage:
    """What one time in which somebody was away meant for all sessions: gaps of one beginning, end and reason.

    Of its `sessions` some are still to be read (`unread`) and some were given up; `recovered` counts messages, `failed`
    chats, as in `Gap`.
    """

    from_at: datetime
    to_at: datetime | None
    reason: Reason
    sessions: int
    unread: int
    given_up: int
    recovered: int
    failed: int


@dataclass(frozen=True)
class LostChat:
    """A chat that could not be read back, and the code of why."""

    address: str
    why: str


def mine(actor: Actor, limit: int = 50) -> list[Gap]:
    """The gaps of the actor's own session that are over, the newest first."""
    return _listed(actor, _listing().where(gaps.c.user_id == actor.user_id).limit(limit))


def outages(actor: Actor, limit: int = 30) -> list[Outage]:
    """What all sessions missed, for staff, the newest first. Raises Forbidden."""
    _staff_only(actor)
    row = gaps.c
    of = (row.from_at, row.to_at, row.reason)
    with transaction(actor) as tx:
        found = tx.execute(
            select(
                *of,
                func.count().label("sessions"),
                func.count().filter(row.state.in_((State.WAITING, State.READING))).label("unread"),
                func.count().filter(row.state == State.FAILED).label("given_up"),
                func.sum(row.recovered).label("recovered"),
                func.sum(row.failed).label("failed"),
            )
            .where(row.state != State.OPEN, row.reason != Reason.ASKED)
            .group_by(*of)
            .order_by(func.max(row.created_at).desc(), row.from_at.desc())
            .limit(limit)
        ).all()
    return [Outage(**{**one._mapping, "reason": Reason(one.reason)}) for one in found]


def of_outage(actor: Actor, outage: Outage, limit: int = 100) -> list[Gap]:
    """An outage's gaps, for staff: no chats, no texts; what is not done and what failed first. Raises Forbidden."""
    _staff_only(actor)
    row = gaps.c
    listed = (
        select(gaps, directory.c.email)
        .outerjoin(directory, directory.c.user_id == row.user_id)
        .where(
            row.from_at == outage.from_at,
            row.to_at.is_not_distinct_from(outage.to_at),
            row.reason == outage.reason,
            row.state != State.OPEN,
        )
        .order_by(row.state == State.DONE, row.failed.desc(), directory.c.email)
    )
    return _listed(actor, listed.limit(limit))


def _staff_only(actor: Actor) -> None:
    if not actor.is_staff:
        raise Forbidden("gaps")


def lost_chats(actor: Actor, gap_id: UUID, limit: int = 50) -> list[LostChat]:
    """The chats that could not be read for a gap, for the session's owner only."""
    with transaction(actor) as tx:
        rows = tx.execute(
            select(gap_chats.c.address, gap_chats.c.why)
            .where(gap_chats.c.gap_id == gap_id, gap_chats.c.state == "failed")
            .order_by(gap_chats.c.address)
            .limit(limit)
        ).all()
    return [LostChat(row.address, row.why or "") for row in rows]


class Pulse:
    """The receiver's heartbeat, which notices what was missed between two of its beats."""

    def __init__(self) -> None:
        self._beats = 0

    def beat(self) -> None:
        """Say that the receiver is alive, and put down for how long it was not. Raises DatabaseUnavailable."""
        first = self._beats == 0
        with transaction(SYSTEM) as tx:
            last, now = tx.execute(_LAST, {"own": None if first else health.instance()}).one()
            silence = (now - last).total_seconds() if last is not None else 0.0
            # At its first beat nobody knows for how short a time it was away: a start is always a gap.
            if silence > 0 and (first or silence > health.ALIVE_SECONDS):
                reason = Reason.RECEIVER if first else Reason.DATABASE
                tx.execute(_NOTE, {"reason": reason, "began": last, "ended": now})
                log.info("gap_noted", reason=reason, seconds=round(silence, 1))
        health.beat(RECEIVER)
        self._beats += 1


def forget_old() -> None:
    """Drop gaps that ended over 90 days ago."""
    with transaction(SYSTEM) as tx:
        tx.execute(_FORGET, {"kept": KEPT})


def _listing() -> Select[Any]:
    return select(gaps).where(gaps.c.state != State.OPEN).order_by(gaps.c.created_at.desc())


def _listed(actor: Actor, chosen: Select[Any]) -> list[Gap]:
    with transaction(actor) as tx:
        rows = tx.execute(chosen).all()
    return [_gap(row) for row in rows]


def _gap(row: Record) -> Gap:
    return Gap(
        id=row.id,
        user_id=row.user_id,
        email=getattr(row, "email", None),
        from_at=row.from_at,
        to_at=row.to_at,
        reason=Reason(row.reason),
        state=State(row.state),
        next_at=row.next_at,
        attempts=row.attempts,
        chats=row.chats,
        recovered=row.recovered,
        failed=row.failed,
        why=row.why,
    )


# The newest event tells it too: heartbeats are cleaned away after a day.
_LAST = text("""
select (select greatest(max(h.at), case when cast(:own as text) is null then (
          select e.received_at from public.events e order by e.id desc limit 1) end)
          from public.heartbeats h
         where h.process = 'receiver' and (cast(:own as text) is null or h.instance = :own)), clock_timestamp()
""")

_NOTE = text("select app.note_gap(:reason, :began, :ended, null, null)")

_FORGET = text("delete from public.gaps where done_at < now() - :kept")
