"""Histories of two people and a group, and how WhatsApp may tell of them: under any name, in any order, repeatedly.

`play` takes each telling in; `read_outcome` is what people see then, without a name that depends on the telling.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import text

from services.contacts import contacts
from services.contacts.contacts import Contact
from services.db.actor import SYSTEM, Actor
from services.db.engine import transaction
from services.inbound import conversations, effects, ingest
from services.messaging import acknowledgements
from services.wppconnect.events import Annotation, InboundMessage
from tests.support.databases import Database

OWN = "5511999990000@c.us"
GROUP = "120363000000000000@g.us"
START = datetime(2024, 3, 2, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Person:
    phone: str
    lid: str

    def name(self, *, anonymous: bool) -> str:
        return self.lid if anonymous else self.phone


ANA = Person("5511987654321@c.us", "123456789012345@lid")
BETO = Person("5521976543210@c.us", "223456789012345@lid")
PEOPLE = (ANA, BETO)

Deed = Literal["say", "hidden", "edit", "react", "revoke", "typed", "sent", "group", "group_react"]


@dataclass(frozen=True)
class Step:
    """Something that happened at minute `minute`: `about` is the step that a reaction, an edit or a deletion is of."""

    deed: Deed
    minute: int
    person: int
    words: str = ""
    about: int = 0


@dataclass(frozen=True)
class Telling:
    """One delivery about a step. `part`: a step may have several (unreadable first; each acknowledgement)."""

    step: Step
    part: str = ""
    anonymous: bool = False
    told_at: int = 0


def list_tellings(steps: Sequence[Step]) -> list[Telling]:
    """All that WhatsApp tells of a history, each once, in order."""
    parts = {"hidden": ("ciphertext", ""), "sent": ("echo", "answer", "ack1", "ack2", "ack3")}
    return [Telling(step, part) for step in steps for part in parts.get(step.deed, ("",))]


def prepare(session_id: UUID, user_id: UUID, steps: Sequence[Step]) -> None:
    """What leaves through us is there, under way, before anything is told of it."""
    with transaction(SYSTEM) as tx:
        for step in steps:
            if step.deed == "sent":
                row = {"session": session_id, "user": user_id, "key": str(step.minute), "body": step.words,
                       "phone": PEOPLE[step.person].phone.removesuffix("@c.us")}  # fmt: skip
                tx.execute(
                    text(
                        "insert into messages (session_id, user_id, direction, state, phone, body, idempotency_key)"
                        " values (:session, :user, 'out', 'queued', :phone, :body, :key)"
                    ),
                    row,
                )
        tx.execute(text("update messages set state = 'sending', sending_at = now() where state = 'queued'"))
        tx.execute(text("update messages set occurred_at = :start + make_interval(mins => idempotency_key::int)"),
                   {"start": START})  # fmt: skip


def tell_pairs(session_id: UUID) -> None:
    """WhatsApp says whose the anonymous addresses are."""
    with transaction(SYSTEM) as tx:
        for person in PEOPLE:
            phone = person.phone.removesuffix("@c.us")
            contacts.link_lid_to_phone(tx, session_id, person.lid, phone, START + timedelta(days=1))


def play(session_id: UUID, telling: Telling) -> None:
    """Take one telling in, in a transaction of its own."""
    step = telling.step
    with transaction(SYSTEM) as tx:
        if telling.part == "answer":
            _take_answer(tx, session_id, telling)
        elif telling.part.startswith("ack"):
            acknowledgements.acknowledge(tx, session_id, _name_of(step, telling), int(telling.part[3:]), _at(step))
        elif step.deed in ("edit", "react", "revoke", "group_react"):
            changed = ingest.ingest_annotation(tx, session_id, _read_mark(telling), _at(step))
            if changed is not None:
                effects.apply_effects(tx, changed, [])
        else:
            taken = ingest.ingest_message(tx, session_id, _read_message(telling), _at(step))
            if taken is not None:
                effects.apply_effects(tx, taken, [])


def read_outcome(user: Actor, database: Database) -> dict[str, Any]:
    """What people see: each conversation with its unread count, its texts with what became of them, the silenced."""
    chats = [chat.contact for chat in conversations.list_chats(user).chats]
    return {
        "chats": {contact.lid or contact.address: _read_thread(user, contact) for contact in chats},
        "stray": database.execute("select wpp_id, kind from message_annotations a where not exists"
                                  " (select from messages m where m.wpp_id = a.wpp_id) order by 1, 2"),
        "parked": database.execute("select split_part(wpp_id, '_', 3), ack from pending_acks order by 1"),
        "silenced": database.execute("select phone from opt_outs where ended_at is null order by 1"),
    }  # fmt: skip


def _read_thread(user: Actor, contact: Contact) -> tuple[object, ...]:
    shown = conversations.get_thread(user, contact.id).messages
    texts = [
        (one.message.direction, one.message.kind, one.message.body, one.message.state, one.annotations) for one in shown
    ]
    return contact.phone, contact.unread, contact.opted_out, sorted(texts, key=repr)


def _at(step: Step) -> datetime:
    return START + timedelta(minutes=step.minute)


def _name_of(step: Step, telling: Telling) -> str:
    person = PEOPLE[step.person].name(anonymous=telling.anonymous)
    stanza = f"3EB0{step.minute:04}"
    if step.deed in ("group", "group_react"):
        return f"false_{GROUP}_{stanza}_{person}"
    own = step.deed in ("typed", "sent")
    return f"{str(own).lower()}_{person}_{stanza}" + ("_out" if own and not telling.anonymous else "")


def _read_message(telling: Telling) -> InboundMessage:
    step = telling.step
    person = PEOPLE[step.person].name(anonymous=telling.anonymous)
    own, in_group = step.deed in ("typed", "sent"), step.deed == "group"
    chat = GROUP if in_group else person
    return InboundMessage(
        id=_name_of(step, telling),
        from_=OWN if own else chat,
        to=chat if own else OWN,
        chat_id=chat,
        type="ciphertext" if telling.part == "ciphertext" else "chat",
        body="" if telling.part == "ciphertext" else step.words,
        timestamp=int(_at(step).timestamp()),
        author=person if in_group else None,
        is_group=in_group,
        from_me=own,
    )


def _read_mark(telling: Telling) -> Annotation:
    step = telling.step
    deed: Deed = "group" if step.deed == "group_react" else "say"
    about = _name_of(Step(deed, step.about, step.person), telling)
    who = PEOPLE[step.person].name(anonymous=telling.anonymous)
    at = int(_at(step).timestamp() * 1000)
    if step.deed == "edit":
        return Annotation(about, "edit", who, at, {"body": step.words})
    if step.deed == "revoke":
        return Annotation(about, "revoke", who, at)
    return Annotation(about, "reaction", who, at, {"emoji": step.words})


def _take_answer(tx: Any, session_id: UUID, telling: Telling) -> None:
    """The server's answer to a message of ours: under the phone that it was sent to."""
    key = str(telling.step.minute)
    row = tx.execute(text("select id, wpp_id from messages where idempotency_key = :key"), {"key": key}).one()
    if row.wpp_id is None:
        tx.execute(
            text("update messages set state = 'accepted', accepted_at = now() where id = :id and state = 'sending'"),
            {"id": row.id},
        )
        named = replace(telling, anonymous=False)
        assert acknowledgements.adopt_wpp_id(tx, session_id, row.id, _name_of(telling.step, named), 0)
