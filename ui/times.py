"""Moments as people read them, in the time zone of the person at the screen."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import streamlit as st

from ui.text import _

# Where a browser does not tell its time zone; most people at these screens live in it.
FALLBACK_ZONE = "America/Sao_Paulo"


def local(moment: datetime) -> datetime:
    """`moment` in the viewer's time zone."""
    return moment.astimezone(_zone())


def _zone() -> ZoneInfo:
    try:
        return ZoneInfo(st.context.timezone or FALLBACK_ZONE)
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo(FALLBACK_ZONE)


def starts(day: date) -> datetime:
    """The moment at which `day` begins for the viewer."""
    return datetime.combine(day, time.min, tzinfo=_zone())


def clock(moment: datetime) -> str:
    """`14:05` for today, `22/11 14:05` before."""
    seen = local(moment)
    today = local(datetime.now(UTC)).date()
    return seen.strftime("%H:%M" if seen.date() == today else "%d/%m %H:%M")


def to_the_second(moment: datetime) -> str:
    """`22/11 14:05:33`, for stories whose steps are seconds apart."""
    return local(moment).strftime("%d/%m %H:%M:%S")


def since(moment: datetime) -> timedelta:
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
