"""Messages that waited too long to leave: their owner is asked whether they still should."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import (
    ColumnElement,
    and_,
    func,
    select,
    update,
)

from services import settings
from services.db import queries
from services.db.actor import SYSTEM, Actor
from services.db.engine import transaction
from services.db.notify import notifying_transaction
from services.db.rows import read_rows
from services.db.tables.fleet import sessions as session_rows
from services.db.tables.messaging import lanes, messages
from services.db.tables.outreach import campaigns as campaign_rows
from services.messaging.state import MESSAGE_COLUMNS, Message, State, build_message

_QUERIES = queries.load(__file__)

log = structlog.get_logger(__name__)


class OverdueChoice(StrEnum):
    """What a person makes of a message that waited too long."""

    SEND = "send"  # it leaves as soon as it can
    DISCARD = "discard"


@dataclass(frozen=True)
class OverdueGroup:
    """How many messages of one campaign (or, without one, of none) wait for their owner's word, and since when the
    oldest was held up."""

    campaign_id: UUID | None
    campaign: str | None
    count: int
    oldest: datetime


def list_overdue(actor: Actor, limit: int = 50) -> list[Message]:
    """The actor's own messages that waited too long and leave only when they say so, oldest first."""
    with transaction(actor) as tx:
        rows = tx.execute(
            select(*MESSAGE_COLUMNS).where(_is_overdue(actor)).order_by(messages.c.seq).limit(limit)
        ).all()
    return [build_message(row) for row in rows]


def list_overdue_groups(actor: Actor) -> list[OverdueGroup]:
    """What `asked` would list, summed up by campaign: one decision may be for many."""
    summed = (
        select(
            messages.c.campaign_id,
            campaign_rows.c.name.label("campaign"),
            func.count().label("count"),
            func.min(messages.c.waiting_since).label("oldest"),
        )
        .outerjoin(campaign_rows, campaign_rows.c.id == messages.c.campaign_id)
        .where(_is_overdue(actor))
        .group_by(messages.c.campaign_id, campaign_rows.c.name)
        .order_by(func.min(messages.c.seq))
    )
    with transaction(actor) as tx:
        return read_rows(OverdueGroup, tx.execute(summed))


def decide_overdue(
    actor: Actor,
    choice: OverdueChoice,
    *,
    message_id: UUID | None = None,
    campaign_id: UUID | None = None,
    loose: bool = False,
) -> int:
    """Decide about the actor's own messages that waited too long: one, those of a campaign, those of none (`loose`), or
    all.

    Those that go on leave in their order as soon as they can, and may wait as long once more. Returns how many there
    were: 0 the second time.
    """
    chosen = _is_overdue(actor)
    if message_id is not None:
        chosen = and_(chosen, messages.c.id == message_id)
    if campaign_id is not None:
        chosen = and_(chosen, messages.c.campaign_id == campaign_id)
    if loose:
        chosen = and_(chosen, messages.c.campaign_id.is_(None))
    onward: dict[str, Any] = {"run_at": func.now(), "waiting_since": None, "waiting_reason": None, "asked_at": None}
    ended: dict[str, Any] = {"state": State.CANCELLED, "ended_at": func.now()}
    with notifying_transaction(actor) as (tx, notices):
        # The lane first, as everybody does.
        own = select(session_rows.c.id).where(session_rows.c.user_id == actor.user_id)
        due = func.least(lanes.c.due_at, func.now())
        tx.execute(update(lanes).where(lanes.c.session_id.in_(own)).values(due_at=due))
        values = onward if choice is OverdueChoice.SEND else ended
        done = tx.execute(update(messages).where(chosen).values(updated_at=func.now(), **values))
        notices |= {("lanes", ""), ("live", f"message:{actor.user_id}"), ("live", f"campaign:{actor.user_id}")}
    return int(done.rowcount)


def ask_owners() -> int:
    """Ask the owners of what waited too long; from then on it does not leave by itself. Returns how many messages."""
    patience = timedelta(hours=settings.get().sending.ask_after_hours)
    with notifying_transaction(SYSTEM) as (tx, notices):
        users = tx.execute(_ASK_OWNERS, {"patience": patience}).scalars().all()
        notices |= {("live", f"{topic}:{user_id}") for user_id in users for topic in ("message", "campaign")}
    if users:
        log.info("owners_asked", messages=len(users))
    return len(users)


_ASK_OWNERS = _QUERIES["ask_owners"]


def _is_overdue(actor: Actor) -> ColumnElement[bool]:
    return and_(messages.c.user_id == actor.user_id, messages.c.state == State.QUEUED, messages.c.asked_at.is_not(None))
