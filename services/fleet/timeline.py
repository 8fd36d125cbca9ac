"""The timeline of each session: state changes, actions of staff, and healing by the worker.

The table itself writes state changes (app.record_session_state). Actions and healing steps are written with
`add_entry`, inside the transaction that makes the change.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import Connection, func, insert, select

from services import log
from services.db.actor import Actor
from services.db.engine import transaction
from services.db.rows import read_rows
from services.db.tables.accounts import directory
from services.db.tables.fleet import session_timeline, sessions
from services.db.tables.inbound import events

PAGE_SIZE = 50

Outcome = Literal["ok", "failed"]


class Kind(StrEnum):
    """Whose entry it is."""

    STATE = "state"  # the session changed, by itself or by its user
    STAFF = "staff"  # somebody of the staff did something
    HEALTH = "health"  # the worker found something, or tried to heal it


@dataclass(frozen=True)
class Entry:
    """One moment. `what` is a status, `scanned`, `moved`, an act (`session.connect`) or a step of healing; `by` is the
    e-mail of whoever did it, as far as the reader may know it.
    """

    at: datetime
    kind: Kind
    what: str
    outcome: Outcome | None
    by: str | None
    detail: dict[str, Any]


@dataclass(frozen=True)
class TimelinePage:
    """One page, newest first; `total` counts every entry of the session."""

    entries: list[Entry]
    total: int


@dataclass(frozen=True)
class Delivery:
    """One webhook delivery of the session, without its contents."""

    received_at: datetime
    kind: str
    verdict: str


def add_entry(
    tx: Connection,
    session_id: UUID,
    user_id: UUID,
    kind: Kind,
    what: str,
    outcome: Outcome | None = None,
    **detail: Any,
) -> None:
    """Write one entry of a session's timeline. Secrets in `detail` are masked."""
    tx.execute(
        insert(session_timeline).values(
            session_id=session_id,
            user_id=user_id,
            kind=kind,
            action=what,
            outcome=outcome,
            detail=log.mask_values(detail),
            request_id=log.get_request_id(),
        )
    )


def list_entries(actor: Actor, user_id: UUID, page: int = 1) -> TimelinePage:
    """One page (50 entries) of the timeline of `user_id`'s session, as far as the actor may see it."""
    entries = (
        select(
            session_timeline.c.occurred_at.label("at"),
            session_timeline.c.kind,
            session_timeline.c.action.label("what"),
            session_timeline.c.outcome,
            directory.c.email.label("by"),
            session_timeline.c.detail,
            func.count().over().label("total"),
        )
        .join(sessions, sessions.c.id == session_timeline.c.session_id)
        .outerjoin(directory, directory.c.user_id == session_timeline.c.actor_id)
        .where(sessions.c.user_id == user_id)
        .order_by(session_timeline.c.id.desc())
        .limit(PAGE_SIZE)
        .offset((page - 1) * PAGE_SIZE)
    )
    with transaction(actor) as tx:
        rows = tx.execute(entries).all()
    return TimelinePage(read_rows(Entry, rows), rows[0].total if rows else 0)


def list_deliveries(actor: Actor, user_id: UUID, limit: int = 20) -> list[Delivery]:
    """The newest webhook deliveries of a session, for staff; empty for anybody else."""
    newest = (
        select(events.c.received_at, events.c.kind, events.c.verdict)
        .where(events.c.session == f"user_{user_id}", events.c.verdict != "received")
        .order_by(events.c.id.desc())
        .limit(limit)
    )
    with transaction(actor) as tx:
        return read_rows(Delivery, tx.execute(newest))
