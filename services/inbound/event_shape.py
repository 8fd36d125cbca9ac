"""The shape of an event's body: keys, types and lengths, without what people wrote.

Bodies are users' chats, so staff see only their shape. Values are shown only where the protocol itself defines them.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Any

from services.inbound import inline_files

# A body beyond this is a file: its shape says no more than its size does.
SHAPE_BYTES = 1024 * 1024
SHAPE_FIELDS = 200
SHAPE_DEPTH = 20

# Keys that the protocol itself defines with a word or a number of its own. Every other value is somebody's.
OPEN_KEYS = {"event", "status", "type", "ack", "connected", "isGroupMsg", "fromMe", "self", "isNewMsg", "ackType"}
_WORD = re.compile(r"[A-Za-z_-]{1,32}")
_KEY = re.compile(r"[A-Za-z_$][A-Za-z0-9_$-]{0,40}")
HIDDEN = "•••"
# How `event_writer` keeps what is no text: bytes that are no UTF-8 as `\\x8b`, what the database refuses as base64.
_STORED_BYTE = re.compile(r"\\x[89a-f][0-9a-f]")
_STORED_GZIP = "\x1f\\x8b"
_STORED_BASE64 = "base64:"


class Unreadable(StrEnum):
    """Why a body could not be read."""

    EMPTY = "empty"
    NO_OBJECT = "no_object"  # JSON, but a list, a text, a number
    PACKED = "packed"  # gzip, and cut off or without the header that says so
    NO_UTF8 = "no_utf8"  # another alphabet, or packed in a way that is not known
    REFUSED = "refused"  # the database does not take it as text
    NO_JSON = "no_json"


@dataclass(frozen=True)
class BodyField:
    """One place in a body: its path, its type with a length, and its value where the protocol itself made it."""

    path: str
    type: str
    value: str


def describe_body(body: str | None) -> list[BodyField]:
    """Keys and types of a body, without what people wrote, sent or are called; at most 200 fields, 20 levels deep."""
    payload = inline_files.parse_body(body) if body else None
    return list(islice(_list_fields(payload, ""), SHAPE_FIELDS)) if isinstance(payload, dict) else []


def explain_unreadable(body: str) -> Unreadable:
    """Why a stored body with the verdict `invalid` could not be read."""
    if not body.strip():
        return Unreadable.EMPTY
    if body.startswith(_STORED_BASE64):
        return Unreadable.REFUSED
    if body.startswith(_STORED_GZIP):
        return Unreadable.PACKED
    if _STORED_BYTE.search(body):
        return Unreadable.NO_UTF8
    is_json = inline_files.parse_body(body) is not None or body.strip() == "null"
    return Unreadable.NO_OBJECT if is_json else Unreadable.NO_JSON


def _list_fields(value: Any, path: str, depth: int = 0) -> Iterator[BodyField]:
    if depth > SHAPE_DEPTH:
        return
    if isinstance(value, dict):
        for key, inner in value.items():
            # A key may be a number of somebody, too.
            name = key if _KEY.fullmatch(key) and not re.search(r"[0-9]{6}", key) else HIDDEN
            yield from _list_fields(inner, f"{path}.{name}" if path else name, depth + 1)
    elif isinstance(value, list):
        yield BodyField(path, f"list[{len(value)}]", "")
        if value:
            yield from _list_fields(value[0], f"{path}[]", depth + 1)
    else:
        yield BodyField(path, _type_name(value), _open_value(path, value))


def _type_name(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    return f"text[{len(value)}]" if isinstance(value, str) else "number"


def _open_value(path: str, value: Any) -> str:
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if path not in OPEN_KEYS:
        return HIDDEN
    if isinstance(value, int) and abs(value) < 100:
        return str(value)
    return value if isinstance(value, str) and _WORD.fullmatch(value) else HIDDEN
