"""Reads a message out of a webhook's payload, and what happened to a message later.

Pure, and total: whatever JSON arrives, nothing here raises.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from services.wppconnect import payload_fields
from services.wppconnect.event_keys import (
    MAX_KIND_CHARS,
    MAX_MESSAGE_ID_CHARS,
    get_ack_number,
    get_own_id,
    get_revoked_id,
)
from services.wppconnect.events import Ack, Annotation, Event, InboundMessage, StoredFile, Unsupported
from services.wppconnect.message_details import get_detail, read_options
from services.wppconnect.phone import ChatKind, get_chat_kind

# WhatsApp's own notes in a chat, which nobody said: measured with `isNotification: true`, at the head of nearly every
# chat; older ones and those of channels may come without it.
NOTICE_TYPES: Final = frozenset(
    {"e2e_notification", "gp2", "notification", "notification_template", "broadcast_notification",
     "newsletter_notification", "call_log"}
)  # fmt: skip
# What is left of a message that was deleted for everybody.
REVOKED_TYPE: Final = "revoked"
# Kinds whose body is a preview picture.
_BODILESS_TYPES: Final = frozenset({"location"})


def is_notice(payload: Mapping[str, Any]) -> bool:
    """Whether this is one of WhatsApp's own notes in a chat, and no message."""
    return payload.get("isNotification") is True or payload_fields.text(payload.get("type")) in NOTICE_TYPES


# Reading each of them


def malformed(kind: str, what: str) -> Unsupported:
    """The event for a payload that cannot be read; `what` says what is wrong with it."""
    return Unsupported(kind, f"malformed: {what}")


def read_message(kind: str, payload: Mapping[str, Any]) -> Event:
    """Reads a message, or an annotation that arrives as one; `Unsupported` for notices, statuses and malformed ones."""
    message_id, from_ = get_own_id(payload), payload_fields.identifier(payload.get("from"))
    if message_id is None or len(message_id) > MAX_MESSAGE_ID_CHARS:
        return malformed(kind, "no usable id")
    if from_ is None:
        return malformed(kind, "no sender")
    if (mark := _read_protocol_annotation(payload, from_)) is not None:
        return mark
    if is_notice(payload):
        return Unsupported(kind, "a notice of WhatsApp itself")
    from_me = payload.get("fromMe") is True or kind == "onselfmessage" or message_id.startswith("true_")
    to = payload_fields.identifier(payload.get("to"))
    chat_id = payload_fields.identifier(payload.get("chatId")) or (to if from_me and to else from_)
    sender = payload_fields.mapping(payload.get("sender"))
    type_ = payload_fields.text(payload.get("type")) or "unknown"
    chat = get_chat_kind(chat_id)
    if chat is ChatKind.STATUS:
        return Unsupported(kind, "a status, which is nobody's conversation")
    is_group = chat is ChatKind.GROUP
    sender_id = payload_fields.identifier(payload.get("author")) or payload_fields.identifier(sender.get("id"))
    return InboundMessage(
        id=message_id,
        from_=from_,
        to=to,
        chat_id=chat_id,
        type=type_,
        body=_get_body(type_, payload),
        caption=payload_fields.text(payload.get("caption")),
        mimetype=payload_fields.text(payload.get("mimetype")),
        filename=payload_fields.text(payload.get("filename")),
        timestamp=payload_fields.unix_time(payload.get("t")) or payload_fields.unix_time(payload.get("timestamp")),
        sender_id=sender_id,
        sender_name=payload_fields.text(sender.get("name")),
        pushname=payload_fields.text(sender.get("pushname")) or payload_fields.text(payload.get("notifyName")),
        is_group=is_group,
        from_me=from_me,
        quoted_id=_get_quoted_id(payload, chat_id),
        detail=get_detail(type_, payload),
        file=_get_stored_file(payload.get("body")),
        size=payload_fields.number(payload.get("size")),
        phone_id=None if is_group or from_me else _get_phone_address(chat_id, sender_id, sender),
        edited_at=payload_fields.unix_time(payload.get("latestEditSenderTimestampMs")),
        ack=get_ack_number(payload) if from_me else None,
    )


def _get_body(type_: str, payload: Mapping[str, Any]) -> str:
    return "" if type_ in _BODILESS_TYPES else payload_fields.text(payload.get("body")) or ""


def _get_stored_file(body: Any) -> StoredFile | None:
    """What the receiver left in place of a file's base64."""
    kept = payload_fields.mapping(body)
    sha256, size = payload_fields.text(kept.get("sha256")), payload_fields.number(kept.get("size"))
    try:
        digest = bytes.fromhex(sha256 or "")
    except ValueError:
        return None
    return StoredFile(digest, size) if len(digest) == hashlib.sha256().digest_size and size else None


def _get_phone_address(chat_id: str, sender_id: str | None, sender: Mapping[str, Any]) -> str | None:
    """The phone's address of a chat that is called by its `@lid`."""
    if not chat_id.endswith("@lid"):
        return None
    offered = (
        sender_id,
        payload_fields.identifier(sender.get("phoneNumber")),
        payload_fields.identifier(sender.get("id")),
    )
    return next((one for one in offered if one and one.endswith("@c.us")), None)


def _get_quoted_id(payload: Mapping[str, Any], chat_id: str) -> str | None:
    """The id of the message that this one answers: whole, or put together from its parts as WhatsApp Web does."""
    whole = payload_fields.identifier(payload.get("quotedMsgId"))
    stanza, author = (
        payload_fields.text(payload.get("quotedStanzaID")),
        payload_fields.identifier(payload.get("quotedParticipant")),
    )
    if whole is None and stanza and author:
        own = author == payload_fields.identifier(payload.get("to"))
        whole = f"{str(own).lower()}_{chat_id}_{stanza}"
    return whole if whole and len(whole) <= MAX_MESSAGE_ID_CHARS else None


def read_call(kind: str, payload: Mapping[str, Any]) -> Event:
    """Reads an incoming call as a message of type `call`; `Unsupported` where it is malformed."""
    call_id, peer = get_own_id(payload), payload_fields.identifier(payload.get("peerJid"))
    if call_id is None or len(call_id) > MAX_KIND_CHARS or peer is None:
        return malformed(kind, "no id or no caller")
    return InboundMessage(
        id=f"call_{call_id}",
        from_=peer,
        to=None,
        chat_id=peer,
        type="call",
        timestamp=payload_fields.unix_time(payload.get("offerTime")),
        detail={"video": payload.get("isVideo") is True, "group": payload.get("isGroup") is True},
    )


# What became of a message later


def _read_protocol_annotation(payload: Mapping[str, Any], from_: str) -> Annotation | None:
    """WhatsApp Web's own message about another one: that it was edited, or deleted. One that was deleted is also found
    in its chat's history as what is left of it."""
    if payload.get("type") == REVOKED_TYPE and (own := get_own_id(payload)) is not None:
        said = payload_fields.unix_time(payload.get("t"))
        return Annotation(own, "revoke", from_, said * 1000 if said else None)
    if payload.get("type") != "protocol":
        return None
    about = payload_fields.identifier(payload.get("protocolMessageKey"))
    subtype, seconds = payload.get("subtype"), payload_fields.unix_time(payload.get("t"))
    if (
        about is None
        or len(about) > MAX_MESSAGE_ID_CHARS
        or subtype not in ("message_edit", "sender_revoke", "admin_revoke")
    ):
        return None
    at = payload_fields.number(payload.get("latestEditSenderTimestampMs")) or (seconds * 1000 if seconds else None)
    if subtype != "message_edit":
        return Annotation(about, "revoke", from_, at)
    return Annotation(about, "edit", from_, at, {"body": payload_fields.text(payload.get("body")) or ""})


def read_reaction(kind: str, payload: Mapping[str, Any]) -> Event:
    """Reads a reaction as an annotation of its message; no emoji means that it was taken back."""
    about, own = _get_annotated_id(payload.get("msgId")), get_own_id(payload)
    if about is None or own is None:
        return malformed(kind, "no message")
    emoji = payload_fields.text(payload.get("reactionText")) or ""
    return Annotation(
        about,
        "reaction",
        _get_author(own),
        payload_fields.number(payload.get("timestamp")),
        {"emoji": emoji[:MAX_KIND_CHARS]},
    )


def _get_author(message_id: str) -> str:
    """Who wrote a message, by its id: `false_<chat>_<key>`, in a group `false_<group>_<key>_<author>`."""
    from_me, *parts = message_id.split("_")
    if from_me == "true":
        return "me"
    author = parts[2] if len(parts) > 2 and parts[0].endswith("@g.us") else parts[0] if parts else ""
    return author or "unknown"


def read_revocation(kind: str, payload: Mapping[str, Any]) -> Event:
    """Reads the deletion of a message for everybody as an annotation of that message."""
    about = _get_annotated_id(get_revoked_id(payload))
    if about is None:
        return malformed(kind, "no message")
    who = (
        payload_fields.identifier(payload.get("author")) or payload_fields.identifier(payload.get("from")) or "unknown"
    )
    seconds = payload_fields.unix_time(payload.get("t"))
    return Annotation(about, "revoke", who, seconds * 1000 if seconds else None)


def read_vote(kind: str, payload: Mapping[str, Any]) -> Event:
    """Reads a vote as an annotation of its poll, with the names of the chosen options."""
    about, who = _get_annotated_id(payload.get("msgId")), payload_fields.identifier(payload.get("sender"))
    if about is None or who is None:
        return malformed(kind, "no poll or no voter")
    options = read_options(payload.get("selectedOptions"))
    return Annotation(about, "vote", who, payload_fields.number(payload.get("timestamp")), {"options": options})


def _get_annotated_id(value: Any) -> str | None:
    found = payload_fields.identifier(value)
    return found if found and len(found) <= MAX_MESSAGE_ID_CHARS else None


def read_ack(kind: str, payload: Mapping[str, Any]) -> Event:
    """Reads an acknowledgement; `Unsupported` where the id or the number is missing or unusable."""
    message_id, ack = get_own_id(payload), get_ack_number(payload)
    if message_id is None or len(message_id) > MAX_MESSAGE_ID_CHARS or ack is None:
        return malformed(kind, "no id or no ack")
    return Ack(message_id, ack, payload_fields.identifier(payload.get("participant")))
