"""Webhook payloads to frozen dataclasses. Pure, and total: whatever JSON arrives, nothing here raises.

Two dialects are read into the same dataclasses: what wppconnect-server 2.10.4 posts (measured), and the older one,
`{"session", "qrcode": "data:image/…", "status": "QRCODE"}` and `{"session", "status": "CONNECTED"}`.

    qrcode                                  QrCode
    phoneCode                               PhoneCode
    status-find                             StatusFind
    closesession, logoutsession             SessionClosed
    onmessage, unreadmessages,
    onselfmessage, incomingcall             InboundMessage
    onack                                   Ack
    onreactionmessage, onrevokedmessage,
    onpollresponse, a message that is an
    edit or a deletion of another one       Annotation
    KINDS_NOT_HANDLED, WhatsApp's own notices,
    its status, anything else, and what
    is malformed of the above               Unsupported
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from services.wppconnect import payload_fields
from services.wppconnect.annotation_parsing import malformed, read_ack, read_reaction, read_revocation, read_vote
from services.wppconnect.event_keys import MAX_KIND_CHARS, get_kind
from services.wppconnect.events import Event, PhoneCode, QrCode, SessionClosed, StatusFind, Unsupported
from services.wppconnect.message_parsing import read_call, read_message

_STATUS_SYNONYMS: Final = {"CONNECTED": "inChat", "desconnectedMobile": "disconnectedMobile"}

# Known, kept raw, and of no further use to this console.
KINDS_NOT_HANDLED: Final = ("onpresencechanged", "onparticipantschanged", "onupdatelabel", "location")


def parse_event(payload: object) -> Event:
    """The event in `payload`. Anything unknown or malformed is Unsupported; never an exception."""
    if not isinstance(payload, Mapping):
        return Unsupported("unknown", "malformed: not an object")
    kind = get_kind(payload)
    reader = _READERS.get(kind)
    if reader is not None:
        return reader(kind, payload)
    return Unsupported(kind, "not handled" if kind in KINDS_NOT_HANDLED else "unknown event")


def _read_qr_code(kind: str, payload: Mapping[str, Any]) -> Event:
    urlcode = payload_fields.text(payload.get("urlcode")) or None
    image = payload_fields.image_base64(payload.get("qrcode"))
    if urlcode is None and image is None:
        return malformed(kind, "neither urlcode nor an image")
    return QrCode(urlcode, image)


def _read_phone_code(kind: str, payload: Mapping[str, Any]) -> Event:
    code = payload_fields.text(payload.get("phoneCode"))
    if not code:
        return malformed(kind, "no phoneCode")
    return PhoneCode(code, payload_fields.text(payload.get("phone")) or None)


def _read_status_find(kind: str, payload: Mapping[str, Any]) -> Event:
    status = payload.get("status")
    if not isinstance(status, str) or not 0 < len(status) <= MAX_KIND_CHARS:
        return malformed(kind, "no status")
    word = payload_fields.storable(status)
    return StatusFind(_STATUS_SYNONYMS.get(word.upper()) or _STATUS_SYNONYMS.get(word) or word)


def _read_session_closed(kind: str, _payload: Mapping[str, Any]) -> Event:
    return SessionClosed(kind)


_READERS: Final[dict[str, Callable[[str, Mapping[str, Any]], Event]]] = {
    "qrcode": _read_qr_code,
    "phoneCode": _read_phone_code,
    "status-find": _read_status_find,
    "closesession": _read_session_closed,
    "logoutsession": _read_session_closed,
    "onmessage": read_message,
    "unreadmessages": read_message,
    "onselfmessage": read_message,
    "onack": read_ack,
    "onreactionmessage": read_reaction,
    "onrevokedmessage": read_revocation,
    "onpollresponse": read_vote,
    "incomingcall": read_call,
}
