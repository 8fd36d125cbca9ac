"""A lane is a session's send queue: one message of it is under way at a time, in order, paced with jitter.

`lanes.available_at` is lease and pace at once. A worker that dies leaves its lane to the next one at the lease's end.

Where nothing can leave the lane waits (`waiting_reason`, since `waiting_since`, tried again at `retry_at`), and its
messages with it. While its session is down it is not tried at all: whoever moves a session's status holds and frees its
lane (`app.hold_lane`). While a server is away one lane asks for all of that server's; its first answer frees them all.
A lane whose session was found out of WhatsApp's reach (an open zombie incident) waits: nothing of it is claimed.
"""

import json
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import Connection, func, select, text

from services.db import queries
from services.db.tables.messaging import lanes
from services.messaging.claims import Claimed, Ended, Outcome
from services.messaging.pace import Pace
from services.messaging.state import WaitReason
from services.platform.worker_loop import get_seconds_until

_QUERIES = queries.load(__file__)

# Longer than the number's check and a file's way together may take (13 s + 43 s): a lease never ends under a live call.
LEASE = timedelta(seconds=60)
BACKOFF_LIMIT_SECONDS = 60.0
# When a lane is looked at again whose session was found out of WhatsApp's reach.
OUT_OF_REACH = timedelta(seconds=15)
# How long a lane waits at most until it is tried again; before that 1, 2, 4, … s. A server that is away and a session
# that says no cost a moment to ask, and people wait for them to come back.
RETRY_LIMIT_SECONDS = {
    WaitReason.SERVER: 5.0,
    WaitReason.SESSION: 5.0,
    WaitReason.FILES: 15.0,
    WaitReason.SETUP: 60.0,
    WaitReason.NO_ANSWER: 20.0,
}
# When the other lanes of a server that is away look for themselves, should the one that asks for them fall silent.
BESIDE_SECONDS = 30.0

# Whoever queues a message moves its lane's `due_at`. So a lane is held first, and only the next statement reads which
# messages wait on it: in one statement it would wait for such a commit and yet not see its message.
HOLD_LANES = text("select session_id from lanes where session_id = any(:ids) order by session_id for update")
READY_LANES = _QUERIES["ready_lanes"]
PUT_OFF_LANES = _QUERIES["put_off_lanes"]
_FREE_LANES = _QUERIES["free_lanes"]
_WAIT_BESIDE = _QUERIES["wait_beside"]


def next_due_in() -> float | None:
    """Seconds until the next lane is both free and due, or None while no message waits."""
    return get_seconds_until(select(func.min(lanes.c.ready_at)).scalar_subquery())


def free_lanes(tx: Connection, ended: Sequence[Ended], pace: Pace) -> None:
    """Frees the lanes of ended deliveries after the pace, or lets them wait, as do others of a server that is away."""
    tx.execute(HOLD_LANES, {"ids": [claimed.session_id for claimed, _outcome in ended]})
    tx.execute(
        _FREE_LANES, {"ended": json.dumps([_freed_as_json(claimed, outcome, pace) for claimed, outcome in ended])}
    )
    away = {claimed.server_url: claimed.session_id for claimed, outcome in ended if _is_away(outcome)}
    if away:
        asking = {"servers": list(away), "asking": list(away.values()), "seconds": BESIDE_SECONDS}
        tx.execute(_WAIT_BESIDE, asking)


def _is_away(outcome: Outcome | None) -> bool:
    return outcome is not None and outcome.waiting is WaitReason.SERVER


def _freed_as_json(claimed: Claimed, outcome: Outcome | None, pace: Pace) -> dict[str, object]:
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
        "reached": answered or waiting is WaitReason.SESSION,
    }
