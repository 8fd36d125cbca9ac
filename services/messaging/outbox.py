"""Queueing a message once, reading one's own messages, and taking one back before it leaves."""

from datetime import datetime
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import (
    Connection,
    and_,
    func,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from services.db.actor import Actor
from services.db.engine import transaction
from services.db.notify import notifying_transaction
from services.db.rows import read_row
from services.db.tables.base import Record
from services.db.tables.fleet import sessions as session_rows
from services.db.tables.messaging import lanes, messages
from services.errors import N_, Conflict, NotFound
from services.fleet.session import Status
from services.messaging.content import Content, Origin, check_content
from services.messaging.errors import SessionNotConnected
from services.messaging.state import (
    MESSAGE_COLUMNS,
    Direction,
    Message,
    State,
    Wait,
    build_message,
    is_own_message,
)
from services.wppconnect.phone import read_address

log = structlog.get_logger(__name__)


class TooLateToCancel(Conflict):
    """The message has begun to leave, or has ended."""

    code = "tarde_demais"
    message = N_("Tarde demais: a mensagem já começou a sair ou já terminou.")
    hint = N_("O estado dela na lista é o verdadeiro.")


def queue(
    actor: Actor,
    phone: str,
    content: str | Content,
    idempotency_key: str,
    contact_name: str | None = None,
    run_at: datetime | None = None,
    origin: Origin | None = None,
) -> Message:
    """Queue a text (or any `Content`) for the actor's own session, to leave at `run_at` (default now).

    `phone` is an address in any form (`phone.read_address`): a number as people write it, a person's `…@lid`, a
    group's `…@g.us`. The same `idempotency_key` of the same user queues once: a
    repetition returns the first message.

    Raises: EmptyMessage, MessageTooLong, InvalidPhone, SessionNotConnected, and Conflict where the key came with
        another recipient or content before.
    """
    user_id = actor.require_user("only a signed-in user sends")
    checked = check_content(content, idempotency_key)
    to = read_address(phone)
    with notifying_transaction(actor) as (tx, notices):
        session = tx.execute(
            select(session_rows.c.id, session_rows.c.status).where(session_rows.c.user_id == user_id)
        ).one_or_none()
        if session is None or session.status != Status.CONNECTED:
            raise SessionNotConnected(f"session of {user_id}")
        row = queue_in_transaction(tx, user_id, session.id, to, checked, idempotency_key, contact_name, run_at, origin)
        notices |= {("lanes", ""), ("live", f"message:{user_id}")}
    log.info("message_queued", message=str(row.id))
    return build_message(row)


def queue_in_transaction(
    tx: Connection,
    user_id: UUID,
    session_id: UUID,
    phone: str,
    content: Content,
    idempotency_key: str,
    contact_name: str | None = None,
    run_at: datetime | None = None,
    origin: Origin | None = None,
) -> Record:
    """Queue inside the caller's transaction, whose role may be the worker's: for schedules and campaigns.

    `phone` is digits already, a person's `…@lid` or a group's `…@g.us`. A key that was used before gives that message's
    row back.

    Raises: EmptyMessage, MessageTooLong, NotFound for somebody else's file, and Conflict where the key came with
        another recipient or content before.
    """
    content = check_content(content, idempotency_key)
    if content.media is not None and content.media.user_id != user_id:
        raise NotFound("media of somebody else")
    row = _insert(tx, user_id, session_id, phone, content, idempotency_key, contact_name, run_at, origin or Origin())
    row = row or tx.execute(select(*MESSAGE_COLUMNS).where(_has_key(user_id, idempotency_key))).one()
    sha256 = content.media.sha256 if content.media else None
    if (row.phone, row.kind, row.body, row.media_sha256) != (phone, content.kind, content.body, sha256):
        raise Conflict(f"idempotency key {idempotency_key!r} was used for another message")
    return row


def list_recent(
    actor: Actor, limit: int = 30, *, direction: Direction | None = "out", before: int | None = None
) -> list[Message]:
    """The actor's own newest messages, newest first.

    Of one direction, or (None) of both; with `before` only those of a smaller `seq`.
    """
    mine = select(*MESSAGE_COLUMNS).where(messages.c.user_id == actor.user_id)
    if direction is not None:
        mine = mine.where(messages.c.direction == direction)
    if before is not None:
        mine = mine.where(messages.c.seq < before)
    with transaction(actor) as tx:
        rows = tx.execute(mine.order_by(messages.c.seq.desc()).limit(limit)).all()
    return [build_message(row) for row in rows]


def get_message(actor: Actor, message_id: UUID) -> Message:
    """One of the actor's own messages.

    Raises: NotFound, also where it is somebody else's.
    """
    with transaction(actor) as tx:
        row = tx.execute(
            select(*MESSAGE_COLUMNS).where(messages.c.id == message_id, messages.c.user_id == actor.user_id)
        ).one_or_none()
    if row is None:
        raise NotFound(f"message {message_id}")
    return build_message(row)


def cancel(actor: Actor, message_id: UUID) -> Message:
    """Take one of the actor's own messages back: it works until the moment of sending, and only then returns.

    Raises: TooLateToCancel where it has begun to leave, or has ended; NotFound, also where it is somebody else's.
    """
    with transaction(actor) as tx:
        row = tx.execute(
            update(messages)
            .where(is_own_message(actor, message_id), messages.c.state == State.QUEUED)
            .values(state=State.CANCELLED, ended_at=func.now(), updated_at=func.now())
            .returning(*MESSAGE_COLUMNS)
        ).one_or_none()
    if row is None:
        raise TooLateToCancel(f"message {message_id} is {get_message(actor, message_id).state}")
    return build_message(row)


def get_wait(actor: Actor) -> Wait | None:
    """What everything that is due in the actor's own session waits for; None while it leaves, or nothing is due."""
    due = select(
        lanes.c.waiting_reason.label("reason"),
        func.greatest(lanes.c.waiting_since, lanes.c.due_at).label("since"),
    ).where(
        session_rows.c.user_id == actor.user_id, session_rows.c.id == lanes.c.session_id, lanes.c.due_at <= func.now()
    )
    with transaction(actor) as tx:
        row = tx.execute(due).one_or_none()
    return read_row(Wait, row) if row is not None and row.reason else None


# Inside the transaction, unless its opener notifies at commit.
_NOTIFY_LANES = text(
    "select pg_notify('lanes', '') where coalesce(current_setting('app.notifies_at_commit', true), '') <> 'on'"
)


def _insert(
    tx: Connection,
    user_id: UUID,
    session_id: UUID,
    phone: str,
    content: Content,
    key: str,
    contact_name: str | None,
    run_at: datetime | None,
    origin: Origin,
) -> Record | None:
    due = run_at if run_at is not None else func.now()
    request_id = structlog.contextvars.get_contextvars().get("request_id")
    # The lane first, as the worker does: two who took lane and contact the other way round would end in a deadlock.
    tx.execute(update(lanes).where(lanes.c.session_id == session_id).values(due_at=func.least(lanes.c.due_at, due)))
    row = tx.execute(
        insert(messages)
        .values(
            session_id=session_id,
            user_id=user_id,
            direction="out",
            state=State.QUEUED,
            phone=phone,
            contact_name=contact_name,
            kind=content.kind,
            body=content.body,
            media_sha256=content.media.sha256 if content.media else None,
            mimetype=content.media.mimetype if content.media else None,
            filename=content.filename,
            detail=dict(content.detail),
            quoted_wpp_id=content.quoted_wpp_id,
            template_id=origin.template_id,
            template_version=origin.template_version,
            schedule_id=origin.schedule_id,
            campaign_id=origin.campaign_id,
            cold=origin.cold,
            idempotency_key=key,
            request_id=request_id,
            run_at=due,
        )
        .on_conflict_do_nothing(
            index_elements=["user_id", "idempotency_key"], index_where=text("idempotency_key is not null")
        )
        .returning(*MESSAGE_COLUMNS)
    ).one_or_none()
    if row is not None:
        tx.execute(_NOTIFY_LANES)
    return row


def _has_key(user_id: UUID, key: str) -> Any:
    return and_(messages.c.user_id == user_id, messages.c.idempotency_key == key)
