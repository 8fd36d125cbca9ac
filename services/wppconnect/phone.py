"""Phone numbers: from what people write to the digits that WhatsApp addresses are made of, and back."""

import re
import unicodedata
from enum import StrEnum
from typing import Final

import phonenumbers

from services.wppconnect.errors import InvalidPhone

MAX_DIGITS = 14  # what is longer, wppconnect-server takes for a @lid (measured against 2.10.4)
GROUP_ADDRESS = re.compile(r"[0-9]{5,25}(?:-[0-9]{5,15})?@g\.us")

_WRITTEN_PHONE = re.compile(r"\+?[0-9 ().\-/]+")
_BRAZIL_MOBILE = re.compile(r"55([1-9][1-9])9?([6-9][0-9]{7})")
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


def list_spellings(digits: str) -> tuple[str, ...]:
    """`digits` first, then the same line as it is also written: with or without Brazil's ninth digit."""
    found = _BRAZIL_MOBILE.fullmatch(digits)
    if not found:
        return (digits,)
    short = f"55{found[1]}{found[2]}"
    longer = f"55{found[1]}9{found[2]}"
    return (digits, short if digits == longer else longer)


def is_same_subscriber(a: str, b: str) -> bool:
    """Whether two phones (digits or `…@c.us`) are one line, with or without Brazil's ninth digit.

    Only what can have been a mobile of eight digits (6 to 9 in front) is compared so: 3333-4444 is a landline, and
    93333-4444 belongs to somebody else. A `@lid` only equals itself: it is no phone.
    """
    return _get_subscriber(a) == _get_subscriber(b)


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


def _get_subscriber(phone: str) -> str:
    if phone.endswith("@lid"):
        return phone
    digits = re.sub(r"[^0-9]", "", phone.partition("@")[0])
    found = _BRAZIL_MOBILE.fullmatch(digits)
    return f"55{found[1]}{found[2]}" if found else digits
