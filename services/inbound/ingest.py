"""Stores each WhatsApp message exactly once, however it came and however often.

`ingest_message` takes a message from a webhook as well as one that was read back later. All names of a WhatsApp message
have the same key (`event_keys.get_message_key`), which makes them one message.
"""

import functools
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BindParameter,
    Boolean,
    Connection,
    Text,
    and_,
    bindparam,
    case,
    func,
    literal,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.sql.dml import ReturningUpdate

from services.contacts import contacts, opt_outs
from services.db.tables.base import Record
from services.db.tables.contacts import contacts as contact_rows
from services.db.tables.inbound import message_annotations
from services.db.tables.messaging import messages as message_rows
from services.db.tables.platform import media as media_rows
from services.inbound.annotations import select_owner, store_annotation
from services.messaging import acknowledgements, reconciliation, state
from services.messaging.state import Direction, State
from services.wppconnect.event_keys import UNREADABLE_TYPE
from services.wppconnect.events import Annotation, InboundMessage
from services.wppconnect.phone import ChatKind, get_chat_kind, get_phone_of_address

# A phone's clock may be ahead; what would come from further in the future was said now.
MAX_CLOCK_AHEAD = timedelta(minutes=5)
KIND_LIMIT = 40
NOTIFY_LOOKUPS = text("select pg_notify('lookups', '')")


@dataclass(frozen=True)
class IngestedMessage:
    """A message that is new to us. `phone` is digits, None in groups and while only a `@lid` is known.

    `recovered`: it was read back, its webhook never came.
    """

    message_id: UUID
    session_id: UUID
    user_id: UUID
    contact_id: UUID
    direction: Direction
    kind: str
    text: str = field(repr=False)
    phone: str | None
    is_group: bool
    at: datetime
    recovered: bool


def ingest_message(
    tx: Connection, session_id: UUID, message: InboundMessage, at: datetime, *, recovered: bool = False
) -> IngestedMessage | None:
    """Store one WhatsApp message of a session, in or out; None where it is known already, or the session is gone.

    `at` is when it came to us; when it was said, WhatsApp tells.

    Raises: nothing of its own.
    """
    turn = acknowledgements.wpp_id_lock(session_id, message.id)
    contact_id = contacts.get_or_create(tx, session_id, message.chat_id, message.phone_id, also=turn)
    if contact_id is None:
        return None
    said = _said_at(message, at)
    _store_edit(tx, session_id, message, said)
    values = _message_columns(tx, session_id, contact_id, message, said)
    is_new = not message.from_me and _counts_as_unread(message)
    stored = tx.execute(_store_statement(), _statement_parameters(values, message, unread=is_new)).one_or_none()
    if stored is None:
        stored = _update_known(tx, session_id, message, values)
        if stored is None:
            return None
    elif message.from_me:
        acknowledgements.apply_pending_acks(tx, session_id, message.id)
        reconciliation.hurry(tx, session_id)
    if values["fetch_at"] is not None or (message.chat_id.endswith("@lid") and message.phone_id is None):
        tx.execute(NOTIFY_LOOKUPS)
    if is_new and stored.phone is not None and (word := opt_outs.match_word(message.text)) is not None:
        opt_outs.record(tx, stored.user_id, stored.phone, word)
    return IngestedMessage(
        message_id=stored.id,
        session_id=session_id,
        user_id=stored.user_id,
        contact_id=contact_id,
        direction="out" if message.from_me else "in",
        kind=values["kind"],
        text=message.text,
        phone=stored.phone,
        is_group=message.is_group,
        at=said,
        recovered=recovered,
    )


def link_addresses(tx: Connection, session_id: UUID, address: str, called: str) -> None:
    """A chat that was asked for by one address and that WhatsApp has under another: the two are one person."""
    phone = get_phone_of_address(called) or get_phone_of_address(address)
    lid = next((name for name in (called, address) if name.endswith("@lid")), None)
    if address != called and phone and lid:
        contacts.link_lid_to_phone(tx, session_id, lid, phone)


def _said_at(message: InboundMessage, at: datetime) -> datetime:
    said = datetime.fromtimestamp(message.timestamp, UTC) if message.timestamp else at
    return said if said <= at + MAX_CLOCK_AHEAD else at


def _counts_as_unread(message: InboundMessage) -> bool:
    return get_chat_kind(message.chat_id) in (ChatKind.PERSON, ChatKind.GROUP)


def _message_columns(
    tx: Connection, session_id: UUID, contact_id: UUID, message: InboundMessage, said: datetime
) -> dict[str, Any]:
    kept = message.file.sha256 if message.file and _has_media(tx, session_id, message.file.sha256) else None
    out, ack = message.from_me, max(message.ack or 0, 0)
    return {
        "session_id": session_id,
        "contact_id": contact_id,
        "direction": "out" if out else "in",
        "state": state.STATE_OF_ACK.get(ack, State.ACCEPTED) if out else State.RECEIVED,
        "ack": ack,
        "accepted_at": said if out else None,
        "sent_at": said if ack >= 1 else None,
        "phone": get_phone_of_address(message.phone_id or message.chat_id) or message.chat_id,
        "address": message.chat_id,
        "contact_name": message.sender_name or message.pushname,
        "kind": message.type[:KIND_LIMIT],
        "body": message.text,
        "wpp_id": message.id,
        "media_sha256": kept,
        "mimetype": message.mimetype,
        "filename": message.filename,
        "detail": {**message.detail, **({"author": message.sender_id} if message.is_group and not out else {})},
        "quoted_wpp_id": message.quoted_id,
        "occurred_at": said,
        "run_at": said,
        "fetch_at": datetime.now(UTC) if message.has_file and kept is None else None,
    }


def _statement_parameters(values: dict[str, Any], message: InboundMessage, *, unread: bool) -> dict[str, Any]:
    """The parameters of `_store_statement`."""
    of_person = not message.from_me and get_chat_kind(message.chat_id) is ChatKind.PERSON
    return {
        **{f"new_{name}": value for name, value in values.items()},
        "unread": unread,
        "pushname": message.pushname if of_person else None,
        "sender_name": message.sender_name if of_person else None,
    }


def _has_media(tx: Connection, session_id: UUID, sha256: bytes) -> bool:
    mine = select(literal(1)).where(media_rows.c.user_id == select_owner(session_id), media_rows.c.sha256 == sha256)
    return tx.execute(mine).first() is not None


def _update_known(tx: Connection, session_id: UUID, message: InboundMessage, values: dict[str, Any]) -> Record | None:
    """The same message again: with what could not be read before, with a file that had not come along, or edited.
    Returns its row where it can be read only now: then it is as good as new."""
    mine = acknowledgements.has_wpp_id(session_id, message.id)
    if message.type != UNREADABLE_TYPE:
        shown = ("kind", "body", "media_sha256", "mimetype", "filename", "detail", "quoted_wpp_id", "fetch_at")
        phone = select(contact_rows.c.phone).where(contact_rows.c.id == message_rows.c.contact_id).scalar_subquery()
        now_readable = (
            update(message_rows)
            .where(mine, message_rows.c.kind == UNREADABLE_TYPE)
            .values({name: values[name] for name in shown})
            .returning(message_rows.c.id, message_rows.c.user_id, phone.label("phone"))
        )
        if (row := tx.execute(now_readable).one_or_none()) is not None:
            return row
    if values["media_sha256"] is not None:
        tx.execute(
            update(message_rows)
            .where(mine, message_rows.c.media_sha256.is_(None), message_rows.c.kind == values["kind"])
            .values(media_sha256=values["media_sha256"], mimetype=message.mimetype, fetch_at=None)
        )
    return None


def _store_edit(tx: Connection, session_id: UUID, message: InboundMessage, at: datetime) -> None:
    """The stock server posts no event for an edit: a message that comes again, or is read back, tells of it."""
    if message.edited_at:
        edit = Annotation(message.id, "edit", "", message.edited_at * 1000, {"body": message.text})
        store_annotation(tx, session_id, edit, at)


@functools.cache
def _store_statement() -> ReturningUpdate[Any]:
    """Store a message, and note its arrival with its contact; no row where it is known already.

    One statement, made once: at the pace of a flood, making it anew costs more than running it.
    """

    def new(name: str) -> BindParameter[Any]:
        return bindparam(f"new_{name}", type_=message_rows.c[name].type)

    changed = select(message_annotations.c.value["body"].as_string()).where(
        message_annotations.c.session_id == new("session_id"),
        message_annotations.c.wpp_id == new("wpp_id"),
        message_annotations.c.kind == "edit",
    )
    values: dict[str, Any] = {name: new(name) for name in _STORED_COLUMNS}
    values["user_id"] = select_owner(new("session_id"))
    values["body"] = func.coalesce(changed.scalar_subquery(), new("body"))
    stored = (
        insert(message_rows)
        .values(values)
        .on_conflict_do_nothing(
            index_elements=[message_rows.c.session_id, func.app.get_message_key(message_rows.c.wpp_id)],
            index_where=text("wpp_id is not null"),
        )
        .returning(message_rows.c.id, message_rows.c.user_id, message_rows.c.contact_id)
        .cte("stored")
    )
    counts = and_(bindparam("unread", type_=Boolean), contact_rows.c.blocked_at.is_(None))
    told = (
        update(contact_rows)
        .where(contact_rows.c.id == stored.c.contact_id)
        .values(
            last_message_at=func.greatest(contact_rows.c.last_message_at, new("occurred_at")),
            unread=contact_rows.c.unread + case((counts, 1), else_=0),
            pushname=func.coalesce(bindparam("pushname", type_=Text), contact_rows.c.pushname),
            name=func.coalesce(contact_rows.c.name, bindparam("sender_name", type_=Text)),
        )
    )
    return told.returning(stored.c.id, stored.c.user_id, contact_rows.c.phone)


_STORED_COLUMNS = (
    "session_id", "contact_id", "direction", "state", "ack", "accepted_at", "sent_at", "phone", "address",
    "contact_name", "kind", "body", "wpp_id", "media_sha256", "mimetype", "filename", "detail", "quoted_wpp_id",
    "occurred_at", "run_at", "fetch_at",
)  # fmt: skip
