"""Reads the answers of WPPConnect servers: whether they are a success, and their JSON as results.

Pure: no HTTP here. Facts are measured against wppconnect-server 2.10.4 unless a docstring says otherwise.
"""

import binascii
import re
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from services.wppconnect import errors, event_parsing, message_types, payload_fields
from services.wppconnect.events import Annotation, InboundMessage
from services.wppconnect.phone import ChatKind, get_chat_kind
from services.wppconnect.results import (
    Chat,
    ChatMessage,
    Contact,
    Device,
    HistoryPage,
    Identity,
    NumberCheck,
    SentMessage,
    SessionState,
)
from services.wppconnect.routes import Route

PHONE_DIGITS = re.compile(r"[0-9]{7,14}")  # from 15 characters on the server takes any number for a @lid

# Why WhatsApp Web's library refuses before anything leaves, as `error.code` of a 500 (measured).
NOTHING_DONE: Final = frozenset(
    {"quoted_msg_not_found", "chat_not_found", "empty_file", "invalid_image", "msg_not_found"}
)

# How WhatsApp's word that an account may begin no new conversation is passed on: by its number or by its name. Read in
# public reports of several servers and libraries, not measured.
_RESTRICTED_CODE: Final = 463
_RESTRICTED_WORDS = re.compile(
    r"reach[ _-]?out|time[ _-]?lock|account[ _-]?restricted|\b(?:error|code|status|nack)\W{0,3}463\b", re.IGNORECASE
)

# As much of a bare answer as says what it is.
HEAD_CHARS = 2048
# Between the packets of one Engine.IO answer (protocol 4).
PACKET_SEPARATOR = "\x1e"
# A hundred years: what says more is no uptime.
MAX_UPTIME_SECONDS = 100 * 365 * 86_400
_FORMATTED_NUMBER = re.compile(r"[+0-9 ().-]*")
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


def raise_for_error(route: Route, answer: Answer) -> Answer:
    """`answer` if it is a success; else raises what it means."""
    where = f"HTTP {answer.status}"
    if route.bare or (answer.is_json and answer.status in route.tolerates):
        return answer
    code = payload_fields.mapping(payload_fields.mapping(answer.data).get("error")).get("code")
    if answer.status == 401 and code == "chat_not_found":
        raise errors.WppChatNotFound(f"{route.name}: {where}")
    if answer.status == 500 and route.sends and _is_restriction(answer):
        raise errors.WppRestricted(f"{route.name}: {where}")
    if answer.status == 500 and code in NOTHING_DONE:
        raise errors.WppRefused(f"{route.name}: {where}, {code}")
    if answer.status >= 500 or answer.status in route.does_it_all_the_same or _is_whatsapp_failure(answer):
        raise route.broken(where)
    if answer.status == 401 or (route.secret_in_url and answer.status == 400):
        raise errors.WppUnauthorized(f"{route.name}: {where}")
    if answer.status == 404 and payload_fields.mapping(answer.data).get("status") == "Disconnected":
        raise errors.WppDisconnected(f"{route.name}: {where}")
    if not 200 <= answer.status < 300:
        raise errors.WppRefused(f"{route.name}: {where}")
    if not answer.is_json:
        raise route.broken("a success that is not JSON")
    return answer


def _is_restriction(answer: Answer) -> bool:
    """Whether a send's 500 names the restriction. Only where an error is named: its details may repeat the message."""
    data = payload_fields.mapping(answer.data)
    error = payload_fields.mapping(data.get("error"))
    if str(error.get("code")) == str(_RESTRICTED_CODE):
        return True
    named = (data.get("message"), data.get("error"), *(error.get(name) for name in ("code", "name", "message", "text")))
    return any(isinstance(one, str) and _RESTRICTED_WORDS.search(one) is not None for one in named)


def _is_whatsapp_failure(answer: Answer) -> bool:
    """`get-messages` answers 401 `{"status":"error","response":"Error on open list"}` when WhatsApp itself fails; a
    token's 401 has no `status` (both measured).
    """
    return answer.status == 401 and str(payload_fields.mapping(answer.data).get("status")).lower() == "error"


def _get_object(route: Route, answer: Answer) -> dict[Any, Any]:
    if not isinstance(answer.data, dict):
        raise route.broken("a success that is not an object")
    return answer.data


def is_success(_route: Route, answer: Answer) -> bool:
    """Whether an accepted answer is a plain success, not a tolerated failure."""
    return 200 <= answer.status < 300


def parse_session_state(route: Route, answer: Answer) -> SessionState:
    """A session's state.

    Raises: `route.broken` where it names none.
    """
    data = _get_object(route, answer)
    status = "CLOSED" if data.get("status") is None else payload_fields.text(data["status"])
    if not status:
        raise route.broken("a success without a readable status")
    status = status.upper()
    showing_qr = status == "QRCODE"
    return SessionState(
        status=status,
        urlcode=(payload_fields.text(data.get("urlcode")) or None) if showing_qr else None,
        qrcode=payload_fields.image_base64(data.get("qrcode")) if showing_qr else None,
        phone_code=(payload_fields.text(data.get("phoneCode")) or None) if status == "PHONECODE" else None,
        version=payload_fields.text(data.get("version")),
    )


def parse_connection(route: Route, answer: Answer) -> bool:
    """What `check-connection-session` says of the connection."""
    status = _get_object(route, answer).get("status")
    if not isinstance(status, bool):
        raise route.broken("a success without a readable status")
    return status


def parse_session_names(route: Route, answer: Answer) -> list[str]:
    """The names of the stored sessions."""
    names = _get_object(route, answer).get("response")
    if not isinstance(names, list):
        raise route.broken("a success without a list")
    return [name for name in names if isinstance(name, str)]


def parse_device(route: Route, answer: Answer) -> Device:
    """The phone that a session is paired with."""
    found = payload_fields.mapping(_get_object(route, answer).get("response"))
    return Device(
        phone=_parse_wid_digits(route, found.get("phoneNumber")),
        platform=payload_fields.text(found.get("platform")),
        pushname=payload_fields.text(found.get("pushname")),
        battery=payload_fields.number(found.get("battery")),
    )


def parse_own_number(route: Route, answer: Answer) -> str:
    """The session's own number.

    Raises: WppDisconnected where nobody is signed in.
    """
    return _parse_wid_digits(route, _get_object(route, answer).get("response"))


def _parse_wid_digits(route: Route, wid: Any) -> str:
    """Digits of `5511…@c.us`, also with a device part (`5511…:12@c.us`). None there: nobody is signed in."""
    address = payload_fields.identifier(wid)
    if address is None:
        raise errors.WppDisconnected(f"{route.name}: no number, nobody is signed in")
    user, _, server = address.partition("@")
    digits = user.partition(":")[0]
    if server not in ("", "c.us", "s.whatsapp.net") or not PHONE_DIGITS.fullmatch(digits):
        raise route.broken("a success without a readable number")
    return digits


def parse_number_check(route: Route, answer: Answer) -> NumberCheck:
    """Whether a number is on WhatsApp, and under which address."""
    found = _get_object(route, answer).get("response")
    exists = payload_fields.mapping(found).get("numberExists")
    address = payload_fields.identifier(payload_fields.mapping(found).get("id"))
    if not isinstance(exists, bool) or (exists and not address):
        raise route.broken("a success without a readable answer")
    return NumberCheck(exists, address if exists else None)


def parse_sent_message(route: Route, answer: Answer) -> SentMessage:
    """What became of a send.

    Raises: WppRefused for a success without a message, because then nothing was sent.
    """
    response = _get_object(route, answer).get("response")
    first = payload_fields.mapping(response[0] if isinstance(response, list) and response else response)
    message_id = payload_fields.identifier(first.get("id"))
    if not message_id:
        raise errors.WppRefused(f"{route.name}: accepted without a message id, nothing was sent")
    return SentMessage(
        id=message_id,
        ack=payload_fields.number(first.get("ack")) or 0,
        timestamp=payload_fields.unix_time(first.get("t")) or payload_fields.unix_time(first.get("timestamp")),
        to=payload_fields.identifier(first.get("to")),
    )


def parse_chat_messages(route: Route, answer: Answer) -> list[ChatMessage]:
    """A chat's messages; what is none is left out."""
    found = _get_object(route, answer).get("response")
    if not isinstance(found, list):
        raise route.broken("a success without a list")
    messages = (_parse_chat_message(payload_fields.mapping(item)) for item in found)
    return [message for message in messages if message is not None]


def _parse_chat_message(item: dict[Any, Any]) -> ChatMessage | None:
    message_id = payload_fields.identifier(item.get("id"))
    if message_id is None or message_types.is_notice(item):
        return None
    sender = payload_fields.mapping(item.get("sender"))
    return ChatMessage(
        id=message_id,
        body=payload_fields.text(item.get("body")) or payload_fields.text(item.get("content")) or "",
        from_me=item.get("fromMe") is True or message_id.startswith("true_"),
        timestamp=payload_fields.unix_time(item.get("t")) or payload_fields.unix_time(item.get("timestamp")),
        ack=payload_fields.number(item.get("ack")),
        from_=payload_fields.identifier(item.get("from")),
        to=payload_fields.identifier(item.get("to")),
        type=payload_fields.text(item.get("type")) or "chat",
        chat_id=payload_fields.identifier(item.get("chatId")),
        caption=payload_fields.text(item.get("caption")),
        mimetype=payload_fields.text(item.get("mimetype")),
        sender_name=payload_fields.text(item.get("notifyName")) or payload_fields.text(sender.get("pushname")),
        is_group=get_chat_kind(payload_fields.identifier(item.get("chatId")) or "") is ChatKind.GROUP,
        filename=payload_fields.text(item.get("filename")),
        lat=payload_fields.degrees(item.get("lat")),
        lng=payload_fields.degrees(item.get("lng")),
    )


def parse_history(route: Route, answer: Answer) -> HistoryPage:
    """What was said in a chat and what became of it, as the webhooks would have told it."""
    found = _get_object(route, answer).get("response")
    if not isinstance(found, list):
        raise route.broken("a success without a list")
    items = [payload_fields.mapping(item) for item in found]
    read = (event_parsing.parse_event({**item, "event": "onmessage"}) for item in items)
    times = [
        (payload_fields.unix_time(item.get("t")) or 0, message_id)
        for item in items
        if (message_id := payload_fields.identifier(item.get("id"))) is not None
    ]
    oldest_at, oldest_id = min(times, key=lambda one: one[0], default=(None, None))
    return HistoryPage(
        [entry for entry in read if isinstance(entry, InboundMessage | Annotation)], oldest_id, oldest_at
    )


def parse_media(route: Route, answer: Answer) -> tuple[bytes, str | None]:
    """A file's bytes, and its type where one is stated."""
    found = _get_object(route, answer)
    encoded = found.get("base64")
    try:
        content = binascii.a2b_base64(encoded.rpartition(",")[2]) if isinstance(encoded, str) else b""
    except ValueError:
        content = b""
    if not content:
        raise route.broken("a success without a file")
    return content, payload_fields.text(found.get("mimetype"))


def parse_chats(route: Route, answer: Answer) -> list[Chat]:
    """The chats that have an id."""
    if not isinstance(answer.data, list):
        raise route.broken("a success without a list")
    chats = (
        (payload_fields.identifier(payload_fields.mapping(item).get("id")), payload_fields.mapping(item))
        for item in answer.data
    )
    return [_parse_chat(chat_id, item) for chat_id, item in chats if chat_id]


def _parse_chat(chat_id: str, item: dict[Any, Any]) -> Chat:
    return Chat(
        id=chat_id,
        unread=max(payload_fields.number(item.get("unreadCount")) or 0, 0),
        timestamp=payload_fields.unix_time(item.get("t")),
        is_group=get_chat_kind(chat_id) is ChatKind.GROUP,
        name=_get_name(item) or _get_name(payload_fields.mapping(item.get("contact"))),
    )


def _get_name(item: dict[Any, Any]) -> str | None:
    # Whoever has no name is "formatted" as their number, a `@lid` or a group as its digits (measured).
    formatted = payload_fields.text(item.get("formattedName"))
    formatted = None if formatted is None or _FORMATTED_NUMBER.fullmatch(formatted) else formatted
    names = (payload_fields.text(item.get("name")), formatted, payload_fields.text(item.get("pushname")))
    return next((name for name in names if name), None)


def parse_contacts(route: Route, answer: Answer) -> list[Contact]:
    """The people of the address book who have an id."""
    found = _get_object(route, answer).get("response")
    if not isinstance(found, list):
        raise route.broken("a success without a list")
    people = (
        (payload_fields.identifier(payload_fields.mapping(item).get("id")), payload_fields.mapping(item))
        for item in found
    )
    return [Contact(one, _get_name(item)) for one, item in people if one]


def parse_identity(route: Route, answer: Answer) -> Identity:
    """Phone number and @lid of one person, each None where the server does not know it."""
    found = _get_object(route, answer)
    found = payload_fields.mapping(found.get("response")) or found
    phone, lid = payload_fields.identifier(found.get("phoneNumber")), payload_fields.identifier(found.get("lid"))
    digits = phone.removesuffix("@c.us") if phone else ""
    return Identity(
        phone=digits if PHONE_DIGITS.fullmatch(digits) else None,
        lid=lid if lid and lid.endswith("@lid") else None,
    )


def parse_uptime(route: Route, answer: Answer) -> float:
    """Seconds since the server's start, as `healthz` tells them."""
    seconds = payload_fields.mapping(answer.data).get("uptime") if answer.status == 200 else None
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 <= seconds < MAX_UPTIME_SECONDS:
        raise route.broken(f"HTTP {answer.status} without a readable uptime")
    return float(seconds)


def is_refused_by_express(route: Route, answer: Answer) -> bool:
    """Whether the server itself, and nothing in front of it, refused this method for this path."""
    return answer.status == 404 and f"Cannot {route.method} /{route.name}" in answer.head


def parse_socket_id(_route: Route, answer: Answer) -> str | None:
    """The id of a socket that was opened, from Engine.IO's `open` packet (`0{"sid":…}`); None where none was."""
    packet = answer.head.partition(PACKET_SEPARATOR)[0]
    if answer.status != 200 or not packet.startswith("0{"):
        return None
    try:
        found = payload_fields.mapping(orjson.loads(packet[1:])).get("sid")
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, str) and _SOCKET_ID.fullmatch(found) else None


def is_socket_joined(_route: Route, answer: Answer) -> bool:
    """Whether the namespace let us in: `40{…}`, where one that asks who we are says `44{…}`."""
    return answer.status == 200 and any(packet.startswith("40") for packet in answer.head.split(PACKET_SEPARATOR))
