"""A made-up history of one WhatsApp session: its events, in no order and more than once, and the expected
conversations.

The conversations must be the same whatever the order of the events was.
"""

import base64
import hashlib
import random
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from services.messaging.state import STATE_OF_ACK, State
from tests.support.databases import Database

START_TIMESTAMP = 1_790_000_000
OWN_ADDRESS = "5511999990000@c.us"
MESSAGE_TEXTS = ("olá", "orçamento", "amanhã", "obrigada", "às 5", "pode ser", "não", "*sim*", "👍", "São João")
EMOJIS = ("👍", "❤️", "😂", "")

Annotations = dict[tuple[str, str, str], Any]


@dataclass(frozen=True)
class ExpectedMessage:
    """What a message is in the end."""

    chat: str
    direction: str
    kind: str
    body: str
    file: bytes | None = None


@dataclass
class History:
    """`events` are to be posted; the rest is what must come of them."""

    events: list[dict[str, Any]] = field(default_factory=list)
    messages: dict[str, ExpectedMessage] = field(default_factory=dict)
    unread: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    marks: Annotations = field(default_factory=dict)
    states: dict[str, State] = field(default_factory=dict)


def make_history(seed: int, length: int) -> History:
    """About `length` events, with duplicates, in disorder, in every form that a server gives them."""
    return _HistoryWriter(random.Random(seed)).write(length)


class _HistoryWriter:
    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._story = History()
        self._number = 0
        self._people = [(f"55119876500{n:02}@c.us", f"1234567890123{n:02}@lid") for n in range(12)]
        self._groups = [f"1203630000000000{n:02}@g.us" for n in range(3)]

    def write(self, length: int) -> History:
        for phone, lid in self._people:
            # Only this tells that the two are one: it comes whenever it comes.
            self._inbound(phone, lid, beside=phone)
        while len(self._story.events) < length * 5 // 6:
            self._something()
        again = self._chance.choices(self._story.events, k=length - len(self._story.events))
        self._story.events += [self._another_form(one) for one in again]
        self._chance.shuffle(self._story.events)
        return self._story

    def _something(self) -> None:
        self._chance.choices(
            [
                self._person_writes,
                self._group_writes,
                self._typed,
                self._reaction,
                self._edit,
                self._revoke,
                self._noise,
            ],
            [40, 10, 12, 12, 6, 5, 8],
        )[0]()

    # What is said

    def _person_writes(self) -> None:
        phone, lid = self._chance.choice(self._people)
        self._inbound(phone, self._chance.choice((phone, phone, lid)))

    def _group_writes(self) -> None:
        group = self._chance.choice(self._groups)
        self._inbound(group, group, author=self._chance.choice(self._people)[0])

    def _inbound(self, chat: str, address: str, beside: str | None = None, author: str | None = None) -> None:
        unique = self._id(f"false_{address}_3EB0")
        payload = self._said(unique, address, OWN_ADDRESS, address) | (
            {"author": author, "isGroupMsg": True} if author else {}
        )
        if beside:
            payload["sender"] = {"id": address, "phoneNumber": {"_serialized": beside}}
        kind, body, file = "chat", payload["body"], None
        if self._chance.random() < 0.03:
            file = self._chance.randbytes(2000)
            kind, body = "image", "a legenda"
            payload |= {"type": kind, "caption": body, "mimetype": "image/jpeg"}
            payload["body"] = base64.b64encode(file).decode()
        self._tell(payload, ExpectedMessage(chat, "in", kind, body, file and hashlib.sha256(file).digest()))
        self._story.unread[chat] += 1

    def _typed(self) -> None:
        phone, _ = self._chance.choice(self._people)
        unique = self._id(f"true_{phone}_3EB0")
        payload = self._said(unique, OWN_ADDRESS, phone, phone) | {"event": "onselfmessage", "fromMe": True, "ack": 0}
        self._tell(payload, ExpectedMessage(phone, "out", "chat", payload["body"]))
        # Whoever typed an answer has read what came before.
        self._story.unread.pop(phone, None)
        acks = self._chance.sample([-7, -1, 0, 1, 2, 3, 4], self._chance.randint(0, 4))
        self._story.events += [{"event": "onack", "id": self._form(unique), "ack": ack} for ack in acks]
        best = max(acks, default=0)
        failed = best < 1 and min(acks, default=0) < 0
        self._story.states[unique] = STATE_OF_ACK.get(best, State.FAILED if failed else State.ACCEPTED)

    def _said(self, unique: str, from_: str, to: str, chat: str) -> dict[str, Any]:
        body = " ".join(self._chance.choices(MESSAGE_TEXTS, k=3))
        return {"event": "onmessage", "id": unique, "from": from_, "to": to, "chatId": chat, "type": "chat",
                "body": body, "t": START_TIMESTAMP + self._number, "fromMe": False}  # fmt: skip

    def _tell(self, payload: dict[str, Any], told: ExpectedMessage) -> None:
        self._story.messages[payload["id"]] = told
        self._story.events.append({**payload, "id": self._form(payload["id"])})

    # What became of it

    def _reaction(self) -> None:
        about, moment = self._known(), self._moment()
        by_owner = self._chance.random() < 0.3
        own = f"true_{OWN_ADDRESS}_R" if by_owner else f"false_{self._chance.choice(self._people)[0]}_R"
        if "@g.us" in about and not by_owner:
            author = self._chance.choice(self._people)[0]
            own, who = f"false_{about.split('_')[1]}_R_{author}", author
        else:
            who = "me" if by_owner else "them"
        emoji = self._chance.choice(EMOJIS)
        self._story.events.append(
            {"event": "onreactionmessage", "id": own, "msgId": self._form(about), "reactionText": emoji,
             "timestamp": moment}
        )  # fmt: skip
        self._story.marks[about, "reaction", who] = {"emoji": emoji}

    def _edit(self) -> None:
        about, moment = self._known(), self._moment()
        told = self._story.messages[about]
        if told.kind != "chat":
            return
        body = f"editada {moment}"
        self._story.events.append(
            {"event": "onmessage", "id": self._id("false_x@c.us_P"), "from": OWN_ADDRESS, "type": "protocol",
            "body": body,
             "subtype": "message_edit", "protocolMessageKey": self._form(about), "latestEditSenderTimestampMs": moment}
        )  # fmt: skip
        self._story.marks[about, "edit", ""] = {"body": body}
        self._story.messages[about] = ExpectedMessage(told.chat, told.direction, told.kind, body)

    def _revoke(self) -> None:
        about = self._known()
        self._story.events.append(
            {"event": "onrevokedmessage", "id": "x", "refId": self._form(about), "from": OWN_ADDRESS}
        )
        self._story.marks[about, "revoke", ""] = {}

    def _noise(self) -> None:
        """What makes no conversation, in the other dialect too."""
        self._story.events.append(
            self._chance.choice(
                [
                    {"status": "CONNECTED"},
                    {"event": "status-find", "status": "inChat"},
                    {"event": "onpresencechanged", "id": OWN_ADDRESS},
                    {"event": "onack", "id": "true_nobody@c.us_X", "ack": 1},
                ]
            )
        )

    # The forms of one thing

    def _another_form(self, event: dict[str, Any]) -> dict[str, Any]:
        """The same delivery again, or the same message as it comes after a restart of the server."""
        if event.get("event") == "onmessage" and event.get("type") != "protocol" and self._chance.random() < 0.5:
            return {**event, "event": "unreadmessages"}
        return dict(event)

    def _form(self, unique: str) -> Any:
        from_me, chat, key = unique.split("_", 2)
        return self._chance.choice(
            [
                unique,
                {"_serialized": unique},
                {"fromMe": from_me == "true", "remote": {"_serialized": chat}, "id": key},
            ]
        )

    def _known(self) -> str:
        return self._chance.choice(list(self._story.messages))

    def _id(self, head: str) -> str:
        self._number += 1
        return f"{head}{self._number:06}"

    def _moment(self) -> int:
        self._number += 1
        return (START_TIMESTAMP + self._number) * 1000


def assert_recorded(database: Database, story: History) -> None:
    """Hold what the database has against what the story must have come to."""
    rows = database.execute(
        "select m.wpp_id, coalesce(c.phone || '@c.us', c.address), m.direction, m.kind, m.body, m.media_sha256"
        " from messages m join contacts c on c.id = m.contact_id"
    )
    assert {wpp_id: ExpectedMessage(*rest) for wpp_id, *rest in rows} == story.messages
    assert len(rows) == len(story.messages)
    unread = database.execute("select coalesce(phone || '@c.us', address), unread from contacts where unread > 0")
    assert dict(unread) == dict(story.unread)
    marks = database.execute("select wpp_id, kind, author, value from message_annotations")
    assert {(wpp_id, kind, who): value for wpp_id, kind, who, value in marks} == story.marks
    states = database.execute("select wpp_id, state from messages where direction = 'out'")
    assert dict(states) == {wpp_id: str(state) for wpp_id, state in story.states.items()}
