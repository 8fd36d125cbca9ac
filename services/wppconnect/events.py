"""Webhook payloads → frozen dataclasses. Pure, and total: whatever JSON arrives, nothing here raises.

Two dialects are read and normalised to the same dataclasses: what wppconnect-server 2.10.4 posts (measured)
and the older one, `{"session", "qrcode": "data:image/…", "status": "QRCODE"}` and
`{"session", "status": "CONNECTED"}`.

    qrcode                                  QrCode
    phoneCode                               PhoneCode
    status-find                             StatusFind
    closesession, logoutsession             SessionClosed
    onmessage, unreadmessages,
    onselfmessage                           InboundMessage
    onack                                   Ack
    NOT_HANDLED, anything else, and what
    is malformed of the above               Unsupported

The payload is merged over `event` and `session` by the server, so neither can be trusted: which session an
event belongs to is known from the webhook's URL alone.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from services.wppconnect import fields

MAX_KIND = 64
MAX_MESSAGE_ID = 512
MAX_SESSION = 128

# What the overview's dialect says for a connected session becomes the word of the stock server.
CONNECTED_STATUSES: Final = frozenset({"inChat", "isLogged"})
_STATUS_WORDS: Final = {"CONNECTED": "inChat", "desconnectedMobile": "disconnectedMobile"}

# Known, kept raw, and of no further use to this console.
NOT_HANDLED: Final = (
    "onreactionmessage",
    "onrevokedmessage",
    "onpollresponse",
    "onpresencechanged",
    "onparticipantschanged",
    "onupdatelabel",
    "incomingcall",
    "location",
)


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
class InboundMessage:
    """One WhatsApp message. With media, `body` is the file as base64 (tens of MB), or its thumbnail, or
    empty.

    `from_`, `to`, `chat_id`, `sender_id` are addresses (`…@c.us`, `…@lid`, `…@g.us`); `timestamp` in Unix
    seconds. `from_me` is true for what was typed on the phone itself (`onselfmessage`).
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


@dataclass(frozen=True)
class Ack:
    """How far a message got: -7…-1 failed, 0 clock, 1 sent, 2 received, 3 read, 4 played. Twice and backwards
    too."""

    message_id: str
    ack: int


@dataclass(frozen=True)
class Unsupported:
    """An event that nothing is done with. `reason` is for the event's row and never quotes the payload."""

    kind: str
    reason: str


Event = QrCode | PhoneCode | StatusFind | SessionClosed | InboundMessage | Ack | Unsupported


class EventKey(NamedTuple):
    """What the receiver stores beside the raw event. `session` is what the body claims, which proves
    nothing."""

    kind: str
    session: str | None = None
    message_id: str | None = None
    ack: int | None = None


def parse(payload: object) -> Event:
    """The event in `payload`. Anything unknown or malformed is Unsupported; never an exception."""
    if not isinstance(payload, Mapping):
        return Unsupported("unknown", "malformed: not an object")
    kind = _kind(payload)
    reader = _READERS.get(kind)
    if reader is not None:
        return reader(kind, payload)
    return Unsupported(kind, "not handled" if kind in NOT_HANDLED else "unknown event")


def summary(payload: object) -> EventKey:
    """The few columns the receiver needs, without reading the whole payload. Never an exception."""
    # A dict first: asking an abstract class costs a microsecond, and this runs for each delivery.
    if not isinstance(payload, dict) and not isinstance(payload, Mapping):
        return EventKey("unknown")
    kind = _kind(payload)
    identify = _IDENTITIES.get(kind)
    message_id = identify(payload) if identify is not None else None
    if message_id is not None and len(message_id) > MAX_MESSAGE_ID:
        message_id = None
    session = fields.text(payload.get("session"))
    return EventKey(
        kind=kind,
        session=session if session and len(session) <= MAX_SESSION else None,
        message_id=message_id,
        ack=_ack_number(payload) if kind == "onack" else None,
    )


def dedupe_key(session: str, key: EventKey) -> bytes | None:
    """The same 16 bytes for the same delivery of the same session; None for what cannot be told
    apart from a new one.

    `session` is the one that the URL proved. Without a message id two equal payloads may be two real events
    (a QR, a status), so they get no key rather than a false one.
    """
    if key.message_id is None:
        return None
    # NUL separates: none of the parts can hold one.
    parts = f"{session}\0{key.kind}\0{key.message_id}\0{key.ack}".encode(errors="surrogatepass")
    return hashlib.blake2b(parts, digest_size=16).digest()


# Telling the events apart


def _kind(payload: Mapping[str, Any]) -> str:
    event = payload.get("event")
    if isinstance(event, str) and event:
        return fields.storable(event)[:MAX_KIND] or "unknown"
    status = payload.get("status")
    word = status.upper() if isinstance(status, str) and len(status) <= MAX_KIND else None
    if word == "QRCODE":
        return "qrcode"
    return "status-find" if word == "CONNECTED" else "unknown"


def _own_id(payload: Mapping[str, Any]) -> str | None:
    return fields.identifier(payload.get("id"))


def _ack_id(payload: Mapping[str, Any]) -> str | None:
    return _own_id(payload) if _ack_number(payload) is not None else None


def _reaction_id(payload: Mapping[str, Any]) -> str | None:
    """One message can get, lose and get again a reaction: its own key, the emoji and the moment make one of
    them."""
    parts = [
        _own_id(payload),
        fields.identifier(payload.get("msgId")),
        fields.text(payload.get("reactionText")),
    ]
    return _composed(parts, fields.number(payload.get("timestamp")))


def _vote_id(payload: Mapping[str, Any]) -> str | None:
    """A vote has no id of its own: `msgId` is the poll's, so the voter and the moment make it."""
    parts = [fields.identifier(payload.get("msgId")), fields.identifier(payload.get("sender"))]
    return _composed(parts, fields.number(payload.get("timestamp")))


def _composed(parts: list[str | None], timestamp: int | None) -> str | None:
    if parts[0] is None or timestamp is None:
        return None
    digest = hashlib.blake2b(json.dumps([*parts, timestamp]).encode(), digest_size=8).hexdigest()
    return f"{parts[0]}#{digest}"


def _revoked_id(payload: Mapping[str, Any]) -> str | None:
    return fields.identifier(payload.get("refId")) or _own_id(payload)


# Absent on purpose: the `id` of `onpresencechanged` and `location` is a contact's; it would eat later events.
_IDENTITIES: Final[dict[str, Callable[[Mapping[str, Any]], str | None]]] = {
    "onmessage": _own_id,
    "onselfmessage": _own_id,
    "unreadmessages": _own_id,
    "onack": _ack_id,
    "onreactionmessage": _reaction_id,
    "onpollresponse": _vote_id,
    "onrevokedmessage": _revoked_id,
    "incomingcall": _own_id,
}


# Reading each of them


def _malformed(kind: str, what: str) -> Unsupported:
    return Unsupported(kind, f"malformed: {what}")


def _qr_code(kind: str, payload: Mapping[str, Any]) -> Event:
    urlcode = fields.text(payload.get("urlcode")) or None
    image = fields.image_base64(payload.get("qrcode"))
    if urlcode is None and image is None:
        return _malformed(kind, "neither urlcode nor an image")
    return QrCode(urlcode, image)


def _phone_code(kind: str, payload: Mapping[str, Any]) -> Event:
    code = fields.text(payload.get("phoneCode"))
    if not code:
        return _malformed(kind, "no phoneCode")
    return PhoneCode(code, fields.text(payload.get("phone")) or None)


def _status_find(kind: str, payload: Mapping[str, Any]) -> Event:
    status = payload.get("status")
    if not isinstance(status, str) or not 0 < len(status) <= MAX_KIND:
        return _malformed(kind, "no status")
    word = fields.storable(status)
    return StatusFind(_STATUS_WORDS.get(word.upper()) or _STATUS_WORDS.get(word) or word)


def _session_closed(kind: str, _payload: Mapping[str, Any]) -> Event:
    return SessionClosed(kind)


def _message(kind: str, payload: Mapping[str, Any]) -> Event:
    message_id, from_ = _own_id(payload), fields.identifier(payload.get("from"))
    if message_id is None or len(message_id) > MAX_MESSAGE_ID:
        return _malformed(kind, "no usable id")
    if from_ is None:
        return _malformed(kind, "no sender")
    from_me = payload.get("fromMe") is True or kind == "onselfmessage" or message_id.startswith("true_")
    to = fields.identifier(payload.get("to"))
    chat_id = fields.identifier(payload.get("chatId")) or (to if from_me and to else from_)
    sender = fields.mapping(payload.get("sender"))
    return InboundMessage(
        id=message_id,
        from_=from_,
        to=to,
        chat_id=chat_id,
        type=fields.text(payload.get("type")) or "unknown",
        body=fields.text(payload.get("body")) or "",
        caption=fields.text(payload.get("caption")),
        mimetype=fields.text(payload.get("mimetype")),
        filename=fields.text(payload.get("filename")),
        timestamp=fields.unix_time(payload.get("t")) or fields.unix_time(payload.get("timestamp")),
        sender_id=fields.identifier(payload.get("author")) or fields.identifier(sender.get("id")),
        sender_name=fields.text(sender.get("name")),
        pushname=fields.text(sender.get("pushname")) or fields.text(payload.get("notifyName")),
        is_group=payload.get("isGroupMsg") is True or chat_id.endswith("@g.us"),
        from_me=from_me,
    )


def _ack_number(payload: Mapping[str, Any]) -> int | None:
    ack = fields.number(payload.get("ack"))
    return ack if ack is not None and -100 <= ack <= 100 else None


def _ack(kind: str, payload: Mapping[str, Any]) -> Event:
    message_id, ack = _own_id(payload), _ack_number(payload)
    if message_id is None or len(message_id) > MAX_MESSAGE_ID or ack is None:
        return _malformed(kind, "no id or no ack")
    return Ack(message_id, ack)


_READERS: Final[dict[str, Callable[[str, Mapping[str, Any]], Event]]] = {
    "qrcode": _qr_code,
    "phoneCode": _phone_code,
    "status-find": _status_find,
    "closesession": _session_closed,
    "logoutsession": _session_closed,
    "onmessage": _message,
    "unreadmessages": _message,
    "onselfmessage": _message,
    "onack": _ack,
}
