"""Messages of which nobody knows whether they left, and what their owner decides about each."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from sqlalchemy import (
    Connection,
    func,
    select,
    text,
    update,
)

from services.db.actor import Actor
from services.db.engine import transaction
from services.db.rows import read_rows
from services.db.tables.base import Record
from services.db.tables.fleet import sessions as session_rows
from services.db.tables.messaging import messages
from services.db.tables.platform import media as media_rows
from services.errors import Conflict, NotFound
from services.fleet import checks, session
from services.messaging.content import Content, Kind, Origin
from services.messaging.errors import SessionNotConnected
from services.messaging.outbox import queue_in_transaction
from services.messaging.reconciliation import CHAT_DEPTH
from services.messaging.state import (
    CONTENT_COLUMNS,
    MESSAGE_COLUMNS,
    SESSION_COLUMNS,
    Message,
    State,
    build_message,
    is_own_message,
)
from services.platform.media_store import Media
from services.wppconnect.errors import WppChatNotFound
from services.wppconnect.results import ChatMessage
from services.wppconnect.shared import get_client

# How long before a doubtful message its owner is shown what else left.
CHAT_LOOK_BACK = timedelta(minutes=10)


class Decision(StrEnum):
    """What a person makes of an uncertain message."""

    LEFT = "left"  # they saw it in the chat
    AGAIN = "again"  # it is not there: a new message with the same content
    DROPPED = "dropped"  # let it be


def list_uncertain(actor: Actor, limit: int = 50) -> list[Message]:
    """The actor's own messages of which nobody knows whether they left, oldest first."""
    doubts = select(*MESSAGE_COLUMNS).where(messages.c.user_id == actor.user_id, messages.c.state == State.UNCERTAIN)
    with transaction(actor) as tx:
        rows = tx.execute(doubts.order_by(messages.c.seq).limit(limit)).all()
    return [build_message(row) for row in rows]


def decide(actor: Actor, message_id: UUID, decision: Decision) -> Message:
    """End the doubt about one of the actor's own messages; with AGAIN the message that was queued in its stead is
    returned. The same decision twice changes and queues nothing more.

    Raises: NotFound; Conflict where the doubt has ended otherwise meanwhile; with AGAIN also SessionNotConnected, and
        what `outbox.queue_in_transaction` raises.
    """
    state = State.SENT if decision is Decision.LEFT else State.FAILED
    failures = {Decision.AGAIN: "sent_again", Decision.DROPPED: "dropped"}
    with transaction(actor) as tx:
        tx.execute(
            update(messages)
            .where(is_own_message(actor, message_id), messages.c.state == State.UNCERTAIN)
            .values(
                state=state,
                failure=failures.get(decision),
                sent_at=messages.c.sending_at if state is State.SENT else None,
                ended_at=func.now() if state is State.FAILED else None,
                reconcile_at=None,
                decided_at=func.now(),
                decision=decision,
                updated_at=func.now(),
            )
        )
        row = tx.execute(
            select(*MESSAGE_COLUMNS, messages.c.decision, *CONTENT_COLUMNS).where(is_own_message(actor, message_id))
        ).one_or_none()
        if row is None:
            raise NotFound(f"message {message_id}")
        if row.decision != decision:
            raise Conflict(f"message {message_id} is {row.state}")
        if decision is Decision.AGAIN:
            row = _queue_again(tx, actor, row)
    return build_message(row)


def read_chat(actor: Actor, message_id: UUID, limit: int = 5) -> list[ChatMessage]:
    """What left for the recipient of one of the actor's own messages around its sending, read from WhatsApp now: newest
    last.

    Raises: NotFound, WppError, ConfigurationError.
    """
    with transaction(actor) as tx:
        row = tx.execute(
            select(messages.c.phone, messages.c.address, messages.c.sending_at, *SESSION_COLUMNS).where(
                is_own_message(actor, message_id), session_rows.c.id == messages.c.session_id
            )
        ).one_or_none()
    if row is None:
        raise NotFound(f"message {message_id}")
    try:
        with checks.check_if_disconnected(actor, row.session_name):
            chat = get_client().get_messages(
                row.server_url, row.session_name, row.address or row.phone, count=CHAT_DEPTH
            )
    except WppChatNotFound:
        return []
    since = row.sending_at.timestamp() - CHAT_LOOK_BACK.total_seconds() if row.sending_at else 0.0
    return [one for one in chat if one.from_me and (one.timestamp or 0) >= since][-limit:]


@dataclass(frozen=True)
class DecisionsWaiting:
    """How many uncertain messages of one user wait for them, and since when the oldest does."""

    user_id: UUID
    email: str | None
    count: int
    oldest: datetime


def count_decisions_waiting(actor: Actor) -> list[DecisionsWaiting]:
    """For staff: whose uncertain messages wait for a person, most first. Never which.

    Raises: Forbidden.
    """
    actor.require_staff("messages.waiting_decisions")
    with transaction(actor) as tx:
        return read_rows(DecisionsWaiting, tx.execute(_DECISIONS_WAITING))


_DECISIONS_WAITING = text(
    "select c.user_id, d.email, c.waiting as count, c.oldest from app.count_uncertain() c"
    " left join app.directory d using (user_id) order by c.waiting desc, c.oldest"
)


def _queue_again(tx: Connection, actor: Actor, old: Record) -> Record:
    """Queue what an uncertain message carried once more; its key is made of the old one's id, so that it is once."""
    assert actor.user_id is not None
    status = tx.execute(select(session_rows.c.status).where(session_rows.c.id == old.session_id)).scalar_one_or_none()
    if status != session.Status.CONNECTED:
        raise SessionNotConnected(f"session of {actor.user_id}")
    held = select(media_rows).where(media_rows.c.user_id == actor.user_id, media_rows.c.sha256 == old.media_sha256)
    file = tx.execute(held).one_or_none() if old.media_sha256 else None
    content = Content(
        kind=Kind(old.kind),
        body=old.body,
        media=Media(file.user_id, file.sha256, file.mimetype, file.size) if file else None,
        filename=old.filename,
        detail=old.detail,
        quoted_wpp_id=old.quoted_wpp_id,
    )
    origin = Origin(old.template_id, old.template_version, old.schedule_id, old.campaign_id)
    key = f"again {old.id}"
    return queue_in_transaction(
        tx, actor.user_id, old.session_id, old.phone, content, key, old.contact_name, origin=origin
    )
