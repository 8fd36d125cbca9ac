"""The kind of an event and its keys: what the receiver stores beside the raw event, and what shows a duplicate.

Nothing here raises, whatever JSON arrives. The server merges the payload over `event` and `session`, so neither can
be trusted: which session an event belongs to is known from the webhook's URL alone.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from services.wppconnect import payload_fields

MAX_KIND_CHARS = 64
MAX_MESSAGE_ID_CHARS = 512
MAX_SESSION_CHARS = 128
# A message whose key has not come yet: the same id comes again with what it says.
UNREADABLE_TYPE: Final = "ciphertext"


class EventKey(NamedTuple):
    """What the receiver stores beside the raw event. `session` is what the body claims, which proves
    nothing."""

    kind: str
    session: str | None = None
    message_id: str | None = None
    ack: int | None = None


def get_event_key(payload: object) -> EventKey:
    """The few columns the receiver needs, without reading the whole payload. Never an exception."""
    # A dict first: asking an abstract class costs a microsecond, and this runs for each delivery.
    if not isinstance(payload, dict) and not isinstance(payload, Mapping):
        return EventKey("unknown")
    kind = get_kind(payload)
    identify = _ID_READERS.get(kind)
    message_id = identify(payload) if identify is not None else None
    if message_id is not None and len(message_id.rpartition("#")[0] or message_id) > MAX_MESSAGE_ID_CHARS:
        message_id = None
    session = payload_fields.text(payload.get("session"))
    return EventKey(
        kind=kind,
        session=session if session and len(session) <= MAX_SESSION_CHARS else None,
        message_id=message_id,
        ack=get_ack_number(payload) if kind == "onack" else None,
    )


def get_dedupe_key(session: str, key: EventKey) -> bytes | None:
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


def get_message_key(message_id: str) -> str:
    """What a message's id has in common with its other names: who wrote it, and the stanza id.

    One message is called `true_<phone>@c.us_<stanza>_out`, `true_<lid>@lid_<stanza>_out` and, once the server was
    started anew, the same without `_out` (measured). `app.get_message_key` of the database says the same.
    """
    parts = message_id.split("_")
    return f"{parts[0]}_{parts[2]}" if len(parts) > 2 and parts[2] else message_id


# Telling the events apart


def get_kind(payload: Mapping[str, Any]) -> str:
    """The name of an event, up to `MAX_KIND_CHARS` characters; `unknown` where the payload has none."""
    event = payload.get("event")
    if isinstance(event, str) and event:
        return payload_fields.storable(event)[:MAX_KIND_CHARS] or "unknown"
    status = payload.get("status")
    word = status.upper() if isinstance(status, str) and len(status) <= MAX_KIND_CHARS else None
    if word == "QRCODE":
        return "qrcode"
    return "status-find" if word == "CONNECTED" else "unknown"


def get_own_id(payload: Mapping[str, Any]) -> str | None:
    """The id that an event carries as its own, or None."""
    return payload_fields.identifier(payload.get("id"))


def _id_of_message(payload: Mapping[str, Any]) -> str | None:
    """A message's id with what of the message comes along: the same id comes again once it can be read, with its words,
    with its file, or edited, and those are other deliveries. Other words alone make none: a message has its first."""
    parts = [
        get_own_id(payload),
        payload_fields.text(payload.get("type")),
        "body" if payload.get("body") else "",
        "caption" if payload.get("caption") else "",
    ]
    return _compose_id(parts, payload_fields.number(payload.get("latestEditSenderTimestampMs")) or 0)


def _id_of_ack(payload: Mapping[str, Any]) -> str | None:
    """Its message's id; the receipt of one of several recipients has a key of its own."""
    if get_ack_number(payload) is None:
        return None
    own, participant = get_own_id(payload), payload.get("participant")
    return own if participant is None else _compose_id([own, payload_fields.identifier(participant)], 0)


def _id_of_reaction(payload: Mapping[str, Any]) -> str | None:
    """One message can get, lose and get again a reaction: its own key, the emoji and the moment make one of
    them."""
    parts = [
        get_own_id(payload),
        payload_fields.identifier(payload.get("msgId")),
        payload_fields.text(payload.get("reactionText")),
    ]
    return _compose_id(parts, payload_fields.number(payload.get("timestamp")))


def _id_of_vote(payload: Mapping[str, Any]) -> str | None:
    """A vote has no id of its own: `msgId` is the poll's, so the voter and the moment make it."""
    parts = [payload_fields.identifier(payload.get("msgId")), payload_fields.identifier(payload.get("sender"))]
    return _compose_id(parts, payload_fields.number(payload.get("timestamp")))


def _compose_id(parts: list[str | None], timestamp: int | None) -> str | None:
    if parts[0] is None or timestamp is None:
        return None
    digest = hashlib.blake2b(json.dumps([*parts, timestamp]).encode(), digest_size=8).hexdigest()
    return f"{parts[0]}#{digest}"


def get_revoked_id(payload: Mapping[str, Any]) -> str | None:
    """The id of the message that was deleted, or None."""
    return payload_fields.identifier(payload.get("refId")) or get_own_id(payload)


# Absent on purpose: the `id` of `onpresencechanged` and `location` is a contact's; it would eat later events.
_ID_READERS: Final[dict[str, Callable[[Mapping[str, Any]], str | None]]] = {
    "onmessage": _id_of_message,
    "onselfmessage": _id_of_message,
    "unreadmessages": _id_of_message,
    "onack": _id_of_ack,
    "onreactionmessage": _id_of_reaction,
    "onpollresponse": _id_of_vote,
    "onrevokedmessage": get_revoked_id,
    "incomingcall": get_own_id,
}


def get_ack_number(payload: Mapping[str, Any]) -> int | None:
    """The number of an acknowledgement, from -100 to 100, or None."""
    ack = payload_fields.number(payload.get("ack"))
    return ack if ack is not None and -100 <= ack <= 100 else None
