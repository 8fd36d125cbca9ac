"""The send lanes: a lane is a session; one message of it is under way at a time, in order, paced with jitter.

`lanes.free_at` is lease, back-off and pace at once. A worker that dies leaves its lane to the next one at the lease's
end; the message that it had in `sending` becomes `uncertain`, never a second send.
"""

import random
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import timedelta

import structlog
from sqlalchemy import Connection, func, select, text, update

from services import messages
from services.db.actor import SYSTEM
from services.db.engine import transaction
from services.db.models import Record, lanes
from services.db.models import messages as message_rows
from services.errors import DatabaseUnavailable
from services.messages import Claimed, Outcome

log = structlog.get_logger(__name__)

# Longer than the number's check and the send together may take (10 s + 30 s): a lease never ends under a live call.
LEASE = timedelta(seconds=60)
BACKOFF_LIMIT_SECONDS = 60.0
# A person does not type at an even pace either: each gap is the pace times a factor from this range.
JITTER = (0.7, 1.6)
SETTLE_ATTEMPTS = 20

# A lane is claimed when it is free and due. Its head is the first waiting message; a lane without one only gets its
# `due_at` put right. SKIP LOCKED lets any number of workers claim at once without waiting for each other.
CLAIM = text(
    """
    with lane as (
      select session_id from lanes
       where due_at <= clock_timestamp() and free_at <= clock_timestamp()
       order by due_at limit :limit for update skip locked
    ), head as (
      select lane.session_id, m.id
        from lane cross join lateral (
          select id from messages
           where session_id = lane.session_id and state = 'queued' and run_at <= clock_timestamp()
           order by run_at, seq limit 1) m
    ), leased as (
      update lanes set
          free_at = case when head.id is null then lanes.free_at else clock_timestamp() + :lease end,
          due_at = case when head.id is null then (
            select min(run_at) from messages where session_id = lanes.session_id and state = 'queued')
            else lanes.due_at end
        from lane left join head using (session_id)
       where lanes.session_id = lane.session_id
      returning lanes.session_id, head.id as message_id
    ), taken as (
      update messages set attempts = attempts + 1, claimed_at = clock_timestamp(), updated_at = now()
        from leased where messages.id = leased.message_id
      returning messages.id, messages.session_id, messages.phone, messages.body, messages.attempts, messages.request_id
    )
    select leased.session_id as lane_id, taken.*, s.session_id as session_name, s.server_url
      from leased left join taken on taken.session_id = leased.session_id
      join whatsapp_sessions s on s.id = leased.session_id
    """
)


@dataclass(frozen=True)
class Pace:
    """How fast one lane may go: `seconds` between two messages, before jitter; 0 turns pacing off."""

    seconds: float

    def gap(self) -> timedelta:
        return timedelta(seconds=self.seconds * random.uniform(*JITTER))


def claim(limit: int, lease: timedelta = LEASE) -> tuple[list[Claimed], int]:
    """Lease up to `limit` lanes that are free and due, with their head messages; also how many lanes were looked at.

    A message that a dead worker left in `sending` on such a lane becomes `uncertain` in the same transaction.
    """
    with transaction(SYSTEM) as tx:
        rows = tx.execute(CLAIM, {"limit": limit, "lease": lease}).all()
        if rows:
            messages.abandon(tx, [row.lane_id for row in rows])
    return [_claimed(row) for row in rows if row.id is not None], len(rows)


def finish(claimed: Claimed, outcome: Outcome | None, pace: Pace) -> None:
    """Write the outcome down and free the lane: after the pace, or after a back-off where nothing could be sent."""
    with transaction(SYSTEM) as tx:
        if outcome is not None and messages.settle(tx, claimed, outcome):
            _free_lane(tx, claimed, outcome, pace)
        elif outcome is None or outcome.retry or not messages.settle(tx, claimed, outcome, late=True):
            log.warning("outcome_refused", message=str(claimed.id), attempt=claimed.attempt)


def next_due_in() -> float | None:
    """Seconds until the next lane is both free and due, or None while no message waits."""
    moment = func.min(func.greatest(lanes.c.free_at, lanes.c.due_at))
    with transaction(SYSTEM) as tx:
        seconds = tx.execute(
            select(func.extract("epoch", moment - func.clock_timestamp())).where(lanes.c.due_at.is_not(None))
        ).scalar_one()
    return None if seconds is None else max(float(seconds), 0.0)


class Dispatcher:
    """Delivers from all lanes with up to `concurrency` calls under way. Start more processes to go faster."""

    def __init__(
        self, concurrency: int, pace: Pace, lease: timedelta = LEASE, on_free: Callable[[], None] = lambda: None
    ) -> None:
        """`on_free` is called, in a sender's thread, whenever a delivery has ended: its lane may have more to send."""
        self._on_free = on_free
        self._concurrency = concurrency
        self._pace = pace
        self._lease = lease
        self._under_way: set[Future[None]] = set()
        self._pool = ThreadPoolExecutor(concurrency, thread_name_prefix="send")

    def step(self) -> bool:
        """Claim as much as there is room for and start delivering it; False where there was nothing to claim.

        Waits for room where every sender is busy.
        """
        self._under_way = {future for future in self._under_way if not future.done()}
        room = self._concurrency - len(self._under_way)
        if room == 0:
            wait(self._under_way, return_when=FIRST_COMPLETED)
            return True
        claimed, lanes_seen = claim(room, self._lease)
        self._under_way |= {self._pool.submit(self._serve, one) for one in claimed}
        return lanes_seen > 0

    def idle_seconds(self) -> float | None:
        """How long `step` would find nothing, as far as the tables know."""
        return next_due_in()

    def drain(self) -> None:
        """Take nothing new and wait for the calls under way."""
        self._pool.shutdown(wait=True)

    def _serve(self, claimed: Claimed) -> None:
        with structlog.contextvars.bound_contextvars(request_id=claimed.request_id, message=str(claimed.id)):
            outcome = messages.deliver(claimed)
            log.info("delivered", state=outcome and outcome.state, failure=outcome and outcome.failure)
            self._finish_for_sure(claimed, outcome)
        self._on_free()

    def _finish_for_sure(self, claimed: Claimed, outcome: Outcome | None) -> None:
        """A database that is away for a moment must not turn a known outcome into an uncertain one."""
        pause = threading.Event()
        for attempt in range(SETTLE_ATTEMPTS):
            try:
                finish(claimed, outcome, self._pace)
                return
            except DatabaseUnavailable:
                log.warning("outcome_not_stored_yet", attempt=attempt)
                pause.wait(min(0.1 * 2**attempt, 5.0))


def _free_lane(tx: Connection, claimed: Claimed, outcome: Outcome, pace: Pace) -> None:
    gap = timedelta(seconds=min(2.0**claimed.attempt, BACKOFF_LIMIT_SECONDS)) if outcome.retry else pace.gap()
    waiting = (
        select(func.min(message_rows.c.run_at))
        .where(message_rows.c.session_id == claimed.session_id, message_rows.c.state == messages.State.QUEUED)
        .scalar_subquery()
    )
    tx.execute(
        update(lanes)
        .where(lanes.c.session_id == claimed.session_id)
        .values(free_at=func.clock_timestamp() + gap, due_at=waiting)
    )


def _claimed(row: Record) -> Claimed:
    return Claimed(
        id=row.id,
        session_id=row.lane_id,
        session_name=row.session_name,
        server_url=row.server_url,
        phone=row.phone,
        body=row.body,
        attempt=row.attempts,
        request_id=row.request_id,
    )
