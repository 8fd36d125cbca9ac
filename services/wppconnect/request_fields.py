"""The fields of a request that name a recipient, a file or a quoted message."""

import re
from typing import Any

from services.wppconnect import errors, responses
from services.wppconnect.phone import is_group

_LID_DIGITS = re.compile(r"[0-9]{5,20}")


def phone_digits(phone: str) -> str:
    """The digits of a phone number, which may end in `@c.us`.

    Raises: InvalidPhone where something else is in it.
    """
    digits = phone.removesuffix("@c.us")
    if not responses.PHONE_DIGITS.fullmatch(digits):
        raise errors.InvalidPhone("not a phone number in digits")
    return digits


def file_fields(
    address_or_phone: str, data_uri: str, filename: str, caption: str, quoted_id: str | None
) -> dict[str, Any]:
    """The fields of a request that sends a file; `data_uri` is its content, `quoted_id` the message that it answers.

    Raises: InvalidPhone.
    """
    to = {"isGroup": False, **recipient_fields(address_or_phone)}
    return {**to, "filename": filename, "caption": caption, "base64": data_uri, **quote_fields(quoted_id)}


def quote_fields(quoted_id: str | None) -> dict[str, str]:
    """Read from the server's source: the field that makes a file or a voice note a reply."""
    return {"quotedMessageId": quoted_id} if quoted_id else {}


def recipient_fields(address: str) -> dict[str, Any]:
    """The fields that name a recipient: a phone number, a `@lid` address or a group.

    Raises: InvalidPhone where the address is none of these.
    """
    if address.endswith("@g.us"):
        if not is_group(address):
            raise errors.InvalidPhone("not a group's address")
        return {"phone": address.removesuffix("@g.us"), "isGroup": True}
    if not address.endswith("@lid"):
        return {"phone": phone_digits(address)}
    digits = address.removesuffix("@lid")
    if not _LID_DIGITS.fullmatch(digits):
        raise errors.InvalidPhone("not a @lid address")
    return {"phone": digits, "isLid": True}
