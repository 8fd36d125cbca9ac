"""The worker's part of schedules: it sends what is due, or records that it was missed.

An occurrence that no worker was there for is sent if it is late by no more than the grace period. Otherwise it is
recorded as missed and shown. The row of an occurrence and its messages are committed together, so it happens once.
"""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Connection, Select, and_, func, select, update
from sqlalchemy.dialects.postgresql import insert

from services import settings
from services.contacts import opt_outs
from services.db import queries
from services.db.actor import SYSTEM
from services.db.engine import transaction
from services.db.tables.base import Record
from services.db.tables.fleet import sessions as session_rows
from services.db.tables.messaging import lanes
from services.db.tables.outreach import schedule_runs, schedules
from services.errors import (
    ServiceError,
)
from services.fleet import session
from services.messaging import outbox
from services.messaging.content import Content, Origin
from services.outreach.recurrence import Occurrence, ScheduleDraft, ScheduleRecipient, occurrences
from services.outreach.schedule_content import render_contents
from services.outreach.schedules import (
    RunState,
    build_draft,
    next_columns,
    select_schedules,
    update_row,
)

_QUERIES = queries.load(__file__)

log = structlog.get_logger(__name__)
# How many occurrences are decided in one transaction, where a worker was away for long.
MAX_OCCURRENCES = 200
# A worker that dies leaves what it had claimed to the next one after this long. One that is only slow
# keeps it: it holds the row's lock.
LEASE = timedelta(seconds=5)
# While a session is down, whether it is up again is asked this often.
RETRY_AFTER = timedelta(seconds=5)


def step(now: datetime | None = None) -> int:
    """Decide what is due: send it, or note that it was missed; returns how many schedules were looked at."""
    moment = now or datetime.now(UTC)
    with transaction(SYSTEM) as tx:
        claimed = tx.execute(_CLAIM_DUE, {"now": moment, "leased": moment + LEASE}).all()
    for row in claimed:
        _run_schedule(row.id, row.next_check_at, moment)
    return len(claimed)


def next_due_in() -> float | None:
    """Seconds until the worker must look again, None while nothing is scheduled."""
    with transaction(SYSTEM) as tx:
        moment = tx.execute(
            select(func.min(schedules.c.next_check_at)).where(schedules.c.next_check_at.is_not(None))
        ).scalar_one_or_none()
    return None if moment is None else max((moment - datetime.now(UTC)).total_seconds(), 0.0)


def _run_schedule(schedule_id: UUID, leased: datetime, now: datetime) -> None:
    grace = timedelta(minutes=settings.get().schedules.grace_minutes)
    with transaction(SYSTEM) as tx:
        row = tx.execute(
            _select_locked_schedule().where(schedules.c.id == schedule_id, schedules.c.next_check_at == leased)
        ).one_or_none()
        if row is None or row.next_local_time is None:
            return  # its owner changed it meanwhile
        draft, hindrance = build_draft(row), _blocking_reason(row)
        coming = occurrences(draft, row.next_local_time - timedelta(seconds=1))
        due = next(coming, None)
        for _number in range(MAX_OCCURRENCES):
            if due is None or due.at > now:
                break
            in_time = now - due.at <= grace
            if hindrance is not None and in_time and not _is_decided(tx, schedule_id, due):
                update_row(
                    tx,
                    schedule_id,
                    next_check_at=min(now + RETRY_AFTER, due.at + grace + timedelta(seconds=1)),
                    notify=False,
                )
                return
            _decide(tx, row, draft, due, hindrance or (None if in_time else "late"))
            due = next(coming, None)
        update_row(tx, schedule_id, **next_columns(due, now))


def _blocking_reason(row: Record) -> str | None:
    """Why nothing can leave now."""
    if row.status != session.Status.CONNECTED or row.settling_since is not None:
        return "disconnected"
    return "stopped" if row.stopped_at is not None else None


def _is_decided(tx: Connection, schedule_id: UUID, due: Occurrence) -> bool:
    one = and_(schedule_runs.c.schedule_id == schedule_id, schedule_runs.c.local_time == due.wall)
    return tx.execute(select(schedule_runs.c.state).where(one)).first() is not None


def _decide(tx: Connection, row: Record, draft: ScheduleDraft, due: Occurrence, hindrance: str | None) -> None:
    """Write down what becomes of one occurrence and, where it is to be sent, its messages; nothing the second time."""
    if hindrance is not None:
        _record_run(tx, row, due, RunState.MISSED, hindrance)
        return
    silent = opt_outs.find_opted_out(tx, row.user_id, [one.phone for one in draft.to])
    to = [one for one in draft.to if one.phone not in silent]
    try:
        contents = render_contents(tx, draft, to, row.user_id)
    except ServiceError as error:
        log.warning("schedule_not_rendered", schedule=str(row.id), error=type(error).__name__)
        _record_run(tx, row, due, RunState.MISSED, "content")
        return
    if not to:
        _record_run(tx, row, due, RunState.SKIPPED, "opted_out", left_out=len(silent))
    elif _record_run(tx, row, due, RunState.SENT, left_out=len(silent)):
        ids = [_queue_message(tx, row, draft, due, one, content) for one, content in zip(to, contents, strict=True)]
        mine = and_(schedule_runs.c.schedule_id == row.id, schedule_runs.c.local_time == due.wall)
        tx.execute(update(schedule_runs).where(mine).values(message_ids=ids))
        log.info("schedule_sent", schedule=str(row.id), messages=len(ids), left_out=len(silent))


def _record_run(
    tx: Connection, row: Record, due: Occurrence, state: RunState, reason: str | None = None, left_out: int = 0
) -> bool:
    """False where that occurrence was decided before."""
    noted = (
        insert(schedule_runs)
        .values(
            schedule_id=row.id,
            user_id=row.user_id,
            local_time=due.wall,
            due_at=due.at,
            state=state,
            reason=reason,
            left_out=left_out,
        )
        .on_conflict_do_nothing()
        .returning(schedule_runs.c.local_time)
    )
    return tx.execute(noted).first() is not None


def _queue_message(
    tx: Connection, row: Record, draft: ScheduleDraft, due: Occurrence, to: ScheduleRecipient, content: Content
) -> UUID:
    origin = Origin(draft.template_id, draft.template_version, schedule_id=row.id)
    key = f"schedule:{row.id}:{due.wall:%Y%m%dT%H%M}:{to.phone}"
    put = outbox.queue_in_transaction(tx, row.user_id, row.session_id, to.phone, content, key, to.name, origin=origin)
    message_id: UUID = put.id
    return message_id


_CLAIM_DUE = _QUERIES["claim_due"]


def _select_locked_schedule() -> Select[Any]:
    """A schedule, locked, with the session that it goes through."""
    return (
        select_schedules()
        .add_columns(
            session_rows.c.id.label("session_id"),
            session_rows.c.status,
            session_rows.c.settling_since,
            lanes.c.stopped_at,
        )
        .outerjoin(session_rows, session_rows.c.user_id == schedules.c.user_id)
        .outerjoin(lanes, lanes.c.session_id == session_rows.c.id)
        .with_for_update(of=schedules)
    )
