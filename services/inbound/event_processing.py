"""What the worker does with stored events: it takes the events that are due, in their order, and handles them."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy import Connection, Select, func, or_, select
from sqlalchemy.exc import InterfaceError, OperationalError

from services import counters
from services.db import queries
from services.db.actor import SYSTEM
from services.db.engine import transaction
from services.db.tables.base import Record
from services.db.tables.inbound import events
from services.inbound.event_handlers import EventBatch, EventResult, handle

_QUERIES = queries.load(__file__)

log = structlog.get_logger(__name__)
RETRY_AFTER = timedelta(seconds=5)
MAX_ROWS = 100
# Bodies that are in memory at once; a single larger one is handled by itself.
MAX_BYTES = 32 * 1024 * 1024
COUNT_SESSION_HOURS = _QUERIES["count_session_hours"]
LOCK_SESSIONS = _QUERIES["lock_sessions"]
STORE_RESULTS = _QUERIES["store_results"]


def process(limit: int = MAX_ROWS) -> int:
    """Handle up to `limit` waiting events in their order; returns how many were taken.

    One that fails takes no other with it. Several workers may process at once: nothing that an event does depends on
    the order of events.
    """
    with transaction(SYSTEM) as tx:
        waiting = tx.execute(_select_due(limit)).all()
        if not waiting:
            return 0
        _lock_sessions(tx, waiting)
        results = _handle_together(tx, waiting) or [handle(tx, row) for row in waiting]
        ids = [one.id for one in results]
        tx.execute(COUNT_SESSION_HOURS, {"ids": ids})
        verdicts = {"verdicts": [one.verdict for one in results], "errors": [one.error for one in results]}
        tx.execute(STORE_RESULTS, {"ids": ids, "retry_after": RETRY_AFTER, **verdicts})
    for row, result in zip(waiting, results, strict=True):
        counters.count_event(row.kind, "retried" if result.verdict == "received" else result.verdict)
    return len(results)


def _select_due(limit: int) -> Select[Any]:
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
        .where(fitting.c.ahead < MAX_BYTES)
        .order_by(events.c.id)
    )


def _lock_sessions(tx: Connection, waiting: Sequence[Record]) -> None:
    """One worker at a time for a session, in one order of sessions for all: none waits for another in a circle."""
    names = sorted({row.session for row in waiting if row.session})
    if names:
        tx.execute(LOCK_SESSIONS, {"names": names})


def _handle_together(tx: Connection, waiting: Sequence[Record]) -> list[EventResult] | None:
    """All of `waiting` in one savepoint, which costs the fewest trips to the database; None where one of them fails."""
    try:
        with tx.begin_nested():
            return EventBatch(tx, waiting).handle()
    except (OperationalError, InterfaceError):
        raise
    # The outermost loop of one round: which event it was is found, logged and counted one by one.
    except Exception as error:
        log.exception("events_one_by_one", events=len(waiting), error=type(error).__name__)
        return None
