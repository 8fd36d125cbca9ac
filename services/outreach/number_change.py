"""What becomes of what was made for a session's number before, once another phone is paired: its owner decides.

Until then it waits, because the session's lane is stopped (`services.fleet.own_number`). What was made since the change
was made for the new number, and is left as it is.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, and_, func, select, update

from services.db.actor import Actor
from services.db.engine import transaction
from services.db.rows import read_row
from services.db.tables.fleet import session_numbers
from services.db.tables.messaging import lanes, messages
from services.db.tables.outreach import campaigns, schedules
from services.errors import NotFound
from services.fleet.own_number import NumberChange, select_changes
from services.messaging.state import State
from services.outreach.campaign_state import OPEN_STATES, CampaignState
from services.security import audit_log


class Decision(StrEnum):
    """What becomes of what waits."""

    CONTINUE = "continue"  # it goes on, by the new number
    DROP = "drop"  # what is queued is cancelled, campaigns end, schedules are paused


@dataclass(frozen=True)
class Waiting:
    """What was made for the number before: how many messages are queued, and the names of campaigns and schedules."""

    messages: int
    campaigns: tuple[str, ...]
    schedules: tuple[str, ...]


def list_waiting(actor: Actor, change: NumberChange) -> Waiting:
    """What waits for the word of its owner, who the actor is."""
    with transaction(actor) as tx:
        count = tx.execute(select(func.count()).where(*_queued(change))).scalar_one()
        under_way = select(campaigns.c.name).where(*_under_way(actor, change)).order_by(campaigns.c.created_at)
        planned = select(schedules.c.name).where(*_planned(actor, change)).order_by(schedules.c.created_at)
        return Waiting(count, tuple(tx.execute(under_way).scalars()), tuple(tx.execute(planned).scalars()))


def decide(actor: Actor, decision: Decision, phone: str | None = None) -> None:
    """Say what becomes of what was made for the number before, and let the session send again. With `phone` (digits)
    only while that is the number now.

    Raises: Forbidden where the actor is no signed-in user; NotFound where nothing waits for their word.
    """
    user_id = actor.require_user("only its owner decides")
    with transaction(actor) as tx:
        wanted = select_changes().where(session_numbers.c.user_id == user_id)
        row = tx.execute(wanted.with_for_update()).one_or_none()
        if row is None or phone not in (None, row.phone):
            raise NotFound("no change of number waits for a decision")
        change = read_row(NumberChange, row)
        if decision is Decision.DROP:
            _drop(tx, actor, change)
        decided = update(session_numbers).where(session_numbers.c.id == change.id)
        tx.execute(decided.values(decision=decision, decided_at=func.now()))
        _let_go(tx, change.session_id)
        audit_log.record(tx, actor, f"number.{decision}", f"user_{user_id}")


def _drop(tx: Connection, actor: Actor, change: NumberChange) -> None:
    now = func.clock_timestamp()
    ended = {"state": CampaignState.CANCELLED, "ended_at": now, "updated_at": now}
    tx.execute(update(campaigns).where(*_under_way(actor, change)).values(**ended))
    held: dict[str, Any] = {"paused_at": now, "next_check_at": None, "updated_at": now}
    tx.execute(update(schedules).where(*_planned(actor, change)).values(**held))
    taken_back = {"state": State.CANCELLED, "ended_at": now, "updated_at": now}
    tx.execute(update(messages).where(*_queued(change)).values(**taken_back))


def _let_go(tx: Connection, session_id: UUID) -> None:
    """What staff or its owner stopped for another reason stays stopped."""
    stopped = and_(lanes.c.session_id == session_id, lanes.c.stopped_for == "number")
    tx.execute(update(lanes).where(stopped).values(stopped_at=None, stopped_for=None))


def _queued(change: NumberChange) -> tuple[ColumnElement[bool], ...]:
    return (
        messages.c.session_id == change.session_id,
        messages.c.state == State.QUEUED,
        messages.c.created_at < change.since,
    )


def _under_way(actor: Actor, change: NumberChange) -> tuple[ColumnElement[bool], ...]:
    return (
        campaigns.c.user_id == actor.user_id,
        campaigns.c.state.in_(OPEN_STATES),
        campaigns.c.started_at < change.since,
    )


def _planned(actor: Actor, change: NumberChange) -> tuple[ColumnElement[bool], ...]:
    return (
        schedules.c.user_id == actor.user_id,
        schedules.c.ended_at.is_(None),
        schedules.c.paused_at.is_(None),
        schedules.c.created_at < change.since,
    )
