"""The types of WhatsApp's messages: which of them a person sent, and where their text stands."""

import re
from collections.abc import Mapping
from typing import Any, Final

from services.wppconnect import payload_fields
from services.wppconnect.event_keys import UNREADABLE_TYPE

# Types whose body is their file, or its preview: never a text.
FILE_TYPES: Final = frozenset({"image", "video", "audio", "ptt", "document", "sticker", "ptv"})
# Types whose body is a small picture of what they are about: never a text, and no file of theirs.
PREVIEW_TYPES: Final = frozenset({"location", "product", "order", "groups_v4_invite"})
CARD_TYPES: Final = frozenset({"vcard", "multi_vcard"})
CALL_TYPE: Final = "call"
# What is left of a message that was deleted for everybody.
REVOKED_TYPE: Final = "revoked"
# A photo or film that can be opened once, on the phone alone: other devices are not even told which of both it is.
VIEW_ONCE_TYPE: Final = "view_once"
# WhatsApp's own notes in a chat and what it writes about other messages. Most say so themselves (`isNotification`); in
# older servers' histories and in channels they do not.
NOTICE_TYPES: Final = frozenset(
    {"e2e_notification", "gp2", "notification", "group_notification", "notification_template", "broadcast_notification",
     "newsletter_notification", "call_log", "debug", "protocol", "pinned_message", "pin_in_chat", "keep_in_chat",
     "poll_update", "poll_result_snapshot", "reaction", "reaction_enc", "event_response", "event_edit_encrypted",
     "message_history_notice", "bot_action"}
)  # fmt: skip
# The head of several pictures sent at once; each of them is a message of its own.
ALBUM_TYPE: Final = "album"

_VIEW_ONCE_SUBTYPES: Final = frozenset({"view_once_unavailable_fanout", "view_once_unavailable"})
_SYNONYMS: Final = {
    "poll_creation_v2": "poll_creation",
    "poll_creation_v3": "poll_creation",
    "poll_creation_v5": "poll_creation",
    "live_location": "location",
    "template": "hsm",
    "interactive_response": "interactive",
    "native_flow_response": "interactive",
    "native_flow": "interactive",
    "button_reply": "buttons_response",
    "list_reply": "list_response",
}
_BASE64 = re.compile(r"(?:data:[a-z0-9.+/;=-]*;base64,)?[A-Za-z0-9+/\r\n]+={0,2}\s*")
# How the base64 of a JPEG, a PNG and a WebP begins.
_PICTURE_HEADS: Final = ("/9j/", "iVBORw0KGgo", "UklGR", "data:image/")
_MIN_BASE64, _MIN_PICTURE = 200, 60


def get_type(payload: Mapping[str, Any]) -> str:
    """The type of a message in one spelling; `unknown` where it has none."""
    type_ = payload_fields.text(payload.get("type")) or "unknown"
    if type_ == UNREADABLE_TYPE and payload_fields.text(payload.get("subtype")) in _VIEW_ONCE_SUBTYPES:
        return VIEW_ONCE_TYPE
    return _SYNONYMS.get(type_, type_)


def is_notice(payload: Mapping[str, Any]) -> bool:
    """Whether this is one of WhatsApp's own notes in a chat, or the head of an album, and no message."""
    type_, subtype = payload_fields.text(payload.get("type")), payload_fields.text(payload.get("subtype"))
    named = type_ == ALBUM_TYPE or (subtype if type_ == "unknown" else type_) in NOTICE_TYPES
    return named or payload.get("isNotification") is True


def is_view_once(payload: Mapping[str, Any]) -> bool:
    """Whether this can be opened once, on the phone alone."""
    return payload.get("isViewOnce") is True or get_type(payload) == VIEW_ONCE_TYPE


def get_body(type_: str, payload: Mapping[str, Any]) -> str:
    """The body of a message of type `type_`: a text, or a file's base64; empty where it is only a preview."""
    body = payload_fields.text(payload.get("body")) or ""
    if type_ in PREVIEW_TYPES or (type_ not in FILE_TYPES and type_ != "chat" and _is_base64(body)):
        return ""
    return body


def _is_base64(body: str) -> bool:
    least = _MIN_PICTURE if body.startswith(_PICTURE_HEADS) else _MIN_BASE64
    return len(body) > least and _BASE64.fullmatch(body) is not None
