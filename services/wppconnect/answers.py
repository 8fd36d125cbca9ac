"""What a WPPConnect server's answers mean: routes, the frozen dataclasses that calls return, and the reading
of JSON into them. Pure: no HTTP here. Facts are measured against wppconnect-server 2.10.4 unless a docstring
says otherwise.
"""

import binascii
import re
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import orjson

from services import errors
from services.wppconnect import events, fields
from services.wppconnect.events import InboundMessage, Mark
from services.wppconnect.phone import ChatKind, chat_kind

PHONE_DIGITS = re.compile(r"[0-9]{7,14}")  # from 15 characters on the server takes any number for a @lid


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
class Page:
    """A part of a chat's history, of `chat`, which may be another name than was asked for: the messages and marks in
    it. `oldest_id` is of its oldest entry, notices included, None where there was none; `oldest_at` in Unix seconds.
    """

    entries: list[InboundMessage | Mark]
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


@dataclass(frozen=True)
class Route:
    name: str
    method: Literal["GET", "POST"]
    wait: Literal["status", "query", "start", "send", "upload", "logout"]
    changes: bool = False
    secret_in_url: bool = False
    tolerates: frozenset[int] = frozenset()  # statuses that count as success if the body is JSON
    does_it_all_the_same: frozenset[int] = frozenset()  # refusals after which the server went on nevertheless
    bare: bool = False  # beside /api: no token, and whatever it answers is an answer

    def broken(self, why: str) -> errors.WppError:
        """The error for a request that left and whose answer never came, or tells nothing."""
        kind = errors.WppOutcomeUnknown if self.changes else errors.WppNoAnswer
        return kind(f"{self.name}: {why}")


START: Final = Route("start-session", "POST", "start", changes=True)
STATUS: Final = Route("status-session", "GET", "status")
CHECK: Final = Route("check-connection-session", "GET", "status")
CLOSE: Final = Route("close-session", "POST", "logout", changes=True, tolerates=frozenset({500}))
LOGOUT: Final = Route("logout-session", "POST", "logout", changes=True)
HOST: Final = Route("host-device", "GET", "query")
PHONE: Final = Route("get-phone-number", "GET", "query")
NUMBER: Final = Route("check-number-status", "GET", "query")
# Measured: to a number that it believes not to be on WhatsApp the server answers 400, and sends.
TRIED: Final = frozenset({400})
SEND: Final = Route("send-message", "POST", "send", changes=True, does_it_all_the_same=TRIED)
REPLY: Final = Route("send-reply", "POST", "send", changes=True, does_it_all_the_same=TRIED)
SEND_IMAGE: Final = Route("send-image", "POST", "upload", changes=True, does_it_all_the_same=TRIED)
SEND_FILE: Final = Route("send-file-base64", "POST", "upload", changes=True, does_it_all_the_same=TRIED)
SEND_VOICE: Final = Route("send-voice-base64", "POST", "upload", changes=True, does_it_all_the_same=TRIED)
SEND_STICKER: Final = Route("send-sticker", "POST", "upload", changes=True, does_it_all_the_same=TRIED)
SEND_LOCATION: Final = Route("send-location", "POST", "send", changes=True, does_it_all_the_same=TRIED)
SEND_CONTACT: Final = Route("contact-vcard", "POST", "send", changes=True, does_it_all_the_same=TRIED)
MESSAGES: Final = Route("get-messages", "GET", "query")
MEDIA: Final = Route("get-media-by-message", "GET", "send")
REACT: Final = Route("react-message", "POST", "send", changes=True)
CHATS: Final = Route("list-chats", "POST", "query")
CONTACTS: Final = Route("all-contacts", "GET", "query")
UNREAD: Final = Route("all-unread-messages", "GET", "query")
PN_LID: Final = Route("contact/pn-lid", "GET", "query")
CLEAR: Final = Route("clear-session-data", "POST", "logout", changes=True, secret_in_url=True)
ALL: Final = Route("show-all-sessions", "GET", "query", secret_in_url=True)
HEALTH: Final = Route("healthz", "GET", "status", bare=True)
# A GET (or HEAD) of it ends the server. Only that method is routed there, so a POST is answered by Express itself.
UNHEALTHY: Final = Route("unhealthy", "POST", "status", bare=True)
# clear-session-data of nobody, with nobody's secret, and by a method for which it is not routed: nothing is deleted.
CLEAR_ASKED: Final = Route("api/nobody/nothing/clear-session-data", "GET", "status", bare=True)
SOCKET: Final = Route("socket.io/", "GET", "status", bare=True)
SOCKET_SEND: Final = Route("socket.io/", "POST", "status", bare=True)

# Why WhatsApp Web's library refuses before anything leaves, as `error.code` of a 500 (measured).
NOTHING_DONE: Final = frozenset(
    {"quoted_msg_not_found", "chat_not_found", "empty_file", "invalid_image", "msg_not_found"}
)

# As much of a bare answer as says what it is.
HEAD_CHARS = 2048
# Between the packets of one Engine.IO answer (protocol 4).
PACKETS = "\x1e"
# A hundred years: what says more is no uptime.
MAX_UPTIME_SECONDS = 100 * 365 * 86_400
_NUMBER = re.compile(r"[+0-9 ().-]*")
_SOCKET_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True)
class Answer:
    status: int
    data: Any  # the parsed JSON; None also when the body is not JSON
    is_json: bool
    head: str = field(default="", repr=False)  # how the body begins, as text


def read_answer(status: int, body: bytes) -> Answer:
    """The answer as it came; a body that is no JSON is one, not an error."""
    head = body[:HEAD_CHARS].decode("utf-8", "replace")
    try:
        return Answer(status, orjson.loads(body), is_json=True, head=head)
    except orjson.JSONDecodeError:
        return Answer(status, None, is_json=False, head=head)


def accepted(route: Route, answer: Answer) -> Answer:
    """`answer` if it is a success; else raises what it means."""
    where = f"HTTP {answer.status}"
    if route.bare or (answer.is_json and answer.status in route.tolerates):
        return answer
    code = fields.mapping(fields.mapping(answer.data).get("error")).get("code")
    if answer.status == 401 and code == "chat_not_found":
        raise errors.WppChatNotFound(f"{route.name}: {where}")
    if answer.status == 500 and code in NOTHING_DONE:
        raise errors.WppRefused(f"{route.name}: {where}, {code}")
    if answer.status >= 500 or answer.status in route.does_it_all_the_same or _is_inner_failure(answer):
        raise route.broken(where)
    if answer.status == 401 or (route.secret_in_url and answer.status == 400):
        raise errors.WppUnauthorized(f"{route.name}: {where}")
    if answer.status == 404 and fields.mapping(answer.data).get("status") == "Disconnected":
        raise errors.WppDisconnected(f"{route.name}: {where}")
    if not 200 <= answer.status < 300:
        raise errors.WppRefused(f"{route.name}: {where}")
    if not answer.is_json:
        raise route.broken("a success that is not JSON")
    return answer


def _is_inner_failure(answer: Answer) -> bool:
    """`get-messages` answers 401 `{"status":"error","response":"Error on open list"}` when WhatsApp itself fails; a
    token's 401 has no `status` (both measured).
    """
    return answer.status == 401 and str(fields.mapping(answer.data).get("status")).lower() == "error"


def _object(route: Route, answer: Answer) -> dict[Any, Any]:
    if not isinstance(answer.data, dict):
        raise route.broken("a success that is not an object")
    return answer.data


def confirmed(_route: Route, answer: Answer) -> bool:
    """Whether an accepted answer is a plain success, not a tolerated failure."""
    return 200 <= answer.status < 300


def session_state(route: Route, answer: Answer) -> SessionState:
    """A session's state; raises `route.broken` where it names none."""
    data = _object(route, answer)
    status = "CLOSED" if data.get("status") is None else fields.text(data["status"])
    if not status:
        raise route.broken("a success without a readable status")
    status = status.upper()
    showing_qr = status == "QRCODE"
    return SessionState(
        status=status,
        urlcode=(fields.text(data.get("urlcode")) or None) if showing_qr else None,
        qrcode=fields.image_base64(data.get("qrcode")) if showing_qr else None,
        phone_code=(fields.text(data.get("phoneCode")) or None) if status == "PHONECODE" else None,
        version=fields.text(data.get("version")),
    )


def connection(route: Route, answer: Answer) -> bool:
    """What `check-connection-session` says of the connection."""
    status = _object(route, answer).get("status")
    if not isinstance(status, bool):
        raise route.broken("a success without a readable status")
    return status


def session_names(route: Route, answer: Answer) -> list[str]:
    """The names of the stored sessions."""
    names = _object(route, answer).get("response")
    if not isinstance(names, list):
        raise route.broken("a success without a list")
    return [name for name in names if isinstance(name, str)]


def device(route: Route, answer: Answer) -> Device:
    """The phone that a session is paired with."""
    found = fields.mapping(_object(route, answer).get("response"))
    return Device(
        phone=_wid_digits(route, found.get("phoneNumber")),
        platform=fields.text(found.get("platform")),
        pushname=fields.text(found.get("pushname")),
        battery=fields.number(found.get("battery")),
    )


def own_number(route: Route, answer: Answer) -> str:
    """The session's own number; raises WppDisconnected where nobody is signed in."""
    return _wid_digits(route, _object(route, answer).get("response"))


def _wid_digits(route: Route, wid: Any) -> str:
    """Digits of `5511…@c.us`, also with a device part (`5511…:12@c.us`). None there: nobody is signed in."""
    address = fields.identifier(wid)
    if address is None:
        raise errors.WppDisconnected(f"{route.name}: no number, nobody is signed in")
    user, _, server = address.partition("@")
    digits = user.partition(":")[0]
    if server not in ("", "c.us", "s.whatsapp.net") or not PHONE_DIGITS.fullmatch(digits):
        raise route.broken("a success without a readable number")
    return digits


def number_check(route: Route, answer: Answer) -> NumberCheck:
    """Whether a number is on WhatsApp, and under which address."""
    found = _object(route, answer).get("response")
    exists = fields.mapping(found).get("numberExists")
    address = fields.identifier(fields.mapping(found).get("id"))
    if not isinstance(exists, bool) or (exists and not address):
        raise route.broken("a success without a readable answer")
    return NumberCheck(exists, address if exists else None)


def sent_message(route: Route, answer: Answer) -> SentMessage:
    """What became of a send; raises WppRefused for a success without a message, because then nothing was sent."""
    response = _object(route, answer).get("response")
    first = fields.mapping(response[0] if isinstance(response, list) and response else response)
    message_id = fields.identifier(first.get("id"))
    if not message_id:
        raise errors.WppRefused(f"{route.name}: accepted without a message id, nothing was sent")
    return SentMessage(
        id=message_id,
        ack=fields.number(first.get("ack")) or 0,
        timestamp=fields.unix_time(first.get("t")) or fields.unix_time(first.get("timestamp")),
        to=fields.identifier(first.get("to")),
    )


def chat_messages(route: Route, answer: Answer) -> list[ChatMessage]:
    """A chat's messages; what is none is left out."""
    found = _object(route, answer).get("response")
    if not isinstance(found, list):
        raise route.broken("a success without a list")
    messages = (_chat_message(fields.mapping(item)) for item in found)
    return [message for message in messages if message is not None]


def _chat_message(item: dict[Any, Any]) -> ChatMessage | None:
    message_id = fields.identifier(item.get("id"))
    if message_id is None or events.is_notice(item):
        return None
    sender = fields.mapping(item.get("sender"))
    return ChatMessage(
        id=message_id,
        body=fields.text(item.get("body")) or fields.text(item.get("content")) or "",
        from_me=item.get("fromMe") is True or message_id.startswith("true_"),
        timestamp=fields.unix_time(item.get("t")) or fields.unix_time(item.get("timestamp")),
        ack=fields.number(item.get("ack")),
        from_=fields.identifier(item.get("from")),
        to=fields.identifier(item.get("to")),
        type=fields.text(item.get("type")) or "chat",
        chat_id=fields.identifier(item.get("chatId")),
        caption=fields.text(item.get("caption")),
        mimetype=fields.text(item.get("mimetype")),
        sender_name=fields.text(item.get("notifyName")) or fields.text(sender.get("pushname")),
        is_group=chat_kind(fields.identifier(item.get("chatId")) or "") is ChatKind.GROUP,
        filename=fields.text(item.get("filename")),
        lat=fields.degrees(item.get("lat")),
        lng=fields.degrees(item.get("lng")),
    )


def history(route: Route, answer: Answer) -> Page:
    """What was said in a chat and what became of it, as the webhooks would have told it."""
    found = _object(route, answer).get("response")
    if not isinstance(found, list):
        raise route.broken("a success without a list")
    items = [fields.mapping(item) for item in found]
    read = (events.parse({**item, "event": "onmessage"}) for item in items)
    times = [
        (fields.unix_time(item.get("t")) or 0, message_id)
        for item in items
        if (message_id := fields.identifier(item.get("id"))) is not None
    ]
    oldest_at, oldest_id = min(times, key=lambda one: one[0], default=(None, None))
    return Page([entry for entry in read if isinstance(entry, InboundMessage | Mark)], oldest_id, oldest_at)


def media_content(route: Route, answer: Answer) -> tuple[bytes, str | None]:
    """A file's bytes, and its type where one is stated."""
    found = _object(route, answer)
    encoded = found.get("base64")
    try:
        content = binascii.a2b_base64(encoded.rpartition(",")[2]) if isinstance(encoded, str) else b""
    except ValueError:
        content = b""
    if not content:
        raise route.broken("a success without a file")
    return content, fields.text(found.get("mimetype"))


def chat_list(route: Route, answer: Answer) -> list[Chat]:
    """The chats that have an id."""
    if not isinstance(answer.data, list):
        raise route.broken("a success without a list")
    chats = ((fields.identifier(fields.mapping(item).get("id")), fields.mapping(item)) for item in answer.data)
    return [_chat(chat_id, item) for chat_id, item in chats if chat_id]


def _chat(chat_id: str, item: dict[Any, Any]) -> Chat:
    return Chat(
        id=chat_id,
        unread=max(fields.number(item.get("unreadCount")) or 0, 0),
        timestamp=fields.unix_time(item.get("t")),
        is_group=chat_kind(chat_id) is ChatKind.GROUP,
        name=_called(item) or _called(fields.mapping(item.get("contact"))),
    )


def _called(item: dict[Any, Any]) -> str | None:
    # Whoever has no name is "formatted" as their number, a `@lid` or a group as its digits (measured).
    formatted = fields.text(item.get("formattedName"))
    formatted = None if formatted is None or _NUMBER.fullmatch(formatted) else formatted
    names = (fields.text(item.get("name")), formatted, fields.text(item.get("pushname")))
    return next((name for name in names if name), None)


def contact_list(route: Route, answer: Answer) -> list[Contact]:
    """The people of the address book who have an id."""
    found = _object(route, answer).get("response")
    if not isinstance(found, list):
        raise route.broken("a success without a list")
    people = ((fields.identifier(fields.mapping(item).get("id")), fields.mapping(item)) for item in found)
    return [Contact(one, _called(item)) for one, item in people if one]


def identity(route: Route, answer: Answer) -> Identity:
    """Phone number and @lid of one person, each None where the server does not know it."""
    found = _object(route, answer)
    found = fields.mapping(found.get("response")) or found
    phone, lid = fields.identifier(found.get("phoneNumber")), fields.identifier(found.get("lid"))
    digits = phone.removesuffix("@c.us") if phone else ""
    return Identity(
        phone=digits if PHONE_DIGITS.fullmatch(digits) else None,
        lid=lid if lid and lid.endswith("@lid") else None,
    )


def uptime(route: Route, answer: Answer) -> float:
    """Seconds since the server's start, as `healthz` tells them."""
    seconds = fields.mapping(answer.data).get("uptime") if answer.status == 200 else None
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 <= seconds < MAX_UPTIME_SECONDS:
        raise route.broken(f"HTTP {answer.status} without a readable uptime")
    return float(seconds)


def reached_express(route: Route, answer: Answer) -> bool:
    """Whether the server itself, and nothing in front of it, refused this method for this path."""
    return answer.status == 404 and f"Cannot {route.method} /{route.name}" in answer.head


def socket_id(_route: Route, answer: Answer) -> str | None:
    """The id of a socket that was opened, from Engine.IO's `open` packet (`0{"sid":…}`); None where none was."""
    packet = answer.head.partition(PACKETS)[0]
    if answer.status != 200 or not packet.startswith("0{"):
        return None
    try:
        found = fields.mapping(orjson.loads(packet[1:])).get("sid")
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, str) and _SOCKET_ID.fullmatch(found) else None


def socket_joined(_route: Route, answer: Answer) -> bool:
    """Whether the namespace let us in: `40{…}`, where one that asks who we are says `44{…}`."""
    return answer.status == 200 and any(packet.startswith("40") for packet in answer.head.split(PACKETS))
