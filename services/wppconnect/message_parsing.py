"""Reads a message out of a webhook's payload.

Pure, and total: whatever JSON arrives, nothing here raises.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

from services.wppconnect import message_context, payload_fields
from services.wppconnect.annotation_parsing import malformed, read_protocol_annotation, read_revoked
from services.wppconnect.event_keys import MAX_KIND_CHARS, MAX_MESSAGE_ID_CHARS, get_ack_number, get_own_id
from services.wppconnect.events import Event, InboundMessage, StoredFile, Unsupported
from services.wppconnect.message_details import get_detail
from services.wppconnect.message_texts import get_message_body
from services.wppconnect.message_types import CALL_TYPE, REVOKED_TYPE, get_type, is_notice
from services.wppconnect.phone import ChatKind, get_chat_kind


def read_message(kind: str, payload: Mapping[str, Any]) -> Event:
    """Reads a message, or an annotation that arrives as one; `Unsupported` for notices, statuses and malformed ones."""
    message_id, from_ = get_own_id(payload), payload_fields.identifier(payload.get("from"))
    if message_id is None or len(message_id) > MAX_MESSAGE_ID_CHARS:
        return malformed(kind, "no usable id")
    if from_ is None:
        return malformed(kind, "no sender")
    if _is_status(payload, message_id, from_):
        return Unsupported(kind, "a status, which is nobody's conversation")
    if (mark := read_protocol_annotation(payload, from_)) is not None:
        return mark
    if payload.get("type") == REVOKED_TYPE:
        return read_revoked(payload, _build_message(kind, payload, message_id, from_))
    if is_notice(payload):
        return Unsupported(kind, "a notice of WhatsApp itself")
    return _build_message(kind, payload, message_id, from_)


def _is_status(payload: Mapping[str, Any], message_id: str, from_: str) -> bool:
    """Whether this was posted as a status, however the server names it: by its chat, by whom it is from or to, or in
    its id."""
    chat = message_id.split("_")[1] if "_" in message_id else ""
    addresses = (payload_fields.identifier(payload.get("chatId")), from_, payload_fields.identifier(payload.get("to")))
    named = any(one and get_chat_kind(one) is ChatKind.STATUS for one in (*addresses, chat))
    return named or payload.get("isStatusV3") is True


def _build_message(kind: str, payload: Mapping[str, Any], message_id: str, from_: str) -> InboundMessage:
    from_me = payload.get("fromMe") is True or kind == "onselfmessage" or message_id.startswith("true_")
    to = payload_fields.identifier(payload.get("to"))
    chat_id = payload_fields.identifier(payload.get("chatId")) or (to if from_me and to else from_)
    sender = payload_fields.mapping(payload.get("sender"))
    type_ = get_type(payload)
    of_several = get_chat_kind(chat_id) is not ChatKind.PERSON
    sender_id = payload_fields.identifier(payload.get("author")) or payload_fields.identifier(sender.get("id"))
    author = message_context.get_author(payload, chat_id, message_id) if of_several and not from_me else None
    return InboundMessage(
        id=message_id,
        from_=from_,
        to=to,
        chat_id=chat_id,
        type=type_,
        body=get_message_body(type_, payload),
        caption=payload_fields.text(payload.get("caption")),
        mimetype=payload_fields.text(payload.get("mimetype")),
        filename=payload_fields.text(payload.get("filename")),
        timestamp=payload_fields.unix_time(payload.get("t")) or payload_fields.unix_time(payload.get("timestamp")),
        sender_id=sender_id,
        sender_name=_get_book_name(sender),
        pushname=_get_pushname(payload, sender),
        is_group=get_chat_kind(chat_id) is ChatKind.GROUP,
        from_me=from_me,
        quoted_id=message_context.get_quoted_id(payload),
        detail={**get_detail(type_, payload), **message_context.get_context(type_, payload)},
        file=_get_stored_file(payload.get("body")),
        size=payload_fields.number(payload.get("size")),
        phone_id=None if of_several or from_me else _get_phone_address(chat_id, sender_id, sender),
        edited_at=payload_fields.unix_time(payload.get("latestEditSenderTimestampMs")),
        ack=get_ack_number(payload) if from_me else None,
        author=author.address if author else None,
        author_phone_id=author.phone_id if author else None,
        quoted_author=message_context.get_quoted_author(payload),
        in_address_book=_get_boolean(sender.get("isMyContact")),
    )


def _get_book_name(sender: Mapping[Any, Any]) -> str | None:
    """How the owner's address book calls the sender. WhatsApp calls everybody else something, too: by the number, or
    as a firm is called."""
    if sender.get("isMyContact") is False:
        return None
    known = ("name", "formattedName", "shortName") if sender.get("isMyContact") is True else ("name",)
    return next((name for one in known if (name := payload_fields.name(sender.get(one))) is not None), None)


def _get_pushname(payload: Mapping[str, Any], sender: Mapping[Any, Any]) -> str | None:
    """How the sender calls themselves; a firm outside of the address book is called by its `name`."""
    offered = [sender.get("pushname"), payload.get("notifyName"), sender.get("verifiedName")]
    if sender.get("isMyContact") is False:
        offered.append(sender.get("name"))
    return next((name for one in offered if (name := payload_fields.name(one)) is not None), None)


def _get_boolean(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


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
        type=CALL_TYPE,
        timestamp=payload_fields.unix_time(payload.get("offerTime")) or payload_fields.unix_time(payload.get("t")),
        detail={"video": payload.get("isVideo") is True, "group": payload.get("isGroup") is True},
    )
