"""The events that webhooks bring, as frozen dataclasses. `event_parsing` makes them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from services.wppconnect.event_keys import UNREADABLE_TYPE
from services.wppconnect.message_types import CALL_TYPE, FILE_TYPES, REVOKED_TYPE
from services.wppconnect.phone import ChatKind, get_chat_kind

# What the overview's dialect says for a connected session becomes the word of the stock server.
CONNECTED_STATUSES: Final = frozenset({"inChat", "isLogged"})
# What stands in a chat without a person having said it, or without being readable yet.
_UNSAID_TYPES: Final = frozenset({CALL_TYPE, UNREADABLE_TYPE, REVOKED_TYPE})


@dataclass(frozen=True)
class QrCode:
    """A new QR. `urlcode` is the text to draw; `png_base64` the picture without `data:` prefix. At least one
    is set."""

    urlcode: str | None = field(repr=False)
    png_base64: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class PhoneCode:
    """A new pairing code for `phone` (digits, if the server says); it replaces any earlier one."""

    code: str = field(repr=False)
    phone: str | None = None


@dataclass(frozen=True)
class StatusFind:
    """A step of a session's life: `notLogged`, `qrReadSuccess`, `inChat`, `browserClose`, … in any order,
    also late."""

    status: str

    @property
    def connected(self) -> bool:
        """Whether this step proves that the session is connected."""
        return self.status in CONNECTED_STATUSES


@dataclass(frozen=True)
class SessionClosed:
    """`kind` is `closesession` (the data stays) or `logoutsession` (unpaired)."""

    kind: str


@dataclass(frozen=True)
class StoredFile:
    """A message's file that the receiver has put into the media store, in place of its base64. `size` in bytes."""

    sha256: bytes
    size: int


@dataclass(frozen=True)
class InboundMessage:
    """One WhatsApp message, or a call (`type` is then `call`). With media, `body` is the file as base64 (tens of MB),
    or its thumbnail, or empty, and `file` is set where the receiver has put it aside.

    `from_`, `to`, `chat_id`, `sender_id` are addresses (`…@c.us`, `…@lid`, `…@g.us`); `timestamp` in Unix
    seconds. `from_me` is true for what was typed on the phone itself (`onselfmessage`). `phone_id` is the `…@c.us` of a
    chat whose id is a `@lid`, where the event tells both. `size` is the file's as WhatsApp states it, `ack` how far
    one's own message had got.

    `sender_name` is how the owner's address book calls the sender, `pushname` how they call themselves; neither is ever
    a mere number. `in_address_book` is None where the event does not say.

    `author` is who wrote a message to a chat of several people, by its address, named or not; `author_phone_id` their
    `…@c.us` where `author` is a `@lid` and the event tells both. Both are None in a chat of two and for one's own.

    `quoted_id` is the message that this one answers: its whole id where WhatsApp tells it, else its stanza id, which
    says neither who wrote it nor in which chat; `quoted_author` is its author's address.

    `detail` is what a type has beyond text and file: a place, contact cards, an order (`message_details`). Of any type
    it may have:

        quoted      {kind, text, author} of the message that it answers, as the event brought it, each where known
        mentions    addresses of those whom it mentions
        album       what the pictures that were sent together have in common
        buttons     texts of the buttons below it
        footer      the small print below it
        view_once   True: it can be opened once, on the phone alone
    """

    id: str
    from_: str
    to: str | None
    chat_id: str
    type: str
    body: str = field(default="", repr=False)
    caption: str | None = field(default=None, repr=False)
    mimetype: str | None = None
    filename: str | None = field(default=None, repr=False)
    timestamp: int | None = None
    sender_id: str | None = None
    sender_name: str | None = field(default=None, repr=False)
    pushname: str | None = field(default=None, repr=False)
    is_group: bool = False
    from_me: bool = False
    quoted_id: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict, repr=False)
    file: StoredFile | None = None
    size: int | None = None
    phone_id: str | None = None
    edited_at: int | None = None
    ack: int | None = None
    author: str | None = None
    author_phone_id: str | None = None
    quoted_author: str | None = None
    in_address_book: bool | None = None

    @property
    def has_file(self) -> bool:
        """Whether it has a file that can be had: what can be opened once stays on the phone."""
        return self.type in FILE_TYPES and not self.detail.get("view_once")

    @property
    def text(self) -> str:
        """What it says in words: the text, a file's caption, or what was chosen of a list or among buttons."""
        return (self.caption or "") if self.type in FILE_TYPES else self.body

    @property
    def wrote(self) -> bool:
        """Whether somebody said something with it in a chat of people: false for a call, for what cannot be read yet,
        for what is left of a deleted message, and in channels and broadcast lists."""
        return self.type not in _UNSAID_TYPES and get_chat_kind(self.chat_id) in (ChatKind.PERSON, ChatKind.GROUP)


@dataclass(frozen=True)
class Annotation:
    """What happened to a message later. `who` is the address of whom it is from, or `me`; `at` in Unix milliseconds,
    None where the event does not say. `left` is what a chat's history shows in the place of a deleted message (type
    `revoked`): for one that was never seen.

    `kind` and `value`: `reaction` {emoji: '' once it was taken back} · `revoke` {} · `edit` {body} · `vote` {options}.
    """

    message_id: str
    kind: Literal["reaction", "revoke", "edit", "vote"]
    who: str
    at: int | None = None
    value: Mapping[str, Any] = field(default_factory=dict, repr=False)
    left: InboundMessage | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Ack:
    """How far a message got: -7…-1 failed, 0 clock, 1 sent, 2 received, 3 read, 4 played. Twice and backwards
    too. `participant`: whose receipt it is, of a message to a group, where the server says so."""

    message_id: str
    ack: int
    participant: str | None = None


@dataclass(frozen=True)
class Unsupported:
    """An event that nothing is done with. `reason` is for the event's row and never quotes the payload."""

    kind: str
    reason: str


Event = QrCode | PhoneCode | StatusFind | SessionClosed | InboundMessage | Annotation | Ack | Unsupported
