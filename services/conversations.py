"""What comes in becomes conversations: each WhatsApp message exactly once, whichever way and however often it came.

`take_in` is for a message that a webhook brought as well as for one that was read back later: what all names of a
WhatsApp message have in common (`events.message_key`) makes them one. What happens to a message later (a reaction, an
edit, a deletion, a vote) is a mark beside it, of which the newest counts, so that it may come first, twice or late.
"""

import functools
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BindParameter,
    Boolean,
    ColumnElement,
    Connection,
    ScalarSelect,
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
from sqlalchemy.sql.dml import ReturningUpdate

from services import contacts, messages, optouts
from services.db.models import Record, message_marks, sessions
from services.db.models import contacts as contact_rows
from services.db.models import media as media_rows
from services.db.models import messages as message_rows
from services.messages import Direction, State
from services.wppconnect.events import UNREADABLE, InboundMessage, Mark
from services.wppconnect.phone import ChatKind, chat_kind, of_address

# A phone's clock may be ahead; what would come from further in the future was said now.
CLOCK_AHEAD = timedelta(minutes=5)
MAX_KIND = 40
ME, THEM = "me", "them"
RING_LOOKUPS = text("select pg_notify('lookups', '')")


@dataclass(frozen=True)
class Taken:
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


def take_in(
    tx: Connection, session_id: UUID, message: InboundMessage, at: datetime, *, recovered: bool = False
) -> Taken | None:
    """Store one WhatsApp message of a session, in or out; None where it is known already, or the session is gone.

    `at` is when it came to us; when it was said, WhatsApp tells. Raises nothing of its own.
    """
    turn = messages.turn_of(session_id, message.id)
    contact_id = contacts.of(tx, session_id, message.chat_id, message.phone_id, also=turn)
    if contact_id is None:
        return None
    said = _said_at(message, at)
    _edited(tx, session_id, message, said)
    values = _values(tx, session_id, contact_id, message, said)
    is_new = not message.from_me and _counts_as_unread(message)
    stored = tx.execute(_store_and_tell(), _stored_and_told(values, message, unread=is_new)).one_or_none()
    if stored is None:
        stored = _known_already(tx, session_id, message, values)
        if stored is None:
            return None
    elif message.from_me:
        messages.adopt_parked(tx, session_id, message.id)
        messages.hurry_reconciliation(tx, session_id)
    if values["fetch_at"] is not None or (message.chat_id.endswith("@lid") and message.phone_id is None):
        tx.execute(RING_LOOKUPS)
    if is_new and stored.phone is not None and (word := optouts.is_word(message.text)) is not None:
        optouts.note(tx, stored.user_id, stored.phone, word)
    return Taken(
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


def same_person(tx: Connection, session_id: UUID, address: str, called: str) -> None:
    """A chat that was asked for by one address and that WhatsApp has under another: the two are one person."""
    phone = of_address(called) or of_address(address)
    lid = next((name for name in (called, address) if name.endswith("@lid")), None)
    if address != called and phone and lid:
        contacts.identify(tx, session_id, lid, phone)


def mark(tx: Connection, session_id: UUID, found: Mark, at: datetime) -> bool:
    """Note what became of a message; of two of the same person the newer counts. False where the session is gone.

    `at` is when it came to us, for one that does not say itself when it happened.
    """
    user_id = _owner(tx, session_id)
    if user_id is None:
        return False
    messages.serialise(tx, session_id, found.message_id)
    message_id = messages.known_as(tx, session_id, found.message_id)
    who = "" if found.kind in ("edit", "revoke") else _who(found)
    happened = datetime.fromtimestamp(found.at / 1000, UTC) if found.at and found.at < _END_MS else at
    made = insert(message_marks).values(
        session_id=session_id,
        wpp_id=message_id,
        kind=found.kind,
        who=who,
        user_id=user_id,
        at=happened,
        value=dict(found.value),
    )
    tx.execute(
        made.on_conflict_do_update(
            index_elements=["session_id", "wpp_id", "kind", "who"],
            set_={"at": made.excluded.at, "value": made.excluded.value},
            where=_newer(made.excluded),
        )
    )
    if found.kind == "edit":
        _apply_edit(tx, session_id, message_id)
    return True


def receipt(tx: Connection, session_id: UUID, wpp_id: str, participant: str, ack: int, at: datetime) -> None:
    """Note how far a message to a group got with one of its people; never backwards."""
    user_id = _owner(tx, session_id)
    if user_id is None:
        return
    made = insert(message_marks).values(
        session_id=session_id,
        wpp_id=messages.known_as(tx, session_id, wpp_id),
        kind="receipt",
        who=participant,
        user_id=user_id,
        at=at,
        value={"ack": ack},
    )
    further = made.excluded.value["ack"].as_integer() > message_marks.c.value["ack"].as_integer()
    tx.execute(
        made.on_conflict_do_update(
            index_elements=["session_id", "wpp_id", "kind", "who"],
            set_={"at": made.excluded.at, "value": made.excluded.value},
            where=further,
        )
    )


_END_MS = 4_102_444_800_000  # 2100-01-01


def _newer(excluded: Any) -> ColumnElement[bool]:
    """By time; two of one moment in an order that does not depend on which came first."""
    later = excluded.at > message_marks.c.at
    same = and_(excluded.at == message_marks.c.at, excluded.value > message_marks.c.value)
    return or_(later, same)


def _who(found: Mark) -> str:
    """In a chat of two there is one other person, whichever of their addresses the event names."""
    chat = found.message_id.split("_")[1] if "_" in found.message_id else ""
    if found.who == ME or chat_kind(chat) is not ChatKind.PERSON:
        return found.who
    return THEM


def _owner_of(session_id: UUID | BindParameter[UUID]) -> ScalarSelect[UUID]:
    return select(sessions.c.user_id).where(sessions.c.id == session_id).scalar_subquery()


def _owner(tx: Connection, session_id: UUID) -> UUID | None:
    found: UUID | None = tx.execute(select(_owner_of(session_id))).scalar_one()
    return found


def _said_at(message: InboundMessage, at: datetime) -> datetime:
    said = datetime.fromtimestamp(message.timestamp, UTC) if message.timestamp else at
    return said if said <= at + CLOCK_AHEAD else at


def _counts_as_unread(message: InboundMessage) -> bool:
    return chat_kind(message.chat_id) in (ChatKind.PERSON, ChatKind.GROUP)


def _values(
    tx: Connection, session_id: UUID, contact_id: UUID, message: InboundMessage, said: datetime
) -> dict[str, Any]:
    kept = message.file.sha256 if message.file and _is_kept(tx, session_id, message.file.sha256) else None
    out, ack = message.from_me, max(message.ack or 0, 0)
    return {
        "session_id": session_id,
        "contact_id": contact_id,
        "direction": "out" if out else "in",
        "state": messages.STATE_OF_ACK.get(ack, State.ACCEPTED) if out else State.RECEIVED,
        "ack": ack,
        "accepted_at": said if out else None,
        "sent_at": said if ack >= 1 else None,
        "phone": of_address(message.phone_id or message.chat_id) or message.chat_id,
        "address": message.chat_id,
        "contact_name": message.sender_name or message.pushname,
        "kind": message.type[:MAX_KIND],
        "body": message.text,
        "wpp_id": message.id,
        "media_sha256": kept,
        "mimetype": message.mimetype,
        "filename": message.filename,
        "detail": {**message.detail, **({"author": message.sender_id} if message.is_group and not out else {})},
        "quoted_wpp_id": message.quoted_id,
        "at": said,
        "run_at": said,
        "fetch_at": datetime.now(UTC) if message.has_file and kept is None else None,
    }


def _stored_and_told(values: dict[str, Any], message: InboundMessage, *, unread: bool) -> dict[str, Any]:
    """The parameters of `_store_and_tell`."""
    of_person = not message.from_me and chat_kind(message.chat_id) is ChatKind.PERSON
    return {
        **{f"new_{name}": value for name, value in values.items()},
        "unread": unread,
        "pushname": message.pushname if of_person else None,
        "sender_name": message.sender_name if of_person else None,
    }


def _is_kept(tx: Connection, session_id: UUID, sha256: bytes) -> bool:
    mine = select(literal(1)).where(media_rows.c.user_id == _owner_of(session_id), media_rows.c.sha256 == sha256)
    return tx.execute(mine).first() is not None


def _known_already(tx: Connection, session_id: UUID, message: InboundMessage, values: dict[str, Any]) -> Record | None:
    """The same message again: with what could not be read before, with a file that had not come along, or edited.
    Returns its row where it can be read only now: then it is as good as new."""
    mine = messages.of_wpp_id(session_id, message.id)
    if message.type != UNREADABLE:
        shown = ("kind", "body", "media_sha256", "mimetype", "filename", "detail", "quoted_wpp_id", "fetch_at")
        phone = select(contact_rows.c.phone).where(contact_rows.c.id == message_rows.c.contact_id).scalar_subquery()
        now_readable = (
            update(message_rows)
            .where(mine, message_rows.c.kind == UNREADABLE)
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


def _edited(tx: Connection, session_id: UUID, message: InboundMessage, at: datetime) -> None:
    """The stock server posts no event for an edit: a message that comes again, or is read back, tells of it."""
    if message.edited_at:
        edit = Mark(message.id, "edit", "", message.edited_at * 1000, {"body": message.text})
        mark(tx, session_id, edit, at)


def _apply_edit(tx: Connection, session_id: UUID, wpp_id: str) -> None:
    """Let a message say what it was changed to, if it was."""
    tx.execute(
        update(message_rows)
        .where(
            messages.of_wpp_id(session_id, wpp_id),
            message_marks.c.session_id == session_id,
            message_marks.c.wpp_id == wpp_id,
            message_marks.c.kind == "edit",
            message_rows.c.body != message_marks.c.value["body"].as_string(),
        )
        .values(body=message_marks.c.value["body"].as_string())
    )


@functools.cache
def _store_and_tell() -> ReturningUpdate[Any]:
    """Store a message, and note its arrival with its contact; no row where it is known already.

    One statement, made once: at the pace of a flood, making it anew costs more than running it.
    """

    def new(name: str) -> BindParameter[Any]:
        return bindparam(f"new_{name}", type_=message_rows.c[name].type)

    changed = select(message_marks.c.value["body"].as_string()).where(
        message_marks.c.session_id == new("session_id"),
        message_marks.c.wpp_id == new("wpp_id"),
        message_marks.c.kind == "edit",
    )
    values: dict[str, Any] = {name: new(name) for name in _STORED}
    values["user_id"] = _owner_of(new("session_id"))
    values["body"] = func.coalesce(changed.scalar_subquery(), new("body"))
    stored = (
        insert(message_rows)
        .values(values)
        .on_conflict_do_nothing(
            index_elements=[message_rows.c.session_id, func.app.message_key(message_rows.c.wpp_id)],
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
            last_message_at=func.greatest(contact_rows.c.last_message_at, new("at")),
            unread=contact_rows.c.unread + case((counts, 1), else_=0),
            pushname=func.coalesce(bindparam("pushname", type_=Text), contact_rows.c.pushname),
            name=func.coalesce(contact_rows.c.name, bindparam("sender_name", type_=Text)),
        )
    )
    return told.returning(stored.c.id, stored.c.user_id, contact_rows.c.phone)


_STORED = (
    "session_id", "contact_id", "direction", "state", "ack", "accepted_at", "sent_at", "phone", "address",
    "contact_name", "kind", "body", "wpp_id", "media_sha256", "mimetype", "filename", "detail", "quoted_wpp_id", "at",
    "run_at", "fetch_at",
)  # fmt: skip
