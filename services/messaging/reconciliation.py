"""Reading the chats of uncertain messages: what is found there left, and is never sent again."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import (
    Connection,
    case,
    func,
    select,
    update,
)

from services.db.actor import SYSTEM
from services.db.engine import transaction
from services.db.tables.base import Record
from services.db.tables.fleet import sessions as session_rows
from services.db.tables.messaging import messages
from services.errors import ConfigurationError
from services.fleet import checks
from services.messaging import transport
from services.messaging.acknowledgements import adopt_wpp_id
from services.messaging.state import CONTENT_COLUMNS, MESSAGE_COLUMNS, SESSION_COLUMNS, State
from services.wppconnect.errors import WppError
from services.wppconnect.results import ChatMessage
from services.wppconnect.shared import get_client

log = structlog.get_logger(__name__)
CHAT_DEPTH = 50
# When an uncertain message's chat is read: soon, then ever later; after the last it waits for a person.
RECONCILE_AFTER = tuple(timedelta(seconds=seconds) for seconds in (5, 15, 60, 300, 1800))


def reconcile(limit: int = 50) -> int:
    """Read the chats of uncertain messages back and settle those that are found there; returns how many were asked."""
    with transaction(SYSTEM) as tx:
        due = (
            select(messages.c.id)
            .where(messages.c.state == State.UNCERTAIN, messages.c.reconcile_at <= func.now())
            .order_by(messages.c.reconcile_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        rows = tx.execute(
            update(messages)
            .where(messages.c.id.in_(due), session_rows.c.id == messages.c.session_id)
            .values(reconciliations=messages.c.reconciliations + 1, reconcile_at=_next_reconciliation())
            .returning(
                *MESSAGE_COLUMNS,
                *CONTENT_COLUMNS,
                messages.c.user_id,
                messages.c.address,
                messages.c.sending_at,
                *SESSION_COLUMNS,
            )
        ).all()
    for row in rows:
        _reconcile_message(row)
    return len(rows)


def hurry(tx: Connection, session_id: UUID) -> None:
    """Read the chats of a session's uncertain messages at the next turn: WhatsApp has just told of one that left."""
    tx.execute(
        update(messages)
        .where(messages.c.session_id == session_id, messages.c.reconcile_at > func.now())
        .values(reconcile_at=func.now())
    )


def _next_reconciliation() -> Any:
    after = {number: func.now() + delay for number, delay in enumerate(RECONCILE_AFTER[1:])}
    return case(after, value=messages.c.reconciliations, else_=None)


def _reconcile_message(row: Record) -> None:
    try:
        with checks.check_if_disconnected(SYSTEM, row.session_name):
            chat = get_client().get_messages(
                row.server_url, row.session_name, row.address or row.phone, count=CHAT_DEPTH
            )
    except (WppError, ConfigurationError) as error:
        log.info("reconcile_unanswered", message=str(row.id), error=type(error).__name__)
        return
    with transaction(SYSTEM) as tx:
        found = any(
            _adopt_candidate(tx, row, candidate)
            for candidate in chat
            if transport.could_be(candidate, row, row.sending_at)
        )
    log.info("reconciled", message=str(row.id), found=found)


def _adopt_candidate(tx: Connection, row: Record, candidate: ChatMessage) -> bool:
    if not adopt_wpp_id(tx, row.session_id, row.id, candidate.id, max(candidate.ack or 0, 0)):
        return False
    tx.execute(update(messages).where(messages.c.id == row.id).values(reconciled_at=func.now()))
    tx.execute(
        update(messages)
        .where(messages.c.id == row.id, messages.c.state == State.UNCERTAIN)
        .values(
            state=State.ACCEPTED,
            failure=None,
            accepted_at=func.now(),
            reconcile_at=None,
            updated_at=func.now(),
        )
    )
    return True
