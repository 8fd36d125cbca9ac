"""The send lanes: a lane is a session; one message of it is under way at a time, in order, paced with jitter.

`lanes.free_at` is lease and pace at once. A worker that dies leaves its lane to the next one at the lease's end; the
message that it had in `sending` becomes `uncertain`, never a second send.

Where nothing can leave the lane waits (`waiting_reason`, since `waiting_since`, tried again at `retry_at`), and its
messages with it. While its session is down it is not tried at all: whoever moves a session's status holds and frees its
lane (`app.hold_lane`). While a server is away one lane asks for all of that server's; its first answer frees them all.

One transaction, a turn, writes down all deliveries that have ended, frees their lanes, and claims as many as there is
room for; a claimed message whose number is known is committed as `sending` in it, so that its call can leave at once.

A lane whose session was found out of WhatsApp's reach (an open zombie finding) waits: nothing of it is claimed.
"""

import json
import random
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta

import structlog
from sqlalchemy import Connection, func, select, text
from sqlalchemy.exc import DBAPIError

from services import messages, meters, settings
from services.db.actor import SYSTEM
from services.db.engine import transaction
from services.db.models import Record, lanes
from services.db.notify import ring
from services.errors import DatabaseUnavailable
from services.messages import Claimed, Outcome, Reason
from services.trouble import Watch

log = structlog.get_logger(__name__)

# Longer than the number's check and a file's way together may take (13 s + 43 s): a lease never ends under a live call.
LEASE = timedelta(seconds=60)
BACKOFF_LIMIT_SECONDS = 60.0
# When a lane is looked at again whose session was found out of WhatsApp's reach.
OUT_OF_REACH = timedelta(seconds=15)
# How long a lane waits at most until it is tried again; before that 1, 2, 4, … s. A server that is away and a session
# that says no cost a moment to ask, and people wait for them to come back.
RETRY_LIMIT_SECONDS = {
    Reason.SERVER: 5.0,
    Reason.SESSION: 5.0,
    Reason.FILES: 15.0,
    Reason.SETUP: 60.0,
    Reason.NO_ANSWER: 20.0,
}
# When the other lanes of a server that is away look for themselves, should the one that asks for them fall silent.
BESIDE_SECONDS = 30.0
# A person does not type at an even pace either: each gap is the pace times a factor from this range.
JITTER = (0.7, 1.6)
SETTLE_ATTEMPTS = 20
# The longest wait for room in one step: a worker that is told to stop must hear of it.
ROOM_SECONDS = 1.0
# How long what has ended waits for more that ends: less than a person or a pace notices.
GATHER_SECONDS = 0.01

Ended = tuple[Claimed, Outcome | None]

# Whoever queues a message moves its lane's `due_at`. So a lane is held first, and only the next statement reads which
# messages wait on it: in one statement it would wait for such a commit and yet not see its message.
HOLD = text("select session_id from lanes where session_id = any(:ids) order by session_id for update")
# A lane is claimed when its turn is. SKIP LOCKED lets any number of workers claim at once without waiting for each
# other. The sub-select makes the moment one value, which the index can be asked for.
READY = text(
    """
    select session_id from lanes where ready_at <= (select clock_timestamp())
     order by ready_at limit :limit for update skip locked
    """
)
# Where WhatsApp was found out of reach, whatever is sent hangs and becomes uncertain: its lane waits, and is looked at
# again soon.
PUT_OFF = text(
    """
    update lanes set free_at = clock_timestamp() + :wait
     where session_id = any(:ids) and exists (select from findings f
       where f.session_id = lanes.session_id and f.kind = 'zombie' and f.ended_at is null)
    returning session_id
    """
)
# Its head is the first waiting message; a lane without one only gets its `due_at` put right. What is still `sending` on
# a lane whose lease has ended is a dead worker's: whether it left is unknown. What waited for too long is nobody's head
# any more, also before its owner is asked (`messages.ask_owners`).
CLAIM = text(
    """
    with lane as materialized (
      select session_id, waiting_since from lanes where session_id = any(:ids)
    ), head as materialized (
      select lane.session_id, m.id, m.phone,
             case when m.phone like '%@%' then m.phone when n.on_whatsapp then n.address end as address, n.on_whatsapp
        from lane cross join lateral (
          select id, phone from messages
           where session_id = lane.session_id and state = 'queued' and asked_at is null and run_at <= clock_timestamp()
             and coalesce(waiting_since, 'infinity') > now() - :patience
             and (lane.waiting_since is null or greatest(run_at, lane.waiting_since) > now() - :patience)
           order by run_at, seq limit 1) m
        left join number_checks n
          on n.session_id = lane.session_id and n.phone = m.phone and n.fresh_until > now()
    ), abandoned as (
      update messages set state = 'uncertain', failure = 'unknown', reconcile_at = now() + :soon, uncertain_at = now(),
          updated_at = now()
        from lane where messages.session_id = lane.session_id and messages.state = 'sending'
      returning messages.user_id
    ), taken as (
      -- Looked at once more: its owner may be taking it back, and then it is waited for.
      update messages set attempts = attempts + 1, claimed_at = clock_timestamp(), updated_at = now(),
          state = case when head.address is null then state else 'sending' end,
          sending_at = case when head.address is null then sending_at else clock_timestamp() end,
          address = coalesce(head.address, messages.address)
        from head where messages.id = head.id and messages.state = 'queued' and messages.asked_at is null
      returning messages.*
    ), leased as (
      update lanes set
          free_at = case when taken.id is null then lanes.free_at else clock_timestamp() + :lease end,
          due_at = case when head.id is null then (
            select min(run_at) from messages
             where session_id = lanes.session_id and state = 'queued' and asked_at is null
               and coalesce(waiting_since, 'infinity') > now() - :patience
               and (lane.waiting_since is null or greatest(run_at, lane.waiting_since) > now() - :patience))
            else lanes.due_at end
        from lane left join head using (session_id) left join taken on taken.session_id = lane.session_id
       where lanes.session_id = lane.session_id
      returning lanes.session_id, lanes.free_at, head.address, head.on_whatsapp
    )
    select leased.session_id as lane_id, case when taken.id is not null then leased.free_at end as leased_until,
           leased.address as known_address,
           leased.on_whatsapp, taken.id, taken.user_id, taken.phone, taken.attempts, taken.kind, taken.body,
           taken.media_sha256, taken.mimetype, taken.filename, taken.detail, taken.quoted_wpp_id, taken.request_id,
           s.session_id as session_name, s.server_url, (select array_agg(distinct user_id) from abandoned) as abandoned
      from leased left join taken on taken.session_id = leased.session_id
      join whatsapp_sessions s on s.id = leased.session_id
    """
)

# Only whoever still holds the lease frees the lane. A session that fell meanwhile holds it, whatever the call said. A
# server that answered one lane is back for all that wait for it; those that somebody holds just now find out alone.
FREE = text(
    """
    with e as materialized (
      select e.*, s.status = 'conectado' as up
        from jsonb_to_recordset(cast(:ended as jsonb)) as e (session_id uuid, leased_until timestamptz, gap float,
          server_url text, waiting text, retry_limit float, answered boolean, reached boolean)
        join whatsapp_sessions s on s.id = e.session_id
    ), back as (
      select l.session_id from lanes l join whatsapp_sessions s on s.id = l.session_id
       where l.waiting_since is not null and l.waiting_reason = 'server' and s.status = 'conectado'
         and s.server_url in (select server_url from e where reached) and l.session_id not in (select session_id from e)
         for update of l skip locked
    ), freed as (
      update lanes set waiting_reason = null, waiting_since = null, retry_at = null, tries = 0
        from back where lanes.session_id = back.session_id
    )
    update lanes set
        free_at = clock_timestamp() + make_interval(secs => e.gap),
        due_at = (select min(run_at) from messages
                   where session_id = e.session_id and state = 'queued' and asked_at is null),
        waiting_reason = case when not e.up then 'session' when e.answered then null
          else coalesce(e.waiting, lanes.waiting_reason) end,
        waiting_since = case when e.answered and e.up then null when e.waiting is null and e.up then lanes.waiting_since
          else coalesce(lanes.waiting_since, clock_timestamp()) end,
        retry_at = case when not e.up then 'infinity' when e.answered then null
          when e.waiting is null then lanes.retry_at
          else clock_timestamp() + make_interval(secs => least(2.0 ^ least(lanes.tries, 10), e.retry_limit)) end,
        tries = case when e.answered or not e.up then 0 when e.waiting is null then lanes.tries
          else lanes.tries + 1 end
      from e
     where lanes.session_id = e.session_id and lanes.free_at = e.leased_until
    """
)
# The lanes of a server that is away whose turn would be soon, but for the one that asks for them.
BESIDE = text(
    """
    update lanes set waiting_reason = 'server', waiting_since = coalesce(lanes.waiting_since, clock_timestamp()),
        retry_at = clock_timestamp() + make_interval(secs => :seconds * (1 + random() / 2))
     where session_id in (
       select l.session_id from lanes l join whatsapp_sessions s on s.id = l.session_id
        where l.ready_at <= clock_timestamp() + interval '10 seconds' and s.server_url = any(:servers)
          and s.status = 'conectado' and l.session_id <> all(:asking)
          for update of l skip locked)
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
    return turn([], limit, Pace(0), lease)


def finish(claimed: Claimed, outcome: Outcome | None, pace: Pace) -> None:
    """Write the outcome down and free the lane: after the pace, or let it wait where nothing could be sent."""
    turn([(claimed, outcome)], 0, pace)


def turn(ended: Sequence[Ended], limit: int, pace: Pace, lease: timedelta = LEASE) -> tuple[list[Claimed], int]:
    """Write all of `ended` down, free their lanes, and claim up to `limit`, in one transaction; returns as `claim`."""
    try:
        return _turn(ended, limit, pace, lease)
    except DBAPIError as error:
        if not ended:
            raise
        # One that cannot be stored must not keep the others from it.
        log.warning("outcomes_one_by_one", outcomes=len(ended), error=type(error).__name__)
    for one in ended:
        _turn_alone(one, pace, lease)
    return _turn([], limit, pace, lease)


def _turn_alone(one: Ended, pace: Pace, lease: timedelta) -> None:
    claimed, _outcome = one
    try:
        _turn([one], 0, pace, lease)
    except DBAPIError as error:
        log.error("outcome_not_stored", message=str(claimed.id), error=type(error).__name__)
        _turn([(claimed, None)], 0, pace, lease)


def _turn(ended: Sequence[Ended], limit: int, pace: Pace, lease: timedelta) -> tuple[list[Claimed], int]:
    changed = {claimed.user_id for claimed, _outcome in ended}
    with transaction(SYSTEM, rings_later=True) as tx:
        if ended:
            _settle(tx, ended)
            _free(tx, ended, pace)
        rows = _claim(tx, limit, lease) if limit else []
    claimed = [_claimed(row) for row in rows if row.id is not None]
    changed |= {one.user_id for one in claimed if one.sending}
    changed |= set(rows[0].abandoned or ()) if rows else set()
    ring(SYSTEM, {("live", f"message:{user_id}") for user_id in changed})
    return claimed, len(rows)


def next_due_in() -> float | None:
    """Seconds until the next lane is both free and due, or None while no message waits."""
    with transaction(SYSTEM) as tx:
        seconds = tx.execute(
            select(func.extract("epoch", func.min(lanes.c.ready_at) - func.clock_timestamp()))
        ).scalar_one()
    return None if seconds is None else max(float(seconds), 0.0)


class Dispatcher:
    """Delivers from all lanes with up to `concurrency` calls under way. Start more processes to go faster."""

    def __init__(
        self, concurrency: int, pace: Pace, lease: timedelta = LEASE, on_free: Callable[[], None] = lambda: None
    ) -> None:
        """`on_free` is called, in a sender's thread, when deliveries have ended: `step` has something to do."""
        self._on_free = on_free
        self._concurrency = concurrency
        self._pace = pace
        self._lease = lease
        self._lock = threading.Condition()
        self._under_way = 0
        self._ended: list[Ended] = []
        self._pool = ThreadPoolExecutor(concurrency, thread_name_prefix="send")
        self._watch = Watch("deliver")

    def step(self) -> bool:
        """Take a turn and start delivering what it claimed; False where there was nothing to do.

        Waits for room where every sender is busy.
        What has ended stays noted until it is committed: a database that is away for a moment must not turn a known
        outcome into an uncertain one.
        """
        with self._lock:
            # A turn costs much the same for one as for many; while half of the calls are out, more end in a moment.
            self._lock.wait_for(self._gathered, GATHER_SECONDS)
            ended = list(self._ended)
            room = self._concurrency - self._under_way + len(ended)
            if not room:
                self._lock.wait(ROOM_SECONDS)
                return True
        claimed, lanes_seen = turn(ended, room, self._pace, self._lease)
        with self._lock:
            del self._ended[: len(ended)]
            self._under_way += len(claimed) - len(ended)
            more = lanes_seen > 0 or bool(self._ended)
        for one in claimed:
            self._pool.submit(self._serve, one)
        return more

    def idle_seconds(self) -> float | None:
        """How long `step` would find nothing, as far as the tables know."""
        return next_due_in()

    def drain(self) -> None:
        """Take nothing new, wait for the calls under way, and write down what became of them."""
        self._pool.shutdown(wait=True)
        pause = threading.Event()
        for attempt in range(SETTLE_ATTEMPTS):
            try:
                turn(self._ended, 0, self._pace)
                return
            except DatabaseUnavailable as error:
                self._watch.failed(error, outcomes=len(self._ended))
                pause.wait(min(0.1 * 2**attempt, 5.0))

    def _serve(self, claimed: Claimed) -> None:
        outcome: Outcome | None = None
        with structlog.contextvars.bound_contextvars(request_id=claimed.request_id, message=str(claimed.id)):
            try:
                outcome = messages.deliver(claimed)
                state, failure, waiting = (outcome.state, outcome.failure, outcome.waiting) if outcome else [None] * 3
                log.info("delivered", state=state, failure=failure, waiting=waiting)
                self._watch.worked()
            except DatabaseUnavailable as error:
                self._watch.failed(error)
            # The outermost loop of this thread: whatever went wrong, the lane must be freed. What had begun to be sent
            # is then called uncertain by whoever claims the lane next.
            except Exception as error:
                log.exception("delivery_failed", error=type(error).__name__)
            meters.of_process().sends.labels(_counted_as(outcome)).inc()
        with self._lock:
            self._ended.append((claimed, outcome))
            told = len(self._ended) == 1 or self._gathered()
            if told:
                self._lock.notify()
        if told:
            self._on_free()

    def _gathered(self) -> bool:
        return 2 * len(self._ended) >= self._under_way


def _free(tx: Connection, ended: Sequence[Ended], pace: Pace) -> None:
    tx.execute(HOLD, {"ids": [claimed.session_id for claimed, _outcome in ended]})
    tx.execute(FREE, {"ended": json.dumps([_freed(claimed, outcome, pace) for claimed, outcome in ended])})
    away = {claimed.server_url: claimed.session_id for claimed, outcome in ended if _is_away(outcome)}
    if away:
        asking = {"servers": list(away), "asking": list(away.values()), "seconds": BESIDE_SECONDS}
        tx.execute(BESIDE, asking)


def _is_away(outcome: Outcome | None) -> bool:
    return outcome is not None and outcome.waiting is Reason.SERVER


def _claim(tx: Connection, limit: int, lease: timedelta) -> Sequence[Record]:
    ids = tx.execute(READY, {"limit": limit}).scalars().all()
    put_off = set(tx.execute(PUT_OFF, {"ids": ids, "wait": OUT_OF_REACH}).scalars()) if ids else set()
    ids = [one for one in ids if one not in put_off]
    if not ids:
        return []
    patience = timedelta(hours=settings.get().send_ask_after_hours)
    values = {"ids": ids, "lease": lease, "soon": messages.RECONCILE_AFTER[0], "patience": patience}
    return tx.execute(CLAIM, values).all()


def _counted_as(outcome: Outcome | None) -> str:
    if outcome is None:
        return "taken_over"
    return "put_back" if outcome.retry else str(outcome.state)


def _settle(tx: Connection, ended: Sequence[Ended]) -> None:
    settled = messages.settle_all(tx, [(claimed, outcome) for claimed, outcome in ended if outcome is not None])
    for claimed, _outcome in ended:
        if claimed.id not in settled:
            log.warning("outcome_refused", message=str(claimed.id), attempt=claimed.attempt)


def _freed(claimed: Claimed, outcome: Outcome | None, pace: Pace) -> dict[str, object]:
    waiting = outcome.waiting if outcome is not None and outcome.later is None else None
    gap = 0.0 if waiting else pace.gap().total_seconds()
    if outcome is None:
        gap = min(2.0 ** min(claimed.attempt, 10), BACKOFF_LIMIT_SECONDS)
    answered = outcome is not None and outcome.answered
    return {
        "session_id": str(claimed.session_id),
        "leased_until": claimed.leased_until.isoformat(),
        "gap": gap,
        "server_url": claimed.server_url,
        "waiting": waiting,
        "retry_limit": RETRY_LIMIT_SECONDS[waiting] if waiting else None,
        "answered": answered,
        "reached": answered or waiting is Reason.SESSION,
    }


def _claimed(row: Record) -> Claimed:
    return Claimed(
        id=row.id,
        session_id=row.lane_id,
        user_id=row.user_id,
        session_name=row.session_name,
        server_url=row.server_url,
        phone=row.phone,
        attempt=row.attempts,
        leased_until=row.leased_until,
        sending=row.known_address is not None,
        exists=row.on_whatsapp,
        address=row.known_address,
        kind=row.kind,
        body=row.body,
        media_sha256=row.media_sha256,
        mimetype=row.mimetype,
        filename=row.filename,
        detail=row.detail,
        quoted_wpp_id=row.quoted_wpp_id,
        request_id=row.request_id,
    )
