"""The kinds of values that settings have. A check raises ValueError, whose text stands behind the variable's name."""

import logging
import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import psycopg
from limits import parse
from psycopg.conninfo import conninfo_to_dict
from pydantic import AfterValidator, Field, SecretStr

# Under 32 bytes an HS256 key is weaker than its hash (RFC 7518, section 3.2); PyJWT only warns, so it is refused here.
MIN_KEY_BYTES = 32

# A hundred years: whoever sets more has mistyped it.
MAX_DAYS = 36_500

# A rate limit that is none.
OFF = "off"

# What hosts of databases and SQLAlchemy's users write before ://.
POSTGRES_SCHEMES = ("postgresql", "postgres", "postgresql+psycopg")


def check_key(variable: str, key: SecretStr) -> None:
    """Refuse a key that is given but weak.

    Raises: ValueError that names the variable.
    """
    if 0 < len(key.get_secret_value().encode()) < MIN_KEY_BYTES:
        raise ValueError(f"{variable} must have at least {MIN_KEY_BYTES} bytes")


def split_networks(value: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """The networks, or single addresses, of a list separated by commas.

    Raises: ValueError for what is neither.
    """
    return tuple(ip_network(part.strip(), strict=False) for part in value.split(",") if part.strip())


def split_numbers(value: str) -> list[str]:
    """The phone numbers of a list separated by commas, without what people write between digits."""
    return [re.sub(r"[\s()+.-]", "", number) for number in value.split(",") if number.strip()]


def _check_networks(value: str) -> str:
    split_networks(value)
    return value


def _check_numbers(value: str) -> str:
    if not all(re.fullmatch(r"\d{8,15}", number) for number in split_numbers(value)):
        raise ValueError("must list full numbers, country code first, separated by commas")
    return value


def _check_rate(value: str) -> str:
    if value != OFF:
        parse(value)  # raises ValueError
    return value


def _check_log_level(value: str) -> str:
    if value.upper() not in logging.getLevelNamesMapping():
        raise ValueError("must be one of DEBUG, INFO, WARNING, ERROR, CRITICAL")
    return value.upper()


def _check_time_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, OSError) as error:
        raise ValueError("must be a time zone, as America/Sao_Paulo") from error
    return value  # ZoneInfo itself raises ValueError for what is no name at all


def _check_http_urls(value: str) -> str:
    if value and not all(_is_http(url.strip()) for url in value.split(",")):
        raise ValueError("must be an http:// or https:// address")
    return value.rstrip("/")


def _check_secret_http_url(value: SecretStr) -> SecretStr:
    if value and not _is_http(value.get_secret_value()):
        raise ValueError("must be an http:// or https:// address")
    return value


def _is_http(url: str) -> bool:
    """Raises ValueError for a port or an IPv6 address that is none."""
    parts = urlsplit(url)
    return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0


def _check_postgres_url(url: SecretStr) -> SecretStr:
    """`url` as libpq takes it. What is refused is not quoted: libpq's own complaints quote the password."""
    if not url:
        return url
    scheme, _, rest = url.get_secret_value().partition("://")
    if scheme not in POSTGRES_SCHEMES or not rest:
        raise ValueError("must be a postgresql:// address")
    plain = f"postgresql://{rest}"
    try:
        parts = urlsplit(plain)
        # libpq takes the first @ for the end of the password, urlsplit the last one before the first /.
        sound = parts.port != 0 and not parts.fragment and plain.count("@") == parts.netloc.count("@") <= 1
        conninfo_to_dict(plain)
    except (ValueError, psycopg.ProgrammingError):
        sound = False
    if not sound:
        raise ValueError("is not a well-formed address; special characters in its password must be percent-encoded")
    return SecretStr(plain)


Days = Annotated[int, Field(ge=1, le=MAX_DAYS)]
Port = Annotated[int, Field(ge=1, le=65535)]
Rate = Annotated[str, AfterValidator(_check_rate)]
LogLevel = Annotated[str, AfterValidator(_check_log_level)]
TimeZone = Annotated[str, AfterValidator(_check_time_zone)]
# None, one, or several separated by commas.
Networks = Annotated[str, AfterValidator(_check_networks)]
PhoneNumbers = Annotated[str, AfterValidator(_check_numbers)]
HttpUrls = Annotated[str, AfterValidator(_check_http_urls)]
# Addresses that hold secrets.
SecretHttpUrl = Annotated[SecretStr, AfterValidator(_check_secret_http_url)]
PostgresUrl = Annotated[SecretStr, AfterValidator(_check_postgres_url)]
