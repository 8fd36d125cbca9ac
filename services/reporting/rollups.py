"""Rollups: totals of the messages by quarter hours, counted again by the worker wherever a message has changed.

A trigger notes which quarters are out of date (`report_dirty_buckets`). A round takes such notes and, in the same
transaction, counts each quarter from the messages themselves. So whatever comes late, twice or out of order, the
totals are those of the rows, and rebuilding all of them gives the same numbers. A change during a round makes a
new note.

A message belongs to the quarter in which it was to leave (`run_at`), an inbound one to that in which it came. An
answer is what a person wrote (no campaign, no schedule, not failed) after the other side had written. Its response
time counts from the first inbound message that nobody had answered.
"""

from collections.abc import Callable

from sqlalchemy import Connection, text

from services.db import queries
from services.db.actor import SYSTEM
from services.db.engine import transaction
from services.platform.worker_loop import Periodic

_QUERIES = queries.load(__file__)

# How old a figure may be before the next round looks: what a person waits for at most, beside the round itself.
ROUND_SECONDS = 1.0
# A quarter into which a hundred thousand messages fall takes a while to count: rounds take a fifth of the time at most.
REST_FACTOR = 4
# Notes that one round takes: enough for any load, little enough for a transaction of well under a second.
NOTES_PER_ROUND = 2_000


def build_rounds() -> Periodic:
    """The rounds of one worker; the longer a round took, the longer the rest after it."""
    return Periodic(run_round, lambda took: max(ROUND_SECONDS, REST_FACTOR * took))


def run_round(limit: int = NOTES_PER_ROUND) -> bool:
    """One round. True where there may be more to do; False also while another process is at it."""
    with transaction(SYSTEM) as tx:
        if not tx.execute(_TRY_LOCK).scalar_one():
            return False
        return _count_noted_quarters(tx, limit) >= limit


def rebuild(progress: Callable[[int, int], object] | None = None) -> int:
    """Count every quarter anew from the messages; returns how many there were. `progress(done, of)` after each batch.

    The figures stay readable meanwhile, and the worker may go on.
    """
    with transaction(SYSTEM) as tx:
        quarters = tx.execute(_ALL_QUARTERS).all()
    for start in range(0, len(quarters), NOTES_PER_ROUND):
        batch = quarters[start : start + NOTES_PER_ROUND]
        with transaction(SYSTEM) as tx:
            tx.execute(_LOCK)
            _count_quarters(tx, [row.user_id for row in batch], [row.quarter for row in batch])
        if progress is not None:
            progress(start + len(batch), len(quarters))
    return len(quarters)


def _count_noted_quarters(tx: Connection, limit: int) -> int:
    notes = tx.execute(_TAKE_NOTES, {"limit": limit}).all()
    if notes:
        given = {
            "users": [row.user_id for row in notes],
            "quarters": [row.quarter for row in notes],
            "phones": [row.phone for row in notes],
        }
        dirty = tx.execute(_AFFECTED_QUARTERS, given).all()
        _count_quarters(tx, [row.user_id for row in dirty], [row.quarter for row in dirty])
        tx.execute(_NOTIFY, {"users": list({row.user_id for row in notes})})
    return len(notes)


def _count_quarters(tx: Connection, users: list[object], quarters: list[object]) -> None:
    """Replace the figures of these quarters, of everybody's in them, and of the days around them."""
    given = {"users": users, "quarters": quarters}
    for statement in (
        _DELETE_QUARTERS,
        _INSERT_QUARTERS,
        _DELETE_SUMS,
        _INSERT_SUMS,
        _INSERT_TIMES_SUMS,
        _DELETE_DAYS,
        _INSERT_DAYS,
    ):
        tx.execute(statement, given)


_TRY_LOCK = text("select pg_try_advisory_xact_lock(hashtextextended('rollups', 0))")
_LOCK = text("select pg_advisory_xact_lock(hashtextextended('rollups', 0))")

_TAKE_NOTES = _QUERIES["take_notes"]
_AFFECTED_QUARTERS = _QUERIES["affected_quarters"]
_ALL_QUARTERS = _QUERIES["all_quarters"]
_DELETE_QUARTERS = _QUERIES["delete_quarters"]
_INSERT_QUARTERS = _QUERIES["insert_quarters"]
_DELETE_SUMS = _QUERIES["delete_sums"]
_INSERT_SUMS = _QUERIES["insert_sums"]
_INSERT_TIMES_SUMS = _QUERIES["insert_times_sums"]
_DELETE_DAYS = _QUERIES["delete_days"]
_INSERT_DAYS = _QUERIES["insert_days"]
_NOTIFY = _QUERIES["notify"]
