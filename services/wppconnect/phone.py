"""Phone numbers: from what people write to the digits that WhatsApp addresses are made of, and back."""

import re
import unicodedata
from enum import StrEnum
from typing import Final

import phonenumbers

from services.wppconnect.errors import InvalidPhone

MAX_DIGITS = 14  # what is longer, wppconnect-server takes for a @lid (measured against 2.10.4)
GROUP_ADDRESS = re.compile(r"[0-9]{5,25}(?:-[0-9]{5,15})?@g\.us")

# One line that is known under two spellings: what stands before a digit that may be there or not, the digit, and what
# stands behind it. Argentina's 9 and Mexico's 1 are written by whoever calls a mobile from abroad, and by WhatsApp for
# accounts of some age. In Brazil only what begins with 6 to 9 can have been a mobile of eight digits.
_TWO_SPELLINGS: Final = (
    ("55[1-9][1-9]", "9", "[6-9][0-9]{7}"),
    ("54", "9", "[0-9]{10}"),
    ("52", "1", "[0-9]{10}"),
)
# `app.get_address_key` (migrations/sql) says the same in SQL. `…:12@c.us` and `….0:12@s.whatsapp.net` are devices.
_KEY_RULES: Final = (
    (re.compile(r"\A([0-9]+)(?:\.[0-9]+)?(?::[0-9]+)?@(?:c\.us|s\.whatsapp\.net)\Z"), r"\1@c.us"),
    (re.compile(r"\A([0-9]+)\Z"), r"\1@c.us"),
    (re.compile(r"\A([0-9]+)(?:\.[0-9]+)?:[0-9]+@lid\Z"), r"\1@lid"),
    *((re.compile(rf"\A({ahead}){digit}({rest}@c\.us)\Z"), r"\1\2") for ahead, digit, rest in _TWO_SPELLINGS),
)
_EITHER_SPELLING: Final = tuple(
    (re.compile(f"({ahead})({digit})?({rest})"), digit) for ahead, digit, rest in _TWO_SPELLINGS
)
_WRITTEN_PHONE = re.compile(r"\+?[0-9 ().\-/]+")
_ADDRESS_DIGITS = re.compile(r"[0-9]{7,14}")
_BRAZIL_OLD_MOBILE = re.compile(r"55([1-9][1-9])([6-9][0-9]{7})")


class ChatKind(StrEnum):
    """Whom a chat is with, as its address says."""

    PERSON = "person"  # …@c.us, …@lid
    GROUP = "group"  # …@g.us
    CHANNEL = "channel"  # …@newsletter: one writes, many read
    BROADCAST = "broadcast"  # …@broadcast: a list that one person wrote to
    STATUS = "status"  # status@broadcast: the photos and texts that vanish after a day


_KIND_BY_SERVER: Final = {"g.us": ChatKind.GROUP, "newsletter": ChatKind.CHANNEL, "broadcast": ChatKind.BROADCAST}


def get_chat_kind(address: str) -> ChatKind:
    """Whom the chat of this address is with. The one place that tells them apart."""
    if address == "status@broadcast":
        return ChatKind.STATUS
    return _KIND_BY_SERVER.get(address.partition("@")[2], ChatKind.PERSON)


def is_group(address: str) -> bool:
    """Whether this is the address of a group, `…@g.us`; older ones have a hyphen in them."""
    return GROUP_ADDRESS.fullmatch(address) is not None


def normalise(raw: str, default_region: str = "BR") -> str:
    """`raw` in E.164 form without the plus, e.g. `5511999999999`.

    National numbers belong to `default_region`, also with the trunk's 0, with a carrier's code, or with the country's
    code in front but no plus. A number of any other country needs its plus (or 00): without it, a mistyped national
    number would reach a stranger abroad. Brazilian mobiles get their ninth digit if it is missing; which form WhatsApp
    uses is for `check_number` to say.

    Raises: InvalidPhone.
    """
    written = _remove_invisible(raw)
    for candidate in _list_candidates(written):
        digits = _get_valid_digits(candidate, default_region)
        if digits:
            return digits
    raise InvalidPhone("not a valid phone number")


def format_phone(digits: str) -> str:
    """`digits` the way they are written internationally, `+55 11 99999-9999`; unchanged if not a phone."""
    if not digits.isascii() or not digits.isdecimal():
        return digits
    number = _parse(f"+{digits}", None)
    if number is None or not phonenumbers.is_possible_number(number):
        return digits
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.INTERNATIONAL)


def get_address_key(address: str) -> str:
    """The one form under which a person, a group or a channel is known, whatever form or spelling `address` has.

    A device is cut off, digits alone and `…@s.whatsapp.net` become `…@c.us`, and a line that is written in two ways
    (Brazil, Argentina, Mexico) has the shorter one. What is no person, and a `@lid`, stays as it is.
    """
    for pattern, replacement in _KEY_RULES:
        address = pattern.sub(replacement, address)
    return address


def list_spellings(digits: str) -> tuple[str, ...]:
    """`digits` first, then the same line as it is also written: with or without Brazil's or Argentina's 9, or Mexico's
    1."""
    for pattern, digit in _EITHER_SPELLING:
        if found := pattern.fullmatch(digits):
            return (digits, f"{found[1]}{'' if found[2] else digit}{found[3]}")
    return (digits,)


def is_same_subscriber(a: str, b: str) -> bool:
    """Whether two phones (digits, with signs between them, or an address) are one line, in either spelling.

    In Brazil 3333-4444 is a landline, and 93333-4444 belongs to somebody else. A `@lid` only equals itself: it is no
    phone.
    """
    return _get_written_key(a) == _get_written_key(b)


def get_phone_of_address(address: str | None) -> str | None:
    """The phone in a `…@c.us` as `normalise` would write it, also for an old account without the ninth digit.

    None for what is no phone: a `@lid`, a group, a broadcast.
    """
    user, _, server = (address or "").partition("@")
    digits = user.partition(":")[0]
    if server not in ("", "c.us", "s.whatsapp.net") or not _ADDRESS_DIGITS.fullmatch(digits):
        return None
    found = _BRAZIL_OLD_MOBILE.fullmatch(digits)
    return f"55{found[1]}9{found[2]}" if found else digits


def _remove_invisible(raw: str) -> str:
    """`raw` without the invisible signs that come along when a number is copied from a web page or a
    contact."""
    visible = "".join(sign for sign in raw if unicodedata.category(sign) != "Cf")
    written = re.sub(r"\s", " ", unicodedata.normalize("NFKC", visible)).strip()
    written = re.sub(r"[\u2010-\u2015\u2212]", "-", written)
    if len(written) > 40 or not _WRITTEN_PHONE.fullmatch(written):
        raise InvalidPhone("signs that no phone number has")
    return written


def _list_candidates(written: str) -> list[str]:
    """Ways to read `written`, the likeliest first. `00` is tried as a plus, or 0055… would be read as the
    exit code 00, the carrier 55 and a number in the USA."""
    digits = re.sub(r"[^0-9]", "", written)
    if written.startswith("00"):
        return [f"+{digits[2:]}", written]
    return [written]


def _get_valid_digits(candidate: str, region: str) -> str | None:
    number = _parse(candidate, region)
    if number is None:
        return None
    number = _add_ninth_digit(number)
    digits = _format_e164(number)
    return digits if phonenumbers.is_valid_number(number) and len(digits) <= MAX_DIGITS else None


def _parse(candidate: str, region: str | None) -> phonenumbers.PhoneNumber | None:
    try:
        return phonenumbers.parse(candidate, region)
    except phonenumbers.NumberParseException:
        return None


def _format_e164(number: phonenumbers.PhoneNumber) -> str:
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164).removeprefix("+")


def _add_ninth_digit(number: phonenumbers.PhoneNumber) -> phonenumbers.PhoneNumber:
    """WhatsApp still shows older accounts without it, so that is what people copy; all mobiles have it by
    now."""
    found = _BRAZIL_OLD_MOBILE.fullmatch(_format_e164(number))
    longer = _parse(f"+55{found[1]}9{found[2]}", None) if found else None
    return longer if longer is not None and phonenumbers.is_valid_number(longer) else number


def _get_written_key(phone: str) -> str:
    return get_address_key(phone if "@" in phone else re.sub(r"[^0-9]", "", phone))
