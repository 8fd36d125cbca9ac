"""Webhook payloads → frozen dataclasses. Pure, and total: whatever JSON arrives, nothing here raises.

Two dialects are read and normalised to the same dataclasses: what wppconnect-server 2.10.4 posts (measured)
and the older one, `{"session", "qrcode": "data:image/…", "status": "QRCODE"}` and
`{"session", "status": "CONNECTED"}`.

    qrcode                                  QrCode
    phoneCode                               PhoneCode
    status-find                             StatusFind
    closesession, logoutsession             SessionClosed
    onmessage, unreadmessages,
    onselfmessage, incomingcall             InboundMessage
    onack                                   Ack
    onreactionmessage, onrevokedmessage,
    onpollresponse, a message that is an
    edit or a deletion of another one       Mark
    NOT_HANDLED, WhatsApp's own notices,
    its status, anything else, and what
    is malformed of the above               Unsupported

The payload is merged over `event` and `session` by the server, so neither can be trusted: which session an
event belongs to is known from the webhook's URL alone.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

from services.wppconnect import fields
from services.wppconnect.phone import ChatKind, chat_kind

MAX_KIND = 64
MAX_MESSAGE_ID = 512
MAX_SESSION = 128

# What the overview's dialect says for a connected session becomes the word of the stock server.
CONNECTED_STATUSES: Final = frozenset({"inChat", "isLogged"})
_STATUS_WORDS: Final = {"CONNECTED": "inChat", "desconnectedMobile": "disconnectedMobile"}

# Known, kept raw, and of no further use to this console.
NOT_HANDLED: Final = ("onpresencechanged", "onparticipantschanged", "onupdatelabel", "location")

# WhatsApp's own notes in a chat, which nobody said: measured with `isNotification: true`, at the head of nearly every
# chat; older ones and those of channels may come without it.
NOTICE_TYPES: Final = frozenset(
    {"e2e_notification", "gp2", "notification", "notification_template", "broadcast_notification",
     "newsletter_notification", "call_log"}
)  # fmt: skip
# A message whose key has not come yet: the same id comes again with what it says.
UNREADABLE: Final = "ciphertext"
# What is left of a message that was deleted for everybody.
REVOKED: Final = "revoked"
# Kinds of message whose body is their file, or its preview: never a text.
FILE_TYPES: Final = frozenset({"image", "video", "audio", "ptt", "document", "sticker", "ptv"})
# Kinds whose body is a preview picture.
_BODILESS_TYPES: Final = frozenset({"location"})
MAX_OPTIONS = 64
MAX_CARDS = 64


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
class File:
    """A message's file that the receiver has put into the media store, in place of its base64. `size` in bytes."""

    sha256: bytes
    size: int


@dataclass(frozen=True)
class InboundMessage:
    """One WhatsApp message, or a call (`type` is then `call`). With media, `body` is the file as base64 (tens of MB),
    or its thumbnail, or empty, and `file` is set where the receiver has put it aside.

    `from_`, `to`, `chat_id`, `sender_id` are addresses (`…@c.us`, `…@lid`, `…@g.us`); `timestamp` in Unix
    seconds. `from_me` is true for what was typed on the phone itself (`onselfmessage`). `detail` is what a kind has
    beyond text and file: a place, contact cards, a poll. `phone_id` is the `…@c.us` of a chat whose id is a `@lid`,
    where the event tells both. `size` is the file's as WhatsApp states it, `ack` how far one's own message had got.
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
    file: File | None = None
    size: int | None = None
    phone_id: str | None = None
    edited_at: int | None = None
    ack: int | None = None

    @property
    def has_file(self) -> bool:
        """Whether it is nothing without a file."""
        return self.type in FILE_TYPES

    @property
    def text(self) -> str:
        """What a person wrote: the text, or a file's caption."""
        return (self.caption or "") if self.has_file else self.body


@dataclass(frozen=True)
class Mark:
    """What happened to a message later. `who` is the address of whom it is from, or `me`; `at` in Unix milliseconds,
    None where the event does not say.

    `kind` and `value`: `reaction` {emoji: '' once it was taken back} · `revoke` {} · `edit` {body} · `vote` {options}.
    """

    message_id: str
    kind: Literal["reaction", "revoke", "edit", "vote"]
    who: str
    at: int | None = None
    value: Mapping[str, Any] = field(default_factory=dict, repr=False)


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


Event = QrCode | PhoneCode | StatusFind | SessionClosed | InboundMessage | Mark | Ack | Unsupported


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


def message_key(message_id: str) -> str:
    """What a message's id has in common with its other names: who wrote it, and the stanza id.

    One message is called `true_<phone>@c.us_<stanza>_out`, `true_<lid>@lid_<stanza>_out` and, once the server was
    started anew, the same without `_out` (measured). `app.message_key` of the database says the same.
    """
    parts = message_id.split("_")
    return f"{parts[0]}_{parts[2]}" if len(parts) > 2 and parts[2] else message_id


def is_notice(payload: Mapping[str, Any]) -> bool:
    """Whether this is one of WhatsApp's own notes in a chat, and no message."""
    return payload.get("isNotification") is True or fields.text(payload.get("type")) in NOTICE_TYPES


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


def _message_id(payload: Mapping[str, Any]) -> str | None:
    """A message's id; the same id comes again once it can be read, and where it is posted again after an edit: those
    are other deliveries."""
    own, edited = _own_id(payload), payload.get("latestEditSenderTimestampMs")
    if own is None or (payload.get("type") != UNREADABLE and not edited):
        return own
    return _composed([own, fields.text(payload.get("type"))], fields.number(edited) or 0)


def _ack_id(payload: Mapping[str, Any]) -> str | None:
    """Its message's id; the receipt of one of several recipients has a key of its own."""
    if _ack_number(payload) is None:
        return None
    own, participant = _own_id(payload), payload.get("participant")
    return own if participant is None else _composed([own, fields.identifier(participant)], 0)


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
    "onmessage": _message_id,
    "onselfmessage": _message_id,
    "unreadmessages": _message_id,
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
    if (mark := _protocol_mark(payload, from_)) is not None:
        return mark
    if is_notice(payload):
        return Unsupported(kind, "a notice of WhatsApp itself")
    from_me = payload.get("fromMe") is True or kind == "onselfmessage" or message_id.startswith("true_")
    to = fields.identifier(payload.get("to"))
    chat_id = fields.identifier(payload.get("chatId")) or (to if from_me and to else from_)
    sender = fields.mapping(payload.get("sender"))
    type_ = fields.text(payload.get("type")) or "unknown"
    chat = chat_kind(chat_id)
    if chat is ChatKind.STATUS:
        return Unsupported(kind, "a status, which is nobody's conversation")
    is_group = chat is ChatKind.GROUP
    sender_id = fields.identifier(payload.get("author")) or fields.identifier(sender.get("id"))
    return InboundMessage(
        id=message_id,
        from_=from_,
        to=to,
        chat_id=chat_id,
        type=type_,
        body=_body(type_, payload),
        caption=fields.text(payload.get("caption")),
        mimetype=fields.text(payload.get("mimetype")),
        filename=fields.text(payload.get("filename")),
        timestamp=fields.unix_time(payload.get("t")) or fields.unix_time(payload.get("timestamp")),
        sender_id=sender_id,
        sender_name=fields.text(sender.get("name")),
        pushname=fields.text(sender.get("pushname")) or fields.text(payload.get("notifyName")),
        is_group=is_group,
        from_me=from_me,
        quoted_id=_quoted_id(payload, chat_id),
        detail=_detail(type_, payload),
        file=_file(payload.get("body")),
        size=fields.number(payload.get("size")),
        phone_id=None if is_group or from_me else _phone_beside(chat_id, sender_id, sender),
        edited_at=fields.unix_time(payload.get("latestEditSenderTimestampMs")),
        ack=_ack_number(payload) if from_me else None,
    )


def _body(type_: str, payload: Mapping[str, Any]) -> str:
    return "" if type_ in _BODILESS_TYPES else fields.text(payload.get("body")) or ""


def _file(body: Any) -> File | None:
    """What the receiver left in place of a file's base64."""
    kept = fields.mapping(body)
    sha256, size = fields.text(kept.get("sha256")), fields.number(kept.get("size"))
    try:
        digest = bytes.fromhex(sha256 or "")
    except ValueError:
        return None
    return File(digest, size) if len(digest) == hashlib.sha256().digest_size and size else None


def _phone_beside(chat_id: str, sender_id: str | None, sender: Mapping[str, Any]) -> str | None:
    """The phone's address of a chat that is called by its `@lid`."""
    if not chat_id.endswith("@lid"):
        return None
    offered = (sender_id, fields.identifier(sender.get("phoneNumber")), fields.identifier(sender.get("id")))
    return next((one for one in offered if one and one.endswith("@c.us")), None)


def _quoted_id(payload: Mapping[str, Any], chat_id: str) -> str | None:
    """The id of the message that this one answers: whole, or put together from its parts as WhatsApp Web does."""
    whole = fields.identifier(payload.get("quotedMsgId"))
    stanza, author = fields.text(payload.get("quotedStanzaID")), fields.identifier(payload.get("quotedParticipant"))
    if whole is None and stanza and author:
        own = author == fields.identifier(payload.get("to"))
        whole = f"{str(own).lower()}_{chat_id}_{stanza}"
    return whole if whole and len(whole) <= MAX_MESSAGE_ID else None


def _detail(type_: str, payload: Mapping[str, Any]) -> dict[str, Any]:
    read = _DETAILS.get(type_)
    return {key: value for key, value in read(payload).items() if value is not None} if read else {}


def _place(payload: Mapping[str, Any]) -> dict[str, Any]:
    title, _, address = (fields.text(payload.get("loc")) or "").partition("\n")
    return {
        "lat": fields.coordinate(payload.get("lat")),
        "lng": fields.coordinate(payload.get("lng")),
        "title": title or None,
        "address": address or None,
    }


def _card(payload: Mapping[str, Any]) -> dict[str, Any]:
    card = fields.text(payload.get("body")) or fields.text(payload.get("vcard")) or ""
    name = fields.text(payload.get("vcardFormattedName")) or fields.text(payload.get("displayName"))
    return {"name": name or _card_line(card, "FN"), "phone": _card_line(card, "TEL")}


def _card_line(card: str, wanted: str) -> str | None:
    """The first value of a vCard's property (RFC 6350), whatever parameters it has."""
    for line in card.splitlines():
        name, colon, value = line.partition(":")
        if colon and name.split(";")[0].rpartition(".")[2].upper() == wanted:
            return value.strip()
    return None


def _cards(payload: Mapping[str, Any]) -> dict[str, Any]:
    found = payload.get("vcardList")
    cards = [_card(fields.mapping(one)) for one in found[:MAX_CARDS]] if isinstance(found, list) else []
    return {"contacts": cards}


def _poll(payload: Mapping[str, Any]) -> dict[str, Any]:
    name = fields.text(payload.get("pollName")) or fields.text(payload.get("body"))
    return {"name": name, "options": _options(payload.get("pollOptions"))}


def _options(found: Any) -> list[str]:
    named = (fields.text(fields.mapping(one).get("name")) for one in found[:MAX_OPTIONS]) if _is_list(found) else ()
    return [name for name in named if name]


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _length(payload: Mapping[str, Any]) -> dict[str, Any]:
    return {"seconds": fields.number(payload.get("duration"))}


_DETAILS: Final[dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]]] = {
    "location": _place,
    "vcard": _card,
    "multi_vcard": _cards,
    "poll_creation": _poll,
    "audio": _length,
    "ptt": _length,
    "video": _length,
}


def _call(kind: str, payload: Mapping[str, Any]) -> Event:
    call_id, peer = _own_id(payload), fields.identifier(payload.get("peerJid"))
    if call_id is None or len(call_id) > MAX_KIND or peer is None:
        return _malformed(kind, "no id or no caller")
    return InboundMessage(
        id=f"call_{call_id}",
        from_=peer,
        to=None,
        chat_id=peer,
        type="call",
        timestamp=fields.unix_time(payload.get("offerTime")),
        detail={"video": payload.get("isVideo") is True, "group": payload.get("isGroup") is True},
    )


# What became of a message later


def _protocol_mark(payload: Mapping[str, Any], from_: str) -> Mark | None:
    """WhatsApp Web's own message about another one: that it was edited, or deleted. One that was deleted is also found
    in its chat's history as what is left of it."""
    if payload.get("type") == REVOKED and (own := _own_id(payload)) is not None:
        said = fields.unix_time(payload.get("t"))
        return Mark(own, "revoke", from_, said * 1000 if said else None)
    if payload.get("type") != "protocol":
        return None
    about = fields.identifier(payload.get("protocolMessageKey"))
    subtype, seconds = payload.get("subtype"), fields.unix_time(payload.get("t"))
    if about is None or len(about) > MAX_MESSAGE_ID or subtype not in ("message_edit", "sender_revoke", "admin_revoke"):
        return None
    at = fields.number(payload.get("latestEditSenderTimestampMs")) or (seconds * 1000 if seconds else None)
    if subtype != "message_edit":
        return Mark(about, "revoke", from_, at)
    return Mark(about, "edit", from_, at, {"body": fields.text(payload.get("body")) or ""})


def _reaction(kind: str, payload: Mapping[str, Any]) -> Event:
    about, own = _about(payload.get("msgId")), _own_id(payload)
    if about is None or own is None:
        return _malformed(kind, "no message")
    emoji = fields.text(payload.get("reactionText")) or ""
    return Mark(
        about, "reaction", _author_of(own), fields.number(payload.get("timestamp")), {"emoji": emoji[:MAX_KIND]}
    )


def _author_of(message_id: str) -> str:
    """Who wrote a message, by its id: `false_<chat>_<key>`, in a group `false_<group>_<key>_<author>`."""
    from_me, *parts = message_id.split("_")
    if from_me == "true":
        return "me"
    author = parts[2] if len(parts) > 2 and parts[0].endswith("@g.us") else parts[0] if parts else ""
    return author or "unknown"


def _revoked(kind: str, payload: Mapping[str, Any]) -> Event:
    about = _about(_revoked_id(payload))
    if about is None:
        return _malformed(kind, "no message")
    who = fields.identifier(payload.get("author")) or fields.identifier(payload.get("from")) or "unknown"
    seconds = fields.unix_time(payload.get("t"))
    return Mark(about, "revoke", who, seconds * 1000 if seconds else None)


def _vote(kind: str, payload: Mapping[str, Any]) -> Event:
    about, who = _about(payload.get("msgId")), fields.identifier(payload.get("sender"))
    if about is None or who is None:
        return _malformed(kind, "no poll or no voter")
    options = _options(payload.get("selectedOptions"))
    return Mark(about, "vote", who, fields.number(payload.get("timestamp")), {"options": options})


def _about(value: Any) -> str | None:
    found = fields.identifier(value)
    return found if found and len(found) <= MAX_MESSAGE_ID else None


def _ack_number(payload: Mapping[str, Any]) -> int | None:
    ack = fields.number(payload.get("ack"))
    return ack if ack is not None and -100 <= ack <= 100 else None


def _ack(kind: str, payload: Mapping[str, Any]) -> Event:
    message_id, ack = _own_id(payload), _ack_number(payload)
    if message_id is None or len(message_id) > MAX_MESSAGE_ID or ack is None:
        return _malformed(kind, "no id or no ack")
    return Ack(message_id, ack, fields.identifier(payload.get("participant")))


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
    "onreactionmessage": _reaction,
    "onrevokedmessage": _revoked,
    "onpollresponse": _vote,
    "incomingcall": _call,
}
