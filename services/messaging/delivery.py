"""The owner of claim → sending → settled: what is under way, and what became of it."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from sqlalchemy import (
    Connection,
    func,
    text,
    update,
)
from sqlalchemy.exc import DBAPIError

from services import settings
from services.db import queries
from services.db.actor import SYSTEM
from services.db.engine import transaction
from services.db.notify import notifying_transaction
from services.db.rows import read_rows
from services.db.tables.base import Record
from services.db.tables.messaging import lanes, messages
from services.messaging.acknowledgements import adopt_wpp_id
from services.messaging.claims import Claimed, Ended, Outcome
from services.messaging.lanes import LEASE, OUT_OF_REACH, PUT_OFF_LANES, READY_LANES, free_lanes
from services.messaging.pace import Pace
from services.messaging.reconciliation import RECONCILE_AFTER
from services.messaging.state import State
from services.wppconnect.event_keys import get_message_key

_QUERIES = queries.load(__file__)

log = structlog.get_logger(__name__)


def take_turn(ended: Sequence[Ended], limit: int, pace: Pace, lease: timedelta = LEASE) -> tuple[list[Claimed], int]:
    """Write all of `ended` down, free their lanes, and claim up to `limit`, in one transaction.

    Returns what `claim_lanes` returns.
    """
    try:
        return _take_turn(ended, limit, pace, lease)
    except DBAPIError as error:
        if not ended:
            raise
        # One that cannot be stored must not keep the others from it.
        log.warning("outcomes_one_by_one", outcomes=len(ended), error=type(error).__name__)
    for one in ended:
        _take_turn_alone(one, pace, lease)
    return _take_turn([], limit, pace, lease)


def claim_lanes(limit: int, lease: timedelta = LEASE) -> tuple[list[Claimed], int]:
    """Lease up to `limit` lanes that are free and due, with their head messages; also how many lanes were looked at.

    A message that a dead worker left in `sending` on such a lane becomes `uncertain` in the same transaction.
    """
    return take_turn([], limit, Pace(0), lease)


def finish(claimed: Claimed, outcome: Outcome | None, pace: Pace) -> None:
    """Write the outcome down and free the lane: after the pace, or let it wait where nothing could be sent."""
    take_turn([(claimed, outcome)], 0, pace)


def mark_sending(claimed: Claimed, address: str) -> bool:
    """Marks a claimed message as `sending` to `address`; False where the claim is lost or the lane is stopped."""
    with transaction(SYSTEM) as tx:
        done = tx.execute(
            update(messages)
            .where(
                messages.c.id == claimed.id,
                messages.c.attempts == claimed.attempt,
                messages.c.state == State.QUEUED,
                messages.c.asked_at.is_(None),
                lanes.c.session_id == messages.c.session_id,
                lanes.c.available_at > func.clock_timestamp(),
                lanes.c.stopped_at.is_(None),
            )
            .values(state=State.SENDING, sending_at=func.clock_timestamp(), address=address, updated_at=func.now())
        )
    return bool(done.rowcount)


def settle(tx: Connection, ended: Sequence[tuple[Claimed, Outcome]]) -> set[UUID]:
    """Write down what became of deliveries, and join the acks that came before them.

    Returns the messages that were settled; the fence refuses an outcome whose message was claimed again since. A worker
    whose lease ended under it may still settle what was called uncertain meanwhile.
    """
    if not ended:
        return set()
    if keys := _ack_keys(ended):
        tx.execute(_LOCK_IDS, {"keys": keys})
    rows = tx.execute(_SETTLE, {"ended": _as_json(ended), "soon": RECONCILE_AFTER[0]}).all()
    by_id = {claimed.id: (claimed, outcome) for claimed, outcome in ended}
    for row in rows:
        claimed, outcome = by_id[row.id]
        if outcome.wpp_id and not row.adopted:
            adopt_wpp_id(tx, claimed.session_id, claimed.id, outcome.wpp_id, outcome.ack)
    return {row.id for row in rows}


def mark_uncertain_since(moment: datetime) -> int:
    """After the tables were set back to `moment`: what waited then and was due since may have left meanwhile.

    Those messages become uncertain and are looked for in their chats, never sent; returns how many there were.
    """
    due = func.greatest(messages.c.run_at, moment)
    with transaction(SYSTEM) as tx:
        done = tx.execute(
            update(messages)
            .where(messages.c.state.in_((State.QUEUED, State.SENDING)), messages.c.run_at <= func.now())
            .values(
                state=State.UNCERTAIN,
                failure="unknown",
                sending_at=func.coalesce(messages.c.sending_at, due),
                reconcile_at=func.now() + RECONCILE_AFTER[0],
                reconciliations=0,
                uncertain_at=func.now(),
                updated_at=func.now(),
            )
        )
    return int(done.rowcount)


def _take_turn(ended: Sequence[Ended], limit: int, pace: Pace, lease: timedelta) -> tuple[list[Claimed], int]:
    with notifying_transaction(SYSTEM) as (tx, notices):
        if ended:
            _settle_ended(tx, ended)
            free_lanes(tx, ended, pace)
        rows = _claim_ready(tx, limit, lease) if limit else []
        claimed = read_rows(Claimed, (row for row in rows if row.id is not None))
        changed = {delivery.user_id for delivery, _outcome in ended} | {row.user_id for row in claimed if row.sending}
        changed |= set(rows[0].abandoned or ()) if rows else set()
        notices |= {("live", f"message:{user_id}") for user_id in changed}
    return claimed, len(rows)


def _take_turn_alone(one: Ended, pace: Pace, lease: timedelta) -> None:
    claimed, _outcome = one
    try:
        _take_turn([one], 0, pace, lease)
    except DBAPIError as error:
        log.error("outcome_not_stored", message=str(claimed.id), error=type(error).__name__)
        _take_turn([(claimed, None)], 0, pace, lease)


def _claim_ready(tx: Connection, limit: int, lease: timedelta) -> Sequence[Record]:
    ids = tx.execute(READY_LANES, {"limit": limit}).scalars().all()
    put_off = set(tx.execute(PUT_OFF_LANES, {"ids": ids, "wait": OUT_OF_REACH}).scalars()) if ids else set()
    ids = [one for one in ids if one not in put_off]
    if not ids:
        return []
    patience = timedelta(hours=settings.get().sending.ask_after_hours)
    values = {"ids": ids, "lease": lease, "soon": RECONCILE_AFTER[0], "patience": patience}
    return tx.execute(_CLAIM, values).all()


def _settle_ended(tx: Connection, ended: Sequence[Ended]) -> None:
    settled = settle(tx, [(claimed, outcome) for claimed, outcome in ended if outcome is not None])
    for claimed, _outcome in ended:
        if claimed.id not in settled:
            log.warning("outcome_refused", message=str(claimed.id), attempt=claimed.attempt)


def _ack_keys(ended: Sequence[tuple[Claimed, Outcome]]) -> list[str]:
    return [f"{claimed.session_id}{get_message_key(outcome.wpp_id)}" for claimed, outcome in ended if outcome.wpp_id]


def _as_json(ended: Sequence[tuple[Claimed, Outcome]]) -> str:
    rows = [
        {
            "id": str(claimed.id),
            "session_id": str(claimed.session_id),
            "attempt": claimed.attempt,
            "state": outcome.state,
            "failure": outcome.failure,
            "wpp_id": outcome.wpp_id,
            "address": outcome.address,
            "ack": outcome.ack,
            "waiting": outcome.waiting,
            "later": outcome.later.total_seconds() if outcome.later else None,
        }
        for claimed, outcome in ended
    ]
    return json.dumps(rows)


# In one order, so that two processes never wait for each other; see `acknowledgements.lock_wpp_id`.
_LOCK_IDS = text(
    "select pg_advisory_xact_lock(hashtextextended(key, 0))"
    " from (select unnest(cast(:keys as text[])) as key order by 1) as keys"
)


_SETTLE = _QUERIES["settle"]
_CLAIM = _QUERIES["claim"]
