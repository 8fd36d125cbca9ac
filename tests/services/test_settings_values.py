"""The kinds of values that settings have."""

from ipaddress import ip_network
from typing import Any

import pytest
from pydantic import SecretStr, TypeAdapter, ValidationError

from services import settings_values


@pytest.mark.parametrize(
    ("kind", "given", "kept"),
    [
        (settings_values.LogLevel, "debug", "DEBUG"),
        (settings_values.HttpUrls, "https://a.example/", "https://a.example"),
        (settings_values.HttpUrls, "", ""),
        (settings_values.Rate, "off", "off"),
        (settings_values.Rate, "30/15 minutes", "30/15 minutes"),
        (settings_values.Networks, "10.0.0.7/8, ::1", "10.0.0.7/8, ::1"),
        (settings_values.PostgresUrl, "postgres://h/d", SecretStr("postgresql://h/d")),
        (settings_values.PostgresUrl, "", SecretStr("")),
        (settings_values.SecretHttpUrl, "", SecretStr("")),
    ],
)
def test_it_keeps_a_value_in_one_spelling(kind: Any, given: str, kept: object) -> None:
    assert TypeAdapter(kind).validate_python(given) == kept


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (settings_values.Days, "0"),
        (settings_values.Port, "65536"),
        (settings_values.Rate, "Off"),
        (settings_values.HttpUrls, "https://a.example,ftp://b.example"),
        (settings_values.SecretHttpUrl, "ftp://b.example"),
        (settings_values.Networks, "10.0.0.0/33"),
        (settings_values.PhoneNumbers, "11 9999"),
        (settings_values.TimeZone, "/etc"),
    ],
)
def test_it_refuses_what_is_no_such_value(kind: Any, given: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(kind).validate_python(given)


def test_it_splits_lists_as_people_write_them() -> None:
    assert settings_values.split_numbers(" +55 (11) 99999-0000, ,5511888880000") == ["5511999990000", "5511888880000"]
    assert settings_values.split_networks("10.0.0.7/8, ,::1") == (ip_network("10.0.0.0/8"), ip_network("::1"))


def test_it_refuses_a_weak_key_but_not_one_that_nobody_gave() -> None:
    settings_values.check_key("KEY", SecretStr(""))
    settings_values.check_key("KEY", SecretStr("ç" * 16))
    with pytest.raises(ValueError, match=r"^KEY must have at least 32 bytes$"):
        settings_values.check_key("KEY", SecretStr("k" * 31))
