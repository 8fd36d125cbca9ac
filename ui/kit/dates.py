"""Times as people read them, in the viewer's time zone."""

from datetime import UTC, date, datetime, timedelta

import streamlit as st
from babel.dates import format_date, format_datetime

from services.platform import local_time
from ui.kit.i18n import _, locale

# Where a browser does not tell its time zone; most people at these screens live in it.
FALLBACK_ZONE = "America/Sao_Paulo"


def to_local(moment: datetime) -> datetime:
    """What the viewer's clock shows at `moment`, as a naive time."""
    return local_time.to_local(moment, zone_name())


def zone_name() -> str:
    """The viewer's time zone, as `America/Sao_Paulo`."""
    told = st.context.timezone
    return told if told and local_time.is_zone(told) else FALLBACK_ZONE


def clock_of(zone: str) -> datetime:
    """What the clocks of another zone show now, as a naive time."""
    return local_time.to_local(now(), zone)


def now() -> datetime:
    """This moment."""
    return datetime.now(UTC)


def today() -> date:
    """The viewer's day."""
    return to_local(now()).date()


def start_of_day(day: date) -> datetime:
    """The moment at which `day` begins for the viewer."""
    return local_time.day_start(day, zone_name())


def short_time(moment: datetime) -> str:
    """`14:05` for today, `22/11 14:05` before (`22 Nov 14:05` where the day does not always come first)."""
    seen = to_local(moment)
    today = to_local(datetime.now(UTC)).date()
    return _format(seen, "HH:mm" if seen.date() == today else _("dd/MM HH:mm"))


def to_the_second(moment: datetime) -> str:
    """`22/11 14:05:33`, for stories whose steps are seconds apart."""
    return _format(to_local(moment), _("dd/MM HH:mm:ss"))


def full_time(moment: datetime) -> str:
    """`22/11/2026 14:05:33`, for what may be long ago."""
    return _format(to_local(moment), _("dd/MM/yyyy HH:mm:ss"))


def full_day(moment: datetime) -> str:
    """`22/11/2026`."""
    return _format(to_local(moment), _("dd/MM/yyyy"))


def wall_time(wall: datetime) -> str:
    """`22/11/2026 14:05`, of a naive time that stands as it is: the clock is somebody's own."""
    return _format(wall, _("dd/MM/yyyy HH:mm"))


def calendar_day(day: date) -> str:
    """`22/11/2026`, of a day without a time."""
    return format_date(day, _("dd/MM/yyyy"), locale=locale())


def month_name(day: date) -> str:
    """`novembro de 2026`, of any day in it."""
    return format_date(day, _("MMMM 'de' yyyy"), locale=locale())


def _format(seen: datetime, pattern: str) -> str:
    """By a pattern of Unicode's (https://unicode.org/reports/tr35/tr35-dates.html#Date_Format_Patterns)."""
    return format_datetime(seen, pattern, locale=locale())


def time_since(moment: datetime) -> timedelta:
    """How long ago."""
    return datetime.now(UTC) - moment


def ago(moment: datetime | None) -> str:
    """How long ago, in words that do not need to tick: `agora`, `há 5 min`, `há 3 h`, `há 2 dias`."""
    if moment is None:
        return _("nunca")
    minutes = int((datetime.now(UTC) - moment).total_seconds() // 60)
    if minutes < 1:
        return _("agora há pouco")
    if minutes < 60:
        return _("há {n} min").format(n=minutes)
    if minutes < 48 * 60:
        return _("há {n} h").format(n=minutes // 60)
    return _("há {n} dias").format(n=minutes // (24 * 60))
