"""The worker's part of a restriction: it counts what became of messages to strangers, and lets those who were refused
wait again.

Called under the lock of the sender's campaign lane. What is counted was noted by the database in the transaction that
took the acknowledgement (`app.record_cold_outcome`), and each note is taken once.
"""

from dataclasses import asdict
from datetime import datetime
from uuid import UUID

import structlog
from sqlalchemy import Connection, update

from services.db import queries
from services.db.rows import read_row
from services.db.tables.base import Record
from services.db.tables.outreach import campaign_lanes
from services.messaging.state import REFUSALS
from services.outreach.campaign_state import is_lane_of
from services.outreach.restriction import ColdOutcome, Restriction

_QUERIES = queries.load(__file__)

log = structlog.get_logger(__name__)
# A stranger is tried once more this often after a refusal that counted towards a restriction.
MAX_RETRIES = 2


def count_outcomes(tx: Connection, user_id: UUID, lane: Record, now: datetime) -> Restriction:
    """Count what became of a sender's messages to strangers since the last time; returns how it stands now."""
    before = read_row(Restriction, lane)
    rows = tx.execute(_TAKE_OUTCOMES, {"user": user_id}).all()
    arrived = [row.message_id for row in rows if row.outcome != ColdOutcome.REFUSED]
    if arrived:
        tx.execute(_SETTLE_ARRIVED, {"messages": arrived})
    after = before.at(now)
    for row in rows:
        if row.sent_at is not None:
            after = after.after_outcome(ColdOutcome(row.outcome), row.sent_at, now)
    if after != before:
        store_restriction(tx, user_id, after)
    began = before.restricted_at is None and after.restricted_at is not None
    if after.restricted_at is not None and rows:
        _let_wait(tx, user_id, after, began=began)
    if began or (before.restricted_at is not None and after.restricted_at is None):
        log.warning("campaign_restriction", user=str(user_id), restricted=after.restricted_at is not None)
    return after


def store_restriction(tx: Connection, user_id: UUID, restriction: Restriction) -> None:
    """Writes down how WhatsApp takes a sender's messages to strangers."""
    tx.execute(update(campaign_lanes).where(is_lane_of(user_id)).values(**asdict(restriction)))


def _let_wait(tx: Connection, user_id: UUID, restriction: Restriction, *, began: bool) -> None:
    """Strangers who were refused wait again, and so do, as it begins, those whose message has not left yet."""
    refused = {
        "user": user_id, "since": restriction.refused_since, "most": MAX_RETRIES, "refusals": list(REFUSALS)
    }  # fmt: skip
    found = list(tx.execute(_PUT_BACK_REFUSED, refused).scalars())
    if began:
        found += tx.execute(_TAKE_BACK_QUEUED, {"user": user_id}).scalars()
    if found:
        tx.execute(_REOPEN, {"campaigns": found})


_TAKE_OUTCOMES = _QUERIES["take_outcomes"]
_PUT_BACK_REFUSED = _QUERIES["put_back_refused"]
_TAKE_BACK_QUEUED = _QUERIES["take_back_queued"]
_REOPEN = _QUERIES["reopen"]
_SETTLE_ARRIVED = _QUERIES["settle_arrived"]
