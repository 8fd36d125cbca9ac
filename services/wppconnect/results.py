"""The frozen dataclasses that calls of WPPConnect servers return."""

from dataclasses import dataclass, field

from services.wppconnect.events import Annotation, InboundMessage


@dataclass(frozen=True)
class SessionState:
    """What the server says of a session, which is not what is proved.

    `status`: CLOSED (also for `null`), INITIALIZING, QRCODE, PHONECODE, CONNECTED, or a word not known yet,
    in upper case. `urlcode` (the text to draw) and `qrcode` (PNG as base64, without `data:` prefix) only with
    QRCODE: the server keeps handing out the last ones after CONNECTED. `phone_code` only with PHONECODE.
    """

    status: str
    urlcode: str | None = field(default=None, repr=False)
    qrcode: str | None = field(default=None, repr=False)
    phone_code: str | None = field(default=None, repr=False)
    version: str | None = None


@dataclass(frozen=True)
class Device:
    """The paired phone. `phone` is digits; the rest is None where the server does not say."""

    phone: str
    platform: str | None = None
    pushname: str | None = None
    battery: int | None = None


@dataclass(frozen=True)
class NumberCheck:
    """Whether a number is on WhatsApp, and the address WhatsApp really uses for it (Brazil's ninth digit)."""

    exists: bool
    address: str | None = None


@dataclass(frozen=True)
class SentMessage:
    """WhatsApp Web took the message; "sent" only means ack ≥ 1. `timestamp`: Unix seconds, `to`: an
    address."""

    id: str
    ack: int = 0
    timestamp: int | None = None
    to: str | None = None


@dataclass(frozen=True)
class ChatMessage:
    """One message of a chat's history. `timestamp`: Unix seconds, `from_` and `to`: addresses."""

    id: str
    body: str = field(default="", repr=False)
    from_me: bool = False
    timestamp: int | None = None
    ack: int | None = None
    from_: str | None = None
    to: str | None = None
    type: str = "chat"
    chat_id: str | None = None
    caption: str | None = field(default=None, repr=False)
    mimetype: str | None = None
    sender_name: str | None = field(default=None, repr=False)
    is_group: bool = False
    filename: str | None = field(default=None, repr=False)
    lat: float | None = field(default=None, repr=False)
    lng: float | None = field(default=None, repr=False)


@dataclass(frozen=True)
class HistoryPage:
    """A part of a chat's history, of `chat`, which may be another name than was asked for: the messages and marks in
    it. `oldest_id` is of its oldest entry, notices included, None where there was none; `oldest_at` in Unix seconds.
    """

    entries: list[InboundMessage | Annotation]
    oldest_id: str | None = None
    oldest_at: int | None = None
    chat: str = ""


@dataclass(frozen=True)
class Chat:
    """A line of the chat list: its address, how many are unread, when it last moved (Unix seconds)."""

    id: str
    unread: int = 0
    timestamp: int | None = None
    is_group: bool = False
    name: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Contact:
    """Somebody in the phone's address book, by their address."""

    id: str
    name: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Identity:
    """The two addresses of one contact; None for the one that the server does not know."""

    phone: str | None = None
    lid: str | None = None
