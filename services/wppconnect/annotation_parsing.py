"""Reads what happens to a message later out of a webhook's payload: edits, deletions, reactions, votes, receipts.

Pure, and total: whatever JSON arrives, nothing here raises.
"""

from collections.abc import Mapping
from typing import Any

from services.wppconnect import payload_fields
from services.wppconnect.event_keys import (
    MAX_KIND_CHARS,
    MAX_MESSAGE_ID_CHARS,
    get_ack_number,
    get_own_id,
    get_revoked_id,
)
from services.wppconnect.events import Ack, Annotation, Event, InboundMessage, Unsupported
from services.wppconnect.message_details import read_options
from services.wppconnect.message_types import get_body


def malformed(kind: str, what: str) -> Unsupported:
    """The event for a payload that cannot be read; `what` says what is wrong with it."""
    return Unsupported(kind, f"malformed: {what}")


def read_protocol_annotation(payload: Mapping[str, Any], from_: str) -> Annotation | None:
    """WhatsApp Web's own message about another one: that it was edited, or deleted; None where it says neither."""
    if payload.get("type") != "protocol":
        return None
    about = _get_annotated_id(payload.get("protocolMessageKey"))
    subtype, who = payload.get("subtype"), payload_fields.identifier(payload.get("author")) or from_
    if about is None or subtype not in ("message_edit", "sender_revoke", "admin_revoke"):
        return None
    at = payload_fields.unix_millis(payload.get("latestEditSenderTimestampMs")) or _get_millis(payload)
    if subtype != "message_edit":
        return Annotation(about, "revoke", who, at)
    return Annotation(about, "edit", who, at, {"body": _get_edited_text(payload)})


def _get_edited_text(payload: Mapping[str, Any]) -> str:
    """What a message was changed to: its text, or a file's caption."""
    return get_body("protocol", payload) or payload_fields.text(payload.get("caption")) or ""


def read_revoked(payload: Mapping[str, Any], left: InboundMessage) -> Annotation:
    """What is left of a deleted message in its chat's history: that it was deleted, when it had been said."""
    return Annotation(left.id, "revoke", left.author or left.from_, _get_millis(payload), left=left)


def _get_millis(payload: Mapping[str, Any]) -> int | None:
    return payload_fields.unix_millis(payload.get("t")) or payload_fields.unix_millis(payload.get("timestamp"))


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
        payload_fields.unix_millis(payload.get("timestamp")),
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
    return Annotation(about, "revoke", who, _get_millis(payload))


def read_vote(kind: str, payload: Mapping[str, Any]) -> Event:
    """Reads a vote as an annotation of its poll, with the names of the chosen options."""
    about, who = _get_annotated_id(payload.get("msgId")), payload_fields.identifier(payload.get("sender"))
    if about is None or who is None:
        return malformed(kind, "no poll or no voter")
    options = read_options(payload.get("selectedOptions"))
    return Annotation(about, "vote", who, payload_fields.unix_millis(payload.get("timestamp")), {"options": options})


def _get_annotated_id(value: Any) -> str | None:
    found = payload_fields.identifier(value)
    return found if found and len(found) <= MAX_MESSAGE_ID_CHARS else None


def read_ack(kind: str, payload: Mapping[str, Any]) -> Event:
    """Reads an acknowledgement; `Unsupported` where the id or the number is missing or unusable."""
    message_id, ack = get_own_id(payload), get_ack_number(payload)
    if message_id is None or len(message_id) > MAX_MESSAGE_ID_CHARS or ack is None:
        return malformed(kind, "no id or no ack")
    return Ack(message_id, ack, payload_fields.identifier(payload.get("participant")))
