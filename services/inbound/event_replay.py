"""Replay of failed events: staff send them back to the worker."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import (
    func,
    select,
    text,
    update,
)

from services.db.actor import Actor
from services.db.engine import transaction
from services.db.tables.inbound import events
from services.errors import InvalidInput
from services.inbound.event_log import EventFilter, Verdict, failed_conditions, has_verdict
from services.security import audit_log

MAX_ROWS = 500


@dataclass(frozen=True)
class ReplayProgress:
    """How far a replay of many has got."""

    done: int
    total: int


def replay_events(actor: Actor, ids: Sequence[int]) -> int:
    """Send failed events (up to 500) round again; returns how many of them were still failed.

    Raises: Forbidden, InvalidInput.
    """
    actor.require_staff("events")
    if len(ids) > MAX_ROWS:
        raise InvalidInput(f"{len(ids)} events at once")
    with transaction(actor) as tx:
        again = tx.execute(
            update(events)
            .where(events.c.id.in_(ids), has_verdict(Verdict.FAILED))
            .values(verdict=Verdict.RECEIVED, attempts=0, retry_at=None)
            .returning(events.c.id)
        ).scalars()
        moved = sorted(again)
        if moved:
            audit_log.record(tx, actor, "event.replay", str(moved[0]) if len(moved) == 1 else None, ids=moved)
            tx.execute(text("select pg_notify('inbox', '')"))
    return len(moved)


def count_failed(actor: Actor, wanted: EventFilter) -> int:
    """How many events of `wanted` have failed.

    Raises: Forbidden.
    """
    actor.require_staff("events")
    if wanted.verdict not in (None, Verdict.FAILED):
        return 0
    with transaction(actor) as tx:
        return int(
            tx.execute(select(func.count()).select_from(events).where(*failed_conditions(tx, wanted))).scalar_one()
        )


def replay_matching(actor: Actor, wanted: EventFilter) -> Iterator[ReplayProgress]:
    """Send every failed event of `wanted` round again, oldest first, 500 a transaction.

    Raises: Forbidden.
    """
    total, done, last = count_failed(actor, wanted), 0, 0
    yield ReplayProgress(done, total)
    while total and (ids := _list_failed_after(actor, wanted, last)):
        done, last = done + replay_events(actor, ids), ids[-1]
        yield ReplayProgress(done, max(total, done))


def _list_failed_after(actor: Actor, wanted: EventFilter, last: int) -> list[int]:
    with transaction(actor) as tx:
        statement = select(events.c.id).where(*failed_conditions(tx, wanted), events.c.id > last)
        return list(tx.execute(statement.order_by(events.c.id).limit(MAX_ROWS)).scalars())
