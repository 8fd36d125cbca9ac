"""Files that webhooks bring inside their JSON, as base64: moved to the media store before the event is stored.

The event keeps a reference in the place of the file: `"body": {"sha256": …, "size": …}`. A file that cannot be stored
stays in the event; the event is then larger, nothing is lost, and the worker tries again.

An acknowledgement of one's own message brings the whole file again, up to four times (measured). That copy is dropped
and only its size is kept.
"""

import binascii
import json
import re
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import filetype
import orjson
import structlog
from sqlalchemy.exc import SQLAlchemyError

from services.db.actor import SYSTEM
from services.errors import ServiceError
from services.platform import media_store
from services.platform.media_store import Media
from services.wppconnect import payload_fields
from services.wppconnect.message_types import FILE_TYPES, PREVIEW_TYPES

log = structlog.get_logger(__name__)

# Nothing shorter holds a file worth its own place.
MIN_BODY_SIZE = 2048
MIMETYPE_MARK = b'"mimetype"'
MESSAGE_EVENTS = frozenset({"onmessage", "onselfmessage", "unreadmessages"})
ACK_EVENT = "onack"
ACK_MARK = b'"onack"'
UNKNOWN_TYPE = "application/octet-stream"
MIMETYPE_LIMIT = 200
HEAD_BYTES = 512
_SESSION = re.compile(r"user_([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")
_MIMETYPE = re.compile(r"[a-z0-9.+-]+/[a-z0-9.+-]+(?:; ?[a-z0-9=.\"+-]+)*", re.IGNORECASE)


def may_hold_file(body: bytes | bytearray) -> bool:
    """Whether a webhook's body is worth a look. Cheap: most small bodies cost a search for one word."""
    return (len(body) > MIN_BODY_SIZE or ACK_MARK in body) and MIMETYPE_MARK in body


def parse_body(body: bytes | bytearray | str) -> Any:
    """A body as JSON, or None where it is none."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        pass
    try:
        # Half an emoji (a lone surrogate) is JSON all the same; only the slower parser takes it.
        return json.loads(body if isinstance(body, str) else body.decode())
    except (ValueError, RecursionError):
        return None


def extract_file(session: str | None, body: bytes | bytearray) -> bytes | bytearray:
    """`body` with its file in the media store and a reference in the file's place, an acknowledgement without its file;
    `body` itself where there is none or it could not be stored. Takes as long as the store does: not for an event
    loop."""
    payload = parse_body(body)
    event = payload.get("event") if isinstance(payload, dict) else None
    if event == ACK_EVENT:
        return _serialise(payload) if _strip_file(payload) else body
    if event not in MESSAGE_EVENTS:
        return body
    kept = store_file(session or payload.get("session"), payload)
    if kept is None:
        return body
    payload["body"] = {"sha256": kept.sha256.hex(), "size": kept.size}
    content = payload.get("content")
    if isinstance(content, str) and len(content) > MIN_BODY_SIZE:
        payload["content"] = ""  # one's own messages have their file there too
    return _serialise(payload)


def _serialise(payload: Mapping[str, Any]) -> bytes:
    # ASCII: half an emoji in a caption has no form in UTF-8.
    return json.dumps(payload, separators=(",", ":")).encode()


def _strip_file(payload: dict[str, Any]) -> bool:
    """Take the file out of an acknowledgement; False where there is none."""
    stripped, type_ = False, payload_fields.text(payload.get("type"))
    for key in ("body", "content"):
        held = payload.get(key)
        if isinstance(held, str) and held and (payload.get("mimetype") or type_ in FILE_TYPES):
            payload[key] = {"size": len(held) * 3 // 4}
            stripped = True
    return stripped


def store_file(session: object, payload: Mapping[str, Any]) -> Media | None:
    """Put the file of one message's payload into its owner's store; None where there is none, or it failed."""
    owner = _SESSION.fullmatch(session) if isinstance(session, str) else None
    content = file_content(payload) if owner else None
    if owner is None or content is None:
        return None
    try:
        return media_store.save(SYSTEM, content, detect_mimetype(payload.get("mimetype"), content), UUID(owner[1]))
    except (ServiceError, SQLAlchemyError) as error:
        log.warning("file_not_put_aside", session=session, size=len(content), error=type(error).__name__)
        return None


def file_content(payload: Mapping[str, Any]) -> bytes | None:
    """The file in a message's payload; None where its body is a text, a preview of the file, or empty."""
    body, type_ = payload.get("body"), payload_fields.text(payload.get("type"))
    if not isinstance(body, str) or not body or type_ in PREVIEW_TYPES:
        return None
    if type_ not in FILE_TYPES and not payload.get("mimetype"):
        return None
    content = decode_base64(body)
    return None if content is None or _is_preview(content, payload) else content


def decode_base64(text: str) -> bytes | None:
    """The bytes of a base64 text, with or without a `data:` prefix; None where it is none."""
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        # Takes the text as it is: tens of MB are not copied once more.
        return binascii.a2b_base64(text, strict_mode=True) or None
    except ValueError:
        return None


def detect_mimetype(stated: object, content: bytes) -> str:
    """The type that WhatsApp states, or else the one that the bytes show."""
    if isinstance(stated, str) and len(stated) <= MIMETYPE_LIMIT and _MIMETYPE.fullmatch(stated):
        return stated
    return filetype.guess_mime(content[:HEAD_BYTES]) or UNKNOWN_TYPE


def _is_preview(content: bytes, payload: Mapping[str, Any]) -> bool:
    """A server that does not download sends the small picture that WhatsApp Web shows before it has the file."""
    size, stated = payload.get("size"), payload.get("mimetype")
    if isinstance(size, int) and len(content) < size // 2:
        return True
    found = filetype.guess_mime(content[:HEAD_BYTES]) or ""
    return isinstance(stated, str) and found.startswith("image/") and not stated.startswith("image/")
