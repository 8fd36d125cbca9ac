"""Tolerant reading of the JSON that a WPPConnect server sends: never an exception, whatever the type found.

Every text that leaves here can be stored in PostgreSQL: no NUL characters, no lone surrogates.
"""

import math
import re
from typing import Any

MAX_INTEGER = 2**63 - 1  # PostgreSQL's bigint; anything beyond is not a time, an ack or a count
LAST_SECOND = 4_102_444_800  # 2100-01-01
_DECIMAL = re.compile(r"[0-9]{1,20}(?:\.[0-9]{0,20})?")
# What an address book or WhatsApp itself puts where it has no name: a number, a `@lid`.
_NUMBER_AS_NAME = re.compile(r"[+0-9\s().\-\u2010-\u2015]*")
_MIN_NUMBER_DIGITS = 5


def text(value: Any) -> str | None:
    """`value` as text. Integers are accepted (phones come unquoted at times); anything else is None."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if abs(value) <= MAX_INTEGER else None
    return None


def storable(value: str) -> str:
    """`value` without what PostgreSQL's `text` and `jsonb` refuse."""
    if "\x00" in value:
        value = value.replace("\x00", "")
    return value if value.isascii() else value.encode("utf-8", "replace").decode()


def number(value: Any) -> int | None:
    """`value` as a whole number that fits a bigint, also from `12.0` and `"12"`; else None."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        stripped = value.strip()
        if len(stripped) > 20 or not stripped.removeprefix("-").isdecimal():
            return None
        value = int(stripped)
    if isinstance(value, float):
        if not math.isfinite(value) or not value.is_integer():
            return None
        value = int(value)
    return value if isinstance(value, int) and abs(value) <= MAX_INTEGER else None


def unix_time(value: Any) -> int | None:
    """A moment in whole Unix seconds, as `unix_millis` reads it."""
    moment = unix_millis(value)
    return moment // 1000 if moment is not None and moment >= 1000 else None


def unix_millis(value: Any) -> int | None:
    """A moment in Unix milliseconds, from seconds, milliseconds or microseconds, also with a fraction or as text of
    digits; None outside the years 1970–2100."""
    if isinstance(value, str):
        written = value.strip()
        if not written.isascii() or not _DECIMAL.fullmatch(written):
            return None
        value = float(written) if "." in written else int(written)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= LAST_SECOND * 1_000_000:
        return None
    if value <= LAST_SECOND:
        return math.floor(value * 1000)
    return int(value if value <= LAST_SECOND * 1000 else value // 1000)


def degrees(value: Any) -> float | None:
    """A latitude or longitude, also where it comes as text; None for anything else."""
    if not isinstance(value, int | float | str) or isinstance(value, bool):
        return None
    try:
        angle = float(value)
    except (ValueError, OverflowError):
        return None
    return angle if -180 <= angle <= 180 else None


def identifier(value: Any) -> str | None:
    """A message's or a contact's id: a string, or an object with `_serialized` or the parts to build it from.

    Both forms are measured (`onmessage` has the string, `onack` the object). An object without `_serialized`
    is joined as WhatsApp Web does: `fromMe_remote_id` for a message key, `user@server` for a contact.
    """
    if not isinstance(value, dict):
        return text(value) or None
    serialized = text(value.get("_serialized"))
    if serialized:
        return serialized
    return _message_key(value) or _contact(value)


def _message_key(value: dict[Any, Any]) -> str | None:
    remote, key = value.get("remote"), text(value.get("id"))
    chat = (text(remote.get("_serialized")) or _contact(remote)) if isinstance(remote, dict) else text(remote)
    if not chat or not key or not isinstance(value.get("fromMe"), bool):
        return None
    return f"{str(value['fromMe']).lower()}_{chat}_{key}"


def _contact(value: dict[Any, Any]) -> str | None:
    user, server = text(value.get("user")), text(value.get("server"))
    return f"{user}@{server}" if user and server else None


def mapping(value: Any) -> dict[Any, Any]:
    """`value` if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def name(value: Any) -> str | None:
    """`value` as what somebody or something is called; None for what is only a number."""
    called = (text(value) or "").strip()
    is_number = _NUMBER_AS_NAME.fullmatch(called) and sum(map(str.isdigit, called)) >= _MIN_NUMBER_DIGITS
    return called if called and not is_number else None


def items(value: Any, most: int) -> list[Any]:
    """The first `most` entries of `value` if it is a list, else none."""
    return value[:most] if isinstance(value, list) else []


def image_base64(value: Any) -> str | None:
    """The base64 of an image, with or without its `data:image/…;base64,` prefix; None if it is anything else.

    Checked because it ends up inside a `data:` URL of a page.
    """
    if not isinstance(value, str):
        return None
    if value.startswith("data:"):
        prefix, comma, value = value.partition(",")
        if not comma or not prefix.startswith("data:image/") or not prefix.endswith(";base64"):
            return None
    alphabet = value.rstrip("=").replace("+", "").replace("/", "")
    return value if alphabet and alphabet.isascii() and alphabet.isalnum() else None
