"""Conversations as people read them: the list of chats, one thread, and a search through all messages.

Users read their own. Staff read a user's conversations only with a break-glass grant, which the database itself checks.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Select,
    Text,
    and_,
    case,
    cast,
    func,
    or_,
    select,
    text,
    tuple_,
)
from sqlalchemy.dialects.postgresql import distinct_on

from services.contacts import contacts
from services.contacts.contacts import Contact
from services.db.actor import Actor
from services.db.engine import transaction
from services.db.like import contains_pattern
from services.db.rows import read_row, read_rows
from services.db.tables.base import Record
from services.db.tables.contacts import contact_addresses
from services.db.tables.contacts import contacts as contact_rows
from services.db.tables.inbound import message_annotations
from services.db.tables.messaging import messages as message_rows
from services.inbound.annotations import ME
from services.inbound.ingest import MAX_CLOCK_AHEAD
from services.messaging.state import MESSAGE_COLUMNS, Message, State, build_message
from services.wppconnect.event_keys import get_message_key

CHATS_PAGE_SIZE = 30
THREAD_PAGE_SIZE = 40
MAX_PAGES = 25
MAX_HITS = 30
MIN_SEARCH_LENGTH = 2
PREVIEW_LENGTH = 120
# Fewer digits are not a part of a number.
MIN_DIGITS = 3
ACK_DELIVERED, ACK_READ = 2, 3


class Cursor(NamedTuple):
    """Where a page of chats ended: what `chats(after=…)` takes for the next."""

    at: datetime
    id: UUID


@dataclass(frozen=True)
class Preview:
    """The newest message of a chat, as the list shows it; `text` is cut."""

    kind: str
    text: str = field(repr=False)
    outgoing: bool
    state: State
    revoked: bool


@dataclass(frozen=True)
class Chat:
    """A line of the list."""

    contact: Contact
    last_message_at: datetime | None
    last: Preview | None


@dataclass(frozen=True)
class ChatPage:
    """Chats, the newest first; `after` is the place where the next page begins, None at the end."""

    chats: list[Chat]
    after: Cursor | None


@dataclass(frozen=True)
class Annotations:
    """What became of a message later. `reactions`: emoji → how many; `votes`: option → how many. `mine`: the owner's
    own reaction. `delivered_to`, `read_by`: how many of a group, where the server told."""

    reactions: Mapping[str, int] = field(default_factory=dict)
    mine: str = ""
    votes: Mapping[str, int] = field(default_factory=dict)
    revoked_at: datetime | None = None
    edited_at: datetime | None = None
    delivered_to: int = 0
    read_by: int = 0


@dataclass(frozen=True)
class Quoted:
    """The message that another one answers; `text` is cut."""

    outgoing: bool
    author: str | None = field(repr=False)
    kind: str
    text: str = field(repr=False)


@dataclass(frozen=True)
class ThreadMessage:
    """One message of a thread. `at` is when it was said. `fetching`: its file is on its way."""

    message: Message
    wpp_id: str | None
    at: datetime
    quoted: Quoted | None
    annotations: Annotations
    fetching: bool


@dataclass(frozen=True)
class Thread:
    """One conversation, its newest messages, the oldest of them first; `more`: there are older ones."""

    contact: Contact
    messages: list[ThreadMessage]
    more: bool


@dataclass(frozen=True)
class SearchHit:
    """A message that a search found, and with whom it was; `author`: who wrote it in a group, where a name or number is
    known."""

    message_id: UUID
    contact_id: UUID
    name: str = field(repr=False)
    author: str | None = field(repr=False)
    at: datetime
    outgoing: bool
    text: str = field(repr=False)


def list_chats(
    actor: Actor, search: str = "", after: Cursor | None = None, whose: UUID | None = None, of_number: str | None = None
) -> ChatPage:
    """A page (30) of the conversations of `whose` (default: the actor), newest first, by a part of a name, a label or a
    number where `search` is given. `of_number`: those of an earlier number of the session (digits)."""
    number = None if of_number is None else func.app.get_address_key(of_number)
    of = and_(contact_rows.c.user_id == (whose or actor.user_id), contact_rows.c.of_number.is_not_distinct_from(number))
    at = contact_rows.c.last_message_at
    statement = select(*contacts.COLUMNS, at).where(of, at.is_not(None), *_matches_search(search))
    if after is not None:
        statement = statement.where(tuple_(at, contact_rows.c.id) < tuple_(after.at, after.id))
    newest = statement.order_by(at.desc(), contact_rows.c.id.desc()).limit(CHATS_PAGE_SIZE + 1).subquery()
    last = _select_last_message(newest.c.id).lateral("last")
    listed = select(newest, last).select_from(newest.outerjoin(last, text("true")))
    with transaction(actor) as tx:
        rows = tx.execute(listed.order_by(newest.c.last_message_at.desc(), newest.c.id.desc())).all()
    found = [_build_chat(row) for row in rows[:CHATS_PAGE_SIZE]]
    end = found[-1] if len(rows) > CHATS_PAGE_SIZE else None
    return ChatPage(found, Cursor(end.last_message_at, end.contact.id) if end and end.last_message_at else None)


def get_thread(actor: Actor, contact_id: UUID, limit: int = THREAD_PAGE_SIZE) -> Thread:
    """The newest `limit` messages with one contact.

    Raises: NotFound, also where the actor may not see it.
    """
    newest = (
        select(*MESSAGE_COLUMNS, *_THREAD_COLUMNS)
        .where(message_rows.c.contact_id == contact_id)
        .order_by(message_rows.c.occurred_at.desc(), message_rows.c.seq.desc())
        .limit(limit + 1)
    )
    found = contacts.get(actor, contact_id)
    with transaction(actor) as tx:
        rows = tx.execute(newest).all()
        shown = rows[:limit][::-1]
        annotated = _list_annotations(tx, shown) if shown else []
        quoted = tx.execute(_select_quoted(shown)).all() if any(row.quoted_wpp_id for row in shown) else []
    by_key = {key: read_row(Quoted, row) for row in quoted for key in (get_message_key(row.wpp_id), _get_stanza(row))}
    return Thread(found, [_thread_message(row, annotated, by_key) for row in shown], more=len(rows) > limit)


def count_pages_to(actor: Actor, message_id: UUID) -> int:
    """How many pages (of 40) of its thread reach back to a message, at most 25; 1 where it is not there."""
    of = select(message_rows.c.contact_id, message_rows.c.occurred_at).where(message_rows.c.id == message_id).cte("of")
    newer = (
        select(message_rows.c.id)
        .join(of, and_(message_rows.c.contact_id == of.c.contact_id, message_rows.c.occurred_at >= of.c.occurred_at))
        .limit(MAX_PAGES * THREAD_PAGE_SIZE)
        .subquery()
    )
    with transaction(actor) as tx:
        count = tx.execute(select(func.count()).select_from(newer)).scalar_one()
    return max(-(-count // THREAD_PAGE_SIZE), 1)


def search_messages(actor: Actor, typed: str, whose: UUID | None = None) -> list[SearchHit]:
    """The newest messages (up to 30) of `whose` (default: the actor) that hold every word of `typed`, in any form of it
    and with or without accents; `"…"` finds a phrase, `-` excludes. Empty for fewer than 2 letters."""
    if len(typed.strip()) < MIN_SEARCH_LENGTH:
        return []
    ids = func.app.search_messages(whose or actor.user_id, typed.replace("\0", ""), MAX_HITS).table_valued("message_id")
    authors, named = contact_rows.alias("authors"), contact_addresses.c
    author = func.app.get_address_key(message_rows.c.detail["author"].as_string())
    wrote = _name_of(authors, message_rows.c.contact_name, authors.c.phone)
    statement = (
        select(
            message_rows.c.id.label("message_id"),
            message_rows.c.contact_id,
            _name_of(contact_rows, message_rows.c.phone).label("name"),
            case((contact_rows.c.is_group, wrote)).label("author"),
            message_rows.c.occurred_at.label("at"),
            _OUTGOING,
            message_rows.c.body.label("text"),
        )
        .join(ids, ids.c.message_id == message_rows.c.id)
        .join(contact_rows, contact_rows.c.id == message_rows.c.contact_id)
        .outerjoin(contact_addresses, and_(named.session_id == message_rows.c.session_id, named.address == author))
        .outerjoin(authors, authors.c.id == named.contact_id)
        .order_by(message_rows.c.occurred_at.desc(), message_rows.c.seq.desc())
    )
    with transaction(actor) as tx:
        return read_rows(SearchHit, tx.execute(statement))


def _name_of(contact: FromClause, *otherwise: ColumnElement[str | None]) -> ColumnElement[str | None]:
    """How a contact is called: by its owner, by itself, or else as the first of `otherwise`."""
    return func.coalesce(func.nullif(contact.c.name, ""), func.nullif(contact.c.pushname, ""), *otherwise)


_OUTGOING = (message_rows.c.direction == "out").label("outgoing")
_CUT_BODY = func.left(message_rows.c.body, PREVIEW_LENGTH).label("text")
_THREAD_COLUMNS = (
    message_rows.c.session_id,
    message_rows.c.contact_id,
    message_rows.c.wpp_id,
    message_rows.c.occurred_at.label("at"),
    message_rows.c.quoted_wpp_id,
    message_rows.c.fetch_at.is_not(None).label("fetching"),
)


def _matches_search(search: str) -> list[ColumnElement[bool]]:
    if not search.strip():
        return []
    part, digits = contains_pattern(search), re.sub(r"[^0-9]", "", search)
    labels = func.array_to_string(contact_rows.c.labels, " ")
    ways = [column.ilike(part) for column in (contact_rows.c.name, contact_rows.c.pushname, labels)]
    if len(digits) >= MIN_DIGITS:
        ways.append(contact_rows.c.phone.like(contains_pattern(digits)))
    return [or_(*ways)]


def _select_last_message(contact_id: ColumnElement[UUID]) -> Select[Any]:
    """A contact's newest message; what is to leave later is none yet."""
    revoked = select(message_annotations.c.occurred_at).where(
        message_annotations.c.session_id == message_rows.c.session_id,
        message_annotations.c.wpp_id == message_rows.c.wpp_id,
        message_annotations.c.kind == "revoke",
    )
    return (
        select(
            message_rows.c.kind,
            _CUT_BODY,
            _OUTGOING,
            message_rows.c.state,
            revoked.exists().label("revoked"),
        )
        .where(message_rows.c.contact_id == contact_id, message_rows.c.occurred_at < func.now() + MAX_CLOCK_AHEAD)
        .order_by(message_rows.c.occurred_at.desc(), message_rows.c.seq.desc())
        .limit(1)
    )


def _list_annotations(tx: Connection, shown: Sequence[Record]) -> list[Record]:
    """What became of the messages shown: of each person the newest, whichever of their addresses it came under."""
    ids = [row.wpp_id for row in shown if row.wpp_id is not None]
    author = func.coalesce(
        select(cast(contact_addresses.c.contact_id, Text))
        .where(
            contact_addresses.c.session_id == message_annotations.c.session_id,
            contact_addresses.c.address == func.app.get_address_key(message_annotations.c.author),
        )
        .scalar_subquery(),
        message_annotations.c.author,
    ).label("person")
    of = message_annotations.c
    # A receipt counts by how far it got, all others by their time.
    newest = case((of.kind == "receipt", of.value["ack"].as_integer()), else_=0).desc(), of.occurred_at.desc()
    statement = (
        select(message_annotations, author)
        .where(of.session_id == shown[0].session_id, of.wpp_id.in_(ids))
        .ext(distinct_on(of.wpp_id, of.kind, text("person")))
        .order_by(of.wpp_id, of.kind, text("person"), *newest)
    )
    return list(tx.execute(statement))


def _select_quoted(shown: Sequence[Record]) -> Select[Any]:
    named = [get_message_key(row.quoted_wpp_id) for row in shown if row.quoted_wpp_id is not None]
    # A quote may name only the stanza, which says nothing of who wrote it.
    keys = [key for name in named for key in ((name,) if "_" in name else (f"true_{name}", f"false_{name}"))]
    return select(
        message_rows.c.wpp_id,
        _OUTGOING,
        message_rows.c.contact_name.label("author"),
        message_rows.c.kind,
        _CUT_BODY,
    ).where(
        message_rows.c.contact_id == shown[0].contact_id,
        message_rows.c.wpp_id.is_not(None),
        func.app.get_message_key(message_rows.c.wpp_id).in_(keys),
    )


def _get_stanza(row: Record) -> str:
    return get_message_key(row.wpp_id).partition("_")[2]


def _build_chat(row: Record) -> Chat:
    last = read_row(Preview, row) if row.kind is not None else None
    return read_row(Chat, row, contact=read_row(Contact, row), last=last)


def _thread_message(row: Record, annotated: Sequence[Record], quoted: Mapping[str, Quoted]) -> ThreadMessage:
    return read_row(
        ThreadMessage,
        row,
        message=build_message(row),
        quoted=quoted.get(get_message_key(row.quoted_wpp_id)) if row.quoted_wpp_id else None,
        annotations=_summarise_annotations([one for one in annotated if one.wpp_id == row.wpp_id]),
    )


def _summarise_annotations(found: Sequence[Record]) -> Annotations:
    of: dict[str, list[Record]] = {}
    for one in found:
        of.setdefault(one.kind, []).append(one)
    emojis = Counter(one.value["emoji"] for one in of.get("reaction", ()) if one.value["emoji"])
    votes = Counter(option for one in of.get("vote", ()) for option in one.value["options"])
    acks = [one.value["ack"] for one in of.get("receipt", ())]
    return Annotations(
        reactions=dict(emojis.most_common()),
        mine=next((one.value["emoji"] for one in of.get("reaction", ()) if one.author == ME), ""),
        votes=dict(votes),
        revoked_at=next((one.occurred_at for one in of.get("revoke", ())), None),
        edited_at=next((one.occurred_at for one in of.get("edit", ())), None),
        delivered_to=sum(ack >= ACK_DELIVERED for ack in acks),
        read_by=sum(ack >= ACK_READ for ack in acks),
    )
