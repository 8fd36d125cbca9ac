"""Numbers the way people write them."""

import phonenumbers
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.wppconnect.errors import InvalidPhone
from services.wppconnect.phone import format_phone, get_address_key, is_same_subscriber, list_spellings, normalise

AREAS = [11, 19, 21, 27, 31, 41, 47, 51, 53, 55, 61, 71, 81, 91, 99]


@pytest.mark.parametrize(
    ("raw", "digits"),
    [
        ("+55 (11) 99999-9999", "5511999999999"),
        ("11 99999-9999", "5511999999999"),
        ("(11)99999.9999", "5511999999999"),
        ("5511999999999", "5511999999999"),
        ("55 11 99999 9999", "5511999999999"),
        ("011 99999-9999", "5511999999999"),
        ("0 15 11 99999-9999", "5511999999999"),
        ("0055 11 99999-9999", "5511999999999"),
        ("00 55 (11) 99999-9999", "5511999999999"),
        ("11 3333-4444", "551133334444"),
        ("551133334444", "551133334444"),
        ("55 99999-9999", "5555999999999"),  # area 55, not the country
        ("5555999999999", "5555999999999"),
        ("+55 31 9999-9999", "5531999999999"),  # as WhatsApp shows older accounts
        ("553199999999", "5531999999999"),
        ("+1 (212) 555-0123", "12125550123"),
        ("001 212 555 0123", "12125550123"),
        ("+351 912 345 678", "351912345678"),
        ("\u202a+55\u00a011\u00a099999\u20119999\u202c", "5511999999999"),  # copied from a contact card
        ("＋５５ １１ ９９９９９ ９９９９", "5511999999999"),
        ("  11\t99999-9999\n", "5511999999999"),
    ],
)
def test_it_understands_what_people_write(raw: str, digits: str) -> None:
    assert normalise(raw) == digits


@pytest.mark.parametrize(
    "raw",
    ["", " ", "+", "0", "190", "99999-9999", "9999999999999999", "11 99999", "abc", "11 9999A-9999", "0800-FLOWERS",
     "5511999999999@c.us", "123456789012345@lid", "120363000000000000@g.us", "5511999999999-1600000000@g.us",
     "123456789012345", "20 99999-9999", "12399999999", "12125550123", "+55 11", "+999 123456789",
     "11 99999-9999 / 21 99999-9999", "5511999999999,5511888888888", "9" * 1000, "+5511999999999x",
     "++5511999999999", "\u0661\u0661"],
)  # fmt: skip
def test_it_refuses_what_is_no_phone(raw: str) -> None:
    with pytest.raises(InvalidPhone):
        normalise(raw)


def test_it_takes_another_home_country() -> None:
    assert normalise("(212) 555-0123", default_region="US") == "12125550123"


mobiles = st.builds(
    lambda area, first, rest: f"55{area}9{first}{rest:07d}",
    st.sampled_from(AREAS),
    st.integers(6, 9),
    st.integers(0, 9_999_999),
)


@given(mobiles)
@example("5555999999999")
def test_it_reads_every_way_of_writing_a_mobile(digits: str) -> None:
    area, number = digits[2:4], digits[4:]
    forms = [
        digits, f"+{digits}", f"00{digits}", area + number, f"0{area}{number}", f"({area}) {number[:5]}-{number[5:]}",
        f"+55 {area} {number[1:5]}-{number[5:]}", format_phone(digits),
    ]  # fmt: skip
    assert {normalise(form) for form in forms} == {digits}


@given(mobiles)
def test_it_knows_a_mobile_without_its_ninth_digit(digits: str) -> None:
    older = digits[:4] + digits[5:]
    assert is_same_subscriber(digits, older)
    assert is_same_subscriber(f"{older}@c.us", f"+{digits}")
    other = digits[:-1] + str((int(digits[-1]) + 1) % 10)
    assert not is_same_subscriber(other, older)


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ("551133334444", "551133334444@c.us", True),
        ("551133334444", "5511933334444", False),  # a landline, and somebody else's mobile
        ("12125550123", "12125550123", True),
        ("12125550123", "12125550124", False),
        ("123456789012345@lid", "123456789012345@lid", True),
        ("123456789012345@lid", "123456789012345", False),
        ("5511999999999", "5521999999999", False),
    ],
)
def test_it_compares_lines(a: str, b: str, same: bool) -> None:
    assert is_same_subscriber(a, b) is same
    assert is_same_subscriber(b, a) is same


@pytest.mark.parametrize(
    ("digits", "shown"),
    [
        ("5511999999999", "+55 11 99999-9999"),
        ("551133334444", "+55 11 3333-4444"),
        ("12125550123", "+1 212-555-0123"),
        ("123456789012345@lid", "123456789012345@lid"),
        ("", ""),
        ("12", "12"),
        ("٥٥", "٥٥"),
    ],
)
def test_it_shows_a_number(digits: str, shown: str) -> None:
    assert format_phone(digits) == shown


@given(st.text() | st.from_regex(r"\A\+?[0-9 ()./-]{0,20}\Z"))
def test_it_returns_sendable_digits_or_refuses(raw: str) -> None:
    try:
        digits = normalise(raw)
    except InvalidPhone:
        return
    assert digits.isascii()
    assert digits.isdecimal()
    assert 7 <= len(digits) <= 14
    assert normalise(f"+{digits}") == digits
    assert phonenumbers.is_valid_number(phonenumbers.parse(f"+{digits}", None))


@given(st.text())
def test_it_displays_anything(digits: str) -> None:
    assert isinstance(format_phone(digits), str)


PERSON_FORMS = ("{0}", "{0}@c.us", "{0}@s.whatsapp.net", "{0}:12@c.us", "{0}:3@s.whatsapp.net", "{0}.0:3@c.us")


@pytest.mark.parametrize(
    ("spellings", "key"),
    [
        (("5511987650024", "551187650024"), "551187650024@c.us"),
        (("5491123456789", "541123456789"), "541123456789@c.us"),
        (("5215512345678", "525512345678"), "525512345678@c.us"),
        (("551133334444",), "551133334444@c.us"),
        (("5511933334444",), "5511933334444@c.us"),  # no mobile of eight digits can have been its shorter form
        (("12125550123",), "12125550123@c.us"),
        (("22507123456",), "22507123456@c.us"),
    ],
)
@pytest.mark.parametrize("form", PERSON_FORMS)
def test_a_person_has_one_key_in_every_form_of_the_address(spellings: tuple[str, ...], key: str, form: str) -> None:
    assert {get_address_key(form.format(digits)) for digits in spellings} == {key}
    assert get_address_key(key) == key


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("112233445566778@lid", "112233445566778@lid"),
        ("112233445566778:3@lid", "112233445566778@lid"),
        ("5511987650024@lid", "5511987650024@lid"),  # no phone, whatever its digits look like
        ("120363020000000001@g.us", "120363020000000001@g.us"),
        ("5511987650024-1600000000@g.us", "5511987650024-1600000000@g.us"),
        ("120363020000000002@newsletter", "120363020000000002@newsletter"),
        ("5511987650024@broadcast", "5511987650024@broadcast"),
        ("status@broadcast", "status@broadcast"),
        ("5511987650024@bot", "5511987650024@bot"),
        ("5511987650024\n", "5511987650024\n"),
        ("\u0661\u0662@c.us", "\u0661\u0662@c.us"),
        ("", ""),
    ],
)
def test_what_is_no_phone_is_its_own_key(address: str, key: str) -> None:
    assert get_address_key(address) == key


@given(st.text() | st.from_regex(r"\A5[245]9?1?[0-9]{0,12}(:[0-9]{1,3})?(@(c\.us|lid|g\.us|s\.whatsapp\.net))?\Z"))
def test_a_key_is_its_own_key(address: str) -> None:
    key = get_address_key(address)
    assert get_address_key(key) == key


@given(st.from_regex(r"\A5[245][0-9]{6,12}\Z"))
def test_the_spellings_of_a_line_are_one_line(digits: str) -> None:
    spellings = list_spellings(digits)
    assert spellings[0] == digits
    assert {get_address_key(one) for one in spellings} == {get_address_key(digits)}
    assert {frozenset(list_spellings(one)) for one in spellings} == {frozenset(spellings)}
