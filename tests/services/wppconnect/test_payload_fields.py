"""Fields of a server's JSON, whatever type they have."""

from typing import Any

import pytest

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
