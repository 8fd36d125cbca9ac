"""Stores each WhatsApp message exactly once, however it came and however often.

`ingest_message` takes a message from a webhook as well as one that was read back later. What is new in a delivery
decides what it moves, not its id: a message can come again with the text that it lacked, with its file, or edited.
"""

import functools
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BindParameter,
    Boolean,
    ColumnElement,
    Connection,
    Text,
    and_,
    bindparam,
    case,
    func,
    literal,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.sql.dml import ReturningUpdate, Update

from services.contacts import contacts
from services.db.rows import read_row
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
from services.wppconnect.message_types import REVOKED_TYPE
from services.wppconnect.phone import ChatKind, get_chat_kind, get_phone_of_address

# A phone's clock may be ahead; what would come from further in the future was said now.
MAX_CLOCK_AHEAD = timedelta(minutes=5)
KIND_LIMIT = 40
# What such a row lacks may come later.
EMPTY_TYPES = (UNREADABLE_TYPE, REVOKED_TYPE)
NOTIFY_LOOKUPS = text("select pg_notify('lookups', '')")


class News(StrEnum):
    """What a delivery brought that was not known before."""

    NEW = "new"  # the message itself
    READABLE = "readable"  # what a known message says
    EDITED = "edited"  # other words of a known message


@dataclass(frozen=True)
class IngestedMessage:
    """A message of which something is new. `phone` is digits, None in groups and while only the `lid` is known.

    `text` is what the delivery says, `chosen_id` what a program calls a choice from its list, `changed_to` what the
    message says by an edit that was known before. `wrote`: a person said something, to people. `recovered`: it was read
    back, its webhook never came.
    """

    message_id: UUID
    session_id: UUID
    user_id: UUID
    contact_id: UUID
    direction: Direction
    kind: str
    text: str = field(repr=False)
    chosen_id: str | None = field(repr=False)
    changed_to: str | None = field(repr=False)
    wrote: bool
    phone: str | None
    lid: str | None
    is_group: bool
    at: datetime
    news: News
    recovered: bool

    @property
    def person(self) -> str | None:
        """Where whoever wrote is answered: digits, or a `@lid` without a number; None in groups."""
        return None if self.is_group else self.phone or self.lid


def ingest_message(
    tx: Connection,
    session_id: UUID,
    message: InboundMessage,
    at: datetime,
    *,
    recovered: bool = False,
    event_id: int | None = None,
) -> IngestedMessage | None:
    """Store one WhatsApp message of a session, in or out; None where nothing of it is new, or the session is gone.

    `at` is when it came to us; when it was said, WhatsApp tells. `event_id`: the event that may hold its file.

    Raises: nothing of its own.
    """
    said = _said_at(message, at)
    chat, message_id = _find_chat(tx, session_id, message, said)
    if chat is None:
        return None
    _store_edit(tx, session_id, message, said)
    values = _message_columns(tx, session_id, chat, message, said)
    values["file_event_id"] = event_id if values["fetch_at"] is not None else None
    if message_id is None:
        row: Record | None = tx.execute(_store_statement(), _statement_parameters(values, message)).one_or_none()
        news = News.NEW
        if row is not None:
            row = _follow_new_message(tx, session_id, row, message, said) or row
    else:
        row, news = _update_known(tx, message_id, message, values), News.READABLE
        if row is None and message.edited_at:
            row, news = _change_text(tx, message_id), News.EDITED
    if values["fetch_at"] is not None or (message.chat_id.endswith("@lid") and message.phone_id is None):
        tx.execute(NOTIFY_LOOKUPS)
    if row is None:
        return None
    first = row.text if news is News.EDITED else message.text
    return read_row(
        IngestedMessage,
        row,
        text=first,
        chosen_id=message.detail.get("chosen_id"),
        changed_to=row.text if row.text != first else None,
        wrote=message.wrote,
        session_id=session_id,
        news=news,
        recovered=recovered,
    )


def ingest_annotation(tx: Connection, session_id: UUID, mark: Annotation, at: datetime) -> IngestedMessage | None:
    """Store what became of a message; the message where an edit has just changed its words. What is left of a message
    that never came stands for it.

    Raises: nothing of its own.
    """
    if mark.left is not None:
        ingest_message(tx, session_id, mark.left, at)
    if not store_annotation(tx, session_id, mark, at):
        return None
    return apply_edit(tx, session_id, mark.message_id) if mark.kind == "edit" else None


def apply_edit(tx: Connection, session_id: UUID, wpp_id: str) -> IngestedMessage | None:
    """Let a message say what it was changed to; None where it says so already, or is not known."""
    message_id = acknowledgements.find_message_id(tx, session_id, wpp_id)
    row = _change_text(tx, message_id) if message_id is not None else None
    if row is None:
        return None
    wrote = get_chat_kind(row.address) in (ChatKind.PERSON, ChatKind.GROUP)
    return read_row(
        IngestedMessage,
        row,
        chosen_id=None,
        changed_to=None,
        wrote=wrote,
        session_id=session_id,
        news=News.EDITED,
        recovered=False,
    )


def link_addresses(tx: Connection, session_id: UUID, address: str, called: str) -> None:
    """A chat that was asked for by one address and that WhatsApp has under another: the two are one person."""
    phone = get_phone_of_address(called) or get_phone_of_address(address)
    lid = next((name for name in (called, address) if name.endswith("@lid")), None)
    if address != called and phone and lid:
        contacts.link_lid_to_phone(tx, session_id, lid, phone, datetime.now(UTC))


def _find_chat(
    tx: Connection, session_id: UUID, message: InboundMessage, said: datetime
) -> tuple[UUID | None, UUID | None]:
    """The contact of a message's chat, and the row of the message where there is one."""
    names = _list_chat_names(message)
    phone = next((found for name in names if (found := get_phone_of_address(name))), None)
    lid = next((name for name in names if name.endswith("@lid")), None)
    told = said if message.timestamp else None
    asked = select(
        contacts.select_contact_id(session_id, message.chat_id, phone, lid, told, _own_address(message)),
        acknowledgements.select_message_id(session_id, message.id, said, message.text, learns=True),
    )
    chat, message_id = tx.execute(asked).one()
    if message.is_group and message.author is not None:
        _know_author(tx, session_id, message, message.author, told)
    return chat, message_id


def _own_address(message: InboundMessage) -> str | None:
    """What a message calls the session's own side, by its phone."""
    own = message.from_ if message.from_me else message.to
    return own if get_phone_of_address(own) else None


def _list_chat_names(message: InboundMessage) -> list[str]:
    """Every address by which the event calls the chat of a message; several only of a person."""
    if get_chat_kind(message.chat_id) is not ChatKind.PERSON:
        return [message.chat_id]
    of_id = message.id.split("_")[1] if message.id.count("_") > 1 else None
    other = message.to if message.from_me else message.from_
    names = [message.chat_id, message.phone_id, of_id, other]
    return [name for name in names if name is not None and get_chat_kind(name) is ChatKind.PERSON]


def _know_author(tx: Connection, session_id: UUID, message: InboundMessage, author: str, told: datetime | None) -> None:
    """Whoever writes in a group is a contact as well, without a conversation: one person under any address, with a
    name."""
    lid = author if author.endswith("@lid") else None
    phone, own = get_phone_of_address(message.author_phone_id or author), _own_address(message)
    asked = select(contacts.select_contact_id(session_id, author, phone, lid, told, own))
    author_id = tx.execute(asked).scalar_one()
    if message.pushname or message.sender_name:
        tx.execute(_name_contact(message.pushname, message.sender_name).where(contact_rows.c.id == author_id))


def _name_contact(pushname: str | None, book_name: str | None) -> Update:
    """Take over the names that a contact has now, where one of them is new."""
    names = _select_names(literal(pushname, Text), literal(book_name, Text))
    changed = or_(*(contact_rows.c[column].is_distinct_from(name) for column, name in names.items()))
    return update(contact_rows).where(changed).values(names)


def _select_names(pushname: ColumnElement[Any], book_name: ColumnElement[Any]) -> dict[str, ColumnElement[Any]]:
    """How a contact calls itself, and how the phone's address book calls it, where its owner typed no name."""
    booked = func.coalesce(book_name, contact_rows.c.name)
    return {
        "pushname": func.coalesce(pushname, contact_rows.c.pushname),
        "name": case((contact_rows.c.name_typed, contact_rows.c.name), else_=booked),
    }


def _follow_new_message(
    tx: Connection, session_id: UUID, row: Record, message: InboundMessage, said: datetime
) -> Record | None:
    """What waited for a message that is known now, and what an own one says of the conversation. Its row again where an
    edit had come first."""
    if message.from_me:
        acknowledgements.apply_pending_acks(tx, session_id, row.message_id, message.id)
        reconciliation.hurry(tx, session_id)
        tx.execute(select(func.app.mark_read_on_phone(row.contact_id, said, message.text)))
    if not row.noted:
        return None
    acknowledgements.claim_annotations(tx, row.message_id)
    return _change_text(tx, row.message_id)


def _said_at(message: InboundMessage, at: datetime) -> datetime:
    said = datetime.fromtimestamp(message.timestamp, UTC) if message.timestamp else at
    return said if said <= at + MAX_CLOCK_AHEAD else at


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
        "detail": {**message.detail, **({"author": message.author} if message.author else {})},
        "quoted_wpp_id": message.quoted_id,
        "occurred_at": said,
        "run_at": said,
        "fetch_at": datetime.now(UTC) if message.has_file and kept is None else None,
    }


def _statement_parameters(values: dict[str, Any], message: InboundMessage) -> dict[str, Any]:
    """The parameters of `_store_statement`."""
    chat = get_chat_kind(message.chat_id)
    of_person = not message.from_me and chat is ChatKind.PERSON
    return {
        **{f"new_{name}": value for name, value in values.items()},
        "unread": not message.from_me and chat in (ChatKind.PERSON, ChatKind.GROUP) and message.type != REVOKED_TYPE,
        "pushname": message.pushname if of_person else None,
        "book_name": message.sender_name if of_person else None,
    }


def _has_media(tx: Connection, session_id: UUID, sha256: bytes) -> bool:
    mine = select(literal(1)).where(media_rows.c.user_id == select_owner(session_id), media_rows.c.sha256 == sha256)
    return tx.execute(mine).first() is not None


def _update_known(tx: Connection, message_id: UUID, message: InboundMessage, values: dict[str, Any]) -> Record | None:
    """A known message again: with what could not be read before, or with a file that had not come along. Its row where
    its words are known only now."""
    mine = message_rows.c.id == message_id
    readable = None
    if message.type not in EMPTY_TYPES:
        shown = ("kind", "media_sha256", "mimetype", "filename", "detail", "quoted_wpp_id", "fetch_at", "file_event_id")
        now_readable = (
            update(message_rows)
            .where(mine, contact_rows.c.id == message_rows.c.contact_id)
            .where(or_(message_rows.c.kind.in_(EMPTY_TYPES), _lacks_words(message, values["kind"])))
            .values({name: values[name] for name in shown})
            .values(body=func.coalesce(_select_edit(message_rows.c.session_id, message_rows.c.wpp_id), message.text))
            .returning(*_NEWS_COLUMNS)
        )
        readable = tx.execute(now_readable).one_or_none()
    if readable is None and values["media_sha256"] is not None:
        tx.execute(
            update(message_rows)
            .where(mine, message_rows.c.media_sha256.is_(None), message_rows.c.kind == values["kind"])
            .values(media_sha256=values["media_sha256"], mimetype=message.mimetype, fetch_at=None)
        )
    return readable


def _lacks_words(message: InboundMessage, kind: str) -> Any:
    """It came without the words that it has, and nobody edited them away."""
    edited = _select_edit(message_rows.c.session_id, message_rows.c.wpp_id).is_not(None)
    return and_(literal(bool(message.text)), message_rows.c.kind == kind, message_rows.c.body == "", ~edited)


def _change_text(tx: Connection, message_id: UUID) -> Record | None:
    """Let a message say what it was changed to; its row where that is new."""
    changed = _select_edit(message_rows.c.session_id, message_rows.c.wpp_id)
    return tx.execute(
        update(message_rows)
        .where(message_rows.c.id == message_id, contact_rows.c.id == message_rows.c.contact_id)
        .where(message_rows.c.kind.not_in(EMPTY_TYPES), message_rows.c.body != changed)
        .values(body=changed, updated_at=func.now())
        .returning(*_NEWS_COLUMNS)
    ).one_or_none()


def _select_edit(session_id: Any, wpp_id: Any) -> Any:
    """A sub-query for what a message was changed to; null where nobody edited it."""
    return (
        select(message_annotations.c.value["body"].as_string())
        .where(
            message_annotations.c.session_id == session_id,
            message_annotations.c.wpp_id == wpp_id,
            message_annotations.c.kind == "edit",
        )
        .scalar_subquery()
    )


def _store_edit(tx: Connection, session_id: UUID, message: InboundMessage, at: datetime) -> None:
    """The stock server posts no event for an edit: a message that comes again, or is read back, tells of it."""
    if message.edited_at:
        edit = Annotation(message.id, "edit", "", message.edited_at * 1000, {"body": message.text})
        store_annotation(tx, session_id, edit, at)


@functools.cache
def _store_statement() -> ReturningUpdate[Any]:
    """Store a message, and note its arrival with its contact; no row where it is known already.

    `noted`: something was told of it before it came. One statement, made once: at the pace of a flood, making it anew
    costs more than running it.
    """

    def new(name: str) -> BindParameter[Any]:
        return bindparam(f"new_{name}", type_=message_rows.c[name].type)

    values: dict[str, Any] = {name: new(name) for name in _STORED_COLUMNS}
    values["user_id"] = select_owner(new("session_id"))
    values["body"] = func.coalesce(_select_edit(new("session_id"), new("wpp_id")), new("body"))
    stored = insert(message_rows).values(values).on_conflict_do_nothing().returning(*message_rows.c).cte("stored")
    counts = and_(
        bindparam("unread", type_=Boolean),
        contact_rows.c.blocked_at.is_(None),
        func.coalesce(contact_rows.c.read_until, text("'-infinity'")) < new("occurred_at"),
    )
    noted = select(literal(1)).where(
        message_annotations.c.session_id == stored.c.session_id,
        func.app.get_message_key(message_annotations.c.wpp_id) == func.app.get_message_key(stored.c.wpp_id),
    )
    told = (
        update(contact_rows)
        .where(contact_rows.c.id == stored.c.contact_id)
        .values(
            last_message_at=func.greatest(contact_rows.c.last_message_at, new("occurred_at")),
            unread=contact_rows.c.unread + case((counts, 1), else_=0),
            **_select_names(bindparam("pushname", type_=Text), bindparam("book_name", type_=Text)),
        )
    )
    return told.returning(*_list_news_columns(stored.c), noted.exists().label("noted"))


def _list_news_columns(of: Any) -> tuple[Any, ...]:
    """The columns of an `IngestedMessage`, of a message `of` and its contact."""
    return (
        of.id.label("message_id"),
        of.user_id,
        of.contact_id,
        of.direction,
        of.kind,
        of.body.label("text"),
        of.occurred_at.label("at"),
        of.address,
        contact_rows.c.phone,
        contact_rows.c.lid,
        contact_rows.c.is_group,
    )


_NEWS_COLUMNS = _list_news_columns(message_rows.c)
_STORED_COLUMNS = (
    "session_id", "contact_id", "direction", "state", "ack", "accepted_at", "sent_at", "phone", "address",
    "contact_name", "kind", "body", "wpp_id", "media_sha256", "mimetype", "filename", "detail", "quoted_wpp_id",
    "occurred_at", "run_at", "fetch_at", "file_event_id",
)  # fmt: skip
