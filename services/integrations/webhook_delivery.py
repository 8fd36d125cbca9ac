"""Outgoing webhooks: claims deliveries, posts them with signatures, and records the outcome.

    change ──same transaction, by trigger──▶ waiting ──claimed──▶ sending ──2xx──▶ done
                                                ▲                    │
                                                ├──later, for days───┤
                                                └──requeue──── dead ◀┘ the last try failed

A delivery holds ids. The payload is read when it is sent, as the endpoint's owner may see it. A delivery arrives
at least once: a worker that dies leaves its deliveries to the next one when the lease ends, and the receiver knows
a repetition by `webhook-id`.

No endpoint slows another one down: each has at most three posts under way. One that does not answer is tried with
a single post, ever more rarely, while its deliveries wait. None of this runs in the receiver.
"""

import functools
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Connection, DateTime, func, select, update
from standardwebhooks import Webhook

from services import settings
from services.db import queries
from services.db.actor import SYSTEM, Role, person
from services.db.engine import transaction
from services.db.rows import read_row
from services.db.tables.fleet import sessions as session_rows
from services.db.tables.integrations import webhook_deliveries as delivery_rows
from services.db.tables.integrations import webhook_endpoints
from services.db.tables.messaging import messages
from services.failure_log import FailureLog
from services.integrations.webhook_endpoints import TEST_EVENT, DeliveryState
from services.platform import safe_http
from services.platform.claim_pool import ClaimPool, settle
from services.platform.safe_http import Answer
from services.platform.worker_loop import get_seconds_until

_QUERIES = queries.load(__file__)

log = structlog.get_logger(__name__)
# How long the secret before the newest one signs too.
OLD_SECRET_SIGNS_FOR = timedelta(hours=24)

# The specification's own schedule: how long after each failed try the next one follows; after the last, none.
RETRY_AFTER = tuple(
    timedelta(seconds=seconds)
    for seconds in (5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 14 * 3600, 20 * 3600, 24 * 3600)
)
# So that what failed together does not come again together.
JITTER = (1.0, 1.1)
# An endpoint that nobody answers at is left alone for so long after its first, second, … failure in a row.
PAUSE_AFTER_FAILURE = tuple(timedelta(seconds=seconds) for seconds in (1, 5, 30, 120, 300))
# One that never answered for so long is turned off.
TURN_OFF_AFTER = timedelta(days=5)
GONE_STATUS = 410
# Answers that mean: nobody is there just now. Any other says that somebody is, whatever they think of this one post.
AWAY_STATUSES = frozenset({408, 425, 429, *range(500, 600)})

MAX_POSTS = 64
MAX_POSTS_PER_ENDPOINT = 3
# Longer than a post may take with the resolving of its name.
LEASE = timedelta(seconds=60)
DONE_RETENTION = timedelta(days=7)
DEAD_RETENTION = timedelta(days=30)
PURGE_BATCH_ROWS = 10_000


@dataclass(frozen=True)
class ClaimedDelivery:
    """A delivery that one worker holds. `attempt` fences its outcome: a later claim makes this one's void."""

    id: UUID
    endpoint_id: UUID
    user_id: UUID | None
    url: str
    secrets: tuple[str, ...] = field(repr=False)
    kind: str
    what: str | None
    message_id: UUID | None
    session_id: UUID | None
    created_at: datetime
    attempt: int


def build_sender(on_free: Callable[[], None] = lambda: None, at_once: int = MAX_POSTS) -> ClaimPool[ClaimedDelivery]:
    """What delivers to all endpoints, with up to `at_once` posts under way."""
    return ClaimPool("webhook", _claim, _deliver, at_once, on_free)


def next_due_in() -> float | None:
    """Seconds until the next delivery is due, None while none waits."""
    due = _NEXT_DUE.bindparams(each=MAX_POSTS_PER_ENDPOINT).columns(due=DateTime(timezone=True))
    return get_seconds_until(due.scalar_subquery())


def purge_expired() -> None:
    """Drop what was delivered over 7 days ago, and what nobody has heard, nor asked to replay, for 30 days."""
    with transaction(SYSTEM) as tx:
        tx.execute(_PURGE, {"done": DONE_RETENTION, "dead": DEAD_RETENTION, "limit": PURGE_BATCH_ROWS})


def _claim(limit: int) -> list[ClaimedDelivery]:
    bounds = {"limit": limit, "each": MAX_POSTS_PER_ENDPOINT, "lease": LEASE, "rotation": OLD_SECRET_SIGNS_FOR}
    with transaction(SYSTEM) as tx:
        rows = tx.execute(_CLAIM, bounds).all()
    return [
        read_row(ClaimedDelivery, row, secrets=[secret for secret in (row.secret, row.previous_secret) if secret])
        for row in rows
    ]


def _deliver(claimed: ClaimedDelivery) -> None:
    answer = _post(claimed)
    status, failure = (answer.status, answer.failure) if answer else (None, None)
    # Neither the address nor what was told: the endpoint's id leads to both.
    log.info("forwarded", endpoint=str(claimed.endpoint_id), kind=claimed.kind, status=status, failure=failure)
    settle(lambda: _record_answer(claimed, answer), _get_outcome_watch())


@functools.cache
def _get_outcome_watch() -> FailureLog:
    return FailureLog("webhook_outcomes")


def _post(claimed: ClaimedDelivery) -> Answer | None:
    """None where what was to be told is gone."""
    told = _get_payload_data(claimed)
    if told is None:
        return None
    payload = {"type": claimed.kind, "timestamp": claimed.created_at.astimezone(UTC).isoformat(), "data": told}
    body = json.dumps(payload, ensure_ascii=False, default=_to_json_value)
    headers = {"Content-Type": "application/json", **_sign(claimed, body)}
    return safe_http.post(claimed.url, body.encode(), headers, private=settings.get().webhooks.allow_private)


def _sign(claimed: ClaimedDelivery, body: str) -> dict[str, str]:
    """The specification's headers: the same id at each try, the moment of this one, a signature for each secret."""
    name, moment = f"msg_{claimed.id.hex}", datetime.now(UTC)
    signatures = [Webhook(secret).sign(name, moment, body) for secret in claimed.secrets]
    return {
        "webhook-id": name,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def _get_payload_data(claimed: ClaimedDelivery) -> Mapping[str, Any] | None:
    """What is told of the event, read as the endpoint's owner may see it: the database itself shows them no more."""
    if claimed.kind == TEST_EVENT:
        return {"endpoint": str(claimed.endpoint_id)}
    reader = SYSTEM if claimed.user_id is None else person(claimed.user_id, Role.USER)
    table, wanted = (session_rows, claimed.session_id) if claimed.message_id is None else (messages, claimed.message_id)
    columns = (_SESSION_COLUMNS_BY_OWNER if table is session_rows else _MESSAGE_COLUMNS_BY_OWNER)[
        claimed.user_id is not None
    ]
    with transaction(reader) as tx:
        named = (table.c[name].label(_PAYLOAD_NAMES.get(name, name)) for name in columns)
        row = tx.execute(select(*named).where(table.c.id == wanted)).one_or_none()
    if row is None:
        return None
    # It may have moved on since: what is told is the state that this event is about.
    came_to = "status" if table is session_rows else "state"
    return {**row._mapping, came_to: claimed.what}


def _record_answer(claimed: ClaimedDelivery, answer: Answer | None) -> None:
    with transaction(SYSTEM) as tx:
        if answer is None or answer.well:
            _set_state(tx, claimed, answer, DeliveryState.DONE)
            _mark_answering(tx, claimed)
            return
        if claimed.attempt > len(RETRY_AFTER) or answer.status == GONE_STATUS:
            _set_state(tx, claimed, answer, DeliveryState.DEAD)
        else:
            pause = RETRY_AFTER[claimed.attempt - 1] * random.uniform(*JITTER)
            _set_state(tx, claimed, answer, DeliveryState.WAITING, pause)
        _mark_not_answering(tx, claimed, answer)


def _set_state(
    tx: Connection,
    claimed: ClaimedDelivery,
    answer: Answer | None,
    state: DeliveryState,
    pause: timedelta = timedelta(),
) -> None:
    mine = (
        delivery_rows.c.id == claimed.id,
        delivery_rows.c.attempts == claimed.attempt,
        delivery_rows.c.state == DeliveryState.SENDING,
    )
    tx.execute(
        update(delivery_rows)
        .where(*mine)
        .values(
            state=state,
            next_at=func.clock_timestamp() + pause,
            last_status=answer.status if answer else None,
            last_error=answer.failure if answer else "no_subject",
            done_at=func.clock_timestamp() if state is DeliveryState.DONE else None,
            dead_at=func.clock_timestamp() if state is DeliveryState.DEAD else None,
        )
    )


def _mark_answering(tx: Connection, claimed: ClaimedDelivery) -> None:
    """Somebody is there: what waited for them goes at once."""
    ill = (webhook_endpoints.c.id == claimed.endpoint_id, webhook_endpoints.c.failures > 0)
    values = {"failures": 0, "failing_since": None, "available_at": func.clock_timestamp()}
    if tx.execute(update(webhook_endpoints).where(*ill).values(values)).rowcount:
        tx.execute(
            update(delivery_rows)
            .where(delivery_rows.c.endpoint_id == claimed.endpoint_id, delivery_rows.c.state == DeliveryState.WAITING)
            .values(next_at=func.clock_timestamp())
        )


def _mark_not_answering(tx: Connection, claimed: ClaimedDelivery, answer: Answer) -> None:
    mine = update(webhook_endpoints).where(webhook_endpoints.c.id == claimed.endpoint_id)
    if answer.status == GONE_STATUS:
        tx.execute(mine.values(active=False, off_reason="gone"))
    elif answer.status is None or answer.status in AWAY_STATUSES:
        pauses = {"pauses": list(PAUSE_AFTER_FAILURE), "most": len(PAUSE_AFTER_FAILURE), "give_up": TURN_OFF_AFTER}
        tx.execute(_PAUSE_ENDPOINT, {"id": claimed.endpoint_id, **pauses})


def _to_json_value(value: object) -> str:
    """For JSON: moments in UTC, ids as text."""
    return value.astimezone(UTC).isoformat() if isinstance(value, datetime) else str(value)


# Column names, without (False) and with (True) what is the owner's alone: texts, names and numbers.
_MESSAGE_COLUMNS = ("id", "user_id", "session_id", "direction", "state", "kind", "failure", "occurred_at", "created_at")
_MESSAGE_COLUMNS_BY_OWNER = {
    False: _MESSAGE_COLUMNS,
    True: (*_MESSAGE_COLUMNS, "phone", "address", "contact_id", "contact_name", "body", "mimetype", "filename",
           "detail", "wpp_id", "quoted_wpp_id", "idempotency_key", "sent_at", "delivered_at", "read_at"),
}  # fmt: skip
# What the payload calls a column otherwise than the table.
_PAYLOAD_NAMES = {"occurred_at": "at"}
_SESSION_COLUMNS = ("id", "user_id", "session_id", "status", "failure", "connected_at")
_SESSION_COLUMNS_BY_OWNER = {False: _SESSION_COLUMNS, True: (*_SESSION_COLUMNS, "phone_number")}

_CLAIM = _QUERIES["claim"]
_NEXT_DUE = _QUERIES["next_due"]
_PAUSE_ENDPOINT = _QUERIES["pause_endpoint"]
_PURGE = _QUERIES["purge"]
