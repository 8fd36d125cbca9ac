"""What happens to a message later: reactions, edits, deletions, votes and receipts.

Each is stored beside its message; the newest of a person counts. So it may come before its message, twice, or late.
"""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    ScalarSelect,
    and_,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import insert

from services.db.tables.fleet import sessions
from services.db.tables.inbound import message_annotations
from services.db.tables.messaging import messages as message_rows
from services.messaging import acknowledgements
from services.wppconnect.events import Annotation
from services.wppconnect.phone import ChatKind, get_chat_kind

ME, THEM = "me", "them"


def store_annotation(tx: Connection, session_id: UUID, found: Annotation, at: datetime) -> bool:
    """Note what became of a message; of two of the same person the newer counts. False where the session is gone.

    `at` is when it came to us, for one that does not say itself when it happened. What an edit changes is for
    `ingest.apply_edit`.
    """
    user_id = _get_owner(tx, session_id)
    if user_id is None:
        return False
    message_id = _get_known_name(tx, session_id, found.message_id)
    who = "" if found.kind in ("edit", "revoke") else _annotator(found)
    happened = datetime.fromtimestamp(found.at / 1000, UTC) if found.at and found.at < _MAX_TIMESTAMP_MS else at
    made = insert(message_annotations).values(
        session_id=session_id,
        wpp_id=message_id,
        kind=found.kind,
        author=who,
        user_id=user_id,
        occurred_at=happened,
        value=dict(found.value),
    )
    tx.execute(
        made.on_conflict_do_update(
            index_elements=["session_id", "wpp_id", "kind", "author"],
            set_={"occurred_at": made.excluded.occurred_at, "value": made.excluded.value},
            where=_is_newer(made.excluded),
        )
    )
    return True


def store_receipt(tx: Connection, session_id: UUID, wpp_id: str, participant: str, ack: int, at: datetime) -> None:
    """Note how far a message to a group got with one of its people; never backwards."""
    user_id = _get_owner(tx, session_id)
    if user_id is None:
        return
    made = insert(message_annotations).values(
        session_id=session_id,
        wpp_id=_get_known_name(tx, session_id, wpp_id),
        kind="receipt",
        author=participant,
        user_id=user_id,
        occurred_at=at,
        value={"ack": ack},
    )
    further = made.excluded.value["ack"].as_integer() > message_annotations.c.value["ack"].as_integer()
    tx.execute(
        made.on_conflict_do_update(
            index_elements=["session_id", "wpp_id", "kind", "author"],
            set_={"occurred_at": made.excluded.occurred_at, "value": made.excluded.value},
            where=further,
        )
    )


_MAX_TIMESTAMP_MS = 4_102_444_800_000  # 2100-01-01


def _is_newer(excluded: Any) -> ColumnElement[bool]:
    """By time; two of one moment in an order that does not depend on which came first."""
    later = excluded.occurred_at > message_annotations.c.occurred_at
    same = and_(excluded.occurred_at == message_annotations.c.occurred_at, excluded.value > message_annotations.c.value)
    return or_(later, same)


def _annotator(found: Annotation) -> str:
    """In a chat of two there is one other person, whichever of their addresses the event names."""
    chat = found.message_id.split("_")[1] if "_" in found.message_id else ""
    if found.who == ME or get_chat_kind(chat) is not ChatKind.PERSON:
        return found.who
    return THEM


def select_owner(session_id: UUID | BindParameter[UUID]) -> ScalarSelect[UUID]:
    """A sub-query for the user of a session; it gives null where the session is gone."""
    return select(sessions.c.user_id).where(sessions.c.id == session_id).scalar_subquery()


def _get_owner(tx: Connection, session_id: UUID) -> UUID | None:
    found: UUID | None = tx.execute(select(select_owner(session_id))).scalar_one()
    return found


def _get_known_name(tx: Connection, session_id: UUID, wpp_id: str) -> str:
    """The name under which the session's row has a WhatsApp message; `wpp_id` itself where there is no row."""
    if (message_id := acknowledgements.find_message_id(tx, session_id, wpp_id)) is None:
        return wpp_id
    named = select(message_rows.c.wpp_id).where(message_rows.c.id == message_id)
    return tx.execute(named).scalar_one() or wpp_id
