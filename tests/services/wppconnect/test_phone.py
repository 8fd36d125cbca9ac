"""Numbers the way people write them."""

import phonenumbers
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.wppconnect.errors import DocumentNotPhone, InvalidPhone, NobodyToWriteTo, RoundedNumber
from services.wppconnect.phone import (
    format_phone,
    get_address_key,
    get_phone_of_address,
    is_certain,
    is_same_subscriber,
    list_spellings,
    normalise,
    read_address,
    read_as_typed,
)

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
     "123456789012345@lid", "120363000000000000@g.us", "5511999999999-1600000000@g.us",
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
        ("553187650032", "+55 31 8765-0032"),  # an older account's
        ("22507123456", "+225 07123456"),
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
    assert is_certain(digits) == phonenumbers.is_valid_number(phonenumbers.parse(f"+{digits}", None))


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


@pytest.mark.parametrize(
    ("handed_in", "digits"),
    [
        ("5511987650024@c.us", "5511987650024"),
        ("5511987650024@s.whatsapp.net", "5511987650024"),
        ("5511987650024:12@c.us", "5511987650024"),
        ("5511987650024.0:12@s.whatsapp.net", "5511987650024"),
        ("551187650024@c.us", "5511987650024"),
        ("22507123456@c.us", "22507123456"),  # an old account's: WhatsApp gave it, whatever the plan says today
        ("552098765002@c.us", "552098765002"),
        ("'+5511987650028", "5511987650028"),
        ('="5511987650028"', "5511987650028"),
        ('"\'+5511987650028"', "5511987650028"),
        ("+55 11 98765-0030 ::: +55 11 3333-0030", "5511987650030"),
        ("+55 11 3333-0030 ::: +55 11 98765-0030", "5511987650030"),
        ("+55 11 3333-0030 ::: ramal 7", "551133330030"),
        ("5.511987650031E+12", "5511987650031"),
        ("5,511987650031E+12", "5511987650031"),
        ("5511987650031.0", "5511987650031"),
        ("1187650031.0", "5511987650031"),
        ("tel:+55-11-98765-0012", "5511987650012"),
        ("tel:11987650012;ext=3", "5511987650012"),
        ("p:+5511987650012", "5511987650012"),  # as advertisements' forms are exported
        ("https://wa.me/5511987650018", "5511987650018"),
        ("wa.me/+5511987650018?text=oi", "5511987650018"),
        ("https://api.whatsapp.com/send?text=oi&phone=%2B55%2011987650018", "5511987650018"),
        ("whatsapp://send?phone=5511987650018", "5511987650018"),
        ("https://wa.me/12125550123", "12125550123"),
        ("Tel: (11) 98765-0016", "5511987650016"),
        ("WhatsApp 11 98765-0017", "5511987650017"),
        ("Tel. / WhatsApp: 11 98765-0017", "5511987650017"),
        ("11 98765-0020 (cel)", "5511987650020"),
        ("(0xx11) 98765-0021", "5511987650021"),
        ("0XX 11 98765-0021", "5511987650021"),
        ("+52 1 55 1234 5678", "525512345678"),
        ("5215512345678@c.us", "525512345678"),
        ("+54 9 11 2345-6789", "5491123456789"),
    ],
)
def test_it_reads_what_programs_and_files_hand_on(handed_in: str, digits: str) -> None:
    assert read_address(handed_in) == normalise(handed_in) == digits


@pytest.mark.parametrize(
    ("handed_in", "address"),
    [
        ("112233445566778@lid", "112233445566778@lid"),
        ("112233445566778:3@lid", "112233445566778@lid"),
        (" 120363020000000001@g.us ", "120363020000000001@g.us"),
    ],
)
def test_it_reads_addresses_without_a_phone(handed_in: str, address: str) -> None:
    assert read_address(handed_in) == address
    with pytest.raises(InvalidPhone):
        normalise(handed_in)


@pytest.mark.parametrize(
    ("handed_in", "error"),
    [
        ("219.812.345-67", DocumentNotPhone),
        ("119.876.543-21", DocumentNotPhone),
        ("119876543-21", DocumentNotPhone),
        ("119.876.543\u201321", DocumentNotPhone),
        ("CPF 21981234567", DocumentNotPhone),
        ("12.345.678/0001-95", DocumentNotPhone),
        ("1,19E+10", RoundedNumber),
        ("5.51199E+12", RoundedNumber),
        ("1e20", RoundedNumber),
        ("120363020000000002@newsletter", NobodyToWriteTo),
        ("status@broadcast", NobodyToWriteTo),
        ("5511987650024@gmail.com", InvalidPhone),
        ("https://wa.me/message/ABCDEF", InvalidPhone),
        ("1.5e-3", InvalidPhone),
        ("nan", InvalidPhone),
        ("Infinity", InvalidPhone),
        ("true", InvalidPhone),
        ("+5511987650024 " * 100, InvalidPhone),
    ],
)
def test_it_says_what_is_wrong_with_what_is_no_phone(handed_in: str, error: type[InvalidPhone]) -> None:
    with pytest.raises(InvalidPhone) as raised:
        read_address(handed_in)
    assert type(raised.value) is error


@pytest.mark.parametrize(
    ("handed_in", "digits"),
    [
        ("+225 07 12 34 56", "22507123456"),  # Ivory Coast before 2021
        ("00225 07123456", "22507123456"),
        ("+229 97 12 34 56", "22997123456"),  # Benin before 2024
    ],
)
def test_a_number_that_todays_plan_does_not_have_is_uncertain(handed_in: str, digits: str) -> None:
    assert read_address(handed_in) == digits
    assert not is_certain(digits)
    assert format_phone(digits).startswith("+")


@pytest.mark.parametrize("handed_in", ["22507123456", "+2250712", "+225 0712 3456 7890 12", "+55 20 99999-9999"])
def test_what_may_be_a_slip_of_the_pen_is_refused(handed_in: str) -> None:
    with pytest.raises(InvalidPhone):
        read_address(handed_in)


@pytest.mark.parametrize(
    ("typed", "digits"),
    [
        ("+55 31 8765-0032", "553187650032"),
        ("31 8765-0032", "553187650032"),
        ("+55 31 98765-0032", "5531987650032"),
        ("(031) 98765-0032", "5531987650032"),
        ("0 15 31 8765-0032", "553187650032"),
        ("553187650032@c.us", "553187650032"),
        ("+52 1 55 1234 5678", "5215512345678"),
        ("+52 55 1234 5678", "525512345678"),
        ("+54 9 11 2345-6789", "5491123456789"),
        ("+54 11 2345-6789", "541123456789"),
        ("(31) 3333-4444", "553133334444"),
        ("+1 202 555 0123", "12025550123"),
    ],
)
def test_it_keeps_the_spelling_of_ones_own_number(typed: str, digits: str) -> None:
    assert read_as_typed(typed) == digits


@given(
    st.sampled_from(["551187650024", "5491123456789", "525512345678", "12125550123", "22507123456"]),
    st.sampled_from(["{0}@c.us", "{0}@s.whatsapp.net", "{0}:7@c.us", "+{0}", "00{0}", "tel:+{0}", "https://wa.me/{0}"]),
    st.integers(0, 1),
)
def test_every_form_of_an_address_is_the_same_line(digits: str, form: str, spelling: int) -> None:
    written = form.format(list_spellings(digits)[min(spelling, len(list_spellings(digits)) - 1)])
    assert get_address_key(read_address(written)) == get_address_key(digits)


@given(st.from_regex(r"\A5[245][0-9]{6,12}@c\.us\Z"))
def test_an_addresss_phone_is_read_as_it_is_stored(address: str) -> None:
    """What a program hands back finds the contact that wrote."""
    assert get_address_key(read_address(address)) == get_address_key(get_phone_of_address(address) or "")
