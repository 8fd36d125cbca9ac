"""Phone numbers: from what people write to the digits that WhatsApp addresses are made of, and back."""

import re
from enum import StrEnum
from typing import Final

import phonenumbers

from services.wppconnect import written_forms
from services.wppconnect.errors import InvalidPhone, NobodyToWriteTo

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
_BRAZIL = re.compile("55")
_BRAZIL_OLD_MOBILE = re.compile(r"55([1-9][1-9])([6-9][0-9]{7})")
_MEXICO_OLD_MOBILE = re.compile(r"521([0-9]{10})")
# What a device or an agent adds to a person's address is none of their number's digits.
_PERSON_ADDRESS = re.compile(r"\+?([0-9]{7,14})(?:[._][0-9]+)?(?::[0-9]+)?@(?:c\.us|s\.whatsapp\.net)", re.IGNORECASE)
_LID_ADDRESS = re.compile(r"([0-9]{5,20})(?:[._][0-9]+)?(?::[0-9]+)?@lid", re.IGNORECASE)
# Several numbers in one cell, as Google writes contacts.
_BETWEEN_NUMBERS = ":::"
# With its country's code: what WhatsApp may have an account of although today's plan of the country has no such number.
_FEWEST_DIGITS = 8


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


def read_address(raw: str, default_region: str = "BR") -> str:
    """The address that is written here in any form: a phone's digits as `normalise` gives them, a person's `…@lid`, or
    a group's `…@g.us`.

    Raises: InvalidPhone.
    """
    written = written_forms.show_signs(raw)
    if is_group(written):
        return written
    if found := _LID_ADDRESS.fullmatch(written):
        return f"{found[1]}@lid"
    return normalise(raw, default_region)


def normalise(raw: str, default_region: str = "BR") -> str:
    """The phone that is written here in any form, in E.164 form without the plus, e.g. `5511999999999`.

    `raw` is what a person types or a program hands on: punctuation, labels ("Tel:"), a chat's link, `tel:`, `…@c.us`,
    what spreadsheets make of a number. Of Google's several numbers in one cell it is the first mobile.

    National numbers belong to `default_region`, also with the trunk's 0, with a carrier's code, or with the country's
    code in front but no plus. A number of any other country needs its plus (or 00): without it, a mistyped national
    number would reach a stranger abroad. Brazilian mobiles get their ninth digit if it is missing, and Mexican ones
    lose their 1; which form WhatsApp uses is for `check_number` to say. So it is with a number that has its country's
    code but that today's plan of that country does not have (`is_certain`): many accounts are older than the plan.

    Raises: InvalidPhone.
    """
    numbers = raw.split(_BETWEEN_NUMBERS) if len(raw) <= written_forms.MAX_LENGTH else [raw]
    if len(numbers) == 1:
        return _read_phone(raw, default_region)
    found = [digits for one in numbers if (digits := _read_phone_or_none(one, default_region))]
    if not found:
        raise InvalidPhone("none of these is a valid phone number")
    return next((digits for digits in found if _is_mobile(digits)), found[0])


def read_as_typed(raw: str) -> str:
    """The digits of a phone with its country's code, in the spelling in which it was written: whoever types their own
    number knows how WhatsApp has it.

    Raises: InvalidPhone.
    """
    digits = normalise(raw)
    user = written_forms.unwrap(raw).partition("@")[0].partition(":")[0]
    typed = re.sub(r"[^0-9]", "", user)
    # The longest first: a shorter one may be the end of a longer one. Its first two digits are the country's code.
    spellings = sorted(list_spellings(digits), key=len, reverse=True)
    return next((one for one in spellings if len(spellings) > 1 and typed.endswith(one[2:])), digits)


def is_certain(address: str) -> bool:
    """Whether the country's plan has such a number; an address that is no phone is what it is.

    An uncertain one is only sent to once WhatsApp has said that it has it.
    """
    if "@" in address:
        return True
    number = _parse(f"+{address}", None)
    return number is not None and phonenumbers.is_valid_number(number)


def format_phone(digits: str) -> str:
    """`digits` the way they are written internationally, `+55 11 99999-9999`; unchanged if not a phone."""
    if not digits.isascii() or not digits.isdecimal():
        return digits
    if found := _BRAZIL_OLD_MOBILE.fullmatch(digits):
        return f"+55 {found[1]} {found[2][:4]}-{found[2][4:]}"
    number = _parse(f"+{digits}", None)
    if number is None or not _FEWEST_DIGITS <= len(digits) <= MAX_DIGITS:
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


def list_spellings_to_ask(digits: str) -> tuple[str, ...]:
    """The spellings that WhatsApp must be asked about one by one, `digits` first. Of a Brazilian line it finds the
    account under either (measured), and every question counts."""
    return (digits,) if _BRAZIL.match(digits) else list_spellings(digits)


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
    if found := _BRAZIL_OLD_MOBILE.fullmatch(digits):
        return f"55{found[1]}9{found[2]}"
    found = _MEXICO_OLD_MOBILE.fullmatch(digits)
    return f"52{found[1]}" if found else digits


def _read_phone_or_none(raw: str, region: str) -> str | None:
    try:
        return _read_phone(raw, region)
    except InvalidPhone:
        return None


def _read_phone(raw: str, region: str) -> str:
    """One number, in whatever wrapping.

    Raises: InvalidPhone.
    """
    written = written_forms.unwrap(raw)
    if found := _PERSON_ADDRESS.fullmatch(written):
        return _get_valid_digits(f"+{found[1]}", region) or found[1]
    if "@" in written and get_chat_kind(written) not in (ChatKind.PERSON, ChatKind.GROUP):
        raise NobodyToWriteTo("a channel, a list or statuses")
    if len(written) > 40 or not _WRITTEN_PHONE.fullmatch(written):
        raise InvalidPhone("signs that no phone number has")
    candidates = _list_candidates(written)
    for candidate in candidates:
        if digits := _get_valid_digits(candidate, region):
            return digits
    if digits := _get_uncertain_digits(candidates[0], region):
        return digits
    raise InvalidPhone("not a valid phone number")


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
    number = _respell(number)
    digits = _format_e164(number)
    return digits if phonenumbers.is_valid_number(number) and len(digits) <= MAX_DIGITS else None


def _get_uncertain_digits(candidate: str, region: str) -> str | None:
    """Those of a number with its country's code, which that country's plan does not have. At home the plan is known."""
    digits = re.sub(r"[^0-9]", "", candidate)
    number = _parse(candidate, None) if _FEWEST_DIGITS <= len(digits) <= MAX_DIGITS else None
    at_home = number is not None and number.country_code == phonenumbers.country_code_for_region(region)
    return None if number is None or at_home else digits


def _is_mobile(digits: str) -> bool:
    number = _parse(f"+{digits}", None)
    mobile = (phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE_OR_MOBILE)
    return number is not None and phonenumbers.number_type(number) in mobile


def _parse(candidate: str, region: str | None) -> phonenumbers.PhoneNumber | None:
    try:
        return phonenumbers.parse(candidate, region)
    except phonenumbers.NumberParseException:
        return None


def _format_e164(number: phonenumbers.PhoneNumber) -> str:
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164).removeprefix("+")


def _respell(number: phonenumbers.PhoneNumber) -> phonenumbers.PhoneNumber:
    """An older account's number as it is written today. WhatsApp still shows the older form, so that is what people
    copy."""
    digits = _format_e164(number)
    today = get_phone_of_address(digits) or digits
    found = _parse(f"+{today}", None) if today != digits else None
    return found if found is not None and phonenumbers.is_valid_number(found) else number


def _get_written_key(phone: str) -> str:
    return get_address_key(phone if "@" in phone else re.sub(r"[^0-9]", "", phone))
