"""Conversations as people read them: the list, one thread, a search through all, and what one may do in a thread.

A user reads their own. Staff read one user's only while the glass over them is broken (`glass`), which the database
itself asks; they change nothing.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, func, or_, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import insert

from services import contacts, messages
from services.contacts import Contact
from services.conversations import CLOCK_AHEAD, ME
from services.db.actor import Actor
from services.db.engine import transaction
from services.db.models import Record, message_marks
from services.db.models import contacts as contact_rows
from services.db.models import messages as message_rows
from services.db.models import sessions as session_rows
from services.db.search import containing
from services.errors import N_, Conflict, InvalidInput, NotFound
from services.messages import Content, Message, State
from services.sessions import Status, asked_if_disconnected
from services.wppconnect.connection import client
from services.wppconnect.events import message_key
from services.wppconnect.phone import is_group

CHATS_PAGE = 30
THREAD_PAGE = 40
MAX_PAGES = 25
FOUND = 30
MIN_SEARCH = 2
NAME = 80
PREVIEW = 120
# Fewer digits are not a part of a number.
MIN_DIGITS = 3
DELIVERED, READ = 2, 3
EMOJIS = ("👍", "❤️", "😂", "😮", "😢", "🙏")


class NoReaction(Conflict):
    code = "sem_reacao"
    message = N_("Não dá para reagir a esta mensagem.")
    hint = N_("Ela ainda não saiu, ou o WhatsApp está desconectado.")


class NoReply(Conflict):
    code = "sem_resposta"
    message = N_("Não dá para escrever a este contato por aqui.")
    hint = N_("Ele está bloqueado, ou o número ainda não é conhecido. Use o celular.")


class Place(NamedTuple):
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
    after: Place | None


@dataclass(frozen=True)
class Marks:
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
class Bubble:
    """One message of a thread. `at` is when it was said. `fetching`: its file is on its way."""

    message: Message
    wpp_id: str | None
    at: datetime
    quoted: Quoted | None
    marks: Marks
    fetching: bool


@dataclass(frozen=True)
class Thread:
    """One conversation, its newest messages, the oldest of them first; `more`: there are older ones."""

    contact: Contact
    bubbles: list[Bubble]
    more: bool


@dataclass(frozen=True)
class Found:
    """A message that a search found, and with whom it was."""

    message_id: UUID
    contact_id: UUID
    name: str = field(repr=False)
    at: datetime
    outgoing: bool
    text: str = field(repr=False)


# --- reading ----------------------------------------------------------------------------------------------------------


def chats(actor: Actor, search: str = "", after: Place | None = None, whose: UUID | None = None) -> ChatPage:
    """A page (30) of the conversations of `whose` (default: the actor), newest first, by a part of a name, a label or a
    number where `search` is given."""
    of = contact_rows.c.user_id == (whose or actor.user_id)
    at = contact_rows.c.last_message_at
    statement = select(*contacts.COLUMNS, at).where(of, at.is_not(None), *_named(search))
    if after is not None:
        statement = statement.where(tuple_(at, contact_rows.c.id) < tuple_(after.at, after.id))
    newest = statement.order_by(at.desc(), contact_rows.c.id.desc()).limit(CHATS_PAGE + 1).subquery()
    last = _last_of(newest.c.id).lateral("last")
    listed = select(newest, last).select_from(newest.outerjoin(last, text("true")))
    with transaction(actor) as tx:
        rows = tx.execute(listed.order_by(newest.c.last_message_at.desc(), newest.c.id.desc())).all()
    found = [_chat(row) for row in rows[:CHATS_PAGE]]
    end = found[-1] if len(rows) > CHATS_PAGE else None
    return ChatPage(found, Place(end.last_message_at, end.contact.id) if end and end.last_message_at else None)


def thread(actor: Actor, contact_id: UUID, limit: int = THREAD_PAGE) -> Thread:
    """The newest `limit` messages with one contact. Raises NotFound, also where the actor may not see it."""
    newest = (
        select(*messages.COLUMNS, *_THREAD_COLUMNS)
        .where(message_rows.c.contact_id == contact_id)
        .order_by(message_rows.c.at.desc(), message_rows.c.seq.desc())
        .limit(limit + 1)
    )
    found = contacts.get(actor, contact_id)
    with transaction(actor) as tx:
        rows = tx.execute(newest).all()
        shown = rows[:limit][::-1]
        marks = tx.execute(_marks_of(shown)).all() if shown else []
        quoted = tx.execute(_quoted_by(shown)).all() if any(row.quoted_wpp_id for row in shown) else []
    by_key = {message_key(row.wpp_id): _quoted(row) for row in quoted}
    return Thread(found, [_bubble(row, marks, by_key) for row in shown], more=len(rows) > limit)


def pages_to(actor: Actor, message_id: UUID) -> int:
    """How many pages (of 40) of its thread reach back to a message, at most 25; 1 where it is not there."""
    of = select(message_rows.c.contact_id, message_rows.c.at).where(message_rows.c.id == message_id).cte("of")
    newer = (
        select(message_rows.c.id)
        .join(of, and_(message_rows.c.contact_id == of.c.contact_id, message_rows.c.at >= of.c.at))
        .limit(MAX_PAGES * THREAD_PAGE)
        .subquery()
    )
    with transaction(actor) as tx:
        count = tx.execute(select(func.count()).select_from(newer)).scalar_one()
    return max(-(-count // THREAD_PAGE), 1)


def search(actor: Actor, typed: str, whose: UUID | None = None) -> list[Found]:
    """The newest messages (up to 30) of `whose` (default: the actor) that hold every word of `typed`, in any form of it
    and with or without accents; `"…"` finds a phrase, `-` excludes. Empty for fewer than 2 letters."""
    if len(typed.strip()) < MIN_SEARCH:
        return []
    ids = func.app.search_messages(whose or actor.user_id, typed.replace("\0", ""), FOUND).table_valued("message_id")
    statement = (
        select(message_rows, contact_rows.c.name, contact_rows.c.pushname, contact_rows.c.address)
        .join(ids, ids.c.message_id == message_rows.c.id)
        .join(contact_rows, contact_rows.c.id == message_rows.c.contact_id)
        .order_by(message_rows.c.at.desc(), message_rows.c.seq.desc())
    )
    with transaction(actor) as tx:
        rows = tx.execute(statement).all()
    return [
        Found(
            message_id=row.id,
            contact_id=row.contact_id,
            name=row.name or row.pushname or row.phone,
            at=row.at,
            outgoing=row.direction == "out",
            text=row.body,
        )
        for row in rows
    ]


# --- doing ------------------------------------------------------------------------------------------------------------


def react(actor: Actor, message_id: UUID, emoji: str) -> None:
    """React to a message with one of EMOJIS; an empty text takes the reaction back.

    Raises NotFound, InvalidInput, NoReaction where WhatsApp did not take it.
    """
    if emoji and emoji not in EMOJIS:
        raise InvalidInput("an emoji that is not offered")
    wanted = select(
        message_rows.c.session_id,
        message_rows.c.wpp_id,
        session_rows.c.session_id.label("name"),
        session_rows.c.server_url,
        session_rows.c.status,
    ).join(session_rows, session_rows.c.id == message_rows.c.session_id)
    with transaction(actor) as tx:
        row = tx.execute(
            wanted.where(message_rows.c.id == message_id, message_rows.c.user_id == actor.user_id)
        ).one_or_none()
    if row is None:
        raise NotFound(f"message {message_id}")
    if row.wpp_id is None or row.status != Status.CONNECTED:
        raise NoReaction("nothing to react to")
    with asked_if_disconnected(actor, row.name):
        client().react(row.server_url, row.name, row.wpp_id, emoji)
    made = insert(message_marks).values(
        session_id=row.session_id,
        wpp_id=row.wpp_id,
        kind="reaction",
        who=ME,
        user_id=actor.user_id,
        at=func.now(),
        value={"emoji": emoji},
    )
    changed = {"at": made.excluded.at, "value": made.excluded.value}
    with transaction(actor) as tx:
        tx.execute(made.on_conflict_do_update(index_elements=["session_id", "wpp_id", "kind", "who"], set_=changed))


def reply(actor: Actor, contact_id: UUID, body: str, key: str, quoted_wpp_id: str | None = None) -> Message:
    """Queue a text to a contact, as an answer to the message with `quoted_wpp_id` where one is given.

    Raises as `messages.queue`, and NoReply where it cannot or may not be written to.
    """
    found = contacts.get(actor, contact_id)
    to = found.address if is_group(found.address) else found.phone and f"+{found.phone}"
    if not to or found.blocked_at is not None or found.user_id != actor.user_id:
        raise NoReply("no phone, or blocked")
    content = Content(body=body, quoted_wpp_id=quoted_wpp_id)
    return messages.queue(actor, to, content, key, (found.name or found.pushname or "")[:NAME] or None)


def ask_for_file(actor: Actor, message_id: UUID) -> None:
    """Have the file of a message fetched, that did not come along. Raises NotFound."""
    mine = and_(message_rows.c.id == message_id, message_rows.c.user_id == actor.user_id)
    with transaction(actor) as tx:
        if not tx.execute(update(message_rows).where(mine).values(fetch_at=func.now())).rowcount:
            raise NotFound(f"message {message_id}")
        tx.execute(text("select pg_notify('lookups', '')"))


# --- statements and rows ----------------------------------------------------------------------------------------------

_THREAD_COLUMNS = (
    message_rows.c.session_id,
    message_rows.c.wpp_id,
    message_rows.c.at,
    message_rows.c.quoted_wpp_id,
    message_rows.c.fetch_at,
)


def _named(search: str) -> list[ColumnElement[bool]]:
    if not search.strip():
        return []
    part, digits = containing(search), re.sub(r"[^0-9]", "", search)
    labels = func.array_to_string(contact_rows.c.labels, " ")
    ways = [column.ilike(part) for column in (contact_rows.c.name, contact_rows.c.pushname, labels)]
    if len(digits) >= MIN_DIGITS:
        ways.append(contact_rows.c.phone.like(containing(digits)))
    return [or_(*ways)]


def _last_of(contact_id: ColumnElement[UUID]) -> Select[Any]:
    """A contact's newest message; what is to leave later is none yet."""
    revoked = select(message_marks.c.at).where(
        message_marks.c.session_id == message_rows.c.session_id,
        message_marks.c.wpp_id == message_rows.c.wpp_id,
        message_marks.c.kind == "revoke",
    )
    return (
        select(
            message_rows.c.kind,
            func.left(message_rows.c.body, PREVIEW).label("body"),
            message_rows.c.direction,
            message_rows.c.state,
            revoked.exists().label("revoked"),
        )
        .where(message_rows.c.contact_id == contact_id, message_rows.c.at < func.now() + CLOCK_AHEAD)
        .order_by(message_rows.c.at.desc(), message_rows.c.seq.desc())
        .limit(1)
    )


def _marks_of(shown: Sequence[Record]) -> Select[Any]:
    ids = [row.wpp_id for row in shown if row.wpp_id is not None]
    return select(message_marks).where(
        message_marks.c.session_id == shown[0].session_id, message_marks.c.wpp_id.in_(ids)
    )


def _quoted_by(shown: Sequence[Record]) -> Select[Any]:
    keys = [message_key(row.quoted_wpp_id) for row in shown if row.quoted_wpp_id is not None]
    return select(
        message_rows.c.wpp_id,
        message_rows.c.direction,
        message_rows.c.contact_name,
        message_rows.c.kind,
        func.left(message_rows.c.body, PREVIEW).label("body"),
    ).where(
        message_rows.c.session_id == shown[0].session_id,
        message_rows.c.wpp_id.is_not(None),
        func.app.message_key(message_rows.c.wpp_id).in_(keys),
    )


def _chat(row: Record) -> Chat:
    last = None
    if row.kind is not None:
        last = Preview(row.kind, row.body, row.direction == "out", State(row.state), row.revoked)
    return Chat(contacts.contact(row), row.last_message_at, last)


def _quoted(row: Record) -> Quoted:
    return Quoted(row.direction == "out", row.contact_name, row.kind, row.body)


def _bubble(row: Record, marks: Sequence[Record], quoted: Mapping[str, Quoted]) -> Bubble:
    return Bubble(
        message=messages.from_row(row),
        wpp_id=row.wpp_id,
        at=row.at,
        quoted=quoted.get(message_key(row.quoted_wpp_id)) if row.quoted_wpp_id else None,
        marks=_marks([one for one in marks if one.wpp_id == row.wpp_id]),
        fetching=row.fetch_at is not None,
    )


def _marks(found: Sequence[Record]) -> Marks:
    of: dict[str, list[Record]] = {}
    for one in found:
        of.setdefault(one.kind, []).append(one)
    emojis = Counter(one.value["emoji"] for one in of.get("reaction", ()) if one.value["emoji"])
    votes = Counter(option for one in of.get("vote", ()) for option in one.value["options"])
    acks = [one.value["ack"] for one in of.get("receipt", ())]
    return Marks(
        reactions=dict(emojis.most_common()),
        mine=next((one.value["emoji"] for one in of.get("reaction", ()) if one.who == ME), ""),
        votes=dict(votes),
        revoked_at=next((one.at for one in of.get("revoke", ())), None),
        edited_at=next((one.at for one in of.get("edit", ())), None),
        delivered_to=sum(ack >= DELIVERED for ack in acks),
        read_by=sum(ack >= READ for ack in acks),
    )
