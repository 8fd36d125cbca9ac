"""Fields of a server's JSON, whatever type they have."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.wppconnect import payload_fields


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (-23.5, -23.5),
        ("-46.6333", -46.6333),
        (180, 180.0),
        (180.1, None),
        (float("nan"), None),
        ("inf", None),
        (10**400, None),
        ("north", None),
        ("", None),
        (None, None),
        (True, None),
        ([1], None),
    ],
)
def test_it_reads_an_angle_and_nothing_that_is_none(value: Any, read: float | None) -> None:
    assert payload_fields.degrees(value) == read


SECOND = 1_795_832_933


@pytest.mark.parametrize(
    ("value", "millis"),
    [
        (SECOND, SECOND * 1000),
        (1_795_832_933.5, SECOND * 1000 + 500),
        ("1795832933.5", SECOND * 1000 + 500),
        (" 1795832933 ", SECOND * 1000),
        (SECOND * 1000 + 7, SECOND * 1000 + 7),
        (f"{SECOND}007", SECOND * 1000 + 7),
        (SECOND * 1_000_000 + 7_001, SECOND * 1000 + 7),
        (float(SECOND * 1_000_000), SECOND * 1000),
        (0, None),
        (-1, None),
        ("-1795832933", None),
        (10**19, None),
        (10**400, None),
        ("1" * 400, None),
        (float("nan"), None),
        (float("inf"), None),
        ("1e9", None),
        ("٣٤٥", None),
        ("soon", None),
        (True, None),
        (None, None),
        ([SECOND], None),
    ],
)
def test_it_reads_a_moment_in_any_unit(value: Any, millis: int | None) -> None:
    assert payload_fields.unix_millis(value) == millis
    assert payload_fields.unix_time(value) == (millis and millis // 1000)


@given(st.integers(payload_fields.LAST_SECOND // 1000 + 1, payload_fields.LAST_SECOND - 1), st.integers(0, 999))
def test_it_reads_the_same_moment_from_each_of_its_forms(second: int, thousandths: int) -> None:
    millis = second * 1000 + thousandths
    for form in (millis, str(millis), millis * 1000, str(millis * 1000), f"{second}.{thousandths:03}"):
        assert abs(payload_fields.unix_millis(form) - millis) <= 1  # type: ignore[operator]
        assert payload_fields.unix_time(form) in (second, (millis - 1) // 1000)


@given(st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers()))
def test_it_gives_a_moment_between_1970_and_2100_or_none(value: Any) -> None:
    for moment, unit in ((payload_fields.unix_time(value), 1), (payload_fields.unix_millis(value), 1000)):
        assert moment is None or 0 <= moment <= payload_fields.LAST_SECOND * unit


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("Ana", "Ana"),
        ("  Oficina do Zé ", "Oficina do Zé"),
        ("Loja 24", "Loja 24"),
        ("007", "007"),
        ("+55 11 98765-0001", None),
        ("256420476400492", None),
        ("+256420476400492", None),
        ("(11) 98765\u20110001", None),
        ("  ", None),
        ("", None),
        (None, None),
        (5511987650001, None),
    ],
)
def test_it_takes_no_number_for_a_name(value: Any, name: str | None) -> None:
    assert payload_fields.name(value) == name
