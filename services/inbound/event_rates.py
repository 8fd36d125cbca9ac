"""How many events arrived in each minute of the last hour, and how long they waited."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    func,
    select,
    union_all,
)

from services.db.actor import Actor
from services.db.engine import transaction
from services.db.rows import read_rows
from services.db.tables.inbound import events
from services.inbound.event_log import Verdict, is_done, is_waiting

RATE_PERIOD = timedelta(hours=1)


@dataclass(frozen=True)
class MinuteCount:
    """The deliveries of one minute with one verdict; `waited` is the longest time to their handling, in seconds."""

    at: datetime
    verdict: Verdict
    count: int
    waited: float


@dataclass(frozen=True)
class EventRates:
    """The last hour, and how long the oldest event waits by now: `oldest_waiting` in seconds, None while none does."""

    minutes: list[MinuteCount]
    oldest_waiting: float | None


def get_rates(actor: Actor) -> EventRates:
    """Deliveries by minute and verdict over the last hour, and how long they waited.

    Raises: Forbidden.
    """
    actor.require_staff("events")
    # What is no JSON object is never handled (null, which `greatest` leaves out): it waits for nobody.
    done = _select_by_minute(is_done(), func.greatest(_seconds(events.c.handled_at - events.c.received_at), 0))
    waiting = _select_by_minute(is_waiting(), func.greatest(_seconds(func.now() - events.c.received_at), 0))
    oldest = select(_seconds(func.now() - events.c.received_at)).where(is_waiting()).order_by(events.c.id).limit(1)
    with transaction(actor) as tx:
        minutes = read_rows(MinuteCount, tx.execute(union_all(done, waiting).order_by("at")))
        waits = tx.execute(oldest).scalar_one_or_none()
    return EventRates(minutes, None if waits is None else float(waits))


def _seconds(interval: ColumnElement[Any]) -> ColumnElement[Any]:
    return func.extract("epoch", interval)


def _select_by_minute(which: ColumnElement[bool], waited: ColumnElement[Any]) -> Select[Any]:
    minute = func.date_trunc("minute", events.c.received_at).label("at")
    return (
        select(minute, events.c.verdict, func.count().label("count"), func.max(waited).label("waited"))
        .where(which, events.c.received_at > func.now() - RATE_PERIOD)
        .group_by(minute, events.c.verdict)
    )
